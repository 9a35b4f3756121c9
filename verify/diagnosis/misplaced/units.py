"""Units of the state that a loop leaves out, or reads after they have been replaced."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...mutants.parts import changed, reads
from ...mutants.replaceable_layer import At, ReplaceableLayer, StepPart
from ..hypotheses import Hypothesis

ENDS = {"first": 0, "last": -1}


def units(family: str) -> Iterator[Hypothesis]:
    """Yield sums that leave out an end, and units that are replaced one after the other."""
    for array, of in {"W": "the input", "U": "the state"}.items():
        for end, index in ENDS.items():
            yield Hypothesis(
                (f"{end} entry of {of} not read",),
                (f"The {end} entry of {of} is left out of every sum over {array}.",),
                (partial(_left_out, array, index),),
                ("let the loop run over all entries: check where its range begins and ends",),
                ("influence", "forward"),
            )  # fmt: skip
    yield Hypothesis(
        ("units replaced one after the other",),
        ("The hidden state is overwritten in place: every unit reads units before it that have "
         "been replaced already.",),
        (lambda layer: layer.wrap("step", partial(_one_by_one, layer)),),
        ("keep the old h until every unit of the step is computed: write the new h into another "
         "array",), ("unit-permutation", "forward"),
    )  # fmt: skip


def _left_out(array: str, index: int, layer: ReplaceableLayer) -> None:
    def without(p: Parameters) -> Parameters:
        if array not in p:
            return p
        factors = np.ones((p[array].shape[1], 1), p[array].dtype)
        factors[index] = 0
        return changed(p, **{array: p[array] * factors})

    reads(layer, without)


def _one_by_one(
    layer: ReplaceableLayer, right: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    mixed, results = state[0], []
    numbers = np.arange(state[0].shape[-1])
    for unit in numbers:
        new = right(at, p, x, (mixed, *state[1:]))
        # A unit's own c, or the GRU's own h, is read before it is written.
        mixed = np.where(numbers == unit, new[0], mixed)
        results.append(new)
    return tuple(
        np.concatenate([new[k][..., n : n + 1] for n, new in enumerate(results)], axis=-1)
        for k in range(len(state))
    )
