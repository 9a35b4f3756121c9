"""Cells gated by their input, with a learned bias b on the decay: the share σ(z + b) stays.

Models compute these gates by a layer. Here it is the smallest one possible: for the gate that
decays the state, z ~ N(0, 1) is an input and b is learned; the other inputs are as usual.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...reference.arrays import Array, Floats, Rows
from ...reference.cell import Cell, Gates, Limit, State
from ...reference.functions import log_sigmoid, sigmoid
from ...reference.gated_by_input import DECAY, GATE, RATE, GatedByInput
from ...reference.parameters import Parameters, Shape, Sizes

DECAYS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    DECAY: (log_sigmoid, lambda s: sigmoid(-s)),
    RATE: (lambda s: -log_sigmoid(s), lambda s: -sigmoid(-s)),
    GATE: (lambda s: s, np.ones_like),
}
"""The input by which σ(s) of the state stays, and its slope: a logarithm, a step size, or s."""


class BiasedCell(Cell):
    """A cell gated by its input, with flat states and a bias b; A of a rate is -1."""

    gates = ()

    def __init__(self, cell: GatedByInput, keys: int) -> None:
        """Set the cell, and the width of its keys, which flat states do not show."""
        self._cell, self._keys = cell, keys
        self.name, self.title, self.equations = cell.name, cell.title, cell.equations
        self.states = cell.states
        self._decay = next((array for array in cell.inputs if array.keeps), None)
        if self._decay:
            self.limits = (Limit("b keeps the state", ("b",), (), self.states[0], "old"),)

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of the cell's parameters, and of b."""
        return self._cell.shapes(sizes) | ({"b": Shape(("b",), (1,))} if self._decay else {})

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw a parameter as the cell does, but A = -1."""
        if name == "A":
            return -np.ones(shape.full)
        return self._cell.random_parameter(name, rng, shape)

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the number of entries in one row of every state."""
        return self._cell.widths(sizes)

    def input_width(self, sizes: Sizes) -> int:
        """Return the number of columns of a row x."""
        return self._cell.input_width(sizes)

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Floats:
        """Draw the cell's input, with z ~ N(0, 1) in place of the array that decays the state."""
        x = self._cell.random_input(rng, steps, batch, sizes)
        if self._decay is None:
            return x
        arrays = self._cell.split(x, sizes)
        z = rng.standard_normal(arrays[self._decay.name].shape)
        return np.asarray(self._cell.joined(arrays | {self._decay.name: z}, x, sizes))

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Take a step of the cell with σ(z + b) as its decay."""
        inputs, _, state = self._inputs(p, x, state)
        new, gates = self._cell.step(p, inputs, state)
        return self._flat(new), gates

    def vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Rows, State]:
        """Pull back through the cell, and from the decay to z and b."""
        inputs, slope, state = self._inputs(p, x, state)
        sizes = self._cell.sizes_of(state)
        shaped = [
            tuple(a.reshape(s.shape) for a, s in zip(arrays, state, strict=True))
            for arrays in (new, cotangent)
        ]
        learned = {n: s for n, s in p.shapes.items() if n != "b"}
        plain = Parameters(learned, {n: p[n] for n in learned})
        dp, dx, dstate = self._cell.vjp(plain, inputs, state, gates, *shaped)
        arrays = dict(dp)
        if self._decay is not None:
            d = self._cell.split(dx, sizes)
            dz = d[self._decay.name] * slope
            dx = self._cell.joined(d | {self._decay.name: dz}, x, sizes)
            arrays["b"] = dz.sum().reshape(1, 1)
        return Parameters(p.shapes, arrays), dx, self._flat(dstate)

    def _inputs(self, p: Parameters, x: Rows, state: State) -> tuple[Rows, Array, State]:
        """Return the cell's input, the slope of its decay in z + b, and its state."""
        values = state[0].shape[1] // self.widths(Sizes(self._keys, 1))[0]
        sizes = Sizes(self._keys, values)
        shapes = self._cell.state_shapes(sizes)
        shaped = tuple(s.reshape(len(s), *n) for s, n in zip(state, shapes, strict=True))
        if self._decay is None:
            return x, x, shaped
        arrays = self._cell.split(x, sizes)
        value, slope = DECAYS[self._decay.keeps]
        s = arrays[self._decay.name] + p.b_b
        return self._cell.joined(arrays | {self._decay.name: value(s)}, x, sizes), slope(s), shaped

    def _flat(self, state: State) -> State:
        return tuple(s.reshape(len(s), -1) for s in state)
