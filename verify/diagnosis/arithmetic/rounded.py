"""A subject whose weights are read through a rounding: what it has to compute is then exact.

The rounding acts on the reference's parameters; gradients pass it as if it were not there
(straight through), or do not pass it at all, which is its derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...conventions.parameter_map import ParameterMap
from ...numbers.bounded import Bounded
from ...numbers.dual import Dual
from ..stand_in import StandIn

MATRICES = ("W", "U", "R")
"""The parameters that are weights; the others are vectors."""

Rounding = Callable[[Sequence[Parameters]], Sequence[Parameters]]
"""From the parameters of all passes to those that are computed with, plain numbers."""


@dataclass(frozen=True)
class Rounded(StandIn):
    """A subject, and how it rounds the parameters of all passes."""

    rounding: Rounding
    straight: bool = True

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the subject's map, with the rounding in it."""
        return RoundedMap(self.subject.parameter_map(case), self.rounding, self.straight)


@dataclass(frozen=True)
class RoundedMap(ParameterMap):
    """A map that rounds what it reads."""

    inner: ParameterMap
    rounding: Rounding
    straight: bool

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every array."""
        return self.inner.shapes()

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw one array."""
        return self.inner.draw(name, shape)

    def to_reference(self, named: Mapping[str, Array]) -> Sequence[Parameters]:
        """Return the rounded parameters."""
        read = self.inner.to_reference(named)
        plain = [p.map(_value) for p in read]
        rounded = self.rounding(plain)
        return [
            Parameters(
                p.shapes, {n: _with_value(a, q[n], v[n], self.straight) for n, a in p.items()}
            )
            for p, q, v in zip(read, rounded, plain, strict=True)
        ]

    def from_reference(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient in the arrays."""
        if self.straight:
            return self.inner.from_reference(gradient)
        kept = [
            Parameters(d.shapes, {n: 0 * a if n in MATRICES else a for n, a in d.items()})
            for d in gradient
        ]
        return self.inner.from_reference(kept)

    def pack(self, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean these parameters before they are rounded."""
        return self.inner.pack(parameters)

    def place(self, name: str, index: tuple[int, ...]) -> str:
        """Say where in the layer an entry stands."""
        return self.inner.place(name, index)


def _value(array: Array) -> Array:
    if isinstance(array, Dual):
        return _value(array.value)
    return array.value if isinstance(array, Bounded) else np.asarray(array)


def _with_value(array: Any, rounded: Array, value: Array, straight: bool) -> Array:
    """Return rounded numbers in an array's number system; the array where nothing is rounded."""
    if rounded is value:
        return array
    if isinstance(array, Dual):
        tangent = array.tangent if straight else 0 * array.tangent
        return Dual(_with_value(array.value, rounded, value, straight), tangent)
    if isinstance(array, Bounded):
        return Bounded.exact(rounded, array.arithmetic)
    return rounded.astype(value.dtype)
