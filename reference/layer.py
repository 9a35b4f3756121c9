"""Layers: a cell over a sequence, stacked (E27) and in both directions (E26)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .cell import Cell, State
from .equation import equation
from .functions import Array
from .parameters import Parameters, Sizes
from .sequence import Unrolled, backpropagate, reverse, unroll
from .validation import check_cotangents, check_inputs


@dataclass(frozen=True)
class Output:
    """What a layer returns: y (T, B, directions * width) and the final states.

    ``final`` has one array (layers * directions, B, width) per state of the cell; the index runs
    over directions first, as in PyTorch: l0 forward, l0 backward, l1 forward, ...
    """

    y: Array
    final: State
    passes: tuple[Unrolled, ...]
    lengths: Array | None


@dataclass(frozen=True)
class Gradient:
    """Gradients of a layer: one Parameters a pass, x (T, B, D), and the initial states."""

    parameters: tuple[Parameters, ...]
    x: Array
    initial: State


@dataclass(frozen=True)
class Layer:
    """A cell with its sizes, ``layers`` deep, in one direction or two.

    The parameters are a sequence of ``layers * directions`` Parameters, in the order of ``final``.
    """

    cell: Cell
    sizes: Sizes
    layers: int = 1
    bidirectional: bool = False

    @property
    def directions(self) -> int:
        """1, or 2 when bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def pass_sizes(self) -> tuple[Sizes, ...]:
        """The sizes of every pass; upper layers read the outputs of the layer below (E27)."""
        width = self.cell.widths(self.sizes)[0] * self.directions
        upper = Sizes(width, self.sizes.H, self.sizes.P)
        first = [self.sizes] * self.directions
        return tuple(first + [upper] * (self.directions * (self.layers - 1)))

    def random_parameters(self, rng: np.random.Generator) -> tuple[Parameters, ...]:
        """Draw float64 parameters for every pass."""
        return tuple(self.cell.random_parameters(rng, sizes) for sizes in self.pass_sizes)

    def initial_state(self, like: Array, batch: int) -> State:
        """Return the state used when none is given, (layers * directions, B, width) each."""
        one = self.cell.initial_state(like, batch, self.sizes)
        return tuple(np.stack([s] * (self.layers * self.directions)) for s in one)

    def forward(
        self,
        parameters: Sequence[Parameters],
        x: Array,
        state: State | None = None,
        lengths: Array | None = None,
    ) -> Output:
        """Run the layer over x (T, B, D). Bad input raises InputError, naming the argument."""
        check_inputs(self, parameters, x, state, lengths)
        if state is None:
            state = self.initial_state(x, x.shape[1])
        passes: list[Unrolled] = []
        for layer in range(self.layers):
            outputs = []
            for direction in range(self.directions):
                k = layer * self.directions + direction
                start = tuple(s[k] for s in state)
                run = one_pass(self.cell, parameters[k], x, start, lengths, backward=direction == 1)
                passes.append(run)
                outputs.append(reverse(run.y, lengths) if direction == 1 else run.y)
            y = concatenated(outputs)
            x = np.concatenate([x[..., : self._stamps], y], axis=-1) if self._stamps else y
        final = tuple(
            np.stack(arrays) for arrays in zip(*(run.final for run in passes), strict=True)
        )
        return Output(y, final, tuple(passes), lengths)

    def vjp(
        self, parameters: Sequence[Parameters], output: Output, dy: Array, dfinal: State
    ) -> Gradient:
        """Pull cotangents on y and on the final states back to parameters, x and initial states."""
        check_cotangents(output, dy, dfinal)
        dps: dict[int, Parameters] = {}
        initial: dict[int, State] = {}
        dx: Array = None
        dtime: Array = None
        for layer in reversed(range(self.layers)):
            dx = None
            width = dy.shape[-1] // self.directions
            for direction in range(self.directions):
                k = layer * self.directions + direction
                d_out = dy[..., direction * width : (direction + 1) * width]
                if direction == 1:
                    d_out = reverse(d_out, output.lengths)
                dend = tuple(d[k] for d in dfinal)
                run = output.passes[k]
                dps[k], d_in, initial[k] = backpropagate(self.cell, parameters[k], run, d_out, dend)
                d_in = reverse(d_in, output.lengths) if direction == 1 else d_in
                dx = d_in if dx is None else dx + d_in
            if self._stamps and layer < self.layers - 1:
                dx = np.concatenate([dx[..., : self._stamps] + dtime, dx[..., self._stamps :]], -1)
            dy, dtime = dx[..., self._stamps :], dx[..., : self._stamps]
        order = sorted(dps)
        states = tuple(np.stack(d) for d in zip(*(initial[k] for k in order), strict=True))
        return Gradient(tuple(dps[k] for k in order), dx, states)

    @property
    def _stamps(self) -> int:
        """Columns of the input that every layer of the stack sees: the time stamp, if any."""
        return self.cell.input_width(self.sizes) - self.sizes.D


def one_pass(
    cell: Cell, p: Parameters, x: Array, state: State, lengths: Array | None, *, backward: bool
) -> Unrolled:
    """Run a cell over x, or over x reversed; outputs in the order in which they were computed."""
    return unroll(cell, p, reverse(x, lengths) if backward else x, state, lengths)


@equation(
    "E26",
    "bidirectional",
    latex=r"y_t = [\overrightarrow{h}_t, \overleftarrow{h}_t]",
    documents=("D4",),
    note="the backward outputs stand in input order",
)
def concatenated(outputs: Sequence[Array]) -> Array:
    """Return the outputs of all directions side by side, (T, B, directions * width)."""
    return outputs[0] if len(outputs) == 1 else np.concatenate(list(outputs), axis=-1)


@equation(
    "E27",
    "stacked",
    latex=r"x^{(l)}_t = y^{(l-1)}_t",
    documents=("D3",),
    note="“RNN can be deep also”",
)
def stacked(
    layer: Layer, parameters: Sequence[Parameters], x: Array, state: State | None = None
) -> Array:
    """Return the outputs of a deep layer: every level reads the outputs of the one below."""
    return layer.forward(parameters, x, state).y
