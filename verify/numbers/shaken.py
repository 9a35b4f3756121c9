"""``Shaken``: floats whose operations change their operands by a share with random signs.

The deviation of a computation on such numbers shows the effect of rounding on its results, also in
cancellations: a rounding is such a change, by the unit roundoff (Vignes 1993; Parker 1997).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Floats, NumberSystem
from .followed import lifted, scattered, with_added


class Shaken(NumberSystem):
    """Float64 numbers; ``share`` is their relative change, ``rng`` draws the signs."""

    value: Floats

    def __init__(self, value: Any, rng: np.random.Generator, share: float) -> None:
        self.value = np.asarray(value, np.float64)
        self.rng, self.share = rng, share

    @property
    def changed(self) -> Floats:
        """The numbers with new random changes."""
        signs = self.rng.integers(0, 2, self.value.shape)
        return self.value * (1 + self.share * (2 * signs - 1))

    def like(self, value: Any) -> Shaken:
        """Return other numbers that change in the same way."""
        return Shaken(value, self.rng, self.share)

    def _rearranged(self, function: Callable[[Floats], Floats]) -> Shaken:
        return self.like(function(self.value))

    def _joined(self, arrays: Sequence[Any], function: Callable[[list[Any]], Floats]) -> Shaken:
        return self.like(function([plain(a) for a in arrays]))

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Shaken:
        """Return the sum over an axis, or over everything."""
        return self.like(self.changed.sum(axis=axis, keepdims=keepdims))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        return self._applied(ufunc, *inputs)

    def _applied(self, function: Callable[..., Any], *inputs: Any) -> Shaken:
        operands = (x.changed if isinstance(x, Shaken) else x for x in inputs)
        return self.like(self.like(function(*operands)).changed)


def plain(x: Any) -> Any:
    """Return the numbers themselves."""
    return x.value if isinstance(x, Shaken) else x


@lifted.register
def _(like: Shaken, constant: Any) -> Shaken:
    return like.like(constant)


@scattered.register
def _(d: Shaken, index: Floats, shape: tuple[int, ...]) -> Shaken:
    return d.like(with_added(d.changed, index, shape))


@functions.sigmoid.register
def _(s: Shaken) -> Shaken:
    return s._applied(functions.sigmoid, s)


@functions.zeros.register
def _(like: Shaken, shape: tuple[int, ...]) -> Shaken:
    return like.like(np.zeros(shape))


@functions.switch.register
def _(s: Shaken, below: Any, above: Any) -> Shaken:
    return s.like(np.where(s.value < 0, plain(below), plain(above)))
