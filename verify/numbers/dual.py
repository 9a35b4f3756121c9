"""``Dual``: a number and its derivative along one direction, both of any number system.

The equations, run on duals of ``Bounded`` numbers, yield the Jacobian-vector product and a bound
on its rounding error (forward-mode differentiation; Griewank & Walther 2008, ch. 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Array, NumberSystem


class Dual(NumberSystem):
    """An array ``value`` and its derivative ``tangent``, of the same shape and number system."""

    def __init__(self, value: Any, tangent: Any) -> None:
        self.value, self.tangent = value, tangent

    def _rearranged(self, function: Callable[[Any], Any]) -> Dual:
        return Dual(function(self.value), function(self.tangent))

    def _joined(self, arrays: Sequence[Any], function: Callable[[list[Array]], Array]) -> Dual:
        duals = [a if isinstance(a, Dual) else _constant(a, self) for a in arrays]
        return Dual(function([d.value for d in duals]), function([d.tangent for d in duals]))

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Dual:
        """Return the sum over an axis, or over everything."""
        return self._rearranged(lambda array: array.sum(axis=axis, keepdims=keepdims))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = UFUNCS.get(ufunc)
        if rule is None or method != "__call__" or kwargs:
            return NotImplemented
        return rule(*(x if isinstance(x, Dual) else _constant(x, self) for x in inputs))


def _constant(x: Array, like: Dual) -> Dual:
    value = np.asarray(x, dtype=np.float64)
    nothing = functions.zeros(like.tangent, value.shape)
    return Dual(nothing + value, nothing)


def _tanh(a: Dual) -> Dual:
    value = functions.tanh(a.value)
    return Dual(value, functions.tanh_slope(value) * a.tangent)


def _exp(a: Dual) -> Dual:
    value = np.exp(a.value)
    return Dual(value, value * a.tangent)


def _sqrt(a: Dual) -> Dual:
    value = np.sqrt(a.value)
    return Dual(value, a.tangent / (2 * value))


def _log(a: Dual) -> Dual:
    return Dual(np.log(a.value), a.tangent / a.value)


def _divide(a: Dual, b: Dual) -> Dual:
    value = a.value / b.value
    return Dual(value, (a.tangent - value * b.tangent) / b.value)


UFUNCS: dict[Any, Callable[..., Dual]] = {
    np.add: lambda a, b: Dual(a.value + b.value, a.tangent + b.tangent),
    np.subtract: lambda a, b: Dual(a.value - b.value, a.tangent - b.tangent),
    np.negative: lambda a: Dual(-a.value, -a.tangent),
    np.multiply: lambda a, b: Dual(a.value * b.value, a.tangent * b.value + a.value * b.tangent),
    np.matmul: lambda a, b: Dual(a.value @ b.value, a.tangent @ b.value + a.value @ b.tangent),
    np.true_divide: _divide,
    np.tanh: _tanh,
    np.exp: _exp,
    np.log: _log,
    np.sqrt: _sqrt,
    np.sin: lambda a: Dual(np.sin(a.value), np.cos(a.value) * a.tangent),
    np.cos: lambda a: Dual(np.cos(a.value), -np.sin(a.value) * a.tangent),
}


@functions.sigmoid.register
def _(s: Dual) -> Dual:
    value = functions.sigmoid(s.value)
    return Dual(value, functions.sigmoid_slope(value) * s.tangent)


@functions.softplus.register
def _(s: Dual) -> Dual:
    return Dual(functions.softplus(s.value), functions.sigmoid(s.value) * s.tangent)


@functions.zeros.register
def _(like: Dual, shape: tuple[int, ...]) -> Dual:
    return Dual(functions.zeros(like.value, shape), functions.zeros(like.tangent, shape))


@functions.switch.register
def _(s: Dual, below: Array, above: Array) -> Dual:
    """Choose by the value; where it is undecided, value and tangent are hulls of both sides."""
    low, high = (x if isinstance(x, Dual) else _constant(x + 0 * s.value.value, s)
                 for x in (below, above))  # fmt: skip
    return Dual(
        functions.switch(s.value, low.value, high.value),
        functions.switch(s.value, low.tangent, high.tangent),
    )


@functions.floor.register
def _(s: Dual) -> Dual:
    return Dual(functions.floor(s.value), functions.zeros(s.tangent, s.shape))


@functions.binarise.register
def _(u: Dual) -> Dual:
    return Dual(functions.binarise(u.value), u.tangent)
