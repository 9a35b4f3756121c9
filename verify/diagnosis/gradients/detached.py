"""States that are detached at every step.

A detach at the start of a step cuts the gradient of the initial state, too; one at the end of a
step that of the final state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...mutants import Change
from ...mutants.gradient import after_step_vjp
from ...mutants.parts import pulls, some
from ...mutants.replaceable_layer import At, ReplaceableLayer, StepGradients
from ..hypotheses import Hypothesis


def detached(family: str) -> Iterator[Hypothesis]:
    """Yield hypotheses that no gradient passes through a state to the step before."""
    kinds: dict[str, tuple[int, ...]] = {"hidden state": (0,)}
    if family == "lstm":
        kinds |= {"cell state": (1,), "hidden and cell state": (0, 1)}
    for (words, which), end in product(kinds.items(), (False, True)):
        where = "end" if end else "start"
        yield Hypothesis(
            (f"{words} detached at the {where}",),
            (f"No gradient passes through the {words} from a step to the one before it, as if "
             f"detached at the {where} of each step.",),
            (_cut(which, end=end),),
            ("let it through: look for a detach, a stop_gradient, .data or .item() in the loop",),
            ("gradient",),
        )  # fmt: skip


def _cut(which: tuple[int, ...], *, end: bool) -> Change:
    def cut(states: Sequence[Array | None]) -> State:
        return some(states, which, lambda d: 0 * d)

    def spoil(at: At, dp: Parameters, dx: Array, d_old: State) -> StepGradients:
        return dp, dx, d_old if end and at.t == 0 else cut(d_old)

    def real(states: State) -> State:
        return some(states, which, _without_tangent)

    def change(layer: ReplaceableLayer) -> None:
        after_step_vjp(layer, spoil)
        if end:
            pulls(layer, lambda pair: (pair[0], cut(pair[1])))
            layer.wrap("carry", lambda right, at, new, old: real(right(at, new, old)))
        else:
            layer.wrap("step", lambda right, at, p, x, state: right(at, p, x, real(state)))

    return change


def _without_tangent(state: Array) -> Array:
    """Return a state without its tangent, the imaginary part of a complex step."""
    tangent = isinstance(state, np.ndarray) and np.iscomplexobj(state)
    return state.real.astype(state.dtype) if tangent else state
