"""Two layers as one transition: the upper one reads the new output of the lower one (E27)."""

from __future__ import annotations

from collections.abc import Mapping

from ...reference.cell import Gates, State
from ...reference.functions import Array
from .transition import Bound


class Stack:
    """A lower and an upper layer; the state is the lower one's and then the upper one's.

    The first of ``states`` is still the output that a projection reads only if it is that of the
    lower layer: whoever needs the stack's output takes the first of the upper half.
    """

    def __init__(self, lower: Bound, upper: Bound) -> None:
        """Take two bound cells; the upper one's D is the width of the lower one's output."""
        self._levels = lower, upper
        self._split = len(lower.states)
        self.states = tuple(f"{name}{k}" for k in (0, 1) for name in self._levels[k].states)
        self.widths = (*lower.widths, *upper.widths)

    def step(self, x: Array, state: State) -> tuple[State, Gates]:
        """One step of the lower layer, then one of the upper."""
        lower, upper = self._levels
        new_lower, gates_lower = lower.step(x, state[: self._split])
        new_upper, gates_upper = upper.step(new_lower[0], state[self._split :])
        gates = {f"0.{name}": gate for name, gate in gates_lower.items()}
        gates |= {f"1.{name}": gate for name, gate in gates_upper.items()}
        return (*new_lower, *new_upper), gates

    def pull(self, x: Array, state: State, gates: Gates, new: State, cotangent: State) -> State:
        """Back through the upper layer, whose input's cotangent reaches the lower one's output."""
        lower, upper = self._levels
        cut = self._split
        dx, old_upper = upper.pull_to_both(
            new[0], state[cut:], _of_level(1, gates), new[cut:], cotangent[cut:]
        )
        arriving = (cotangent[0] + dx, *cotangent[1:cut])
        old_lower = lower.pull(x, state[:cut], _of_level(0, gates), new[:cut], arriving)
        return (*old_lower, *old_upper)


def _of_level(level: int, gates: Mapping[str, Array]) -> Gates:
    prefix = f"{level}."
    return {k.removeprefix(prefix): gate for k, gate in gates.items() if k.startswith(prefix)}
