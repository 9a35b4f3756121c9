"""A map of parameters whose weights are read through a rounding to a grid.

The rounding acts on the reference's parameters; gradients pass it as if it were not there
(straight through), or do not pass it at all, which is its derivative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.dual import Dual
from ..numbers.levels import Levels
from .parameter_map import ParameterMap
from .weight_grid import Grid, GridArray


@dataclass(frozen=True)
class RoundedMap(ParameterMap):
    """A map that rounds what it reads; ``case`` says in which arithmetic that is computed."""

    inner: ParameterMap
    grid: Grid
    straight: bool
    case: Case

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
        rounded = []
        for number, p in enumerate(read):
            on_grid = self.grid.on_grid(plain, number, self.case.arithmetic.roundoff)
            arrays = {n: self._rounded(a, on_grid[n]) if n in on_grid else a for n, a in p.items()}
            rounded.append(Parameters(p.shapes, arrays))
        return rounded

    def _rounded(self, array: Any, on_grid: GridArray) -> Array:
        """Return rounded numbers in an array's number system."""
        if isinstance(array, Dual):
            tangent = array.tangent if self.straight else 0 * array.tangent
            return Dual(self._rounded(array.value, on_grid), tangent)
        if isinstance(array, Bounded):
            return Levels.between(on_grid.low, on_grid.high, on_grid.steps, array)
        return on_grid.value.astype(array.dtype)

    def from_reference(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient in the arrays."""
        if self.straight:
            return self.inner.from_reference(gradient)
        kept = [
            Parameters(d.shapes, {n: 0 * a if n in self.grid.arrays else a for n, a in d.items()})
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
