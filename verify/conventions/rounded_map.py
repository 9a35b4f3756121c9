"""A map of parameters that rounds weights to a grid.

The rounding acts on the reference's parameters. Gradients pass it unchanged (straight through), or
are 0, which is its derivative.
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
    """A map that rounds the parameters of another, in the arithmetic of ``case``."""

    inner: ParameterMap
    grid: Grid
    straight: bool
    case: Case

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of all arrays."""
        return self.inner.shapes()

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw one array."""
        return self.inner.draw(name, shape)

    def to_reference(self, named: Mapping[str, Array]) -> Sequence[Parameters]:
        """Return the rounded parameters."""
        unrounded = self.inner.to_reference(named)
        plain = [p.map(_value) for p in unrounded]
        rounded = []
        for number, p in enumerate(unrounded):
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
        """Return the gradient by the arrays."""
        if self.straight:
            return self.inner.from_reference(gradient)
        passed = [
            Parameters(d.shapes, {n: 0 * a if n in self.grid.arrays else a for n, a in d.items()})
            for d in gradient
        ]
        return self.inner.from_reference(passed)

    def pack(self, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean these parameters before they are rounded."""
        return self.inner.pack(parameters)

    def place(self, name: str, index: tuple[int, ...]) -> str:
        """Return the place of an entry in the layer."""
        return self.inner.place(name, index)


def _value(array: Array) -> Array:
    if isinstance(array, Dual):
        return _value(array.value)
    return array.value if isinstance(array, Bounded) else np.asarray(array)
