"""``Levels``: integers times a scale, whose products are sums of integers.

Operands of a matrix product are divided by their scale and rounded. Programs compute scale and
quotient in floating point, so near a tie both neighbours are possible: such an integer is an
interval, all others are certain. Sums of integers are exact; their products with the scales have
bounds as in ``Bounded``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from .arithmetic import Arithmetic
from .bounded import OWN_ROUNDING, Bounded, _bounded, _matmul
from .quantisation import Quantisation, count, neighbours

STEP_ERROR = 3
"""Roundings of a scale: of a difference, of a quotient, and of storing it."""


@dataclass(frozen=True)
class Operand:
    """The quantisation of the left operand of a matrix product."""

    quantisation: Quantisation
    letter: str

    def levels(self, a: Bounded) -> Levels:
        """Return numbers (..., width) on their grid: one range for all, or one for each row."""
        if isinstance(a, Levels) and a.operand == self:
            return a
        ends = self._ends
        steps, relative, zeros = self._scale(a)
        exact = (relative == 0) & (np.frexp(steps)[0] == 0.5)  # then a quotient is exact, too
        quotient = a.value / steps
        u = np.where(exact, 0.0, a.arithmetic.roundoff)
        added = ends[1] if self._before else np.abs(zeros).max(axis=0)
        error = a.bound / steps + (relative + 2 * u) * np.abs(quotient) + u * added
        error = error / (1 - np.minimum(relative, 0.5)) + np.where(relative > 0.5, np.inf, 0.0)
        low, high = self._rounded(quotient, error * OWN_ROUNDING, zeros)
        low = np.clip(low, ends[0] - zeros.max(axis=0), ends[1] - zeros.max(axis=0))
        high = np.clip(high, ends[0] - zeros.min(axis=0), ends[1] - zeros.min(axis=0))
        return Levels.from_integers(
            low, high, steps, relative, a.arithmetic, operand=self, zeros=zeros.mean(axis=0)
        )

    @property
    def _before(self) -> bool:
        """Whether the zero point is added before rounding."""
        return self.quantisation.zero_added == "before"

    def _rounded(self, quotient: Floats, error: Floats, zeros: Floats) -> tuple[Floats, Floats]:
        """Return the least and the largest integer, less the zero point."""
        rounding = self.quantisation.rounding
        if not self._before:
            return neighbours(quotient, error, rounding)
        candidates = [
            end - signed
            for signed in zeros - 2.0 ** (self.quantisation.activations - 1)
            for end in neighbours(quotient + signed, error, rounding)
        ]
        return np.minimum.reduce(candidates), np.maximum.reduce(candidates)

    @property
    def _ends(self) -> tuple[float, float]:
        """The smallest and the largest integer, the zero point included."""
        q = self.quantisation
        most = q.activation_levels or 2**q.activations - 1
        half = (most + 1) // 2
        return (0, most) if q.activation_zero else (-half, half - 1)

    def _scale(self, a: Bounded) -> tuple[Floats, Floats, Floats]:
        """Return scales, their relative errors, and zero points: the least and the largest."""
        q, (least, most) = self.quantisation, self._ends
        if q.range == "given":
            scale, zero = q.given_scales[self.letter]
            return np.asarray(scale), np.zeros(()), np.full((2, *[1] * a.ndim), float(zero))
        axes = tuple(range(a.ndim)) if q.range == "call" else (a.ndim - 1,)
        outermost = [np.asarray(a.value - a.bound), np.asarray(a.value + a.bound)]
        if not q.activation_zero:
            sizes = np.abs(a.value).max(axis=axes, keepdims=True, initial=0.0)
            uncertainty = np.max(a.bound, axis=axes, keepdims=True, initial=0.0)
            return *self._floored(*_quotient(sizes, uncertainty, most, a.arithmetic)), np.zeros(
                (2, *sizes.shape)
            )
        low = [np.minimum(e.min(axis=axes, keepdims=True, initial=0.0), 0.0) for e in outermost]
        high = [np.maximum(e.max(axis=axes, keepdims=True, initial=0.0), 0.0) for e in outermost]
        extent = (high[0] + high[1] - low[0] - low[1]) / 2
        uncertainty = (high[1] - high[0] + low[1] - low[0]) / 2
        steps, relative = _quotient(extent, uncertainty, most, a.arithmetic)
        zero, error = -(low[0] + low[1]) / 2 / steps, (low[1] - low[0]) / 2 / steps
        error = error + (relative + 2 * a.arithmetic.roundoff * (relative > 0)) * zero
        error = error / (1 - np.minimum(relative, 0.5)) + np.where(relative > 0.5, np.inf, 0.0)
        signed = 2.0 ** (q.activations - 1) if self._before else 0.0
        zeros = np.stack(neighbours(zero - signed, error * OWN_ROUNDING, q.rounding)) + signed
        return *self._floored(steps, relative), np.clip(zeros, least, most)

    def _floored(self, steps: Floats, relative: Floats) -> tuple[Floats, Floats]:
        """Return scales of at least ``least_scale``, and their relative errors."""
        if not (floor := self.quantisation.least_scale):
            return steps, relative
        low, high = (np.maximum(steps * (1 + sign * relative), floor) for sign in (-1, 1))
        middle = (low + high) / 2
        near = (high - low) / (2 * middle) + 2.0**-23  # the least itself is one of float32
        return np.where(low > floor, steps, middle), np.where(low > floor, relative, near)


def _quotient(
    extent: Floats, uncertainty: Floats, levels: float, arithmetic: Arithmetic
) -> tuple[Floats, Floats]:
    """Return extent / levels, or 1 for an extent of 0, and its relative error, 0 if exact."""
    steps = np.where(extent > 0, extent / levels, 1.0)
    stored = np.asarray(steps, arithmetic.dtype).astype(np.float64)
    exact = (uncertainty == 0) & (stored == steps) & (steps * levels == extent)
    relative = np.where(exact, 0.0, STEP_ERROR * arithmetic.roundoff)
    return steps, relative + np.where(
        extent > 0, uncertainty / np.where(extent > 0, extent, 1), 0.0
    )


class Levels(Bounded):
    """Integers, each certain or an interval, times a step.

    Quantised weights and their operands are of this kind; the ``operand`` of weights describes the
    quantisation of what they are multiplied with.
    """

    integers: Floats
    spread: Floats
    steps: Floats
    step_error: Floats
    zeros: Floats
    operand: Operand | None = None

    @classmethod
    def from_integers(
        cls,
        low: Floats,
        high: Floats,
        steps: Floats,
        step_error: Floats | float,
        arithmetic: Arithmetic,
        error: Floats | float = 0.0,
        operand: Operand | None = None,
        zeros: Floats | float = 0.0,
    ) -> Levels:
        """Return integers between ``low`` and ``high`` times ``steps``, ``error`` added."""
        count(low, high)
        integers, spread = (low + high) / 2, (high - low) / 2
        value = integers * steps
        relative = step_error + 2 * arithmetic.roundoff * (np.asarray(step_error) > 0)
        total_error = spread * steps * (1 + relative) + np.abs(value) * relative + error
        levels = cls(value, total_error * OWN_ROUNDING, arithmetic)
        shape = integers.shape
        levels.integers, levels.spread = integers, spread
        levels.steps = np.broadcast_to(steps, shape)
        levels.step_error = np.broadcast_to(step_error, shape)
        levels.zeros = np.broadcast_to(zeros, shape)
        levels.operand = operand
        return levels

    @classmethod
    def between(cls, low: Floats, high: Floats, steps: Floats, weights: Bounded) -> Levels:
        """Return rounded weights.

        To let gradients pass, a program may compute w + (rounded - w), which rounds once more.
        """
        arithmetic = weights.arithmetic
        through = 2 * arithmetic.roundoff * np.abs(weights.value)
        return cls.from_integers(
            low, high, steps, STEP_ERROR * arithmetic.roundoff, arithmetic, through
        )

    def read_by(self, operand: Operand) -> Levels:
        """Return the same weights with a quantised operand."""
        return self._with(lambda array: array, operand)

    def _with(self, function: Callable[[Floats], Floats], operand: Operand | None) -> Levels:
        levels = Levels(function(self.value), function(self.error), self.arithmetic)
        for name in ("integers", "spread", "steps", "step_error", "zeros"):
            setattr(levels, name, function(getattr(self, name)))
        levels.operand = operand
        return levels

    def _rearranged(self, function: Callable[[Floats], Floats]) -> Levels:
        return self._with(function, self.operand)

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Bounded:
        """Return the sum, which is not on a grid."""
        return self.plain.sum(axis=axis, keepdims=keepdims)

    @property
    def plain(self) -> Bounded:
        """The same numbers without their grid."""
        return Bounded(self.value, self.error, self.arithmetic)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.matmul and method == "__call__" and not kwargs:
            a, b = (_bounded(x, self.arithmetic) for x in inputs)
            if isinstance(b, Levels) and b.operand is not None:
                return product(b.operand.levels(a), b)
        plain = (x.plain if isinstance(x, Levels) else x for x in inputs)
        return Bounded.exact(0.0, self.arithmetic).__array_ufunc__(ufunc, method, *plain, **kwargs)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Keep the grid if ended rows are set to 0; other joined numbers have no grid."""
        if function is np.where and isinstance(args[1], Levels) and not np.any(args[2].value):
            active = args[1]
            levels = active._with(lambda array: np.where(args[0], array, 0 * array), active.operand)
            for name in ("steps", "step_error", "zeros"):
                setattr(levels, name, getattr(active, name))
            return levels

        def plain(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(plain, value))
            return value.plain if isinstance(value, Levels) else value

        return super().__array_function__(function, types, plain(args), kwargs)


def product(a: Levels, b: Levels) -> Bounded:
    """Return a matrix product: the exact sum of integers times both scales.

    If a scale varies along the sum, products of numbers are added instead, as programs must do.
    """
    if not (_constant(a.steps, -1) and _constant(b.steps, 0)):
        return _matmul(a.plain, b.plain)
    # float64 holds every integer up to 2^53, which sums of products of 16 bits do not reach
    pairs = b.operand is not None and b.operand.quantisation.sums == "pairs"
    integers = _in_pairs(a, b) if pairs else a.integers @ b.integers
    spread = np.abs(a.integers) @ b.spread + a.spread @ (np.abs(b.integers) + b.spread)
    steps = a.steps[..., :1] * b.steps[:1]
    scales = (1 + a.step_error[..., :1]) * (1 + b.step_error[:1])
    relative = scales * (1 + 3 * a.arithmetic.roundoff) - 1
    value = integers * steps
    error = spread * steps * (1 + relative) + np.abs(value) * relative
    # a program may also multiply numbers: one rounding for each product and each sum
    mass = (np.abs(a.integers) + a.spread) @ (np.abs(b.integers) + b.spread) * steps
    return Bounded(value, error * OWN_ROUNDING, a.arithmetic, mass, a.value.shape[-1])


def _in_pairs(a: Levels, b: Levels) -> Floats:
    """Add pairs of products in 16 bits, and the pairs exactly; subtract the zero point last."""
    odd = a.integers.shape[-1] % 2
    unsigned = np.pad(np.rint(a.integers + a.zeros), ((0, 0), (0, odd)))
    weights = np.pad(np.rint(b.integers), ((0, odd), (0, 0)))
    products = unsigned[:, :, None] * weights
    paired = np.clip(products[:, ::2] + products[:, 1::2], -(2**15), 2**15 - 1).sum(axis=1)
    return np.asarray(paired - a.zeros[:, :1] * b.integers.sum(axis=0))


def _constant(array: Floats, axis: int) -> bool:
    first = np.take(array, [0], axis=axis) if array.shape[axis] else array
    return bool(np.all(array == first))
