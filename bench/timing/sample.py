"""One sample: a call, run often enough that the clock's own time does not matter."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

Call: TypeAlias = Callable[[], object]
"""What is timed. It waits for its own result: a call to a device synchronises before it returns."""

OVERHEAD = 1e-4
"""The share of a sample that reading the clock may take."""


IDLE = 0.02
"""Other threads of this process do nothing if they run for at most this share of a sample."""


class Scheduled(NamedTuple):
    """What the system says of this thread, and of the others of its process.

    How often it was made to leave the processor, how often it chose to, to wait; and the seconds
    that the others have run.
    """

    forced: int
    chosen: int
    others: float


@dataclass(frozen=True)
class Clock:
    """What is read around a sample.

    ``seconds`` since some moment; ``running``, the seconds that this thread has been on a
    processor, and ``scheduled`` are the system's, where it tells them. ``device`` says whether
    anything but processors may be at work.
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
    """Whether PyTorch, if it is there, has begun to use a GPU."""
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_initialized())


WALL = wall()


class Sample(NamedTuple):
    """Seconds per call, and how many more (per call) other programs had the processor."""

    seconds: float
    away: float = 0.0


def sample(call: Call, loops: int, clock: Clock = WALL) -> Sample:
    """Time ``loops`` calls in a row.

    What other programs took is no time of the call: if this thread was made to leave the processor,
    never left it by choice, and did all the work, then all the time that it was away is theirs.
    Garbage collection waits until the sample is over, as in ``timeit``: what it would collect was
    mostly left by others.
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
