"""Grids of weights: the groups that share a scale, and the rounding to its multiples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..numbers.quantisation import OPERANDS, Quantisation, QuantisationError, neighbours

MATRICES = ("W", "U", "R")
"""The parameters that are weights; the others are vectors."""

MATRIX_AXES = ("gate", "input", "unit")
"""The axes of W and U."""

INPUT_OF = {"W": "x", "U": "h", "R": "the projection"}
"""The factor of each matrix in its product."""

FLOATS = {10: "float16", 7: "bfloat16"}
"""Dtypes by the bits of their fraction; their steps are proportional to the weight."""

WAYS = {"even": "", "down": " (down)", "zero": " (toward zero)", "away": "", "up": ""}
"""Words for each rounding; none for rounding to the nearest."""

SCALE_ERROR = 4
"""Roundings of a weight by its scale: of the scale, twice, of the quotient, of adding a zero."""

WHOLE = 3e-5
"""Largest distance of the exponent of a power of two from an integer."""

MOST_BITS = 16
"""Bits of weights that can be declared."""

Ends = tuple[Array, Array]
"""The smallest and the largest weight of a group, for every weight of an array (broadcast)."""

Group = Callable[[Sequence[Parameters], int, str], Ends]
"""A function of the parameters of all passes, the number of one, and the name of an array."""


def _matrices(p: Parameters) -> list[Array]:
    return [p[n] for n in MATRICES if n in p]


def _along(*axes: int) -> Group:
    """Return the group of weights of one array that differ only along these axes.

    The axes are those of W and U (gates, inputs, units); R counts as an array of one gate.
    """

    def ends(passes: Sequence[Parameters], number: int, name: str) -> Ends:
        a = passes[number][name]
        within = axes if a.ndim == len(MATRIX_AXES) else tuple(k - 1 for k in axes if k)
        return a.min(axis=within, keepdims=True), a.max(axis=within, keepdims=True)

    return ends


def _together(arrays: Callable[[Sequence[Parameters], int, str], Sequence[Array]]) -> Group:
    """Return the group of all weights of several arrays."""

    def ends(passes: Sequence[Parameters], number: int, name: str) -> Ends:
        weights = np.concatenate([a.ravel() for a in arrays(passes, number, name)])
        return np.asarray(weights.min()), np.asarray(weights.max())

    return ends


GROUPS: dict[str, tuple[str, Group]] = {
    "channel": ("one scale for each unit of each gate", _along(1)),
    "input": ("one scale for each input of each gate", _along(2)),
    "column": ("one scale for each input of a matrix, over all gates", _along(0, 2)),
    "gate": ("one scale for each gate of each matrix", _along(1, 2)),
    "matrix": ("one scale for each matrix", _along(0, 1, 2)),
    "pass": (
        "one scale for the matrices of x and h of each pass",
        _together(lambda passes, number, name: _matrices(passes[number])),
    ),
    "name": (
        "all layers and directions share one scale for each of the two matrices",
        _together(lambda passes, number, name: [p[name] for p in passes]),
    ),
    "first of its name": (
        "later layers and directions take the scale of the first one's matrix",
        _together(lambda passes, number, name: [passes[0][name]]),
    ),
    "first": (
        "later layers and directions take the scale of the first one's matrices",
        _together(lambda passes, number, name: _matrices(passes[0])),
    ),
    "all": (
        "all matrices of all layers and directions share one scale",
        _together(lambda passes, number, name: [a for p in passes for a in _matrices(p)]),
    ),
}
"""Groups of weights that may share a scale, with their words, from a unit's to all."""

SHARED = ("name", "first of its name", "first", "all")
"""Groups in which the scale of one layer depends on another's weights."""


class GridArray(NamedTuple):
    """One array on a grid.

    ``low`` and ``high`` are integers less the zero point; they differ at ties, where both are
    possible. ``steps`` are the distances of the grid.
    """

    low: Array
    high: Array
    steps: Array

    @property
    def value(self) -> Array:
        """The numbers; midpoints at ties."""
        return (self.low + self.high) / 2 * self.steps


@dataclass(frozen=True)
class Grid:
    """A grid to which weights are rounded.

    ``kind``: ``scale`` (multiples of a ``group``'s largest magnitude / ``levels``), ``range``
    (``levels`` steps from a group's smallest to its largest weight), ``step`` (multiples of
    ``step``), ``float`` (``levels`` bits of a fraction). ``ends`` are the least and the largest
    level, None without limits. The zero of a range is a level unless ``offset``; with
    ``through_zero`` the range is widened to contain 0. ``arrays`` are rounded.
    """

    kind: str
    group: str = ""
    levels: float = 0
    step: float = 0.0
    rounding: str = "even"
    ends: tuple[float, float] | None = None
    offset: bool = False
    through_zero: bool = False
    arrays: tuple[str, ...] = MATRICES

    @property
    def words(self) -> str:
        """The grid in words."""
        names = " and ".join(INPUT_OF.get(name, name) for name in self.arrays)
        alone = f", those of {names} alone" if self.partial else ""
        return f"{self._words}{alone}"

    @property
    def partial(self) -> bool:
        """Whether some arrays are rounded and others are not."""
        return self.arrays != MATRICES

    @property
    def _words(self) -> str:
        if self.kind == "step":
            exponent = float(np.log2(self.step))
            integral = abs(exponent - round(exponent)) < WHOLE
            step = f"2^{round(exponent)}" if integral else f"{self.step:.6g}"
            return f"multiples of {step}{WAYS[self.rounding]}"
        if self.kind == "float":
            bits = int(self.levels)
            return FLOATS.get(bits, f"a float of {bits} bits after the point")
        formula = f"{GROUPS[self.group][0]} ({self._formula})"
        return f"{self.bits} bits{WAYS[self.rounding]}, {formula}"

    @property
    def bits(self) -> int:
        """The number of bits that hold a level."""
        count = self.levels + 1 if self.kind == "range" else 2 * self.levels
        return int(np.ceil(np.log2(count)))

    @property
    def _formula(self) -> str:
        magnitude = (
            "the largest of all" if self.group in ("name", "all") else "its largest magnitude"
        )
        return f"{'its range' if self.kind == 'range' else magnitude} / {self.levels:.6g}"

    @property
    def shared(self) -> bool:
        """Whether the scale of one layer depends on another's weights."""
        return self.group in SHARED

    def rounded(self, passes: Sequence[Parameters]) -> list[Parameters]:
        """Round the weights of all passes."""
        rounded = []
        for number, p in enumerate(passes):
            on_grid = self.on_grid(passes, number, 0.0)
            arrays = {n: on_grid[n].value.astype(a.dtype) if n in on_grid else a
                      for n, a in p.items()}  # fmt: skip
            rounded.append(Parameters(p.shapes, arrays))
        return rounded

    def on_grid(
        self, passes: Sequence[Parameters], number: int, roundoff: float
    ) -> dict[str, GridArray]:
        """Return the integers of one pass's weights that a program may compute.

        Programs divide by a scale in an arithmetic of this ``roundoff``: near a tie both
        neighbours are possible.
        """
        p = passes[number]
        return {
            name: self._array(passes, number, name, np.asarray(p[name], np.float64), roundoff)
            for name in self.arrays if name in p
        }  # fmt: skip

    def _array(
        self, passes: Sequence[Parameters], number: int, name: str, a: Array, roundoff: float
    ) -> GridArray:
        if self.kind in ("float", "step"):
            steps = np.asarray(self.step)
            if self.kind == "float":
                exponent = np.floor(np.log2(np.abs(np.where(a == 0, 1, a))))
                steps = 2.0 ** (exponent - self.levels)
            integers = neighbours(a / steps, 0.0, self.rounding)[0]
            return GridArray(integers, integers, steps)
        least, most = (
            np.asarray(e, np.float64) for e in GROUPS[self.group][1](passes, number, name)
        )
        if self.through_zero:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
        extent = extent_of(self.kind, least, most)
        steps = extent / self.levels
        steps = np.where(steps == 0, 1.0, steps)
        error = SCALE_ERROR * np.where(_exact(steps, extent, self.levels), 0.0, roundoff)
        if self.kind == "scale":
            low, high = neighbours(a / steps, error * np.abs(a / steps), self.rounding)
            if self.ends:
                low, high = np.clip(low, *self.ends), np.clip(high, *self.ends)
            return GridArray(low, high, steps)
        zero = -least / steps
        zeros = neighbours(zero, error * np.abs(zero), "even") if not self.offset else (zero,)
        candidates = []
        for z in zeros:
            error_of_level = error * (np.abs(a / steps) + np.abs(z))
            levels = neighbours(a / steps + z, error_of_level, self.rounding)
            candidates += [np.clip(level, 0, self.levels) - z for level in levels]
        return GridArray(np.minimum.reduce(candidates), np.maximum.reduce(candidates), steps)


def _exact(steps: Array, extent: Array, levels: float) -> Array:
    """Return whether scales are powers of two: their quotients are exact in any arithmetic."""
    return (np.frexp(steps)[0] == 0.5) & (steps * levels == extent)


def extent_of(kind: str, low: Array, high: Array) -> Array:
    """Return the extent that a scale is proportional to: a range, or the largest magnitude."""
    return high - low if kind == "range" else np.maximum(np.abs(low), np.abs(high))


def grid_of(quantisation: Quantisation) -> Grid | None:
    """Return the grid of a quantisation's weights; None if they are not on one."""
    if not quantisation.weights:
        return None
    if quantisation.per not in GROUPS:
        groups = ", ".join(GROUPS)
        raise QuantisationError(f"quantised: per: expected one of {groups}, got {quantisation.per}")
    arrays = tuple(OPERANDS[letter] for letter in quantisation.matrices)
    most = 2.0 ** (quantisation.weights - 1)
    return Grid(
        "range" if quantisation.weight_zero else "scale",
        quantisation.per,
        quantisation.levels,
        rounding=quantisation.rounding,
        ends=None if quantisation.weight_zero else (-most, most - 1),
        through_zero=quantisation.weight_zero,
        arrays=MATRICES if arrays == ("W", "U") else arrays,
    )


def declaration(grid: Grid) -> Quantisation | None:
    """Return the quantisation that declares a grid; None if there is none."""
    letters = {array: letter for letter, array in OPERANDS.items()}
    if grid.kind not in ("scale", "range") or grid.offset or not 2 <= grid.bits <= MOST_BITS:
        return None
    names = ("W", "U") if grid.arrays == MATRICES else grid.arrays
    quantisation = Quantisation(
        weights=grid.bits,
        per=grid.group,
        weight_zero=grid.kind == "range",
        weight_levels=float(grid.levels),
        matrices="".join(letters.get(array, "") for array in names),
        rounding=grid.rounding,
    )
    plain = replace(quantisation, weight_levels=0.0)
    return plain if plain.levels == quantisation.levels else quantisation
