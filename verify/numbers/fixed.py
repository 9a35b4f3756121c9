"""``Fixed``: numbers in fixed point, which every operation but an addition rounds to their grid.

As in ``Bounded`` a sum stays *open*: products are exact, accumulators wide, and it is rounded when
something other than an addition uses it. Activations are computed in floating point, and rounded.
A result is certain unless what is rounded lies as near to a tie as its own error: then it is an
interval that has both neighbours in it. Sums of integers that the arithmetic holds have no error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from ...reference import functions
from ...reference.arrays import Array, Floats
from .arithmetic import Arithmetic
from .bounded import UFUNCS, Bounded
from .quantisation import FixedPoint, Quantisation, count, neighbours

UNKNOWN = 500.0
"""Fractional bits of a number that is on no grid."""


class Fixed(Bounded):
    """Numbers in fixed point; ``fraction`` bits after the point hold them as they are."""

    def __init__(
        self,
        value: ArrayLike,
        error: ArrayLike,
        arithmetic: Arithmetic,
        mass: Floats | None = None,
        roundings: float = 0,
        *,
        rule: Quantisation,
        fraction: float = UNKNOWN,
        closed: bool = False,
    ) -> None:
        """Take midpoints and their error, as ``Bounded`` does; ``closed``: rounded already."""
        super().__init__(value, error, arithmetic, mass, roundings)
        self.rule, self.fraction, self.is_closed = rule, fraction, closed

    @classmethod
    def read(cls, given: Any, rule: Quantisation, arithmetic: Arithmetic) -> Fixed:
        """Round what is given; numbers that are in fixed point already stay as they are."""
        return cls.given_as(given, rule, arithmetic).closed

    @classmethod
    def given_as(cls, given: Any, rule: Quantisation, arithmetic: Arithmetic) -> Fixed:
        """Take what is given as it is, until it is used."""
        if isinstance(given, Fixed):
            return given
        if isinstance(given, Bounded):
            return cls(given.value, given.bound, arithmetic, rule=rule)
        value = np.asarray(given, np.float64)
        whole = bool(np.all(value == np.round(value)))
        return cls(value, 0.0, arithmetic, rule=rule, fraction=0 if whole else UNKNOWN)

    @property
    def format(self) -> FixedPoint:
        """The format of what is stored."""
        return cast("FixedPoint", self.rule.format)

    def _bounded(self) -> Floats:
        """Return the error, without that of sums of integers that the arithmetic holds."""
        held = np.abs(self.mass) * 2.0**self.fraction < 1 / self.arithmetic.roundoff
        return np.where(held, self.error, super()._bounded()) if self.roundings else self.error

    @property
    def closed(self) -> Fixed:
        """The numbers as they are stored."""
        if self.is_closed:
            return self
        value, error = stored(self, self.format, self.rule)
        return Fixed(
            value,
            error,
            self.arithmetic,
            rule=self.rule,
            fraction=self.format.fraction,
            closed=True,
        )

    @property
    def as_read(self) -> Fixed:
        """The numbers as a product reads them: stored, unless they were given."""
        given = self.fraction == UNKNOWN and not self.roundings
        return self if given else self.closed

    @property
    def plain(self) -> Bounded:
        """The numbers as they are read, as any others with bounds."""
        read = self.as_read
        return Bounded(read.value, read.error, self.arithmetic)

    def _rearranged(self, function: Callable[[Floats], Floats]) -> Fixed:
        value, error, mass = (function(np.asarray(a)) for a in (self.value, self.error, self.mass))
        return Fixed(
            value, error, self.arithmetic, mass, self.roundings,
            rule=self.rule, fraction=self.fraction, closed=self.is_closed,
        )  # fmt: skip

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Fixed:
        """Return the open sum over an axis or over everything."""
        summed = cast("Fixed", super().sum(axis=axis, keepdims=keepdims))
        summed.is_closed = False
        return summed

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc not in UFUNCS or method != "__call__" or kwargs:
            return NotImplemented
        operands = [Fixed.given_as(x, self.rule, self.arithmetic) for x in inputs]
        with np.errstate(all="ignore"):
            if ufunc in (np.add, np.subtract, np.negative):
                made = UFUNCS[ufunc](*operands)
                fraction = max(x.fraction for x in operands)
            elif ufunc in (np.multiply, np.matmul):
                made, fraction = self._product(ufunc, *(x.as_read for x in operands))
            else:
                return self._activation(ufunc, *(x.closed for x in operands))
        open_ = Fixed(
            made.value, made.error, self.arithmetic, made.mass, max(made.roundings, 1),
            rule=self.rule, fraction=fraction,
        )  # fmt: skip
        return open_.closed if self.rule.products and ufunc is np.multiply else open_

    def _product(self, ufunc: Any, a: Fixed, b: Fixed) -> tuple[Bounded, float]:
        """Return products, exact where integers are; the rounding of others is the open sum's."""
        parts = [(np.abs(x.value), x.bound) for x in (a, b)]
        (a_size, a_off), (b_size, b_off) = parts
        error = ufunc(a_size, b_off) + ufunc(a_off, b_size + b_off)
        mass = ufunc(a_size + a_off, b_size + b_off)
        terms = a.value.shape[-1] + 1 if ufunc is np.matmul else 2
        made = Bounded(ufunc(a.value, b.value), error, self.arithmetic, mass, terms)
        return made, min(a.fraction + b.fraction, UNKNOWN)

    def _activation(self, ufunc: Any, *operands: Fixed) -> Fixed:
        """Return the stored result of an operation of floating point."""
        made = UFUNCS[ufunc](*(x.plain for x in operands))
        return self._of_float(made, certain=ufunc is np.tanh and operands[0].is_zero)

    def _of_float(self, made: Any, *, certain: Any = False) -> Fixed:
        error = np.where(certain, 0.0, made.bound)
        return Fixed(made.value, error, self.arithmetic, rule=self.rule).closed

    @property
    def is_zero(self) -> Any:
        """Which numbers are certainly 0: there, every program's activations are exact."""
        return (self.value == 0) & (self.error == 0)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Join numbers as they are read."""
        parts: list[Fixed] = []

        def plain(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return type(value)(map(plain, value))
            if isinstance(value, Fixed):
                parts.append(value.as_read)
                return Bounded(parts[-1].value, parts[-1].error, self.arithmetic)
            return value

        joined = super().__array_function__(function, types, plain(args), kwargs)
        if joined is NotImplemented:
            return joined
        return Fixed(
            joined.value, joined.error, self.arithmetic, rule=self.rule,
            fraction=max(x.fraction for x in parts), closed=all(x.is_closed for x in parts),
        )  # fmt: skip


def stored(number: Bounded, form: FixedPoint, rule: Quantisation) -> tuple[Floats, Floats]:
    """Return numbers rounded to a format: midpoints, and how far both neighbours are from them."""
    low, high = neighbours(number.value / form.step, number.bound / form.step, rule.rounding)
    least, most = form.ends
    if rule.overflow == "saturate":
        low, high = np.clip(low, least, most), np.clip(high, least, most)
    else:
        span = most - least + 1
        turned = [np.mod(end - least, span) + least for end in (low, high)]
        across = (turned[0] > turned[1]) | ~np.isfinite(number.bound)
        low, high = np.where(across, least, turned[0]), np.where(across, most, turned[1])
    count(low, high)
    return (low + high) / 2 * form.step, (high - low) / 2 * form.step


@functions.sigmoid.register
def _(s: Fixed) -> Fixed:
    a = s.closed
    return s._of_float(functions.sigmoid(a.plain), certain=a.is_zero)


@functions.zeros.register
def _(like: Fixed, shape: tuple[int, ...]) -> Fixed:
    return Fixed(
        np.zeros(shape), 0.0, like.arithmetic, rule=like.rule, fraction=like.format.fraction,
        closed=True,
    )  # fmt: skip


@functions.switch.register
def _(s: Fixed, below: Array | float, above: Array | float) -> Fixed:
    sides = (Fixed.read(side, s.rule, s.arithmetic).plain for side in (below, above))
    return s._of_float(functions.switch(s.plain, *sides))


@functions.floor.register
def _(s: Fixed) -> Fixed:
    return s._of_float(functions.floor(s.plain))
