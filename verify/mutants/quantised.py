"""LSTMs in integers and in fixed point, and mistakes of quantisation in them.

The layers consist of methods, as in an engine, and declare their arithmetic. Each mistake replaces
one method. On ordinary inputs no mistake changes an output by 1e-2, the usual tolerance for such
layers; derived bounds detect all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...reference.functions import Array, sigmoid
from ..numbers import gemmlowp
from ..numbers.quantisation import ROUNDINGS
from ..subjects.explicit import explicit
from ..subjects.protocol import Subject
from ..subjects.quantised import in_arithmetic
from .dtype import to_bfloat16

GATES = "ifgo"


class Integers:
    """An LSTM whose products are sums of integers; each of its methods can be replaced."""

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
        """Return weights divided by their scale, as integers."""
        return np.clip(np.rint(v), -128, 127)

    def weights(self, p: Any) -> dict[str, tuple[Array, Array]]:
        """Return the integers of W and U, and their scales."""
        scales = {name: self.scale(p[name], name) for name in "WU"}
        return {n: (self.rounded(p[n] / s).astype(np.int64), s) for n, s in scales.items()}

    def ends(self, a: Array, letter: str) -> tuple[Array, Array]:
        """Return the range of activations, which contains 0, of all of them or of each row."""
        axis = -1 if self.rows else None
        low = np.minimum(a.min(axis=axis, keepdims=True), 0)
        return low, np.maximum(a.max(axis=axis, keepdims=True), 0)

    def zero(self, v: Array) -> Array:
        """Return a zero point as an integer."""
        return np.rint(v)

    def nearest(self, v: Array) -> Array:
        """Return activations divided by their scale, as integers."""
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
        scales = np.broadcast_to(steps, integers.shape)[k]
        if np.ptp(scales, axis=0).any():  # a scale for each input: numbers are added, not integers
            return np.asarray((q * scale) @ (integers[k] * scales), np.float32)
        return self.sums(q, integers[k]).astype(np.float32) * (scale * scales[:1])

    def bias(self, b: Array) -> Array:
        """Return the bias in the form in which it is added."""
        return b

    def state_stored(self, c: Array) -> Array:
        """Return the stored cell state."""
        return c

    def input_steps(self, x: Array) -> list[tuple[Array, Array]]:
        """Return all steps of the input, quantised with one range."""
        q, scale = self.activations(x, "x")
        return [(q[t], scale[t] if self.rows else scale[0]) for t in range(len(x))]

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        w = self.weights(p)
        b = self.bias(p["b"])
        shape = (x.shape[1], b.shape[-1])
        h, c = state if state is not None else (np.zeros(shape, x.dtype),) * 2
        y = []
        for read in self.input_steps(x):
            hidden = self.activations(h, "h")
            z = [self.product(read, w["W"], k) + self.product(hidden, w["U"], k) + b[k]
                 for k in range(4)]  # fmt: skip
            i, f, o = (sigmoid(z[k]) for k in (0, 1, 3))
            c = self.state_stored(np.asarray(f * c + i * np.tanh(z[2]), np.float32))
            h = o * np.tanh(c)
            y.append(h)
        return np.stack(y), (h, c)


class PerChannel(Integers):
    """Integers with a scale for each unit of each gate."""

    quantised = "weights=8, per=channel, activations=8"
    axes = (1,)


class PerRow(Integers):
    """Integers with a range for each row of a batch."""

    quantised = "weights=8, activations=8, range=row"
    rows = True


class Fixed(Integers):
    """Integers with constant scales and zero points, as in a graph of QDQ nodes."""

    quantised = "weights=8, activations=8, range=given, scales=x:0.03125:128+h:0.00390625:128"
    zeros: ClassVar[dict[str, int]] = {"x": 128, "h": 128}

    def activations(self, a: Array, letter: str) -> tuple[Array, Array]:
        scale = np.float32({"x": 1 / 32, "h": 1 / 256}[letter])
        q = np.clip(self.nearest(a / scale) + self.zeros[letter], 0, 255)
        shape = (1,) * a.ndim
        return (q - 128).astype(np.int64), np.full(shape, scale)


class CellState(Integers):
    """Integers with a cell state of 16 bits."""

    quantised = "weights=8, activations=8, states=c:<16,5>"
    step = 2.0**-11

    def state_stored(self, c: Array) -> Array:
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
        """Return a stored gate."""
        return self.stored(sigmoid(v))

    def times(self, a: Array, b: Array) -> Array:
        """Return a product in the form in which it is added."""
        return a * b

    def state_stored(self, c: Array) -> Array:
        """Return the stored cell state."""
        return self.stored(c)

    def added(self, z: Array) -> Array:
        """Return a stored pre-activation."""
        return self.stored(z)

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        W, U, b = (self.stored(p[n]) for n in "WUb")
        shape = (x.shape[1], b.shape[-1])
        h, c = (self.stored(s) for s in state) if state else (np.zeros(shape),) * 2
        y = []
        for x_t in self.stored(x):
            z = [self.added(x_t @ W[k] + h @ U[k] + b[k]) for k in range(4)]
            i, f, o = (self.sigmoid(z[k]) for k in (0, 1, 3))
            g = self.stored(np.tanh(z[2]))
            c = self.state_stored(self.times(f, c) + self.times(i, g))
            h = self.stored(o * self.stored(np.tanh(c)))
            y.append(h)
        return np.stack(y), (h, c)


class IntegersAlone:
    """An LSTM in integers alone, as in LiteRT: only input and output are floats."""

    cell = "lstm"
    quantised = (
        "weights=8, per=gate, activations=8, range=given, scales=x:0.03125:123+h:0.0078:129, "
        "states=c:<16,5>, gates=<16,4>, rounding=away"
    )
    dtypes = ("float32",)
    scales: ClassVar[dict[str, float]] = {"x": 2.0**-5, "h": float(np.float32(0.0078))}
    zeros: ClassVar[dict[str, int]] = {"x": 123, "h": 129}
    step = 2.0**-11
    coupled = False

    def nearest(self, v: Array) -> Any:
        """Return integers."""
        return ROUNDINGS["away"](np.asarray(v, np.float64)).astype(np.int64)

    def read(self, a: Array, letter: str) -> Any:
        """Return activations as integers of 8 bits, less the zero point."""
        zero = self.zeros[letter]
        return np.clip(self.nearest(np.float64(a) / self.scales[letter]) + zero, 0, 255) - zero

    def rounded(self, w: Array) -> tuple[Any, float]:
        """Return one gate's weights as integers, and their scale."""
        scale = np.abs(w).max() / np.float32(127) or np.float32(1)
        return np.clip(self.nearest(np.float64(w) / float(scale)), -127, 127), float(scale)

    def rescaled(self, v: Any, scale: float) -> Any:
        """Return integers times a scale."""
        return gemmlowp.rescaled(v, scale)

    def product(self, a: Any, w: Array, b: Any, letter: str, k: int) -> Any:
        """Return a product with one gate's matrix, and a bias, in steps of 2^-12."""
        integers, scale = self.rounded(w)
        summed = self.sums(a, integers, letter, k)
        factor = np.float32(scale) * np.float32(self.scales[letter]) / np.float32(2.0**-12)
        return self.biased(summed, b, scale * self.scales[letter], float(factor))

    def sums(self, a: Any, w: Any, letter: str, k: int) -> Any:
        """Return sums of integers, of the gate k."""
        return a @ w

    def biased(self, summed: Any, b: Any, scale: float, factor: float) -> Any:
        """Return sums of products and a bias, rescaled."""
        bias = np.clip(self.nearest(b / scale), -(2**30), 2**30)
        return self.rescaled(summed + bias, factor)

    def first(self, a: Any) -> Any:
        """Return the stored product with x."""
        return np.clip(a, -(2**15), 2**15 - 1)

    def added(self, a: Any, b: Any) -> Any:
        """Return a pre-activation."""
        return np.clip(a + b, -(2**15), 2**15 - 1)

    def sigmoid(self, z: Any) -> Any:
        """Return a gate in steps of 2^-15."""
        return gemmlowp.sigmoid_table(3)[z + 2**15]

    def tanh(self, z: Any, integer_bits: int) -> Any:
        """Return tanh in steps of 2^-15 of integers with ``integer_bits`` before the point."""
        return gemmlowp.tanh_table(integer_bits)[z + 2**15]

    def shifted(self, v: Any, bits: int) -> Any:
        """Return a product of two parts of the cell state."""
        return gemmlowp.shifted(v, bits)

    def rest(self, f: Any) -> Any:
        """Return 1 less f."""
        return 2**15 - 1 - f

    def state_stored(self, c: Any) -> Any:
        """Return the stored cell state."""
        return np.clip(c, -(2**15), 2**15 - 1)

    def hidden(self, v: Any) -> Any:
        """Return o tanh(c) as integers of 8 bits, less the zero point."""
        zero = self.zeros["h"]
        factor = float(np.float32(2.0**-15 / self.scales["h"] * 2.0**-15))
        return np.clip(self.rescaled(v, factor), -zero, 255 - zero)

    def gates(self, z: list[Any]) -> list[Any]:
        """Return i, f, g and o."""
        return [self.sigmoid(z[0]), self.sigmoid(z[1]), self.tanh(z[2], 3), self.sigmoid(z[3])]

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        W, U, b = (p[n] for n in "WUb")
        shape = (x.shape[1], b.shape[-1])
        h, c = state or (np.zeros((x.shape[1], U.shape[1])), np.zeros(shape))
        h, c = self.read(h, "h"), self.state_stored(self.nearest(np.float64(c) / self.step))
        y = []
        for x_t in self.read(x, "x"):
            z = [
                self.added(
                    self.first(self.product(x_t, W[k], np.float64(b[k]), "x", k)),
                    self.product(h, U[k], np.zeros(1), "h", k),
                )
                for k in range(len(W))
            ]
            i, f, g, o = self.gates(z)
            c = self.state_stored(self.shifted(f * c, 15) + self.shifted(i * g, 19))
            h = self.hidden(o * self.tanh(c, 4))
            y.append(h)
        results = (np.stack(y), self.scales["h"]), (h, self.scales["h"]), (c, self.step)
        outputs, h, c = ((a * scale).astype(np.float32) for a, scale in results)
        return outputs, (h, c)


class IntegersProjected(IntegersAlone):
    """IntegersAlone with a projection of integers, which have their own scale and zero point."""

    cell = "lstm-projected"
    quantised = (
        "weights=8, per=gate, activations=8, range=given, operands=xhm, "
        "scales=x:0.03125:123+h:0.0078:129+m:0.0079:112, states=c:<16,5>, gates=<16,4>, "
        "rounding=away"
    )
    inner, inner_zero = float(np.float32(0.0079)), 112

    def read_inside(self, v: Any) -> Any:
        """Return o tanh(c) as integers of 8 bits, less the zero point."""
        factor = float(np.float32(2.0**-15 / self.inner * 2.0**-15))
        return np.clip(self.rescaled(v, factor), -self.inner_zero, 255 - self.inner_zero)

    def projected(self, a: Any) -> Any:
        """Return a projection of integers."""
        integers, scale = self.rounded(self.R)
        factor = np.float32(scale) * np.float32(self.inner) / np.float32(self.scales["h"])
        zero = self.zeros["h"]
        return np.clip(self.rescaled(a @ integers, float(factor)), -zero, 255 - zero)

    def hidden(self, v: Any) -> Any:
        return self.projected(self.read_inside(v))

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        self.R = p["R"]
        return super().forward(p, x, state)


class IntegersCoupled(IntegersAlone):
    """IntegersAlone with f = 1 - i, computed from weights of f, the negated ones of i."""

    cell = "lstm-coupled"

    def forward(self, p: Any, x: Array, state: Any) -> tuple[Array, tuple[Array, Array]]:
        signs = np.array([-1, 1, 1], np.float32)
        parts = {n: a * signs.reshape(-1, *[1] * (a.ndim - 1)) for n, a in p.items()}
        return super().forward(parts, x, state)

    def gates(self, z: list[Any]) -> list[Any]:
        f = self.sigmoid(z[0])
        return [self.rest(f), f, self.tanh(z[1], 3), self.sigmoid(z[2])]


RIGHT: tuple[type, ...] = (
    Integers, PerChannel, PerRow, Fixed, CellState, FixedPoint, IntegersAlone, IntegersCoupled,
    IntegersProjected,
)  # fmt: skip
"""Correct layers, each in its own arithmetic."""


@dataclass(frozen=True)
class QuantisationMutant:
    """A mistake of quantisation: the correct layer, and replacements of its methods.

    ``models`` is the real defect that it is modelled on, if any.
    """

    id: str
    statement: str
    layer: Any
    parts: dict[str, Any]
    models: str = ""
    isolated: ClassVar[bool] = False

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell of its layer."""
        return (self.layer.cell,)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of its layer."""
        dtypes: tuple[str, ...] = self.layer.dtypes
        return dtypes

    @property
    def killed_by(self) -> tuple[str, ...]:
        """The check that must fail."""
        return (SEEN_BY.get(self.id, "forward"),)

    def subject(self) -> Subject:
        """Return the wrong layer as a subject with the declared arithmetic of the correct one."""
        wrong = type(self.layer.__name__, (self.layer,), self.parts)
        return quantised_subject(wrong, f"mutant:{self.id}[{self.layer.cell}]")


def quantised_subject(layer: Any, name: str = "") -> Subject:
    """Return a layer of this module as a subject, in the arithmetic that it declares."""
    return in_arithmetic(explicit(layer, name or f"quantised:{layer.__name__}"), layer.quantised)


def quantised_named(name: str) -> Subject | None:
    """Return the subject ``mutant:Z01`` or ``mutant:Z01[CELL]``; None for other names."""
    id = name.removeprefix("mutant:").partition("[")[0]
    return next((m.subject() for m in QUANTISATION_MUTANTS if m.id == id), None)


def _in_16_bits(q: Any) -> Any:
    """Return integers that wrap around."""
    return np.mod(q + 2**15, 2**16) - 2**15


def _hidden_as_it_is(original: Callable[..., Any]) -> Callable[..., Any]:
    def activations(self: Integers, a: Array, letter: str) -> Any:
        return (a, np.ones((1, 1), np.float32)) if letter == "h" else original(self, a, letter)

    return activations


def _ties_away(self: Any, v: Array) -> Array:
    return ROUNDINGS["away"](v)


def _scale_of_128(self: Integers, w: Array, name: str) -> Array:
    return np.abs(w).max(axis=self.axes, keepdims=True) / np.float32(128)


def _bias_of_8_bits(self: Integers, b: Array) -> Array:
    step = np.abs(b).max() / np.float32(127) or np.float32(1)
    return (np.rint(b / step) * step).astype(np.float32)


def _rounded_once(self: IntegersAlone, v: Any, scale: float) -> Any:
    multiplier, shift = gemmlowp.multiplier_of(scale)
    return (v * multiplier + (1 << (30 - shift))) >> (31 - shift)


def _multiplier_of_16_bits(self: IntegersAlone, v: Any, scale: float) -> Any:
    multiplier, shift = gemmlowp.multiplier_of(scale)
    return gemmlowp.rescaled(v, float(np.ldexp(np.rint(multiplier / 2**16), shift - 15)))


def _bias_rescaled_alone(
    self: IntegersAlone, summed: Any, b: Any, scale: float, factor: float
) -> Any:
    bias = np.clip(self.nearest(b / scale), -(2**30), 2**30)
    return self.rescaled(summed, factor) + self.rescaled(bias, factor)


def _zero_of_h_kept(self: IntegersAlone, a: Any, w: Any, letter: str, k: int) -> Any:
    zero = self.zeros[letter] - 128 if (letter, k) == ("h", 3) else 0
    return (a + zero) @ w


def _zero_times_16_bits(self: IntegersAlone, a: Any, w: Any, letter: str, k: int) -> Any:
    zero, of_w = self.zeros[letter] - 128, w.sum(axis=0)
    return (a + zero) @ w - zero * _in_16_bits(of_w)


def _saturated_elsewhere(self: IntegersProjected, v: Any) -> Any:
    factor = float(np.float32(2.0**-15 / self.inner * 2.0**-15))
    return np.clip(self.rescaled(v, factor), self.inner_zero - 256, self.inner_zero - 1)


def _sigmoid_of_floats(self: IntegersAlone, z: Any) -> Any:
    return np.clip(np.rint(sigmoid(z * 2.0**-12) * 2**15), 0, 2**15 - 1).astype(np.int64)


def _tanh_of_floats(self: IntegersAlone, z: Any, integer_bits: int) -> Any:
    exact = np.tanh(z * 2.0 ** (integer_bits - 15)) * 2**15
    return np.clip(np.rint(exact), -(2**15), 2**15 - 1).astype(np.int64)


def _one_scale_forward(
    self: IntegersAlone, p: Any, x: Array, state: Any
) -> tuple[Array, tuple[Array, Array]]:
    most = {w.tobytes(): np.abs(p[n]).max() for n in "WU" for w in p[n]}

    def rounded(w: Array) -> tuple[Any, float]:
        scale = float(most[w.tobytes()] / np.float32(127)) or 1.0
        return self.nearest(np.float64(w) / scale), scale

    setattr(self, "rounded", rounded)  # noqa: B010 - one call's
    return IntegersAlone.forward(self, p, x, state)


def _one_scale(self: Integers, p: Any) -> dict[str, tuple[Array, Array]]:
    scale = np.float32(max(np.abs(p[n]).max() for n in "WU") / 127)
    scales = np.full((1, 1, 1), scale)
    return {n: (self.rounded(p[n] / scale).astype(np.int64), scales) for n in "WU"}


QUANTISATION_MUTANTS = tuple(
    QuantisationMutant(f"Z{number:02d}", *fields)  # type: ignore[arg-type]
    for number, fields in enumerate(
        (
            ("The largest weight is divided by 128, not by 127.", Integers,
             {"scale": _scale_of_128}),
            ("Ties of weights are rounded away from 0, not to even.", Integers,
             {"rounded": _ties_away}),
            ("Scales of weights are stored in bfloat16.", Integers, {
                "scale": lambda self, w, name: to_bfloat16(Integers.scale(self, w, name))}),
            ("Both matrices share one scale.", Integers, {"weights": _one_scale},
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
             {"input_steps": lambda self, x: [self.activations(x_t, "x") for x_t in x]}),
            ("The hidden state is multiplied as it is, not quantised.", Integers,
             {"activations": _hidden_as_it_is(Integers.activations)}),
            ("Zero points are rounded down.", Integers, {"zero": lambda self, v: np.floor(v)}),
            ("Sums of products saturate at 16 bits.", Integers,
             {"sums": lambda self, a, w: np.clip(a @ w, -(2**15), 2**15 - 1)},
             "microsoft/onnxruntime#11286"),
            ("The zero point of h is one too large.", Fixed, {"zeros": {"x": 128, "h": 129}}),
            ("Ties of activations are rounded away from 0, not to even.", Fixed,
             {"nearest": _ties_away}),
            ("The scale of the cell state is half of what it should be.", CellState,
             {"step": 2.0**-12}),
            ("The cell state is cut off toward 0.", CellState, {
                "state_stored": lambda self, c: (np.trunc(c * 2**11) / 2**11).astype(np.float32)}),
            ("Fixed point is cut off, not rounded.", FixedPoint,
             {"nearest": lambda self, v: np.floor(v)}),
            ("Ties are rounded away from 0, not to even.", FixedPoint, {"nearest": _ties_away}),
            ("What is too large wraps around instead of saturating.", FixedPoint,
             {"overflow": lambda self, q: _in_16_bits(q)}),
            ("The cell state is not rounded.", FixedPoint, {"state_stored": lambda self, c: c}),
            ("Each product is rounded before it is added.", FixedPoint,
             {"times": lambda self, a, b: self.stored(a * b)}),
            ("Gates are not rounded.", FixedPoint, {"sigmoid": lambda self, v: sigmoid(v)}),
            ("The sigmoid's table ends at -6 and 6.", FixedPoint,
             {"sigmoid": lambda self, v: self.stored(sigmoid(np.clip(v, -6, 6)))}),
            ("The bias of o lacks the share of the zero point of h.", IntegersAlone,
             {"sums": _zero_of_h_kept}),
            ("Products are rescaled with one rounding in the place of two.", IntegersAlone,
             {"rescaled": _rounded_once}, "tensorflow/tensorflow#25087"),
            ("Multipliers have 16 bits, not 31.", IntegersAlone,
             {"rescaled": _multiplier_of_16_bits}),
            ("The bias is rescaled by itself, not with the products.", IntegersAlone,
             {"biased": _bias_rescaled_alone}),
            ("The product with x saturates only after that with h is added.", IntegersAlone,
             {"first": lambda self, a: a}),
            ("Pre-activations wrap around in 16 bits instead of saturating.", IntegersAlone,
             {"added": lambda self, a, b: _in_16_bits(a + b)}),
            ("The sigmoid is computed in floats and rounded, not in fixed point.", IntegersAlone,
             {"sigmoid": _sigmoid_of_floats}, "tensorflow/tflite-micro#1455"),
            ("Tanh is computed in floats and rounded, not in fixed point.", IntegersAlone,
             {"tanh": _tanh_of_floats}, "tensorflow/tflite-micro#1455"),
            ("Products in the cell state are cut off, not rounded.", IntegersAlone,
             {"shifted": lambda self, v, bits: v >> bits}),
            ("The cell state saturates as if its scale were half.", IntegersAlone,
             {"state_stored": lambda self, c: np.clip(c, -(2**14), 2**14 - 1)}),
            ("Outputs are cut off, not rounded.", IntegersAlone,
             {"hidden": lambda self, v: np.clip(
                 (v * 2.0**-30 // self.scales["h"]).astype(int), -129, 126)}),
            ("The largest integer of h is 126, not 127.", IntegersAlone,
             {"hidden": lambda self, v: np.minimum(IntegersAlone.hidden(self, v), 125)}),
            ("All gates of a matrix share one scale.", IntegersAlone,
             {"forward": _one_scale_forward}),
            ("Sums of weights, by which a zero point is multiplied, wrap around in 16 bits.",
             IntegersAlone, {"sums": _zero_times_16_bits}),
            ("What is projected has the zero point with the wrong sign: it saturates elsewhere.",
             IntegersProjected, {"read_inside": _saturated_elsewhere},
             "findings/litert_projection_zero_point.py"),
            ("The scale of h is taken for that of what is projected.", IntegersProjected,
             {"inner": float(np.float32(0.0078))}),
            ("1 less f is taken from 2^15, which 16 bits do not hold.", IntegersCoupled,
             {"rest": lambda self, f: 2**15 - f}),
        ),
        start=1,
    )
)  # fmt: skip
"""Mistakes of quantisation, in the order of a call."""

SEEN_BY = {
    "Z02": "tie-rounding", "Z05": "channel-scale", "Z06": "channel-scale", "Z07": "channel-scale",
    "Z09": "row-scale", "Z10": "row-scale", "Z14": "saturation", "Z15": "zero-point",
    "Z16": "tie-rounding", "Z17": "state-scale", "Z18": "state-scale", "Z20": "tie-rounding",
    "Z28": "saturation", "Z35": "state-scale", "Z37": "extreme", "Z39": "saturation",
    "Z40": "zero-point",
}  # fmt: skip
"""The check that detects a mistake, if it is not ``forward``."""

HELD_TO = ("forward", "tie-rounding", "saturation", "zero-point", "channel-scale", "row-scale",
           "state-scale", "extreme")  # fmt: skip
"""Checks that correct layers pass in any arithmetic, also with a range over a whole call."""
