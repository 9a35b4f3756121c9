"""Statistics of curves of log-norms against lag: slope, half-life, band, interval.

Over seeds logs are averaged, not norms: the largest norm dominates the mean of norms, whose
slope is then that of the luckiest seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats

LEVEL = 0.95


@dataclass(frozen=True)
class Rate:
    """The mean slope of ln ‖gradient‖ per step, its 95 % t-interval over seeds, and their number.

    With one seed the interval is empty (None). ``value`` is None if no seed has a gradient left.
    """

    value: float | None
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Band:
    """At each lag the 10 %, 50 % and 90 % points of ln ‖gradient‖ over seeds; None for -inf.

    In five decimals, which is more than a curve shows.
    """

    low: list[float | None]
    median: list[float | None]
    high: list[float | None]


def slope(lags: Sequence[int] | Floats, logs: Floats) -> float:
    """Return the least-squares slope of ``logs`` per step; NaN where they are not all finite."""
    if not np.isfinite(logs).all() or len(logs) < 2:
        return math.nan
    away = np.asarray(lags) - np.mean(lags)
    return float(away @ (logs - logs.mean()) / (away @ away))


def rate(slopes: Floats) -> Rate:
    """Return the mean of the slopes that are numbers, with its interval."""
    finite = slopes[np.isfinite(slopes)]
    if len(finite) == 0:
        return Rate(None, None, None, 0)
    mean = float(finite.mean())
    if len(finite) == 1:
        return Rate(mean, None, None, 1)
    from scipy.special import stdtrit

    quantile = float(stdtrit(len(finite) - 1, (1 + LEVEL) / 2))
    reach = quantile * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return Rate(mean, mean - reach, mean + reach, len(finite))


def half_life(rate: float) -> float:
    """Return ln 2 / |rate|: the steps in which a gradient halves or, for rate > 0, doubles."""
    return math.log(2) / abs(rate) if rate else math.inf


def band(logs: Floats) -> Band:
    """Return the band of curves (seeds, lags), by order statistics: -inf among them is allowed."""
    points = np.quantile(logs, [0.1, 0.5, 0.9], axis=0, method="nearest")
    return Band(*([or_none(round(value, 5)) for value in row] for row in points.tolist()))


def log_of_mean(logs: Floats) -> float:
    """Return the log of the mean of exp(``logs``), (n,)."""
    from scipy.special import logsumexp

    return float(logsumexp(logs)) - math.log(len(logs))


def or_none(value: float) -> float | None:
    """Return a finite number, or None, as JSON requires."""
    return float(value) if math.isfinite(value) else None
