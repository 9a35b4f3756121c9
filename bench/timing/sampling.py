"""One sample: a call, run often enough that the clock's own time does not matter."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]
"""What is timed. It waits for its own result: a call to a device synchronises before it returns."""

OVERHEAD = 1e-4
"""The share of a sample that reading the clock may take."""

AWAY = 0.02
"""A sample is interrupted if another program had the processor for more than 2 % of it."""


@dataclass(frozen=True)
class Clock:
    """What is read around a sample.

    ``seconds`` since some moment; ``scheduled``, if the system tells it, the seconds that this
    thread has run on a processor and how often it was made to leave it.
    """

    seconds: Callable[[], float]
    scheduled: Callable[[], tuple[float, int]] = lambda: (float("inf"), 0)


def wall() -> Clock:
    """Return the clock of this machine."""
    try:
        import resource  # not on Windows
    except ImportError:
        return Clock(time.perf_counter)
    if not hasattr(resource, "RUSAGE_THREAD"):  # Linux has it
        return Clock(time.perf_counter)
    usage = partial(resource.getrusage, resource.RUSAGE_THREAD)
    return Clock(time.perf_counter, lambda: (time.thread_time(), usage().ru_nivcsw))


WALL = wall()


@dataclass(frozen=True)
class Sample:
    """Seconds per call, and whether another program interrupted."""

    seconds: float
    interrupted: bool = False


def sample(call: Call, loops: int, clock: Clock = WALL) -> Sample:
    """Time ``loops`` calls in a row.

    Garbage collection waits until the sample is over, as in ``timeit``: what it would collect has
    mostly been left by others. A call that waits by its own choice is not interrupted.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        ran, switches = clock.scheduled()
        started = clock.seconds()
        for _ in range(loops):
            call()
        took = clock.seconds() - started
        ran_on, switched = clock.scheduled()
    finally:
        if collecting:
            gc.enable()
    away = took - (ran_on - ran)
    return Sample(took / loops, switched > switches and away > AWAY * took)


def overhead(clock: Clock = WALL, readings: int = 200) -> float:
    """Return the seconds that reading the clock costs, or its step where that is longer."""
    times = [clock.seconds() for _ in range(readings)]
    return min((b - a for a, b in pairwise(times) if b > a), default=0.0)


def loops_for(call: Call, least: float, clock: Clock = WALL, most: int = 10**6) -> int:
    """Return how many calls make a sample of ``least`` seconds; the trials warm the call up.

    A count is judged by the shorter of two trials: after one that was interrupted alone, samples
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
