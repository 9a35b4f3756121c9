"""Mistakes on the way from one chunk of steps to the next, in linear recurrences.

A step is affine in its state, so the share of the state before a chunk in its outputs and its final
state is the difference from the same chunk started with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...mutants.replaceable_layer import At, OutputPart, ReplaceableLayer, UnrollPart
from ...subjects.given_arrays import gated_by_input
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis

SIZES = (4, 8, 16, 32, 64)
"""Steps of a chunk that are tried if the subject does not state them."""

Entered = Callable[[Array, Array, Array], Array]
"""From a chunk's first state, and what it has become before and after a step, to what is read."""

ENTERED: dict[str, Entered] = {
    "is not decayed": lambda first, before, after: first,
    "decays a step late": lambda first, before, after: before,
    "is left out": lambda first, before, after: 0 * after,
}
WHERE: dict[str, Callable[[int], bool]] = {
    "": lambda start: True,
    " in the first chunk: it is the initial state": lambda start: start == 0,
    " from the second chunk on": lambda start: start > 0,
}
FIX = "let the state that enters a chunk decay by every step up to and including the one that reads"


def chunks(subject: Subject) -> Iterator[Hypothesis]:
    """Yield states that enter a chunk, or leave it, without their decay."""
    if "scan" not in gated_by_input(subject.cells[0]).form_kinds:
        return  # not affine in its state
    for size, (so, entered), (where, here) in product(
        _sizes(subject), ENTERED.items(), WHERE.items()
    ):
        said = f"The state before a chunk of {size} steps {so}"
        yield Hypothesis(
            (f"outputs: {said}{where}",), (f"{said} where outputs are read{where}.",),
            (partial(_read, size, entered, here),), (FIX,), ("forward", "carry"),
        )  # fmt: skip
        if so != "decays a step late":
            yield Hypothesis(
                (f"states: {said}{where}",), (f"{said} on its way to the next chunk{where}.",),
                (partial(_carried, size, entered, here),), (FIX,), ("forward", "carry"),
            )  # fmt: skip


def _sizes(subject: Subject) -> tuple[int, ...]:
    names = (*subject.options.forms, subject.options.program)
    stated = [int(size) for _, _, size in (name.partition(":") for name in names) if size]
    return tuple(dict.fromkeys(stated)) or SIZES


def _read(
    size: int, entered: Entered, here: Callable[[int], bool], layer: ReplaceableLayer
) -> None:
    def output(
        right: OutputPart, at: At, p: Parameters, x: Array, state: State, new: State
    ) -> Array:
        if at.t % size == 0:
            layer.memory["first"], layer.memory["inside"] = state[0], (0 * state[0],)
        before = layer.memory["inside"]
        layer.memory["inside"] = inside = layer.step(at, p, x, before)
        if not here(at.t - at.t % size):
            return right(at, p, x, state, new)
        first = layer.memory["first"]
        owed = entered(first, state[0] - before[0], new[0] - inside[0])
        old = entered(first, state[0] - before[0], state[0] - before[0])
        return right(at, p, x, (before[0] + old,), (inside[0] + owed,))

    layer.wrap("output", output)


def _carried(
    size: int, entered: Entered, here: Callable[[int], bool], layer: ReplaceableLayer
) -> None:
    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        outputs, state = [], at.start
        for start in range(0, max(len(x), 1), size):
            lengths = at.lengths if at.lengths is None else np.clip(at.lengths - start, 0, size)
            part = at._replace(start=state, lengths=lengths)
            y, final = right(part, p, x[start : start + size])
            outputs.append(y)
            if here(start) and len(y):
                zeros = part._replace(start=(0 * state[0],))
                inside = right(zeros, p, x[start : start + size])[1][0]
                owed = final[0] - inside
                final = (inside + entered(state[0], owed, owed),)
            state = final
        return np.concatenate(outputs), state

    layer.wrap("unroll", unroll)
