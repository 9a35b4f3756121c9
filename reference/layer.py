"""Layers: a cell over a sequence, stacked (E27) and in both directions (E26)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias

import numpy as np

from .arrays import A, Array, Floats, Lengths, Over, Same, Sequences
from .cell import Cell, State, total
from .equation import equation
from .errors import InputError
from .functions import zeros
from .parameters import Parameters, Sizes
from .sequence import Unrolled, backpropagate, reverse, unroll

States: TypeAlias = tuple[Annotated[A, "L B *"], ...]
"""The states of all passes; the axis L is layers * directions long."""


@dataclass(frozen=True)
class Output(Generic[A]):
    """The result of a layer: y, directions * width wide, and the final states.

    ``final`` has one array (layers * directions, B, ...) per state of the cell; the index runs
    over directions first, as in PyTorch: l0 forward, l0 backward, l1 forward, ...
    """

    y: Over[A]
    final: States[A]
    passes: tuple[Unrolled[A], ...]
    lengths: Lengths | None


@dataclass(frozen=True)
class Gradient(Generic[A]):
    """The gradients of a layer: one Parameters per pass, x, and the initial states."""

    parameters: tuple[Parameters, ...]
    x: Over[A]
    initial: States[A]


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
        width = self.cell.output_width(self.sizes) * self.directions
        upper = Sizes(width, self.sizes.H, self.sizes.P)
        first = [self.sizes] * self.directions
        return tuple(first + [upper] * (self.directions * (self.layers - 1)))

    def random_parameters(self, rng: np.random.Generator) -> tuple[Parameters, ...]:
        """Draw float64 parameters for every pass."""
        return tuple(self.cell.random_parameters(rng, sizes) for sizes in self.pass_sizes)

    def initial_state(self, like: Array, batch: int) -> States[Array]:
        """Return the default initial state."""
        states = self.cell.initial_state(like, batch, self.sizes)
        return tuple(np.stack([s] * (self.layers * self.directions)) for s in states)

    def forward(
        self,
        parameters: Sequence[Parameters],
        x: A,
        state: States[A] | None = None,
        lengths: Lengths | None = None,
    ) -> Output[A]:
        """Run the layer over x (T, B, D). Bad input raises InputError, naming the argument."""
        check_inputs(self, parameters, x, state, lengths)
        starts: States[Any] = self.initial_state(x, x.shape[1]) if state is None else state
        passes: list[Unrolled[Any]] = []
        y: Any = x
        read: Any = x
        for level in range(self.layers):
            outputs = []
            for direction in range(self.directions):
                k = level * self.directions + direction
                start = tuple(s[k] for s in starts)
                turned = in_direction(direction, read, lengths)
                run = unroll(self.cell, parameters[k], turned, start, lengths)
                passes.append(run)
                outputs.append(in_direction(direction, run.y, lengths))
            y = concatenated(outputs)
            read = np.concatenate([x[..., : self._stamps], y], axis=-1) if self._stamps else y
        final: States[Any] = tuple(
            np.stack(arrays) for arrays in zip(*(run.final for run in passes), strict=True)
        )
        return Output(y, final, tuple(passes), lengths)

    def vjp(
        self,
        parameters: Sequence[Parameters],
        output: Output[A],
        dy: A,
        dfinal: States[A] | None = None,
    ) -> Gradient[A]:
        """Pull cotangents on y and on the final states back to parameters, x and initial states.

        Without ``dfinal`` those of the final states are 0.
        """
        none = tuple(zeros(s, s.shape) for s in output.final)
        dends: States[Any] = none if dfinal is None else dfinal
        check_cotangents(output, dy, dends)
        dread: Any = dy
        dps: list[Parameters] = []
        dinitial: list[State] = []
        dstamps = zeros(dy, (*dy.shape[:2], self._stamps))
        for level in reversed(range(self.layers)):
            dx, dp, d0 = self._level_vjp(level, parameters, output, dread, dends)
            dps, dinitial = dp + dps, d0 + dinitial
            dread, dstamps = dx[..., self._stamps :], dstamps + dx[..., : self._stamps]
        if self._stamps:
            dread = np.concatenate([dstamps, dread], axis=-1)
        initial: States[Any] = tuple(np.stack(d) for d in zip(*dinitial, strict=True))
        return Gradient(tuple(dps), dread, initial)

    def _level_vjp(
        self,
        level: int,
        parameters: Sequence[Parameters],
        output: Output[Any],
        dy: Sequences,
        dfinal: States[Array],
    ) -> tuple[Sequences, list[Parameters], list[State]]:
        """Pull dy back through one level: to its input, and per direction to the rest."""
        width = dy.shape[-1] // self.directions
        dxs, dps, dinitial = [], [], []
        for direction in range(self.directions):
            k = level * self.directions + direction
            d_output = dy[..., direction * width : (direction + 1) * width]
            turned = in_direction(direction, d_output, output.lengths)
            dend = tuple(d[k] for d in dfinal)
            run = output.passes[k]
            dp, dx, d0 = backpropagate(self.cell, parameters[k], run, turned, dend)
            dxs.append(in_direction(direction, dx, output.lengths))
            dps.append(dp)
            dinitial.append(d0)
        return total(dxs), dps, dinitial

    @property
    def _stamps(self) -> int:
        """The number of input columns that every level reads: the time stamp, if any."""
        timed = "timed" in self.cell.traits
        return self.cell.input_width(self.sizes) - self.sizes.D if timed else 0


def in_direction(direction: int, x: Same, lengths: Lengths | None) -> Same:
    """Return x (T, B, ...) unchanged for direction 0, reversed for direction 1; its own inverse."""
    return reverse(x, lengths) if direction == 1 else x


@equation(
    "E26",
    "bidirectional",
    latex=r"y_t = [\overrightarrow{h}_t, \overleftarrow{h}_t]",
    documents=("D4",),
    note="the backward outputs stand in input order",
)
def concatenated(outputs: Sequence[Sequences]) -> Sequences:
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
    layer: Layer, parameters: Sequence[Parameters], x: Sequences, state: States[Array] | None = None
) -> Sequences:
    """Return the outputs of a deep layer: every level reads the outputs of the one below."""
    return layer.forward(parameters, x, state).y


# One clear sentence for every bad input: the argument, what was expected, what was got.


def check_inputs(
    layer: Layer,
    parameters: Sequence[Parameters],
    x: Array,
    state: States[Array] | None,
    lengths: Lengths | None,
) -> None:
    """Raise InputError unless a layer can run on these arguments."""
    _check_sizes(layer)
    width = layer.cell.input_width(layer.sizes)
    if getattr(x, "ndim", None) != 3 or x.shape[2] != width:
        raise InputError("x", f"an array of shape (T, B, {width})", _shape(x))
    if x.shape[1] == 0:
        raise InputError("x", "a batch of at least one sequence", f"shape {x.shape}")
    _check_number("x", x, None)
    _check_parameters(layer, parameters, x.dtype)
    batch = x.shape[1]
    if state is not None:
        _check_state("state", layer, state, batch, x.dtype)
    if lengths is not None:
        _check_lengths(lengths, x.shape[0], batch)
    _check_finite("x", x, lengths)


def check_cotangents(output: Output[Any], dy: Array, dfinal: States[Array]) -> None:
    """Raise InputError unless cotangents match the result of the forward pass."""
    _check_cotangent("dy", dy, output.y)
    if not isinstance(dfinal, tuple) or len(dfinal) != len(output.final):
        got = len(dfinal) if isinstance(dfinal, tuple) else type(dfinal).__name__
        raise InputError("dfinal", f"{len(output.final)} arrays as the final state", got)
    for k, (d, s) in enumerate(zip(dfinal, output.final, strict=True)):
        _check_cotangent(f"dfinal[{k}]", d, s)


def _check_cotangent(name: str, d: Array, output: Array) -> None:
    if getattr(d, "shape", None) != output.shape:
        raise InputError(name, f"an array of shape {output.shape} as the output's", _shape(d))
    _check_number(name, d, output.dtype)
    _check_finite(name, d, None)


def _check_sizes(layer: Layer) -> None:
    if layer.layers < 1:
        raise InputError("layers", "at least 1", layer.layers)
    if layer.layers > 1 and "readout" in layer.cell.traits:
        raise InputError("layers", f"1, for {layer.cell.name} is given its gates", layer.layers)
    if layer.sizes.P is not None and "projected" not in layer.cell.traits:
        raise InputError("P", f"none, for {layer.cell.name} has no projection", layer.sizes.P)


def _check_parameters(layer: Layer, parameters: Sequence[Parameters], dtype: object) -> None:
    passes = layer.pass_sizes
    if len(parameters) != len(passes):
        expected = f"{len(passes)} Parameters (layers * directions)"
        raise InputError("parameters", expected, len(parameters))
    for k, (p, sizes) in enumerate(zip(parameters, passes, strict=True)):
        shapes = layer.cell.shapes(sizes)
        if sorted(p) != sorted(shapes):
            raise InputError(f"parameters[{k}]", f"the names {sorted(shapes)}", sorted(p))
        for name, shape in shapes.items():
            argument = f"parameters[{k}][{name!r}]"
            if p[name].shape != shape.full:
                raise InputError(argument, f"shape {shape.full}", p[name].shape)
            _check_number(argument, p[name], dtype)
            _check_finite(argument, p[name], None)


def _check_state(name: str, layer: Layer, state: States[Array], batch: int, dtype: object) -> None:
    passes = layer.layers * layer.directions
    shapes = layer.cell.state_shapes(layer.sizes)
    if not isinstance(state, tuple) or len(state) != len(shapes):
        states = ", ".join(layer.cell.states)
        got = len(state) if isinstance(state, tuple) else type(state).__name__
        raise InputError(name, f"a tuple of {len(shapes)} arrays ({states})", got)
    for k, (s, shape) in enumerate(zip(state, shapes, strict=True)):
        argument = f"{name}[{k}] ({layer.cell.states[k]})"
        if getattr(s, "shape", None) != (passes, batch, *shape):
            raise InputError(argument, f"shape {(passes, batch, *shape)}", _shape(s))
        _check_number(argument, s, dtype)
        _check_finite(argument, s, None)


def _check_lengths(lengths: Floats, steps: int, batch: int) -> None:
    array = np.asarray(lengths)
    if array.shape != (batch,) or array.dtype.kind not in "iu":
        expected = f"{batch} integers, one a sequence"
        raise InputError("lengths", expected, f"{array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() > steps:
        raise InputError("lengths", f"values from 0 to T = {steps}", array.tolist())


def _check_number(argument: str, x: Array, dtype: object) -> None:
    if np.dtype(x.dtype).kind not in "fcO":
        raise InputError(argument, "floating-point numbers", x.dtype)
    if dtype is not None and x.dtype != dtype:
        raise InputError(argument, f"the dtype of x, {dtype}", x.dtype)


def _check_finite(argument: str, x: Array, lengths: Floats | None) -> None:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fc":
        return
    finite = np.isfinite(x)
    if lengths is not None:
        finite |= (np.arange(x.shape[0])[:, None] >= np.asarray(lengths))[:, :, None]
    if not finite.all():
        where = tuple(int(k) for k in np.argwhere(~finite)[0])
        raise InputError(argument, "finite numbers", f"{x[where]} at {where}")


def _shape(x: object) -> str:
    return f"shape {x.shape}" if hasattr(x, "shape") else type(x).__name__
