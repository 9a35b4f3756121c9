"""The direct path: what a state keeps of itself without going through a matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...reference.cell import Cell
from ...reference.functions import Array
from .problem import keeping_gate
from .trajectory import Step
from .transition import Transition


def direct_rate(cell: Cell, transition: Transition, steps: Iterable[Step]) -> float | None:
    """Return the mean over units and time of ln of what they keep; None if there is no such path.

    That is the diagonal of ∂c_t/∂c_{t-1} with h held fixed (E19) where a cell has a state c, and
    what the gate keeps of h where h is all that a cell has.
    """
    gate = keeping_gate(cell)
    if "c" not in cell.states and (gate is None or len(cell.states) > 1):
        return None
    with np.errstate(divide="ignore"):
        logs = [np.log(np.abs(_kept(cell, transition, step))) for step in steps]
    return float(np.mean(logs))


def _kept(cell: Cell, transition: Transition, step: Step) -> Array:
    """Return what every unit keeps in one step, (H,)."""
    x, state, gates, new = step
    if "c" not in cell.states:
        name, sign = keeping_gate(cell) or ("", 0)
        return gates[name][0] if sign > 0 else 1 - gates[name][0]
    k = cell.states.index("c")
    ones = tuple(np.full(s.shape, float(j == k)) for j, s in enumerate(state))
    kept: Array = transition.pull(x, state, gates, new, ones)[k][0]  # the block is diagonal
    return kept
