"""Keep the machine busy in a way that hurts: work and rest in turns of random length."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 0.03
"""Seconds: turns last up to so long, which is about what a scheduler grants at a time."""


@contextmanager
def busy(processes: int | None = None) -> Iterator[None]:
    """Run that many disturbing processes, by default one for each core, while the block runs."""
    context = multiprocessing.get_context("spawn")
    count = processes or os.cpu_count() or 1
    disturbers = [context.Process(target=_disturb, args=(k,), daemon=True) for k in range(count)]
    for one in disturbers:
        one.start()
    try:
        yield
    finally:
        for one in disturbers:
            one.terminate()
            one.join()


def _disturb(seed: int) -> None:
    """Work and rest until the parent ends."""
    rng, parent = random.Random(seed), multiprocessing.parent_process()  # noqa: S311  # no secret
    memory = bytearray(2**22)
    while parent is not None and parent.is_alive():
        end = time.perf_counter() + rng.uniform(0, LONGEST)
        while time.perf_counter() < end:
            memory = memory[::-1]
        time.sleep(rng.uniform(0, LONGEST))
