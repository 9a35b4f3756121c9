"""A user's recurrence outside the catalogue: its parameters, states, and step if it has equations.

It takes the place of a cell of the catalogue: cases are drawn for it, and the oracle runs it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...reference.arrays import NumberSystem
from ...reference.cell import Cell, Gates, State
from ...reference.functions import Array
from ...reference.parameters import Parameters, Shape, Sizes
from ..numbers.followed import Followed, followed, pulled
from ..numbers.ledger import Mismatch
from ..runs.verdict import NO_EQUATIONS, OWN_EQUATIONS

Axes: TypeAlias = str | int | Sequence[str | int]
"""The lengths of an array's axes, by the widths D of the input and H of the state: ``"D 4H"``."""

TERM = re.compile(r"(\d*)\*?([DH]?)")


def lengths(axes: Axes, D: int, H: int) -> tuple[int, ...]:
    """Return the length of every axis; ValueError for a malformed axis."""
    terms = axes.split() if isinstance(axes, str) else (axes,) if isinstance(axes, int) else axes
    return tuple(_length(str(axis), D, H) for axis in terms)


def _length(axis: str, D: int, H: int) -> int:
    total = 0
    for term in axis.split("+"):
        match = TERM.fullmatch(term)
        if not term or match is None:
            raise ValueError(f"axis {axis!r}: expected a number, D, H, or such as 4H or D+H")
        total += int(match[1] or 1) * {"D": D, "H": H, "": 1}[match[2]]
    return total


class Recurrence(Cell):
    """A cell with a user's parameters and states; the first state is the output.

    ``parameters``, ``states`` and ``x`` are the axes of every array without the batch; states of
    several axes are flattened. ``function`` is the user's ``step(p, x, state)``, or None.
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
        """Set the axes of all arrays; ValueError for malformed ones.

        ``parameters`` may be a function of D and H that returns them.
        """
        self.parameters = parameters if callable(parameters) else lambda D, H: parameters
        self.of_states, self.of_x = dict(states), x
        self.states = tuple(states)
        self.function = function
        self.name = own_name(function)
        fixed = {} if callable(parameters) else parameters
        for axes in (*fixed.values(), *self.of_states.values(), x):
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
        """Return the number of entries of every state in one row."""
        return tuple(map(math.prod, self.state_axes(sizes)))

    def input_width(self, sizes: Sizes) -> int:
        """Return the number of entries that one row reads in one step."""
        return math.prod(self.x_axes(sizes))

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Array:
        """Draw N(0, 1/fan-in) weights, N(0, 1/4) vectors; the longest axis is the output's."""
        axes = shape.axes
        fan_in = math.prod(axes) // max(axes) if len(axes) > 1 else 4
        return rng.standard_normal(axes) / np.sqrt(fan_in)

    def step(self, p: Parameters, x: Array, state: State) -> tuple[State, Gates]:
        """Run the user's step, with arrays of any number system."""
        if not isinstance(x, NumberSystem):
            return self._call_step(p, x, state), {}
        new = self._call_step(p.map(Followed), Followed(x), tuple(map(Followed, state)))
        return tuple(s.value for s in new), {}

    def vjp(
        self, p: Parameters, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        """Pull a cotangent back through the user's step."""
        leaves, x_followed, states = p.map(Followed), Followed(x), tuple(map(Followed, state))
        outputs = self._call_step(leaves, x_followed, states)
        inputs = [*leaves.values(), x_followed, *states]
        gradients = pulled(outputs, cotangent, inputs)
        arrays = dict(zip(p, gradients, strict=False))
        return Parameters(p.shapes, arrays), gradients[len(p)], tuple(gradients[len(p) + 1 :])

    def _call_step(self, p: Parameters, x: Any, state: Sequence[Any]) -> tuple[Any, ...]:
        """Call the step with arrays of the declared axes; return the new states as (B, width)."""
        if self.function is None:
            raise NotImplementedError(f"{self.name}: it has no equations")
        sizes = self._sizes(x.shape[-1], state[0].shape[-1])
        rows = x.shape[0]
        axes = self.state_axes(sizes)
        reshaped = tuple(s.reshape(rows, *n) for s, n in zip(state, axes, strict=True))
        new = self.function(p, x.reshape(rows, *self.x_axes(sizes)), reshaped)
        new = new if isinstance(new, tuple | list) else (new,)
        shapes = [tuple(np.shape(s)) for s in new]
        expected_shapes = [(rows, *n) for n in axes]
        if shapes != expected_shapes:
            raise Mismatch(f"the step returns states of shape {shapes}, expected {expected_shapes}")
        like = x.value if isinstance(x, Followed) else None
        flat = (s if like is None else followed(s, like) for s in new)
        return tuple(s.reshape(rows, math.prod(n)) for s, n in zip(flat, axes, strict=True))

    def _sizes(self, read: int, width: int) -> Sizes:
        """Return D and H for an input of width ``read`` and a first state of this width."""
        D = next(D for D in range(1, read + 1) if self.input_width(Sizes(D, 1)) == read)
        return Sizes(
            D, next(H for H in range(1, width + 1) if self.widths(Sizes(D, H))[0] == width)
        )


def own_name(function: Callable[..., Any] | None) -> str:
    """Return the name of a cell that is not in the catalogue."""
    return NO_EQUATIONS if function is None else f"{OWN_EQUATIONS}{function.__name__}"
