"""LSTMs in integers and in fixed point, and mistakes of quantisation in them.

The layers are written by their parts, as an engine would be, and declare their arithmetic. Each
mistake replaces a part of one. On ordinary inputs none moves an output by 1e-2, which is what such
layers are usually compared with; within derived bounds each is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...reference.functions import Array, sigmoid
from ..numbers.quantisation import ROUNDINGS
from ..subjects.explicit import explicit
from ..subjects.protocol import Subject
from ..subjects.quantised import in_arithmetic

GATES = "ifgo"


class Integers:
    """An LSTM whose products are sums of integers; each of its methods is a part."""

    cell = "lstm"
    dtypes = ("float32",)
    quantised = "weights=8, activations=8"
    axes: ClassVar[tuple[int, ...]] = (0, 1, 2)
    """The axes of a matrix (G, D, H) along which weights share a scale."""

    levels = 255
    rows = False

    def scale(self, w: Array, name: str) -> Array:
        """Return the scale of each weight of W or U."""
        return np.abs(w).max(axis=self.axes, keepdims=True) / np.float32(127)

    def rounded(self, v: Array) -> Array:
        """Return weights by their scale as integers."""
        return np.clip(np.rint(v), -128, 127)

    def weights(self, p: Any) -> dict[str, tuple[Array, Array]]:
        """Return the integers of W and U, and their scales."""
        scales = {name: self.scale(p[name], name) for name in "WU"}
        return {n: (self.rounded(p[n] / s).astype(np.int64), s) for n, s in scales.items()}

    def ends(self, a: Array, letter: str) -> tuple[Array, Array]:
        """Return the range of what is quantised, 0 in it: of all, or of each row."""
        axis = -1 if self.rows else None
        low = np.minimum(a.min(axis=axis, keepdims=True), 0)
        return low, np.maximum(a.max(axis=axis, keepdims=True), 0)

    def zero(self, v: Array) -> Array:
        """Return a zero point as an integer."""
        return np.rint(v)

    def nearest(self, v: Array) -> Array:
        """Return activations by their scale as integers."""
        return np.rint(v)

    def activations(self, a: Array, letter: str) -> tuple[Array, Array]:
        """Return integers less the zero point, and the scale."""
        low, high = self.ends(a, letter)
        scale = (high - low) / np.float32(self.levels)
        scale = np.where(scale == 0, np.float32(1), scale)
        zero = self.zero(-low / scale)
        q = np.clip(self.nearest(a / scale) + zero, 0, self.levels)
        return (q - zero).astype(np.int64), scale

    def sums(self, a: Array, w: Array) -> Array:
        """Return sums of integers (B, H)."""
        return a @ w

    def product(self, read: tuple[Array, Array], w: tuple[Array, Array], k: int) -> Array:
        """Return the product of rows (B, D) with one gate's matrix."""
        (q, scale), (integers, steps) = read, w
        every = np.broadcast_to(steps, integers.shape)[k]
        if np.ptp(every, axis=0).any():  # a scale for each input: numbers are added, not integers
            return np.asarray((q * scale) @ (integers[k] * every), np.float32)
        return self.sums(q, integers[k]).astype(np.float32) * (scale * every[:1])

    def bias(self, b: Array) -> Array:
        """Return the bias as it is added."""
        return b

    def kept(self, c: Array) -> Array:
        """Return the cell state as it is stored."""
        return c

    def whole(self, x: Array) -> list[tuple[Array, Array]]:
        """Return every step of the input, quantised with one range."""
        q, scale = self.activations(x, "x")
        return [(q[t], scale[t] if self.rows else scale[0]) for t in range(len(x))]

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        """Run the layer."""
        w = self.weights(p)
        b = self.bias(p["b"])
        shape = (x.shape[1], b.shape[-1])
        h, c = state if state is not None else (np.zeros(shape, x.dtype),) * 2
        y = []
        for read in self.whole(x):
            hidden = self.activations(h, "h")
            z = [self.product(read, w["W"], k) + self.product(hidden, w["U"], k) + b[k]
                 for k in range(4)]  # fmt: skip
            i, f, o = (sigmoid(z[k]) for k in (0, 1, 3))
            c = self.kept(np.asarray(f * c + i * np.tanh(z[2]), np.float32))
            h = o * np.tanh(c)
            y.append(h)
        return np.stack(y), (h, c)


class PerChannel(Integers):
    """With a scale for each unit of each gate."""

    quantised = "weights=8, per=channel, activations=8"
    axes = (1,)


class PerRow(Integers):
    """With a range for each row of a batch."""

    quantised = "weights=8, activations=8, range=row"
    rows = True


class Given(Integers):
    """With scales and zero points that are given, as a graph of QDQ nodes has them."""

    quantised = "weights=8, activations=8, range=given, scales=x:0.03125:128+h:0.00390625:128"
    zeros: ClassVar[dict[str, int]] = {"x": 128, "h": 128}

    def activations(self, a: Array, letter: str) -> tuple[Array, Array]:
        """Return integers less the zero point, and the scale."""
        scale = np.float32({"x": 1 / 32, "h": 1 / 256}[letter])
        q = np.clip(self.nearest(a / scale) + self.zeros[letter], 0, 255)
        shape = (1,) * a.ndim
        return (q - 128).astype(np.int64), np.full(shape, scale)


class CellState(Integers):
    """With a cell state of 16 bits."""

    quantised = "weights=8, activations=8, states=c:<16,5>"
    step = 2.0**-11

    def kept(self, c: Array) -> Array:
        """Return the cell state as it is stored."""
        levels = np.clip(np.rint(c / np.float32(self.step)), -(2**15), 2**15 - 1)
        return (levels * np.float32(self.step)).astype(np.float32)


class FixedPoint:
    """An LSTM in fixed point, 16 bits, 6 before the point."""

    cell = "lstm"
    quantised = "fixed=<16,6>"
    dtypes = ("float64",)
    step = 2.0**-10

    def nearest(self, v: Array) -> Array:
        """Return an integer."""
        return np.rint(v)

    def overflow(self, q: Array) -> Array:
        """Return an integer of 16 bits."""
        return np.clip(q, -(2**15), 2**15 - 1)

    def stored(self, v: Array) -> Array:
        """Return numbers in fixed point."""
        return self.overflow(self.nearest(v / self.step)) * self.step

    def sigmoid(self, v: Array) -> Array:
        """Return a gate as it is stored."""
        return self.stored(sigmoid(v))

    def times(self, a: Array, b: Array) -> Array:
        """Return a product as it is added."""
        return a * b

    def kept(self, c: Array) -> Array:
        """Return the cell state as it is stored."""
        return self.stored(c)

    def added(self, z: Array) -> Array:
        """Return a pre-activation as it is stored."""
        return self.stored(z)

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        """Run the layer."""
        W, U, b = (self.stored(p[n]) for n in "WUb")
        shape = (x.shape[1], b.shape[-1])
        h, c = (self.stored(s) for s in state) if state else (np.zeros(shape),) * 2
        y = []
        for x_t in self.stored(x):
            z = [self.added(x_t @ W[k] + h @ U[k] + b[k]) for k in range(4)]
            i, f, o = (self.sigmoid(z[k]) for k in (0, 1, 3))
            g = self.stored(np.tanh(z[2]))
            c = self.kept(self.times(f, c) + self.times(i, g))
            h = self.stored(o * self.stored(np.tanh(c)))
            y.append(h)
        return np.stack(y), (h, c)


RIGHT: tuple[type, ...] = (Integers, PerChannel, PerRow, Given, CellState, FixedPoint)
"""Right layers, each in its own arithmetic."""


@dataclass(frozen=True)
class QuantisationMutant:
    """A way to quantise wrongly: the right layer, and what stands in the place of its parts.

    ``models`` is the defect it is modelled on, if somebody had it.
    """

    id: str
    statement: str
    layer: type
    parts: dict[str, Any]
    models: str = ""

    def subject(self) -> Subject:
        """Return the layer, held to the arithmetic that the right one declares."""
        return quantised_subject(type(self.layer.__name__, (self.layer,), self.parts), self.id)


def quantised_subject(layer: Any, name: str = "") -> Subject:
    """Return a layer of this module as a subject, in the arithmetic that it declares."""
    return in_arithmetic(explicit(layer, f"quantised:{name or layer.__name__}"), layer.quantised)


def _of_bfloat16(a: Array) -> Array:
    bits = np.asarray(a, np.float32).view(np.uint32)
    return ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)


def _in_16_bits(self: Integers, a: Array, w: Array) -> Array:
    return np.clip(a @ w, -(2**15), 2**15 - 1)


def _each_step(self: Integers, x: Array) -> list[tuple[Array, Array]]:
    return [self.activations(x_t, "x") for x_t in x]


def _wrapped(self: FixedPoint, q: Array) -> Array:
    return np.mod(q + 2**15, 2**16) - 2**15


def _hidden_as_it_is(right: Callable[..., Any]) -> Callable[..., Any]:
    def activations(self: Integers, a: Array, letter: str) -> Any:
        return (a, np.ones((1, 1), np.float32)) if letter == "h" else right(self, a, letter)

    return activations


def _ties_away(self: Any, v: Array) -> Array:
    return ROUNDINGS["away"](v)


def _scale_of_128(self: Integers, w: Array, name: str) -> Array:
    return np.abs(w).max(axis=self.axes, keepdims=True) / np.float32(128)


def _coarse_scale(self: Integers, w: Array, name: str) -> Array:
    return _of_bfloat16(Integers.scale(self, w, name))


def _bias_of_8_bits(self: Integers, b: Array) -> Array:
    step = np.abs(b).max() / np.float32(127) or np.float32(1)
    return (np.rint(b / step) * step).astype(np.float32)


class _OneScale(Integers):
    def weights(self, p: Any) -> dict[str, tuple[Array, Array]]:
        scale = np.float32(max(np.abs(p[n]).max() for n in "WU") / 127)
        every = np.full((1, 1, 1), scale)
        return {n: (self.rounded(p[n] / scale).astype(np.int64), every) for n in "WU"}


QUANTISATION_MUTANTS = tuple(
    QuantisationMutant(f"Z{number:02d}", *given)  # type: ignore[arg-type]
    for number, given in enumerate(
        (
            ("The largest weight is divided by 128, not by 127.", Integers,
             {"scale": _scale_of_128}),
            ("Ties of weights are rounded away from 0, not to even.", Integers,
             {"rounded": _ties_away}),
            ("Scales of weights are stored in bfloat16.", Integers, {"scale": _coarse_scale}),
            ("Both matrices share one scale.", Integers, {"weights": _OneScale.weights},
             "pytorch/pytorch#39499"),
            ("Scales for each channel are taken along the axis of the inputs.", PerChannel,
             {"axes": (2,)}),
            ("There is one scale for each matrix in the place of one for each channel.",
             PerChannel, {"axes": (0, 1, 2)}),
            ("There is one scale for each gate in the place of one for each channel.",
             PerChannel, {"axes": (1, 2)}),
            ("The bias is rounded to 8 bits.", Integers, {"bias": _bias_of_8_bits}),
            ("Each row has a range of its own, not the call.", Integers, {"rows": True}),
            ("All rows share one range, so that a row depends on the others.", PerRow,
             {"rows": False}),
            ("Each step's input has a range of its own, not the whole call's.", Integers,
             {"whole": _each_step}),
            ("The hidden state is multiplied as it is, not quantised.", Integers,
             {"activations": _hidden_as_it_is(Integers.activations)}),
            ("Zero points are rounded down.", Integers, {"zero": lambda self, v: np.floor(v)}),
            ("Sums of products saturate at 16 bits.", Integers, {"sums": _in_16_bits},
             "microsoft/onnxruntime#11286"),
            ("The zero point of h is one too large.", Given, {"zeros": {"x": 128, "h": 129}}),
            ("Ties of activations are rounded away from 0, not to even.", Given,
             {"nearest": _ties_away}),
            ("The scale of the cell state is half of what it should be.", CellState,
             {"step": 2.0**-12}),
            ("The cell state is cut off toward 0.", CellState, {
                "kept": lambda self, c: (np.trunc(c * 2**11) / 2**11).astype(np.float32)}),
            ("Fixed point is cut off, not rounded.", FixedPoint,
             {"nearest": lambda self, v: np.floor(v)}),
            ("Ties are rounded away from 0, not to even.", FixedPoint, {"nearest": _ties_away}),
            ("What is too large wraps around instead of saturating.", FixedPoint,
             {"overflow": _wrapped}),
            ("The cell state is not rounded.", FixedPoint, {"kept": lambda self, c: c}),
            ("Each product is rounded before it is added.", FixedPoint,
             {"times": lambda self, a, b: self.stored(a * b)}),
            ("Gates are not rounded.", FixedPoint, {"sigmoid": lambda self, v: sigmoid(v)}),
            ("The sigmoid's table ends at -6 and 6.", FixedPoint,
             {"sigmoid": lambda self, v: self.stored(sigmoid(np.clip(v, -6, 6)))}),
        ),
        start=1,
    )
)  # fmt: skip
"""Mistakes of quantisation, in the order of a call."""
