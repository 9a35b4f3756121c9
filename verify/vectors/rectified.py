"""Numbers on which every sigmoid and tanh is a ReLU, as in WebNN's tests of its operators.

The reference has no cell with such gates. On these numbers the equations of any cell compute one,
and so do all mistakes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import functions
from ...reference.arrays import Floats
from ..numbers.arithmetic import Arithmetic
from ..numbers.bounded import Bounded


class RectifiedFloats(np.ndarray[Any, Any]):
    """Floats on which sigmoid and tanh are ReLU."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        if ufunc is np.tanh:
            return np.maximum(plain[0], 0).view(RectifiedFloats)
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(RectifiedFloats) if isinstance(result, np.ndarray) else result


@functions.sigmoid.register
def _(s: RectifiedFloats) -> RectifiedFloats:
    rectified: RectifiedFloats = np.maximum(np.asarray(s), 0).view(RectifiedFloats)
    return rectified


class RectifiedBounded(Bounded):
    """Bounded numbers on which sigmoid and tanh are ReLU."""

    @classmethod
    def from_bounded(cls, x: Any) -> Any:
        """Return the same bounded numbers with these activations; other values unchanged."""
        if not isinstance(x, Bounded) or isinstance(x, cls):
            return x
        return cls(x.value, x.error, x.arithmetic, x.mass, x.roundings)

    def _rearranged(self, function: Any) -> Bounded:
        rearranged: Bounded = self.from_bounded(super()._rearranged(function))
        return rearranged

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc is np.tanh:
            return self.from_bounded(functions.relu(self))
        return self.from_bounded(super().__array_ufunc__(ufunc, method, *inputs, **kwargs))

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return self.from_bounded(super().__array_function__(function, types, args, kwargs))


@functions.sigmoid.register
def _(s: RectifiedBounded) -> Bounded:
    rectified: Bounded = RectifiedBounded.from_bounded(functions.relu(s))
    return rectified


def exact(array: Floats, arithmetic: Arithmetic, *, rectified: bool) -> Bounded:
    """Return numbers that are given, with bounds."""
    kind = RectifiedBounded if rectified else Bounded
    return kind.exact(array, arithmetic)


def floats(array: Floats, *, rectified: bool) -> Floats:
    """Return plain numbers, float64."""
    wide = np.array(array, np.float64)
    return wide.view(RectifiedFloats) if rectified else wide
