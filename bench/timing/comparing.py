"""Which of two calls is faster? Side by side, in random order, with an interval of the ratio.

What else a machine does changes times by more than most differences that one wants to see, but it
meets neighbours alike. So calls take turns: a *round* samples each of them once, in an order drawn
anew, and only ratios within a round are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...reference.functions import Array
from .effort import STANDARD, Effort
from .measuring import NOISY, OK, Timing, Warmed, timing, warmed
from .resampling import interval
from .sampling import Call, Clock
from .significance import holm, p_value

FASTER, SLOWER, SAME, AMBIGUOUS = "FASTER", "SLOWER", "SAME", "AMBIGUOUS"

LEVEL = 0.005
"""How often two calls that take the same time may be called different."""

MARGIN = 0.02
"""Ratios within 2 % of 1 are equivalent."""


@dataclass(frozen=True)
class Comparison:
    """The time of a as a multiple of that of b, and what may be said of it.

    ``ratio`` is the median over rounds of a/b, ``low`` and ``high`` its 95 % interval (block
    bootstrap). ``p`` is the probability of such a difference between calls that differ by no more
    than ``floor`` (a share); after ``corrected``, of one such anywhere among the comparisons.
    ``verdict`` is about a: FASTER and SLOWER are differences beyond the floor, SAME is
    equivalence (the interval lies within 2 % or the floor), AMBIGUOUS is neither. ``status`` is
    NOISY where patience was over before the interval was narrow enough.
    """

    a: Timing
    b: Timing
    ratio: float
    low: float
    high: float
    p: float
    floor: float
    verdict: str
    status: str

    @property
    def n(self) -> int:
        """The number of pairs."""
        return self.a.n


@dataclass(frozen=True)
class Rounds:
    """Times of several calls, taken in turns: ``times[name][k]`` is that of round k, in seconds."""

    timings: Mapping[str, Timing]
    effort: Effort
    seed: int

    def compare(self, a: str, b: str, floor: float = 0.0) -> Comparison:
        """Compare two of the calls by name; ``floor`` is a share, see ``noise_floor``."""
        one, other = self.timings[a], self.timings[b]
        logs = _log_ratios(one.samples, other.samples)
        low, high = np.exp(interval(logs, np.random.default_rng(self.seed)))
        ratio, p = float(np.exp(np.median(logs))), p_value(logs, float(np.log1p(floor)))
        status = OK if (high - low) / 2 < self.effort.half_width * ratio else NOISY
        verdict = decide(float(low), float(high), p, floor)
        return Comparison(one, other, ratio, float(low), float(high), p, floor, verdict, status)


def decide(low: float, high: float, p: float, floor: float) -> str:
    """Return the verdict on a ratio's interval, its p-value and the noise floor."""
    margin = 1 + max(MARGIN, floor)
    if 1 / margin <= low and high <= margin:
        return SAME
    if p <= LEVEL and high < 1 / (1 + floor):
        return FASTER
    if p <= LEVEL and low > 1 + floor:
        return SLOWER
    return AMBIGUOUS


def compare(
    a: Call,
    b: Call,
    effort: Effort = STANDARD,
    seed: int = 0,
    *,
    floor: float = 0.0,
    clock: Clock = time.perf_counter,
) -> Comparison:
    """Compare two calls; ``seed`` draws the order of pairs and the bootstrap."""
    return rounds({"a": a, "b": b}, effort, seed, clock=clock).compare("a", "b", floor)


def rounds(
    calls: Mapping[str, Call],
    effort: Effort = STANDARD,
    seed: int = 0,
    *,
    clock: Clock = time.perf_counter,
) -> Rounds:
    """Sample all calls in turns until every ratio to the last one is known well enough.

    ``effort`` counts for each call.
    """
    if len(calls) < 2:
        raise ValueError(f"rounds: expected at least two calls to compare, got {len(calls)}")
    started, rng = clock(), np.random.default_rng(seed)
    ready = [warmed(call, effort, clock, effort.patience / 4) for call in calls.values()]
    times: list[list[float]] = [[] for _ in ready]
    begun, look = clock(), effort.samples
    while True:
        for k in rng.permutation(len(ready)):
            times[k].append(ready[k].sample())
        n, now = len(times[0]), clock()
        if now - started >= effort.patience * len(ready) or n >= effort.most:
            break
        if n >= look and now - begun >= effort.seconds * len(ready):
            if _narrow(times, effort, seed):
                break
            look = n * 5 // 4
    return Rounds(dict(zip(calls, _timings(ready, times, effort, seed), strict=True)), effort, seed)


def _timings(
    ready: Sequence[Warmed], times: Sequence[Sequence[float]], effort: Effort, seed: int
) -> list[Timing]:
    return [timing(one, own, effort, seed) for one, own in zip(ready, times, strict=True)]


def _narrow(times: Sequence[Sequence[float]], effort: Effort, seed: int) -> bool:
    """Whether the interval of every ratio to the last call is narrow enough.

    Nothing but widths decides when to stop: a rule that looked at the ratio itself would stop at
    the first lucky moment.
    """
    for own in times[:-1]:
        low, high = interval(_log_ratios(own, times[-1]), np.random.default_rng(seed))
        if (high - low) / 2 >= effort.half_width:
            return False
    return True


def _log_ratios(a: Sequence[float], b: Sequence[float]) -> Array:
    return np.log(np.asarray(a) / np.asarray(b))


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with verdicts that stand together (Holm 1979).

    The more one looks at, the more often chance alone calls one different: p-values are adjusted
    and verdicts drawn anew, so that the chance of any false call among all of them is what it was
    for one.
    """
    adjusted = holm([c.p for c in comparisons])
    return [
        replace(c, p=p, verdict=decide(c.low, c.high, p, c.floor))
        for c, p in zip(comparisons, adjusted, strict=True)
    ]
