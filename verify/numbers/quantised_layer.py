"""The reference's layers in a quantised arithmetic: the same equations on other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.arrays import Array, Lengths, Rows
from ...reference.cell import Cell, Gates, State
from ...reference.cells.lstm import hidden_state
from ...reference.layer import Layer, Output, States
from ...reference.parameters import Parameters
from . import integer_lstm
from .bounded import Bounded
from .fixed import Fixed, stored
from .levels import Levels, Operand
from .quantisation import OPERANDS, Quantisation


class QuantisedCell(Cell):
    """A cell whose step reads, multiplies and stores in a quantised arithmetic."""

    def __init__(self, cell: Cell, quantisation: Quantisation) -> None:
        """Take the cell, and the arithmetic."""
        self.cell, self.quantisation = cell, quantisation
        of_the_cell = (
            "name", "title", "equations", "gates", "states", "traits", "limits", "shapes",
            "widths", "input_width", "random_parameter", "random_state", "random_input",
        )  # fmt: skip
        for name in of_the_cell:
            setattr(self, name, getattr(cell, name))
        self._read: tuple[Parameters | None, Parameters | None] = (None, None)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Return one step's stored states; numbers without bounds are not quantised."""
        if not isinstance(x, Bounded):
            return self.cell.step(p, x, state)
        if self._read[0] is not p:
            self._read = p, self.parameters(p)
        parameters: Any = self._read[1]
        q = self.quantisation
        old: Any = state
        if q.gates:
            return integer_lstm.step(self.gates, q, p, x, state)
        if q.fixed:
            take = Fixed.read if q.initial == "rounded" else Fixed.unrounded
            old = tuple(take(s, q, x.arithmetic) for s in state)
            new, gates = self.cell.step(parameters, Fixed.read(x, q, x.arithmetic), old)
            return tuple(Fixed.read(s, q, x.arithmetic) for s in new), gates
        new, gates = self.cell.step(parameters, x, old)
        return self._stored(new, gates), gates

    def _stored(self, new: Any, gates: Gates) -> State:
        """Return stored states; h is computed from the stored c."""
        q, states = self.quantisation, dict(zip(self.states, new, strict=True))
        for name, form in sorted(q.state_formats.items()):  # c before h
            value, error = stored(states[name], form, q)
            states[name] = Bounded(value, error, states[name].arithmetic)
            if name == "c" and "o" in gates:
                states["h"] = hidden_state(gates["o"], states["c"])
        return tuple(states.values())

    def read_input(self, x: Any) -> Any:
        """Return the input of a whole call, quantised."""
        q = self.quantisation
        quantises = q.activations and "x" in q.operands and isinstance(x, Bounded)
        return Operand(q, "x").levels(x) if quantises else x

    def parameters(self, p: Parameters) -> Parameters:
        """Return quantised parameters."""
        q = self.quantisation
        if q.fixed:
            return p.map(lambda a: Fixed.read(a, q, a.arithmetic))
        letters = {OPERANDS[letter]: letter for letter in q.operands if q.activations}

        def read(name: str, a: Any) -> Array:
            if name not in letters:
                return a.plain if isinstance(a, Levels) else a
            if not isinstance(a, Levels):  # only its operand is quantised
                low, high = a.value - a.bound, a.value + a.bound
                a = Levels.from_integers(low, high, np.ones(()), 0.0, a.arithmetic)
            levels: Levels = a.read_by(Operand(q, letters[name]))
            return levels

        return Parameters(p.shapes, {name: read(name, a) for name, a in p.items()})

    def vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Rows, State]:
        """Pull back by the cell, without rounding."""
        return self.cell.vjp(p, x, state, gates, new, cotangent)

    def state_from_outputs(self, p: Parameters, x: Rows, before: Rows, h: Rows) -> State | None:
        """Return the state if the output shows all of it, else None."""
        return (h,) if len(self.states) == 1 else None


@dataclass(frozen=True)
class QuantisedLayer(Layer):
    """A layer of a quantised cell; each level quantises its whole input at once."""

    def forward(
        self,
        parameters: Sequence[Parameters],
        x: Any,
        state: States[Any] | None = None,
        lengths: Lengths | None = None,
    ) -> Output[Any]:
        """Run the layer, level by level."""
        cell: Any = self.cell
        if not isinstance(x, Bounded):
            return super().forward(parameters, x, state, lengths)
        finals: list[Any] = []
        passes: list[Any] = []
        y = x
        for level in range(self.layers):
            passes_of_level = slice(level * self.directions, (level + 1) * self.directions)
            sizes = self.pass_sizes[passes_of_level][0]
            one_level = Layer(cell, sizes, 1, self.bidirectional)
            level_input = cell.read_input(y)
            start = None if state is None else tuple(s[passes_of_level] for s in state)
            output = one_level.forward(parameters[passes_of_level], level_input, start, lengths)
            finals.append(output.final)
            passes += output.passes
            y = output.y
        final = tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))
        return Output(_bounded(y), tuple(map(_bounded, final)), tuple(passes), lengths)


def _bounded(numbers: Any) -> Any:
    """Return fixed-point numbers as ordinary bounded ones."""
    return numbers.plain if isinstance(numbers, Fixed) else numbers
