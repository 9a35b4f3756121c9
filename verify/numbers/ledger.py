"""Comparisons with expected numbers: within the bound, beyond it, or with too wide a bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference.arrays import Array, Floats
from .arithmetic import HALVES
from .bounded import Bounded

MENTIONED = 6
"""Further quantities in a message, after the worst."""


SHARP = {"float64": 2.0**-25, **dict.fromkeys(HALVES, 0.2)}
"""A comparison counts if its bound is below this share of the largest value; else it is blind.

In float64 it is half the roundoff of float32, so that results of float32 exceed the bound; in
float32 a hundredth, below the effects of all mutants except those of arithmetic; in halves a fifth,
below the effects of nearly all.
"""


SHARP_ELSEWHERE = 1e-2


class Mismatch(AssertionError):
    """A subject, or the reference itself, violates the statement of a check."""


class CoarserArithmetic(Mismatch):
    """Results are those of an ``arithmetic`` coarser than the claimed dtype."""

    def __init__(self, message: str, arithmetic: str) -> None:
        super().__init__(message)
        self.arithmetic = arithmetic


class Undecided(RuntimeError):
    """This case cannot decide anything; the message gives the reason."""


@dataclass(frozen=True)
class Comparison:
    """The comparison of one quantity: the largest error in units of its bound, and its place.

    ``first`` is the first wrong entry, in the order of the axes, or None. ``off`` of the
    ``entries`` are wrong.
    """

    quantity: str
    ratio: float
    where: tuple[int, ...]
    first: tuple[int, ...] | None
    got: float
    expected: float
    bound: float
    sharp: bool
    off: int = 0
    entries: int = 0

    def __str__(self) -> str:
        index = f"[{', '.join(map(str, self.where))}]" if self.where else ""
        if self.bound == 0:
            return f"{self.quantity}{index} = {self.got:.9g}, must be exactly {self.expected:.9g}"
        many = f"{self.ratio:.3g} times the bound" if self.ratio < 1e30 else "beyond any bound"
        many = many if np.isfinite(self.got) else "not finite"
        return (
            f"{self.quantity}{index} = {self.got:.9g}, expected {self.expected:.9g} ± "
            f"{self.bound:.2g} (error is {many})"
        )


@dataclass
class Ledger:
    """All comparisons of one case; ``share`` replaces that of ``SHARP``."""

    comparisons: list[Comparison] = field(default_factory=list)
    share: float | None = None

    def compare(self, quantity: str, got: Array, expected: Bounded, *, first: int = 0) -> None:
        """Compare an array with its expected numbers; a wrong shape raises Mismatch at once.

        ``first`` is the label of index 0 of the first axis. An error within a bound that is not
        sharp (a ReLU that may or may not be open) does not count towards the ratio.
        """
        got = np.asarray(got)
        if got.shape != expected.shape:
            raise Mismatch(f"{quantity}: expected shape {expected.shape}, got {got.shape}")
        if got.size == 0:
            return
        bound = expected.bound
        ratio = in_bounds(got.astype(np.float64), expected.value, bound)
        scale = float(np.max(np.abs(expected.value)))
        share = self.share or SHARP.get(expected.arithmetic.dtype_name, SHARP_ELSEWHERE)
        sharp = share * scale
        telling = (ratio > 1) | (bound <= sharp)
        where = np.unravel_index(int(np.argmax(np.where(telling, ratio, -1.0))), ratio.shape)
        off = np.argwhere(~(ratio <= 1))
        self.comparisons.append(
            Comparison(
                quantity,
                float(ratio[where]) if telling[where] else 0.0,
                _named_from(first, where),
                _named_from(first, off[0]) if len(off) else None,
                float(got[where]),
                float(expected.value[where]),
                float(bound[where]),
                sharp=scale == 0 or float(np.median(bound)) <= sharp,
                off=len(off),
                entries=got.size,
            )
        )

    def require(self, quantity: str, holds: bool, otherwise: str) -> None:
        """Record that a property holds, or raise Mismatch with ``otherwise``."""
        if not holds:
            raise Mismatch(f"{quantity}: {otherwise}")
        self.comparisons.append(Comparison(quantity, 0.0, (), None, 0.0, 0.0, 0.0, sharp=True))

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the largest error in units of its bound."""
        return max(self.comparisons, key=lambda c: c.ratio, default=None)

    @property
    def sharp(self) -> bool:
        """Whether anything was compared, and all bounds are sharp."""
        return bool(self.comparisons) and all(c.sharp for c in self.comparisons)

    def assert_within(self) -> None:
        """Raise Mismatch with all quantities whose error exceeds their bound, worst first."""
        failed = self.failed
        if failed:
            others = f"; also off: {', '.join(_names(failed[1:]))}" if failed[1:] else ""
            raise Mismatch(f"{failed[0]}{others}")

    @property
    def failed(self) -> list[Comparison]:
        """The comparisons whose error exceeds their bound, worst first."""
        return sorted((c for c in self.comparisons if not c.ratio <= 1), key=lambda c: -c.ratio)


def _named_from(first: int, index: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(k) + (first if axis == 0 else 0) for axis, k in enumerate(index))


def in_bounds(got: Floats, expected: Floats, bound: Floats) -> Floats:
    """Return |got - expected| / bound: 0 where the bound is infinite, else inf for NaN.

    Shapes are broadcast, so that many results can be compared with one.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got - expected)
        ratio = np.where(error == 0, 0.0, error / np.maximum(bound, np.finfo(float).tiny))
    ratio = np.where(np.isfinite(got), ratio, np.inf)
    return np.where(np.isinf(bound), 0.0, ratio)


def _names(comparisons: list[Comparison]) -> Iterator[str]:
    names = list(dict.fromkeys(c.quantity for c in comparisons))
    yield from names[:MENTIONED]
    if len(names) > MENTIONED:
        yield f"{len(names) - MENTIONED} more"
