"""Cells that are given their gates, with a bias on what keeps the state: σ(z + b) of it stays.

The layer that makes the gates is somebody else's; here it is the least there can be: of a gate that
keeps the state, z ~ N(0, 1) is given, and b is learned. All else is given as ever.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...reference.arrays import Array, Floats, Rows
from ...reference.cell import Cell, Gates, Limit, State
from ...reference.functions import log_sigmoid, sigmoid
from ...reference.gated_by_input import DECAY, GATE, RATE, GatedByInput
from ...reference.parameters import Parameters, Shape, Sizes

KEPT: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    DECAY: (log_sigmoid, lambda s: sigmoid(-s)),
    RATE: (lambda s: -log_sigmoid(s), lambda s: -sigmoid(-s)),
    GATE: (lambda s: s, np.ones_like),
}
"""What is given for σ(s) of the state to stay, and its slope: a logarithm, a step size, or s."""


class BiasedCell(Cell):
    """A cell that is given its gates, as one of flat states and a bias b; A of a rate is -1."""

    gates = ()

    def __init__(self, given: GatedByInput, keys: int) -> None:
        """Take the cell, and how wide its keys are: a flat state does not say it."""
        self.given, self._keys = given, keys
        self.name, self.title, self.equations = given.name, given.title, given.equations
        self.states = given.states
        self.kept = next((each for each in given.given if each.keeps), None)
        if self.kept:
            self.limits = (Limit("b keeps the state", ("b",), (), self.states[0], "old"),)

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return those of what the cell learns, and of b."""
        return self.given.shapes(sizes) | ({"b": Shape(("b",), (1,))} if self.kept else {})

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw what the cell learns."""
        if name == "A":
            return -np.ones(shape.full)
        return self.given.random_parameter(name, rng, shape)

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return how many numbers every state has."""
        return self.given.widths(sizes)

    def input_width(self, sizes: Sizes) -> int:
        """Return how many numbers a step is given."""
        return self.given.input_width(sizes)

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Floats:
        """Draw what a step is given, and z ~ N(0, 1) in the place of what keeps the state."""
        x = self.given.random_input(rng, steps, batch, sizes)
        if self.kept is None:
            return x
        arrays = self.given.split(x, sizes)
        z = rng.standard_normal(arrays[self.kept.name].shape)
        return np.asarray(self.given.joined(arrays | {self.kept.name: z}, x, sizes))

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Give the cell what it takes."""
        given, _, state = self._given(p, x, state)
        new, gates = self.given.step(p, given, state)
        return self._flat(new), gates

    def vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Rows, State]:
        """Pull back through the cell, and through what z + b stands for."""
        given, slope, state = self._given(p, x, state)
        sizes = self.given.sizes_of(state)
        shaped = [
            tuple(a.reshape(s.shape) for a, s in zip(arrays, state, strict=True))
            for arrays in (new, cotangent)
        ]
        own = {n: s for n, s in p.shapes.items() if n != "b"}
        plain = Parameters(own, {n: p[n] for n in own})
        dp, dx, dstate = self.given.vjp(plain, given, state, gates, *shaped)
        arrays = dict(dp)
        if self.kept is not None:
            d = self.given.split(dx, sizes)
            dz = d[self.kept.name] * slope
            dx = self.given.joined(d | {self.kept.name: dz}, x, sizes)
            arrays["b"] = dz.sum().reshape(1, 1)
        return Parameters(p.shapes, arrays), dx, self._flat(dstate)

    def _given(self, p: Parameters, x: Rows, state: State) -> tuple[Rows, Array, State]:
        """Return what the cell is given, the slope of what keeps the state, and the state."""
        values = state[0].shape[1] // self.widths(Sizes(self._keys, 1))[0]
        sizes = Sizes(self._keys, values)
        shapes = self.given.state_shapes(sizes)
        shaped = tuple(s.reshape(len(s), *n) for s, n in zip(state, shapes, strict=True))
        if self.kept is None:
            return x, x, shaped
        arrays = self.given.split(x, sizes)
        value, slope = KEPT[self.kept.keeps]
        s = arrays[self.kept.name] + p.b_b
        return self.given.joined(arrays | {self.kept.name: value(s)}, x, sizes), slope(s), shaped

    def _flat(self, state: State) -> State:
        return tuple(s.reshape(len(s), -1) for s in state)
