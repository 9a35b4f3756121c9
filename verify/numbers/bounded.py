"""``Bounded``: a number system that carries a rigorous bound of its own rounding error.

A Bounded array is a midpoint (float64) and a bound with this promise: the *exact* result, and
every result that an implementation may *compute* in the given arithmetic from the same data, lie
within the bound of the midpoint. It is ball arithmetic, widened after each operation by the
operation's rounding (Wilkinson 1963; Higham 2002, ch. 3), so the equations of the reference, run on
Bounded numbers, yield the tolerance for comparing a result with the reference's.

Implementations differ in the order in which they add: one product or two, bias first or last,
FMA or not. A sum therefore stays *open*: it keeps the sum of its terms' magnitudes (``mass``) and
the number of roundings a term may meet (``roundings``), and further additions join it. It is
closed, at the cost of γ_n times the mass, when something other than an addition uses it. That
covers every order of summation (Higham 2002, sec. 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...reference import functions
from ...reference.arrays import Array, Entries, Floats, NumberSystem
from .arithmetic import ACTIVATION_UNITS, FLOAT64_ROUNDOFF, MANY, Arithmetic

OWN_ROUNDING = 1 + 1e-10
"""Covers the rounding of the bound itself: sums of up to 1e5 non-negative float64 terms."""


class Bounded(NumberSystem):
    """Midpoints, and bounds on the distance of exact and computed values from them."""

    value: Floats

    def __init__(
        self,
        value: ArrayLike,
        error: ArrayLike,
        arithmetic: Arithmetic,
        mass: Floats | None = None,
        roundings: float = 0,
    ) -> None:
        """Take midpoints and their settled error; ``mass`` and ``roundings`` describe an open sum.

        A closed value counts as a sum of one term, itself.
        """
        self.value = np.asarray(value, dtype=np.float64)
        settled: Floats = np.asarray(error, dtype=np.float64)
        same = settled.shape == self.value.shape
        self.error = settled if same else np.broadcast_to(settled, self.value.shape)
        self.arithmetic = arithmetic
        self.mass = np.abs(self.value) + self.error if mass is None else mass
        self.roundings = roundings
        self._bound: Floats | None = None

    @classmethod
    def exact(cls, value: ArrayLike, arithmetic: Arithmetic) -> Bounded:
        """Return exact numbers: their bound is 0."""
        return cls(value, 0.0, arithmetic)

    @property
    def is_exact(self) -> bool:
        """Whether these are exact numbers, made by ``exact``, or parts of such."""
        # A broadcast 0 has no strides; reading its entries would cost as much as using them.
        error = self.error
        return not (self.roundings or any(error.strides) or (error.size and error.item(0)))

    @property
    def bound(self) -> Floats:
        """The bound, float64, of the shape of ``value``; inf where nothing is known."""
        if self._bound is None:  # an array is an operand of several operations
            self._bound = self._bounded()
        return self._bound

    def _bounded(self) -> Floats:
        if self.is_exact:
            return np.where(self.mass <= self.arithmetic.largest, 0.0, np.inf)
        if self.roundings > MANY:  # an integer beyond what a float holds
            return np.full(self.value.shape, np.inf)
        rounding = self.arithmetic.gamma(self.roundings)
        with np.errstate(invalid="ignore", over="ignore"):
            open_sum = rounding * self.mass + self.roundings * self.arithmetic.tiny
            bound = (self.error + open_sum) * OWN_ROUNDING
            most = self.mass + bound  # every partial sum
        if most.max(initial=0.0) <= self.arithmetic.largest:  # as nearly always; false of NaN
            return bound
        return np.where(most <= self.arithmetic.largest, bound, np.inf)

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Bounded:
        """Return the sum, in any order, over an axis or over everything."""
        count = self.value.size if axis is None else self.value.shape[axis]
        summed = self._rearranged(lambda array: array.sum(axis=axis, keepdims=keepdims))
        summed.roundings += max(count - 1, 0)
        return summed

    def _rearranged(self, function: Callable[[Floats], Floats]) -> Bounded:
        parts = (function(np.asarray(a)) for a in (self.value, self.error, self.mass))
        value, error, mass = parts
        return Bounded(value, error, self.arithmetic, mass, self.roundings)

    def __repr__(self) -> str:
        return f"Bounded({self.value!r} ± {self.bound!r}, {self.arithmetic.name})"

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = UFUNCS.get(ufunc)
        if rule is None or method != "__call__" or kwargs:
            return NotImplemented  # e.g. np.maximum: unsound on a ball, see functions.switch
        with np.errstate(all="ignore"):
            return rule(*(_bounded(x, self.arithmetic) for x in inputs))

    def _joined(self, arrays: Sequence[Any], function: Callable[[list[Floats]], Floats]) -> Bounded:
        bounded = [_bounded(x, self.arithmetic) for x in arrays]
        parts = (
            function([np.asarray(getattr(a, name)) for a in bounded])
            for name in ("value", "error", "mass")
        )
        value, error, mass = parts
        roundings = max(a.roundings for a in bounded)
        return Bounded(value, error, self.arithmetic, mass, roundings)


def _bounded(x: Any, arithmetic: Arithmetic) -> Bounded:
    return x if isinstance(x, Bounded) else Bounded.exact(x, arithmetic)


def _rounded(value: Entries, propagated: Entries, arithmetic: Arithmetic) -> Bounded:
    """Return ``value`` with its propagated error and one rounding."""
    rounding = arithmetic.gamma(1) * (np.abs(value) + propagated) + arithmetic.tiny
    error = (propagated + rounding) * OWN_ROUNDING
    return Bounded(value, np.fmin(error, np.inf), arithmetic)  # inf where it is NaN


def _add(a: Bounded, b: Bounded) -> Bounded:
    mass = np.add(a.mass, b.mass)
    roundings = a.roundings + b.roundings + 1
    return Bounded(a.value + b.value, a.error + b.error, a.arithmetic, mass, roundings)


def _negative(a: Bounded) -> Bounded:
    return Bounded(-a.value, a.error, a.arithmetic, a.mass, a.roundings)


def _subtract(a: Bounded, b: Bounded) -> Bounded:
    return _add(a, _negative(b))


def _multiply(a: Bounded, b: Bounded) -> Bounded:
    a_bound, b_bound = a.bound, b.bound
    propagated = np.abs(a.value) * b_bound + a_bound * np.abs(b.value) + a_bound * b_bound
    return _rounded(a.value * b.value, propagated, a.arithmetic)


def _divide(a: Bounded, b: Bounded) -> Bounded:
    value = a.value / b.value
    least = np.abs(b.value) - b.bound
    propagated = (a.bound + np.abs(value) * b.bound) / np.where(least > 0, least, np.nan)
    return _rounded(value, np.where(np.isnan(propagated), np.inf, propagated), a.arithmetic)


def _matmul(a: Bounded, b: Bounded) -> Bounded:
    """Return an open sum of n products, each rounded once; operands may be rounded first."""
    (a_size, a_bound), (b_size, b_bound) = _sizes(a), _sizes(b)
    a_most = a_size if a_bound is None else a_size + a_bound
    b_most = b_size if b_bound is None else b_size + b_bound
    mass = a_most @ b_most
    propagated = np.zeros_like(mass)
    if b_bound is not None:
        propagated += a_size @ b_bound
    if a_bound is not None:
        propagated += a_bound @ b_most
    first = a.arithmetic.product_roundoff
    error = (propagated + (2 * first + first * first) * mass) * OWN_ROUNDING
    roundings = a.arithmetic.roundings(a.value.shape[-1])
    mass = mass * (1 + first) ** 2 * OWN_ROUNDING  # the terms are products of rounded operands
    return Bounded(a.value @ b.value, error, a.arithmetic, mass, roundings)


def _sizes(a: Bounded) -> tuple[Floats, Floats | None]:
    """Return magnitudes and bounds; None for the bounds of exact numbers in range."""
    if a.is_exact and (not a.mass.size or a.mass.max() <= a.arithmetic.largest):
        return a.mass, None
    return np.abs(a.value), a.bound


def _activation(value: Entries, slope: Entries, span: float, a: Bounded) -> Bounded:
    """Return an activation with values in a span: its slope times the bound, and its rounding."""
    propagated = np.minimum(np.where(slope == 0, 0.0, slope * a.bound), span)
    rounding: float | Floats
    rounding = a.arithmetic.activation + a.arithmetic.tiny
    if a.arithmetic.inner_roundoff:
        rounding = rounding + a.arithmetic.gamma(1) * (np.abs(value) + propagated + rounding)
    return Bounded(value, (propagated + rounding) * OWN_ROUNDING, a.arithmetic)


def _nearest_zero(a: Bounded) -> Floats:
    nearest: Floats = np.maximum(np.abs(a.value) - a.bound, 0.0)
    return nearest


def _tanh(a: Bounded) -> Bounded:
    # Beyond 300 the square of cosh would overflow; the slope is as good as 0 there.
    steepest = 1 / np.cosh(np.minimum(_nearest_zero(a), 300.0)) ** 2
    return _activation(np.tanh(a.value), steepest, 2.0, a)


def _sigmoid(a: Bounded) -> Bounded:
    steepest = 0.25 / np.cosh(np.minimum(_nearest_zero(a), 600.0) / 2) ** 2
    return _activation(np.asarray(functions.sigmoid(a.value)), steepest, 1.0, a)


def _arctanh(a: Bounded) -> Bounded:
    """Enclose every c whose tanh, computed with its own error, may have been ``a``."""
    error = a.bound + ACTIVATION_UNITS * (a.arithmetic.roundoff + FLOAT64_ROUNDOFF)
    outermost = np.abs(a.value) + error
    steepest = 1 / np.where(outermost < 1, 1 - outermost**2, np.nan)
    value = np.arctanh(np.clip(a.value, -1, 1))
    propagated = np.where(np.isnan(steepest), np.inf, steepest * error)
    return _rounded(np.where(np.isfinite(value), value, 0.0), propagated, a.arithmetic)


def _exp(a: Bounded) -> Bounded:
    value = np.exp(a.value)
    propagated = value * np.expm1(a.bound)
    rounding = ACTIVATION_UNITS * (a.arithmetic.roundoff + FLOAT64_ROUNDOFF) * (value + propagated)
    return Bounded(value, (propagated + rounding + a.arithmetic.tiny) * OWN_ROUNDING, a.arithmetic)


def _turned(function: Callable[[Floats], Floats]) -> Callable[[Bounded], Bounded]:
    """Return the rule of sine or cosine: slopes up to 1, rounding of some units of 1."""

    def bounded(a: Bounded) -> Bounded:
        rounding = ACTIVATION_UNITS * (a.arithmetic.roundoff + FLOAT64_ROUNDOFF) + a.arithmetic.tiny
        bound = (np.minimum(a.bound, 2.0) + rounding) * OWN_ROUNDING  # all values lie in [-1, 1]
        return Bounded(function(a.value), bound, a.arithmetic)

    return bounded


def _log(a: Bounded) -> Bounded:
    value = np.log(a.value)
    propagated = -np.log1p(-np.minimum(a.bound / np.abs(a.value), 1.0))
    return _rounded(value, propagated + ACTIVATION_UNITS * a.arithmetic.gamma(1), a.arithmetic)


def _sqrt(a: Bounded) -> Bounded:
    value = np.sqrt(np.maximum(a.value, 0.0))
    propagated = np.where(value > 0, a.bound / np.where(value > 0, value, 1), np.sqrt(a.bound))
    return _rounded(value, propagated, a.arithmetic)


UFUNCS: dict[Any, Callable[..., Bounded]] = {
    np.add: _add,
    np.subtract: _subtract,
    np.negative: _negative,
    np.multiply: _multiply,
    np.true_divide: _divide,
    np.matmul: _matmul,
    np.tanh: _tanh,
    np.arctanh: _arctanh,
    np.exp: _exp,
    np.log: _log,
    np.sqrt: _sqrt,
    np.sin: _turned(np.sin),
    np.cos: _turned(np.cos),
}


@functions.sigmoid.register
def _(s: Bounded) -> Bounded:
    with np.errstate(all="ignore"):
        return _sigmoid(s)


@functions.softplus.register
def _(s: Bounded) -> Bounded:
    """Bound also the printed ln(1 + exp(s)), whose sum rounds to a unit near 1."""
    with np.errstate(all="ignore"):
        value = np.asarray(functions.softplus(s.value))
        steepest = np.asarray(functions.sigmoid(s.value + s.bound))
        rounding = ACTIVATION_UNITS * s.arithmetic.gamma(1) * (1 + value) + s.arithmetic.tiny
        return _rounded(value, steepest * s.bound + rounding, s.arithmetic)


@functions.zeros.register
def _(like: Bounded, shape: tuple[int, ...]) -> Bounded:
    return Bounded.exact(np.zeros(shape), like.arithmetic)


@functions.switch.register
def _(s: Bounded, below: Array | float, above: Array | float) -> Bounded:
    """Return one side where the sign of s is certain, else the hull of both."""
    with np.errstate(all="ignore"):
        return _switch(s, _bounded(below, s.arithmetic), _bounded(above, s.arithmetic))


def _switch(s: Bounded, low: Bounded, high: Bounded) -> Bounded:
    negative, certain = s.value < 0, (s.value + s.bound < 0) | (s.value - s.bound >= 0)
    middle = (low.value + high.value) / 2
    reach = np.abs(low.value - middle) + low.bound, np.abs(high.value - middle) + high.bound
    value = np.where(certain, np.where(negative, low.value, high.value), middle)
    one_side = np.where(negative, low.bound, high.bound)
    hull = np.maximum(*reach) * OWN_ROUNDING
    return Bounded(value, np.where(certain, one_side, hull), s.arithmetic)


@functions.floor.register
def _(s: Bounded) -> Bounded:
    low, high = np.floor(s.value - s.bound), np.floor(s.value + s.bound)
    return Bounded((low + high) / 2, (high - low) / 2, s.arithmetic)
