"""One clear sentence for every bad input: the argument, what was expected, what was got."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .cell import State
from .errors import InputError
from .functions import Array
from .parameters import Parameters

if TYPE_CHECKING:
    from .layer import Layer, Output


def check_inputs(
    layer: Layer,
    parameters: Sequence[Parameters],
    x: Array,
    state: State | None,
    lengths: Array | None,
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


def check_cotangents(output: Output, dy: Array, dfinal: State) -> None:
    """Raise InputError unless cotangents match what the forward pass returned."""
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


def _check_state(name: str, layer: Layer, state: State, batch: int, dtype: object) -> None:
    passes = layer.layers * layer.directions
    widths = layer.cell.widths(layer.sizes)
    if not isinstance(state, tuple) or len(state) != len(widths):
        states = ", ".join(layer.cell.states)
        got = len(state) if isinstance(state, tuple) else type(state).__name__
        raise InputError(name, f"a tuple of {len(widths)} arrays ({states})", got)
    for k, (s, width) in enumerate(zip(state, widths, strict=True)):
        argument = f"{name}[{k}] ({layer.cell.states[k]})"
        if getattr(s, "shape", None) != (passes, batch, width):
            raise InputError(argument, f"shape {(passes, batch, width)}", _shape(s))
        _check_number(argument, s, dtype)
        _check_finite(argument, s, None)


def _check_lengths(lengths: Array, steps: int, batch: int) -> None:
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


def _check_finite(argument: str, x: Array, lengths: Array | None) -> None:
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
