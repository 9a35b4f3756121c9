"""A test of whether a difference is chance, based only on the coin that ordered each pair.

Two calls that take the same time are exchangeable within a pair whose order was drawn: whatever the
machine did, the log ratio would have had the other sign had the coin fallen the other way. So signs
are random given the sizes, however correlated, drifting or bursty the times are, and Wilcoxon's
signed-rank test (1945) is exact (Fisher's randomisation, 1935).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reference.arrays import Floats


def p_value(log_ratios: Floats, floor: float) -> float:
    """Return the p-value of the hypothesis that the log ratios (n,) lie within ``floor`` of 0.

    Two-sided: twice the smaller of the two one-sided tests at the floor's ends.
    """
    from scipy.stats import wilcoxon  # takes a second to import

    if not log_ratios.any():  # equal times on a coarse clock: the ranks of zeros mean nothing
        return 1.0
    above = wilcoxon(log_ratios - floor, alternative="greater").pvalue
    below = wilcoxon(log_ratios + floor, alternative="less").pvalue
    return float(min(1.0, 2 * min(above, below)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in their order.

    If every difference with an adjusted p-value up to a level is called real, the probability of
    any false call is at most that level, however the comparisons depend on each other.
    """
    m, order = len(p_values), np.argsort(p_values)
    steps = np.array([(m - rank) * p_values[k] for rank, k in enumerate(order)])
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which holds for extreme counts, too."""
    from scipy.stats import binomtest

    interval = binomtest(hits, count).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


RESAMPLES = 1000
LEVEL = 0.95


def interval(samples: Sequence[float] | Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile interval of the median of ``samples`` (n,), in their order.

    The samples of a busy machine are autocorrelated: what disturbs one disturbs its neighbours, and
    an interval that takes them for independent is too narrow. The circular block bootstrap (Politis
    & Romano 1992) draws runs of neighbours instead of single samples.
    """
    low, high = np.quantile(medians(samples, rng), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def medians(samples: Sequence[float] | Floats, rng: np.random.Generator) -> Floats:
    """Return the medians (RESAMPLES,) of series of random blocks of the samples (n,)."""
    series = np.asarray(samples, dtype=np.float64)
    n, length = len(series), block_length(series)
    starts = rng.integers(n, size=(RESAMPLES, -(-n // length), 1))
    places = (starts + np.arange(length)).reshape(RESAMPLES, -1)[:, :n]
    resampled = np.concatenate([series, series[:length]]).take(places)  # a circle: blocks go round
    return medians_of_rows(resampled)


def medians_of_rows(rows: Floats) -> Floats:
    """Return the median of each row, as NumPy's median does in several times the time.

    The rows are rearranged.
    """
    count = rows.shape[1]
    middle = count // 2
    rows.partition(middle, axis=1)
    upper = rows[:, middle]
    return upper if count % 2 else (rows[:, :middle].max(axis=1) + upper) / 2


def block_length(series: Floats) -> int:
    """Return the length of blocks for the median of a series (n,): 1 if nothing is correlated.

    The variance of a median depends on the autocorrelation of the signs of the samples about it, so
    the rule of Politis & White (2004; corrected by Patton, Politis & White 2009) is applied to
    these. The length is at most n / 4: a bootstrap needs several blocks.
    """
    n = len(series)
    signs = np.sign(series - np.median(series))
    power = float(signs @ signs)
    if n < 8 or power == 0:
        return 1
    lags = min(n - 1, int(np.ceil(np.sqrt(n))) + 5)
    correlation = np.array([signs[k:] @ signs[: n - k] for k in range(lags + 1)]) / power
    m = min(2 * _last_correlated(correlation, n), lags)
    k = np.arange(-m, m + 1)
    share = np.abs(k) / max(m, 1)
    weighted = np.where(share <= 0.5, 1.0, 2 * (1 - share)) * correlation[np.abs(k)]
    spectrum, slope = float(weighted.sum()), float((np.abs(k) * weighted).sum())
    if spectrum <= 0:
        return 1
    length = (1.5 * (slope / spectrum) ** 2 * n) ** (1 / 3)
    return int(np.clip(np.ceil(length), 1, max(1, n // 4)))


def _last_correlated(correlation: Floats, n: int) -> int:
    """Return the lag after which five autocorrelations in a row do not differ from 0."""
    small = np.abs(correlation[1:]) < 2 * np.sqrt(np.log10(n) / n)
    runs = np.convolve(small, np.ones(5), mode="valid")
    quiet = np.flatnonzero(runs == 5)
    return int(quiet[0]) if len(quiet) else len(correlation) - 1
