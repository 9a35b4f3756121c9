"""What is measured against what theory says; run with every bench, before anything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array
from .methods import Methods

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Finding:
    """What theory expects, what was measured, how far apart they are, and how far they may be.

    ``where`` says which of several was worst. With ``at_most`` the expected value is a bound, and
    the error is by how much it is exceeded.
    """

    expected: float
    measured: float
    error: float
    allowed: float
    where: str = ""
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within what is allowed; NaN is not."""
        return bool(self.error <= self.allowed)

    @property
    def digits(self) -> float | None:
        """The digits that agree, at most the 15.95 of float64; None for a bound."""
        if self.at_most:
            return None
        if not self.error >= 0 or self.error == math.inf:
            return 0.0
        return max(0.0, -math.log10(max(self.error, EPS / 2)))


@dataclass(frozen=True)
class Validation:
    """A law: its id, its statement, why so much is allowed, and what measures it."""

    id: str
    statement: str
    allowance: str
    measure: Callable[[Methods], Finding]


def compare(
    expected: Array, measured: Array, allowed: float, where: str = "", scale: float | None = None
) -> Finding:
    """Compare arrays entry by entry, relative to the largest expected one; report the worst."""
    expected, measured = np.atleast_1d(expected), np.atleast_1d(measured)
    if expected.shape != measured.shape:
        return Finding(math.nan, math.nan, math.inf, allowed, f"{where}: shape {measured.shape}")
    allowed = float(allowed)
    apart = np.abs(measured - expected) / (scale or np.abs(expected).max())
    apart = np.where(np.isnan(apart), np.inf, apart)
    k = np.unravel_index(apart.argmax(), apart.shape)
    return Finding(float(expected[k]), float(measured[k]), float(apart[k]), allowed, where)


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the finding that uses most of what it is allowed."""
    return max(findings, key=lambda f: f.error / f.allowed if f.allowed else f.error and math.inf)


def validations() -> Sequence[Validation]:
    """Return all validations."""
    from . import validations_of_jacobians, validations_over_time

    return (*validations_of_jacobians.VALIDATIONS, *validations_over_time.VALIDATIONS)
