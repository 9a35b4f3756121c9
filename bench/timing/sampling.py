"""One sample: a call, run often enough that the clock's own time does not matter."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

Call: TypeAlias = Callable[[], object]
"""What is timed. It waits for its own result: a call to a device synchronises before it returns."""

OVERHEAD = 1e-4
"""The share of a sample that reading the clock may take."""


class Switches(NamedTuple):
    """How often this thread left the processor: made to, and by its own choice, to wait."""

    forced: int
    chosen: int


@dataclass(frozen=True)
class Clock:
    """What is read around a sample.

    ``seconds`` since some moment; ``running``, the seconds that this thread has been on a processor
    and ``switches`` are the scheduler's, where the system tells them.
    """

    seconds: Callable[[], float]
    running: Callable[[], float] = lambda: 0.0
    switches: Callable[[], Switches] = lambda: Switches(0, 0)


def wall() -> Clock:
    """Return the clock of this machine."""
    try:
        import resource

        this_thread = resource.RUSAGE_THREAD
    except (ImportError, AttributeError):  # Windows has no module, macOS no such constant
        return Clock(time.perf_counter)

    def switches() -> Switches:
        usage = resource.getrusage(this_thread)
        return Switches(usage.ru_nivcsw, usage.ru_nvcsw)

    return Clock(time.perf_counter, time.thread_time, switches)


WALL = wall()


class Sample(NamedTuple):
    """Seconds per call, and how many more (per call) other programs had the processor."""

    seconds: float
    away: float = 0.0


def sample(call: Call, loops: int, clock: Clock = WALL) -> Sample:
    """Time ``loops`` calls in a row.

    What other programs took is no time of the call: if the thread was made to leave the processor,
    and never left it by choice, then all the time that it was away is theirs. Garbage collection
    waits until the sample is over, as in ``timeit``: what it would collect was mostly left by
    others.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        switches, running = clock.switches(), clock.running()
        started = clock.seconds()
        for _ in range(loops):
            call()
        took = clock.seconds() - started
        running, left = clock.running() - running, clock.switches()
    finally:
        if collecting:
            gc.enable()
    interrupted = left.forced > switches.forced and left.chosen == switches.chosen
    away = max(took - running, 0.0) if interrupted else 0.0
    return Sample((took - away) / loops, away / loops)


def overhead(clock: Clock = WALL, readings: int = 200) -> float:
    """Return the seconds that reading the clock costs, or its step where that is longer."""
    times = [clock.seconds() for _ in range(readings)]
    return min((b - a for a, b in pairwise(times) if b > a), default=0.0)


def loops_for(call: Call, least: float, clock: Clock = WALL, most: int = 10**6) -> int:
    """Return how many calls make a sample of ``least`` seconds; the trials warm the call up.

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
