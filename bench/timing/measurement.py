"""Time one call: warm up, sample until the median is known, say so where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .effort import STANDARD, Effort
from .sample import OVERHEAD, WALL, Call, Clock, Sample, loops_for, overhead, sample
from .significance import interval

OK, NOISY = "OK", "NOISY"

WINDOW, FALLEN = 5, 0.98
"""Warm-up goes on while the median of 5 samples is below 98 % of that of the 5 before."""


@dataclass(frozen=True)
class Timing:
    """What a call takes, in seconds per call; every sample is kept, in order.

    ``low`` and ``high`` bound the median (95 %, block bootstrap), ``iqr`` is the interquartile
    range, ``first_call`` the very first call alone, ``loops`` the calls in a sample and ``warm_up``
    the samples that were thrown away. ``status`` is OK, or NOISY where patience was over before the
    interval was narrow enough. ``away`` is what other programs had of each sample, which is left
    out (``sampling``); empty if they had nothing.
    """

    samples: tuple[float, ...]
    median: float
    low: float
    high: float
    least: float
    iqr: float
    first_call: float
    loops: int
    warm_up: int
    status: str
    away: tuple[float, ...] = ()

    @property
    def n(self) -> int:
        """The number of samples."""
        return len(self.samples)

    @property
    def half_width(self) -> float:
        """The half-width of the median's interval as a share of the median."""
        return (self.high - self.low) / 2 / self.median

    @property
    def interrupted(self) -> float:
        """The share of samples in which other programs had the processor."""
        return sum(away > 0 for away in self.away) / self.n


@dataclass(frozen=True)
class Warmed:
    """A call that is ready to be sampled."""

    call: Call
    clock: Clock
    loops: int
    first_call: float
    warm_up: int
    stable: bool

    def sample(self) -> Sample:
        """Take one sample."""
        return sample(self.call, self.loops, self.clock)

    def measured(self, taken: Sequence[Sample]) -> float:
        """Return how many seconds were measured, without those of other programs."""
        return self.loops * sum(one.seconds for one in taken)


def warmed(call: Call, effort: Effort, clock: Clock) -> Warmed:
    """Call until times have stopped falling, for at most a quarter of the patience."""
    started = clock.seconds()
    first = sample(call, 1, clock).seconds
    loops = loops_for(call, max(effort.sample, overhead(clock) / OVERHEAD), clock)
    times: list[float] = []
    while not (stable := _stable(times)) and clock.seconds() - started < effort.patience / 4:
        times.append(sample(call, loops, clock).seconds)
    return Warmed(call, clock, loops, first, len(times), stable)


def _stable(times: Sequence[float]) -> bool:
    if len(times) < 2 * WINDOW:
        return False
    before, last = times[-2 * WINDOW : -WINDOW], times[-WINDOW:]
    return bool(np.median(last) >= FALLEN * np.median(before))


def measure(call: Call, effort: Effort = STANDARD, *, clock: Clock = WALL, seed: int = 0) -> Timing:
    """Time ``call`` until ``effort`` is satisfied; ``seed`` is the bootstrap's.

    A time on its own says little on a shared machine: whoever wants to know which of two calls is
    faster asks ``compare``.
    """
    started = clock.seconds()
    ready = warmed(call, effort, clock)
    taken: list[Sample] = []
    begun, look = clock.seconds(), effort.samples
    while True:
        taken.append(ready.sample())
        now = clock.seconds()
        if now - started >= effort.patience or len(taken) >= effort.most:
            return timing(ready, taken, effort, seed)
        if len(taken) >= look and now - begun >= effort.seconds:
            found = timing(ready, taken, effort, seed)
            if found.status == OK and ready.measured(taken) >= effort.seconds:
                return found
            look = len(taken) * 3 // 2  # every look costs a bootstrap, and a chance to be lucky


def timing(ready: Warmed, taken: Sequence[Sample], effort: Effort, seed: int) -> Timing:
    """Summarise the samples of a call."""
    times = [one.seconds for one in taken]
    low, high = interval(times, np.random.default_rng(seed))
    lower, median, upper = (float(q) for q in np.quantile(times, [0.25, 0.5, 0.75]))
    narrow = (high - low) / 2 < effort.half_width * median
    enough = len(times) >= effort.samples and ready.stable
    return Timing(
        samples=tuple(times),
        median=median,
        low=low,
        high=high,
        least=min(times),
        iqr=upper - lower,
        first_call=ready.first_call,
        loops=ready.loops,
        warm_up=ready.warm_up,
        status=OK if narrow and enough else NOISY,
        away=tuple(one.away for one in taken) if any(one.away for one in taken) else (),
    )
