"""Machines that disturb what runs on them, with a clock of their own: the same at every run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gatewise.bench.timing.comparison import compare
from gatewise.bench.timing.measurement import Clock, Effort, Scheduled

READING = 5e-8
"""Seconds that reading the clock takes."""


@dataclass
class Machine:
    """Calls of known length, slowed by what a shared machine does.

    ``wander`` is the standard deviation of the log of its slowness, which forgets itself within
    ``memory`` seconds; ``bursts`` come so many times a second, last ``burst_length`` seconds, and
    make everything ``burst_factor`` times as slow; other programs take the processor ``preempted``
    times a second, for 2 to 12 ms, which the scheduler tells if ``told``; every second adds
    ``drift`` to what a call takes; ``jitter`` is independent from call to call; and every other
    call takes a share ``beat`` longer, as beside a program that runs in step.
    """

    seed: int
    wander: float = 0.0
    memory: float = 0.02
    bursts: float = 0.0
    burst_length: float = 0.005
    burst_factor: float = 3.0
    preempted: float = 0.0
    told: bool = True
    drift: float = 0.0
    jitter: float = 0.01
    beat: float = 0.0
    now: float = 0.0
    calls: int = 0
    ran: float = 0.0
    others: float = 0.0
    device: bool = False
    forced: int = 0
    chosen: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.level = self.wander * self.rng.standard_normal()
        self.burst_until, self.next_burst = 0.0, self._pause()

    @property
    def clock(self) -> Clock:
        """What its programs may read."""
        if not self.told:
            return Clock(self._seconds)
        return Clock(self._seconds, lambda: self.ran, self._scheduled, lambda: self.device)

    def call(self, seconds: float, cold: float = 0.0, first: float = 0.0) -> Callable[[], None]:
        """Return a call of so many seconds; ``cold`` more, fading with each; ``first`` once."""
        left = {"cold": cold, "first": first}

        def run() -> None:
            self._run((seconds + left["cold"] + left["first"]) * self._slowness())
            left["cold"] *= 0.8
            left["first"] = 0.0

        return run

    def waiting(self, seconds: float) -> Callable[[], None]:
        """Return a call that waits by its own choice for half of so many seconds."""

        def run() -> None:
            self.chosen += 1
            self._pass(seconds / 2)
            self._run(seconds / 2 * self._slowness())

        return run

    def spinning(self, seconds: float, *, threads: int = 1) -> Callable[[], None]:
        """Return a call that asks until something else has done its work, interrupted or not.

        That is a device, or other threads, which run as long.
        """

        def run() -> None:
            away = self.rng.uniform(0.2, 0.8) * seconds
            self.ran += seconds - away
            self.others += (threads - 1) * seconds
            self.forced += 1
            self._pass(seconds)

        return run

    def _seconds(self) -> float:
        self.now += READING
        return self.now

    def _scheduled(self) -> Scheduled:
        return Scheduled(self.forced, self.chosen, self.others)

    def _slowness(self) -> float:
        self.calls += 1
        slow = np.exp(self.level + self.jitter * self.rng.standard_normal())
        slow *= (1 + self.drift * self.now) * (1 + self.beat * (self.calls % 2))
        return float(slow * (self.burst_factor if self.now < self.burst_until else 1.0))

    def _run(self, seconds: float) -> None:
        self.ran += seconds
        self._pass(seconds)
        times = self.rng.poisson(self.preempted * seconds) if self.preempted else 0
        if times:
            self.forced += int(times)
            self.ran += 0.03 * seconds  # its caches have been used by others
            self._pass(0.03 * seconds)
            self._pass(float(self.rng.uniform(0.002, 0.012, times).sum()))

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        kept = np.exp(-seconds / self.memory)
        fresh = self.wander * np.sqrt(1 - kept**2) * self.rng.standard_normal()
        self.level = kept * self.level + fresh
        while self.now >= self.next_burst:
            self.burst_until = self.next_burst + self.burst_length
            self.next_burst = self.burst_until + self._pause()

    def _pause(self) -> float:
        return float(self.rng.exponential(1 / self.bursts)) if self.bursts else np.inf


EFFORT = Effort(seconds=0.1, patience=0.3)
CALL = 1.5e-3
"""Seconds of a call."""

MACHINES = {
    "quiet": {},
    "wanders": {"wander": 0.15},
    "wanders slowly": {"wander": 0.3, "memory": 0.3},
    "bursts": {"bursts": 40, "jitter": 0.02},
    "preempted": {"preempted": 200, "wander": 0.05},
    "drifts": {"drift": 1.0},
}
BEATS = {"beat": 0.1}


def verdicts(machine: dict[str, Any], a: float, b: float = CALL, count: int = 60) -> Counter[str]:
    """Count the verdicts on calls of a and b seconds, each comparison on a machine of its own."""
    found: Counter[str] = Counter()
    for seed in range(count):
        on = Machine(seed, **machine)
        found[compare(on.call(a), on.call(b), EFFORT, seed, clock=on.clock).verdict] += 1
    return found
