"""A fair time limit, which does not count the time that a process waits for a processor.

Without ``/proc`` the system does not tell this time, and all time counts.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .processes import family, stat_fields

MOST_WAITING = 10.0
"""The multiple of its limit after which a process is ended, however busy the machine is."""

TICKS, TICK = 20, 0.5
"""The number of measurements within a limit, and the longest interval in seconds."""


class Use(NamedTuple):
    """The processor seconds that processes have used, and whether they are ready to run."""

    processor: float
    ready: bool


def use(session: int) -> Use | None:
    """Return the use by a session and all its descendants, None without ``/proc``."""
    if not Path("/proc/self/stat").exists():
        return None
    members = family(session)
    states = (state for member in members for state in _thread_states(member.pid))
    seconds = sum(member.seconds for member in members)
    return Use(seconds, "R" in states) if members else None


def _thread_states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it has ended, or is inaccessible
            yield stat_fields(thread / "stat")[0]


class TimeLimit:
    """A limit that calls ``end`` when a process, the leader of its session, has used its time.

    Computing and sleeping count, waiting for a processor does not. After ``MOST_WAITING`` times the
    limit ``end`` is called in any case. ``own`` (the counted time) and ``waited`` are seconds since
    the last restart, ``total`` since the beginning.
    """

    def __init__(self, seconds: float, session: int, end: Callable[[], None]) -> None:
        self.seconds, self.session, self.end = seconds, session, end
        self.own, self.reached = 0.0, False
        self.began = self.since = self._last = time.monotonic()
        self._use: Use | None = None
        self._lock, self._stopped = threading.Lock(), threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def waited(self) -> float:
        """Seconds since the last restart."""
        return time.monotonic() - self.since

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def starved(self) -> bool:
        """Whether it was ended before it had used its time."""
        return self.reached and self.own < self.seconds

    def restart(self, seconds: float) -> None:
        """Restart the clock with this limit."""
        with self._lock:
            self.seconds, self.own = seconds, 0.0
            self.since = self._last = time.monotonic()
            self._use = None

    def stop(self) -> None:
        """Stop measuring: the process has answered."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(TICK, self.seconds / TICKS)):
            with self._lock:
                self._look()
                over = self.own >= self.seconds or self.waited >= MOST_WAITING * self.seconds
                self.reached = over and not self._stopped.is_set()
            if self.reached:
                self.end()
                return

    def _look(self) -> None:
        """Count the time since the last measurement; for a process that waits its processor time.

        The watch's own delay is not counted: then no process had a processor.
        """
        now, current = time.monotonic(), use(self.session)
        passed = min(now - self._last, 2 * TICK)
        processor_time = current.processor - self._use.processor if current and self._use else -1.0
        # A decreased sum has lost a member, whose time is unknown.
        if current is not None and current.ready and processor_time >= 0:
            passed = min(passed, processor_time)
        self.own += passed
        self._last, self._use = now, current
