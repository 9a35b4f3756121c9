"""The faster of two calls: timed in turns, in random order, with an interval of the ratio.

Other load on a machine changes times by more than most differences of interest, but it affects
neighbouring samples alike. So calls take turns: a *round* samples each of them once, in an order
drawn anew, and only ratios within a round count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from ...reference.arrays import Floats
from .measurement import (
    NOISY,
    OK,
    STANDARD,
    WALL,
    Call,
    Clock,
    Effort,
    Sample,
    Timing,
    Warmed,
    sampled,
    timing,
)
from .significance import holm, interval, p_value

FASTER, SLOWER, SAME, AMBIGUOUS = "FASTER", "SLOWER", "SAME", "AMBIGUOUS"

LEVEL = 0.002
"""The probability with which two calls that take the same time may be called different."""

MARGIN, MARGIN_AT_MOST = 0.02, 0.05
"""Ratios within 2 % of 1 are equivalent; or within the noise floor, if that is up to 5 %."""


@dataclass(frozen=True)
class Comparison:
    """The time of a as a multiple of that of b, with an interval and a verdict.

    ``ratio`` is the median over ``pairs`` of a/b, ``low`` and ``high`` its 95 % interval (block
    bootstrap). ``p`` is the probability of such a difference between calls that differ by no more
    than ``floor`` (a share); after ``corrected``, of one such anywhere among the comparisons.
    ``verdict`` is about a: FASTER and SLOWER are differences beyond the floor, SAME is
    equivalence (the interval lies within 2 % or the floor), AMBIGUOUS is neither. ``status`` is
    NOISY where patience was over before the interval was narrow enough.
    """

    a: Timing
    b: Timing
    pairs: int
    ratio: float
    low: float
    high: float
    p: float
    floor: float
    verdict: str
    status: str

    @property
    def furthest(self) -> float:
        """The largest distance of the ratio from 1, as a share: 0.1 for 1.1 and for 1 / 1.1."""
        return max(self.high, 1 / self.low) - 1


@dataclass(frozen=True)
class Rounds:
    """The times of several calls in turns: sample k of each is that of round k."""

    timings: Mapping[str, Timing]
    effort: Effort
    seed: int

    def compare(self, a: str, b: str, floor: float = 0.0) -> Comparison:
        """Compare two of the calls by name; ``floor`` is a share, see ``noise_floor``."""
        timing_a, timing_b = self.timings[a], self.timings[b]
        logs = log_ratios(timing_a.samples, timing_b.samples)
        low, high = (float(end) for end in np.exp(interval(logs, np.random.default_rng(self.seed))))
        ratio, p = float(np.exp(np.median(logs))), p_value(logs, float(np.log1p(floor)))
        narrow = len(logs) >= self.effort.samples and _narrow(low, high, self.effort)
        verdict, status = decide(low, high, p, floor), OK if narrow else NOISY
        return Comparison(
            timing_a, timing_b, len(logs), ratio, low, high, p, floor, verdict, status
        )


def log_ratios(a: Sequence[float], b: Sequence[float]) -> Floats:
    """Return log(a/b), round by round."""
    return np.asarray(np.log(np.array(a) / np.array(b)))


def decide(low: float, high: float, p: float, floor: float) -> str:
    """Return the verdict on a ratio's interval, its p-value and the noise floor."""
    margin = 1 + max(MARGIN, min(floor, MARGIN_AT_MOST))
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
    clock: Clock = WALL,
) -> Comparison:
    """Compare two calls; ``seed`` draws the order of pairs and the bootstrap."""
    return rounds({"a": a, "b": b}, effort, seed, clock=clock).compare("a", "b", floor)


def rounds(
    calls: Mapping[str, Call], effort: Effort = STANDARD, seed: int = 0, *, clock: Clock = WALL
) -> Rounds:
    """Sample all calls in turns until the ratio of each to the next is known well enough.

    ``effort`` counts for each call.
    """
    if len(calls) < 2:
        raise ValueError(f"rounds: expected at least two calls to compare, got {len(calls)}")
    rng, is_enough = np.random.default_rng(seed), partial(_narrow_ratios, effort=effort, seed=seed)
    ready, samples = sampled(
        calls.values(), effort, clock, lambda: turn(rng, len(calls)), is_enough
    )
    timings = [timing(*call, effort, seed) for call in zip(ready, samples, strict=True)]
    return Rounds(dict(zip(calls, timings, strict=True)), effort, seed)


def turn(rng: np.random.Generator, count: int) -> Floats:
    """Draw the order of a round (count,): on this coin the test rests (``significance``)."""
    return rng.permutation(count)


def _narrow_ratios(
    ready: Sequence[Warmed], samples: Sequence[Sequence[Sample]], effort: Effort, seed: int
) -> bool:
    """Return whether the intervals of the ratios of each call to the next are narrow.

    Only the width decides: a rule that looked at the ratio would stop at a lucky moment.
    """
    times = [[sample.seconds for sample in series] for series in samples]
    intervals = (
        np.exp(interval(log_ratios(a, b), np.random.default_rng(seed))) for a, b in pairwise(times)
    )
    return all(_narrow(low, high, effort) for low, high in intervals)


def _narrow(low: float, high: float, effort: Effort) -> bool:
    return high - low < effort.half_width * (high + low)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons with verdicts that stand together (Holm 1979).

    The more comparisons, the more often chance alone calls one different: p-values are adjusted
    and verdicts drawn anew, so that the chance of any false call among all of them equals that
    for one.
    """
    adjusted = holm([c.p for c in comparisons])
    return [
        replace(c, p=p, verdict=decide(c.low, c.high, p, c.floor))
        for c, p in zip(comparisons, adjusted, strict=True)
    ]


# The noise floor: the difference of a call from itself, here and now.


REPEATS = 3


def noise_floor(
    call: Call,
    effort: Effort = STANDARD,
    *,
    twin: Call | None = None,
    seed: int = 0,
    clock: Clock = WALL,
) -> float:
    """Return the largest share by which ``call`` may seem to differ from itself (an A/A test).

    It is the end furthest from 1 of the ratio's intervals in three comparisons. ``twin`` is the
    same work built once more, in other memory, if that is to count as noise.
    """
    again = twin or call
    return max(compare(call, again, effort, seed + k, clock=clock).furthest for k in range(REPEATS))
