"""An LSTM's step in integers alone, as specified by LiteRT's ``UNIDIRECTIONAL_SEQUENCE_LSTM``.

Activations and weights have 8 bits; the cell state has 16, its scale is a power of two. Each
product with a matrix is rescaled to the format of the gates' pre-activations, 16 bits, and added
with saturation; the bias, of 32 bits and in the scale of the products with x, is added before that.
Gates are those of ``gemmlowp``. After ``LstmStepInteger8x8_16`` of TensorFlow Lite's
``kernels/lstm_eval.cc`` and ``PopulateQuantizedLstmParams8x8_16`` of
``kernels/unidirectional_sequence_lstm.cc``.

An integer whose input is so near a tie that both neighbours are possible is an interval, and so are
the results of it. All operations are monotone, or products of two operands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np

from ...reference.cell import Gates, State
from ...reference.parameters import Parameters
from . import gemmlowp
from .bounded import Bounded
from .gemmlowp import LEAST, MOST, rescaled, saturated, shifted
from .levels import Levels, Operand
from .quantisation import FixedPoint, Quantisation, neighbours

UNIT = gemmlowp.BITS - 1
"""Bits after the point of gates."""

BIAS_END = 2.0**30
"""The largest bias: half the range of 32 bits, so that sums of products can be added."""

BIAS_ERROR = 2.0**-50
"""Relative error of a bias divided by its scale, which converters compute in float64."""


@dataclass(frozen=True)
class Interval:
    """Integers, each with a lower and an upper bound, which are mostly equal."""

    low: Any
    high: Any

    @classmethod
    def from_levels(cls, levels: Levels) -> Interval:
        """Return the integers of numbers on a grid."""
        ends = (np.rint(levels.integers + sign * levels.spread) for sign in (-1, 1))
        return cls(*(end.astype(np.int64) for end in ends))

    def map(self, rising: Callable[[Any], Any]) -> Interval:
        """Return the image under a function that never falls."""
        return Interval(rising(self.low), rising(self.high))

    def at(self, table: Any) -> Interval:
        """Return entries of a table of all int16, which need not be monotone everywhere."""
        low, high = self.low - LEAST, self.high - LEAST
        if np.array_equal(low, high):
            return Interval(table[low], table[high])
        most, least = np.maximum.accumulate(table), np.minimum.accumulate(table[::-1])[::-1]
        same = low == high
        return Interval(
            np.where(same, table[low], least[low]), np.where(same, table[high], most[high])
        )

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, other: Interval) -> Interval:
        corners = [a * b for a in (self.low, self.high) for b in (other.low, other.high)]
        return Interval(np.minimum.reduce(corners), np.maximum.reduce(corners))

    def __matmul__(self, weights: Interval) -> Interval:
        middle, spread = self.low + self.high, self.high - self.low  # both twice
        of_w, w_spread = weights.low + weights.high, weights.high - weights.low
        value = middle @ of_w
        spread_of_sum = np.abs(middle) @ w_spread + spread @ (np.abs(of_w) + w_spread)
        return Interval(-((spread_of_sum - value) // 4), (value + spread_of_sum) // 4)

    @property
    def negated(self) -> Interval:
        """The negated integers."""
        return Interval(-self.high, -self.low)

    def numbers(self, step: float, like: Bounded, *, error: float = 0.0, **grid: Any) -> Levels:
        """Return the integers times a step; ``error`` is the relative error of the product."""
        low, high = (np.asarray(end, np.float64) for end in (self.low, self.high))
        absolute = error * np.abs(low + high) / 2 * step
        return Levels.from_integers(
            low, high, np.asarray(step), 0.0, like.arithmetic, absolute, **grid
        )


def step(
    names: tuple[str, ...], q: Quantisation, p: Parameters, x: Bounded, state: State
) -> tuple[State, Gates]:
    """Return (h, c), and the gates; ``names`` are the cell's gates.

    The operand of a projection is m, with its own scale; it has no bias. Without f the gates are
    coupled: the integer of i is that of 1 minus that of f, whose weights are the negated ones of i.
    """
    h, c = cast("tuple[Bounded, Bounded]", state)
    form = q.state_formats["c"]
    operands = [Operand(q, letter).levels(a) for letter, a in (("x", x), ("h", h))]
    coupled = "f" not in names
    z = {n: _pre_activation(q, p, operands, k, coupled and n == "i") for k, n in enumerate(names)}
    sigmoid = gemmlowp.sigmoid_table(_integer_bits(q.gate_format))
    tanh = gemmlowp.tanh_table(_integer_bits(q.gate_format))
    gates = {name: z[name].at(tanh if name == "g" else sigmoid) for name in names}
    if coupled:
        gates["f"] = gates["i"]
        gates["i"] = gates["f"].negated.map(lambda a: MOST + a)
    old_c = Interval.from_levels(c) if isinstance(c, Levels) else _read(c, form, q)
    old_share = (gates["f"] * old_c).map(lambda a: shifted(a, UNIT))
    new_share = (gates["i"] * gates["g"]).map(lambda a: shifted(a, 2 * UNIT - form.fraction))
    new_c = (old_share + new_share).map(saturated)
    cell_output = gates["o"] * new_c.at(gemmlowp.tanh_table(_integer_bits(form)))
    inner = "m" if "R" in p else "h"
    hidden = _activations(q, inner, cell_output, 2.0**-UNIT / _scale(q, inner) * 2.0**-UNIT)
    values = {name: gate.numbers(2.0**-UNIT, x).plain for name, gate in gates.items()}
    if "R" in p:
        weights = cast("Levels", p["R"])
        values["h"] = _numbers(q, "m", hidden, x).plain
        scale = np.float32(weights.steps.flat[0]) * _scale(q, "m") / _scale(q, "h")
        hidden = _activations(q, "h", hidden @ Interval.from_levels(weights), scale)
    return (_numbers(q, "h", hidden, x), new_c.numbers(form.step, x)), values


def _rescaling(q: Quantisation, scale: float) -> Callable[[Any], Any]:
    """Return the function that multiplies integers by a scale."""
    return partial(rescaled, scale=scale, once=q.rescaling == "once")


def _scale(q: Quantisation, letter: str) -> Any:
    """Return the declared scale of an operand in float32."""
    return np.float32(q.given_scales[letter][0])


def _activations(q: Quantisation, letter: str, integers: Interval, scale: Any) -> Interval:
    """Return integers rescaled to 8 bits, minus the zero point."""
    zero, rescale = q.given_scales[letter][1], _rescaling(q, float(np.float32(scale)))
    return integers.map(lambda a: saturated(rescale(a), -zero, 255 - zero))


def _numbers(q: Quantisation, letter: str, integers: Interval, like: Bounded) -> Levels:
    """Return the numbers of integers of an operand."""
    return integers.numbers(
        float(_scale(q, letter)), like, error=like.arithmetic.roundoff,
        operand=Operand(q, letter), zeros=float(q.given_scales[letter][1]),
    )  # fmt: skip


def _pre_activation(
    q: Quantisation, p: Parameters, operands: list[Levels], k: int, negated: bool
) -> Interval:
    """Return z of one gate, in steps of the gates' format; its parameters may be ``negated``."""
    total = Interval(0, 0)
    for letter, matrix, a in zip("xh", "WU", operands, strict=True):
        weights = cast("Levels", cast("Levels", p[matrix])[k])
        of_weights, of_a = np.float32(weights.steps.flat[0]), _scale(q, letter)
        summed = Interval.from_levels(a) @ Interval.from_levels(weights)
        if letter == "x":
            summed = summed + _bias(p["b"][k], float(of_weights) * float(of_a))
        summed = summed.negated if negated else summed
        scale = float(of_weights * of_a / np.float32(q.gate_format.step))
        total = (total + summed.map(_rescaling(q, scale))).map(saturated)
    return total


def _bias(b: Any, scale: float) -> Interval:
    """Return a bias in the steps of the products with x."""
    quotient, error = b.value / scale, b.bound / scale
    ends = neighbours(quotient, error + BIAS_ERROR * np.abs(quotient), "away")
    return Interval(*(np.clip(end, -BIAS_END, BIAS_END).astype(np.int64) for end in ends))


def _read(c: Bounded, form: FixedPoint, q: Quantisation) -> Interval:
    """Return an initial cell state in its stored format."""
    ends = neighbours(c.value / form.step, c.bound / form.step, q.rounding)
    return Interval(*(saturated(end.astype(np.int64)) for end in ends))


def _integer_bits(form: FixedPoint) -> int:
    """Return the number of bits before the point, without the sign."""
    return form.integer_bits - 1
