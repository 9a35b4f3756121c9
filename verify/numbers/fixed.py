"""``Fixed``: numbers in fixed point; all operations except additions round to their grid.

As in ``Bounded`` a sum stays *open*: products are exact, accumulators wide, and it is rounded when
something other than an addition uses it. Activations are computed in floating point, and rounded.
A rounded number is certain unless it was within its error of a tie: then it is an interval with
both neighbours. Sums of integers that the arithmetic can represent have no error.
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
    """Numbers in fixed point, exact with ``fraction`` bits after the point."""

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
        """Take midpoints and their error, as ``Bounded`` does; ``closed``: already rounded."""
        super().__init__(value, error, arithmetic, mass, roundings)
        self.rule, self.fraction, self.is_closed = rule, fraction, closed

    @classmethod
    def read(cls, numbers: Any, rule: Quantisation, arithmetic: Arithmetic) -> Fixed:
        """Round numbers, except for those that are already in fixed point."""
        return cls.unrounded(numbers, rule, arithmetic).closed

    @classmethod
    def unrounded(cls, numbers: Any, rule: Quantisation, arithmetic: Arithmetic) -> Fixed:
        """Return numbers unrounded; they are rounded when they are used."""
        if isinstance(numbers, Fixed):
            return numbers
        if isinstance(numbers, Bounded):
            return cls(numbers.value, numbers.bound, arithmetic, rule=rule)
        value = np.asarray(numbers, np.float64)
        integral = bool(np.all(value == np.round(value)))
        return cls(value, 0.0, arithmetic, rule=rule, fraction=0 if integral else UNKNOWN)

    @property
    def format(self) -> FixedPoint:
        """The format of stored numbers."""
        return cast("FixedPoint", self.rule.format)

    def _bounded(self) -> Floats:
        """Return the error; sums of integers that the arithmetic can represent have none."""
        representable = np.abs(self.mass) * 2.0**self.fraction < 1 / self.arithmetic.roundoff
        return (
            np.where(representable, self.error, super()._bounded())
            if self.roundings
            else self.error
        )

    @property
    def closed(self) -> Fixed:
        """The numbers, rounded to their format."""
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
        """The operands of a product: rounded numbers, except for unrounded inputs."""
        is_input = self.fraction == UNKNOWN and not self.roundings
        return self if is_input else self.closed

    @property
    def plain(self) -> Bounded:
        """The operands of a product as ordinary bounded numbers."""
        operand = self.as_read
        return Bounded(operand.value, operand.error, self.arithmetic)

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
        operands = [Fixed.unrounded(x, self.rule, self.arithmetic) for x in inputs]
        with np.errstate(all="ignore"):
            if ufunc in (np.add, np.subtract, np.negative):
                result = UFUNCS[ufunc](*operands)
                fraction = max(x.fraction for x in operands)
            elif ufunc in (np.multiply, np.matmul):
                result, fraction = self._product(ufunc, *(x.as_read for x in operands))
            else:
                return self._activation(ufunc, *(x.closed for x in operands))
        open_ = Fixed(
            result.value, result.error, self.arithmetic, result.mass, max(result.roundings, 1),
            rule=self.rule, fraction=fraction,
        )  # fmt: skip
        return open_.closed if self.rule.products and ufunc is np.multiply else open_

    def _product(self, ufunc: Any, a: Fixed, b: Fixed) -> tuple[Bounded, float]:
        """Return products, exact for integers; the open sum has the rounding of others."""
        parts = [(np.abs(x.value), x.bound) for x in (a, b)]
        (a_size, a_off), (b_size, b_off) = parts
        error = ufunc(a_size, b_off) + ufunc(a_off, b_size + b_off)
        mass = ufunc(a_size + a_off, b_size + b_off)
        terms = a.value.shape[-1] + 1 if ufunc is np.matmul else 2
        product = Bounded(ufunc(a.value, b.value), error, self.arithmetic, mass, terms)
        return product, min(a.fraction + b.fraction, UNKNOWN)

    def _activation(self, ufunc: Any, *operands: Fixed) -> Fixed:
        """Return the stored result of an operation of floating point."""
        result = UFUNCS[ufunc](*(x.plain for x in operands))
        return self._of_float(result, certain=ufunc is np.tanh and operands[0].is_zero)

    def _of_float(self, result: Any, *, certain: Any = False) -> Fixed:
        error = np.where(certain, 0.0, result.bound)
        return Fixed(result.value, error, self.arithmetic, rule=self.rule).closed

    @property
    def is_zero(self) -> Any:
        """A mask of the numbers that are certainly 0, whose activations are exact."""
        return (self.value == 0) & (self.error == 0)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Join the operands of products."""
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
    """Return numbers rounded to a format: midpoints, and the distance of both neighbours."""
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
