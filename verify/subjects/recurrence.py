"""A recurrence of the user's own: its parameters, its states, and its step where it has equations.

It stands where a cell of the catalogue stands: cases are drawn by it, and the oracle runs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...reference.cell import Cell, Gates, State
from ...reference.functions import Array
from ...reference.parameters import Parameters, Shape, Sizes
from ..runs.verdict import NO_EQUATIONS, OWN_EQUATIONS

Axes: TypeAlias = str | int | Sequence[str | int]
"""The lengths of an array's axes, by the widths D of the input and H of the state: ``"D 4H"``."""

TERM = re.compile(r"(\d*)\*?([DH]?)")


def lengths(axes: Axes, D: int, H: int) -> tuple[int, ...]:
    """Return the length of every axis; ValueError for what is none."""
    each = axes.split() if isinstance(axes, str) else (axes,) if isinstance(axes, int) else axes
    return tuple(_length(str(axis), D, H) for axis in each)


def _length(axis: str, D: int, H: int) -> int:
    total = 0
    for term in axis.split("+"):
        found = TERM.fullmatch(term)
        if not term or found is None:
            raise ValueError(f"axis {axis!r}: expected a number, D, H, or such as 4H or D+H")
        total += int(found[1] or 1) * {"D": D, "H": H, "": 1}[found[2]]
    return total


class Recurrence(Cell):
    """A cell with parameters and states of its user's own; the first state is the output.

    ``parameters``, ``states`` and ``x`` say the axes of every array but the batch; states of
    several axes are carried flat. ``equations`` is the user's ``step(p, x, state)``, or None.
    """

    title = "a recurrence of one's own"
    equations = ()
    gates = ()
    traits = frozenset()

    def __init__(
        self,
        parameters: Mapping[str, Axes] | Callable[[int, int], Mapping[str, Axes]],
        states: Mapping[str, Axes],
        x: Axes,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """Take the axes of all arrays; ValueError for what is none.

        ``parameters`` may be a function of D and H that returns them.
        """
        self.parameters = parameters if callable(parameters) else lambda D, H: parameters
        self.of_states, self.of_x = dict(states), x
        self.states = tuple(states)
        self.function = function
        self.name = own_name(function)
        given = {} if callable(parameters) else parameters
        for axes in (*given.values(), *self.of_states.values(), x):
            lengths(axes, 1, 1)
        if not self.states:
            raise ValueError("states: expected at least one; the first is the output")

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shape of every parameter; none has an axis of gates."""
        return {
            name: Shape((), lengths(axes, sizes.D, sizes.H))
            for name, axes in self.parameters(sizes.D, sizes.H).items()
        }

    def state_axes(self, sizes: Sizes) -> tuple[tuple[int, ...], ...]:
        """Return the axes of every state, without the batch."""
        return tuple(lengths(axes, sizes.D, sizes.H) for axes in self.of_states.values())

    def x_axes(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the axes of the input of one step, without the batch."""
        return lengths(self.of_x, sizes.D, sizes.H)

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return how many numbers every state has in one row."""
        return tuple(map(math.prod, self.state_axes(sizes)))

    def input_width(self, sizes: Sizes) -> int:
        """Return how many numbers one row reads in one step."""
        return math.prod(self.x_axes(sizes))

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Array:
        """Draw N(0, 1/fan-in) weights, N(0, 1/4) vectors; the longest axis is the output's."""
        axes = shape.axes
        fan_in = math.prod(axes) // max(axes) if len(axes) > 1 else 4
        return rng.standard_normal(axes) / np.sqrt(fan_in)

    def step(self, p: Parameters, x: Array, state: State) -> tuple[State, Gates]:
        """Run the user's step."""
        raise NotImplementedError(f"{self.name}: it has no equations")

    def vjp(
        self, p: Parameters, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        """Pull a cotangent back through the user's step."""
        raise NotImplementedError(f"{self.name}: it has no equations")


def own_name(function: Callable[..., Any] | None) -> str:
    """Return the name of a cell that is not in the catalogue."""
    return NO_EQUATIONS if function is None else f"{OWN_EQUATIONS}{function.__name__}"
