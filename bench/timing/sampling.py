"""One sample: a call, run often enough that the clock's own time does not matter."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]
"""What is timed. It waits for its own result: a call to a device synchronises before it returns."""

Clock: TypeAlias = Callable[[], float]
"""Seconds since some moment: ``time.perf_counter``, or a simulated clock."""

OVERHEAD = 1e-4
"""The share of a sample that reading the clock may take."""


def sample(call: Call, loops: int, clock: Clock) -> float:
    """Return the seconds that one of ``loops`` calls in a row takes.

    Garbage collection waits until the sample is over, as in ``timeit``: what it would collect has
    mostly been left by others.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        started = clock()
        for _ in range(loops):
            call()
        return (clock() - started) / loops
    finally:
        if collecting:
            gc.enable()


def overhead(clock: Clock, readings: int = 200) -> float:
    """Return the seconds that reading the clock costs, or its step where that is longer.

    The smallest difference of successive readings that is not 0 is never below either by much.
    """
    times = [clock() for _ in range(readings)]
    steps = [b - a for a, b in pairwise(times) if b > a]
    return min(steps, default=0.0)


def loops_for(call: Call, least: float, clock: Clock, most: int = 10**6) -> int:
    """Return how many calls make a sample of ``least`` seconds; the trials warm the call up.

    The count is doubled, or more where a trial shows that much more is needed, and is judged by the
    shorter of two trials: one that was interrupted would make samples too short.
    """
    loops = 1
    while loops < most:
        took = loops * min(sample(call, loops, clock), sample(call, loops, clock))
        if took >= least:
            return loops
        wanted = loops * least / took if took > 0 else 10 * loops
        loops = min(most, max(2 * loops, min(int(1.1 * wanted) + 1, 10 * loops)))
    return most
