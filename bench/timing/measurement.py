"""Time one call: warm up, then sample until the median is known, or patience is over.

A sample is a call, repeated until the clock's own time does not matter; an effort says how
long to measure before giving an answer, or giving up.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from .significance import interval

FEWEST = 10
"""Ten pairs that all go one way have p = 0.002; fewer cannot say anything (``significance``)."""


@dataclass(frozen=True)
class Effort:
    """A stop rule: enough samples, over enough time, with a narrow enough interval, or patience.

    ``samples`` and ``seconds`` (without those of other programs) are minima. Then
    the 95 % interval of the median (of ratios: where calls are compared) has to be narrower than
    ``half_width`` of it, each way. When ``patience`` (seconds, for each call, warm-up included) or
    ``most`` samples are spent before that, the result's status is NOISY.
    ``sample`` is the least length of a sample in seconds; a call that is shorter runs several times
    in each.
    """

    seconds: float
    patience: float
    samples: int = FEWEST
    most: int = 1000
    half_width: float = 0.01
    sample: float = 5e-4

    def __post_init__(self) -> None:
        """Refuse efforts that could never end, or would say nothing."""
        if not 0 < self.seconds <= self.patience:
            raise ValueError(
                f"effort: seconds ({self.seconds}) must lie above 0, up to patience "
                f"({self.patience})"
            )
        if not FEWEST <= self.samples <= self.most:
            raise ValueError(
                f"effort: samples ({self.samples}) must be at least {FEWEST}, at most {self.most}"
            )
        if not (self.half_width > 0 and self.sample > 0):
            raise ValueError("effort: half_width and sample must be above 0")


QUICK = Effort(seconds=0.05, patience=0.5)
STANDARD = Effort(seconds=0.2, patience=1.0)

Call: TypeAlias = Callable[[], object]
"""A call to time. It waits for its result: a call to a device synchronises before it returns."""

OVERHEAD = 1e-4
"""The largest share of a sample for reading the clock."""


IDLE = 0.02
"""Other threads of this process count as idle up to this share of a sample."""


class Scheduled(NamedTuple):
    """The system's counts for this thread, and the time of the process' other threads.

    ``forced``: how often this thread was made to leave the processor; ``chosen``: how often it left
    to wait; ``others``: seconds that the other threads have run.
    """

    forced: int
    chosen: int
    others: float


@dataclass(frozen=True)
class Clock:
    """The readings around a sample.

    ``seconds`` since some moment; ``running``, the seconds that this thread has been on a
    processor, and ``scheduled`` come from the system, where it has them. ``device`` says whether
    a GPU may be at work.
    """

    seconds: Callable[[], float]
    running: Callable[[], float] = lambda: 0.0
    scheduled: Callable[[], Scheduled] = lambda: Scheduled(0, 0, 0.0)
    device: Callable[[], bool] = lambda: False


def wall() -> Clock:
    """Return the clock of this machine."""
    try:
        import resource

        this_thread = resource.RUSAGE_THREAD
    except (ImportError, AttributeError):  # Windows has no module, macOS no such constant
        return Clock(time.perf_counter)

    def scheduled() -> Scheduled:
        usage = resource.getrusage(this_thread)
        others = time.process_time() - time.thread_time()
        return Scheduled(usage.ru_nivcsw, usage.ru_nvcsw, others)

    return Clock(time.perf_counter, time.thread_time, scheduled, _gpu)


def _gpu() -> bool:
    """Return whether PyTorch, if imported, has begun to use a GPU."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_initialized())


WALL = wall()


class Sample(NamedTuple):
    """Seconds per call, and those (per call) for which other programs had the processor."""

    seconds: float
    away: float = 0.0


def sample(call: Call, loops: int, clock: Clock = WALL) -> Sample:
    """Time ``loops`` calls in a row.

    The time of other programs does not count: if this thread was made to leave the processor,
    never left it by choice, and did all the work, then all the time that it was away is theirs.
    Garbage collection waits until the sample is over, as in ``timeit``: most garbage comes from
    other code.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        before, running = clock.scheduled(), clock.running()
        started = clock.seconds()
        for _ in range(loops):
            call()
        took = clock.seconds() - started
        running, after = clock.running() - running, clock.scheduled()
    finally:
        if collecting:
            gc.enable()
    interrupted = after.forced > before.forced and after.chosen == before.chosen
    alone = after.others - before.others <= IDLE * took and not clock.device()
    away = max(took - running, 0.0) if interrupted and alone else 0.0
    return Sample((took - away) / loops, away / loops)


def overhead(clock: Clock = WALL) -> float:
    """Return the seconds that reading the clock costs, or its step if that is longer."""
    times = [clock.seconds() for _ in range(200)]
    return min((b - a for a, b in pairwise(times) if b > a), default=0.0)


def loops_for(call: Call, least: float, clock: Clock = WALL, most: int = 10**6) -> int:
    """Return the number of calls in a sample of ``least`` seconds; the trials warm the call up.

    A count is judged by the shorter of two trials: after one that was disturbed alone, samples
    would be too short.
    """
    loops = 1
    while loops < most:
        took = loops * min(sample(call, loops, clock).seconds for _ in range(2))
        if took >= least:
            return loops
        wanted = int(1.1 * loops * least / took) + 1 if took > 0 else 10 * loops
        loops = min(most, max(2 * loops, min(wanted, 10 * loops)))
    return most


OK, NOISY = "OK", "NOISY"

WINDOW, FALLEN = 5, 0.98
"""Warm-up goes on while the median of 5 samples is below 98 % of that of the 5 before."""


@dataclass(frozen=True)
class Timing:
    """The time of a call, in seconds per call, with every sample in order.

    ``low`` and ``high`` bound the median (95 %, block bootstrap), ``iqr`` is the interquartile
    range, ``first_call`` the very first call alone, ``loops`` the calls in a sample and ``warm_up``
    the number of discarded samples. ``status`` is OK, or NOISY where patience was over before the
    interval was narrow enough. ``away`` is the other programs' time in each sample, which is left
    out (``sample``); empty if they had nothing.
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


def warmed(call: Call, effort: Effort, clock: Clock) -> Warmed:
    """Call until times stop falling, for at most a quarter of the patience."""
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

    A time on its own says little on a shared machine: to find the faster of two calls, use
    ``compare``.
    """

    def is_enough(ready: Sequence[Warmed], samples: Sequence[Sequence[Sample]]) -> bool:
        return timing(ready[0], samples[0], effort, seed).status == OK

    (ready,), (samples,) = sampled([call], effort, clock, lambda: (0,), is_enough)
    return timing(ready, samples, effort, seed)


StopRule: TypeAlias = Callable[[Sequence[Warmed], Sequence[Sequence[Sample]]], bool]
"""A stop rule: True if the samples of every call suffice."""


def sampled(
    calls: Iterable[Call],
    effort: Effort,
    clock: Clock,
    turn: Callable[[], Iterable[int]],
    is_enough: StopRule,
) -> tuple[list[Warmed], list[list[Sample]]]:
    """Sample calls round by round until ``effort`` and ``is_enough`` are met, or patience is over.

    ``effort`` counts for each call; ``turn`` draws the order of a round.
    """
    started = clock.seconds()
    ready = [warmed(call, effort, clock) for call in calls]
    samples: list[list[Sample]] = [[] for _ in ready]
    begun, look = clock.seconds(), effort.samples
    while True:
        for k in turn():
            samples[k].append(ready[k].sample())
        n, now = len(samples[0]), clock.seconds()
        if now - started >= effort.patience * len(ready) or n >= effort.most:
            return ready, samples
        if n >= look and now - begun >= effort.seconds * len(ready):
            measured = all(
                warm_call.loops * sum(s.seconds for s in series) >= effort.seconds
                for warm_call, series in zip(ready, samples, strict=True)
            )
            if measured and is_enough(ready, samples):
                return ready, samples
            look = n * 3 // 2  # every look costs a bootstrap, and a chance to be lucky


def timing(ready: Warmed, samples: Sequence[Sample], effort: Effort, seed: int) -> Timing:
    """Summarise the samples of a call."""
    times = [s.seconds for s in samples]
    low, high = interval(times, np.random.default_rng(seed))
    lower, median, upper = (float(q) for q in np.quantile(times, [0.25, 0.5, 0.75]))
    narrow = (high - low) / 2 < effort.half_width * median
    enough = len(times) >= effort.samples and ready.stable
    away = tuple(sample.away for sample in samples)
    return Timing(
        samples=tuple(times), median=median, low=low, high=high, least=min(times),
        iqr=upper - lower, first_call=ready.first_call, loops=ready.loops, warm_up=ready.warm_up,
        status=OK if narrow and enough else NOISY, away=away if any(away) else (),
    )  # fmt: skip


def traced_bytes(call: Call) -> tuple[int, int]:
    """Return the bytes that NumPy and Python hold for a call's result, and the peak during it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = call()
        end, most = tracemalloc.get_traced_memory()
        del result
        return end - before, most - before
    finally:
        tracemalloc.stop()
