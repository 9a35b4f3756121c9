"""A time limit that is fair: what a process waits for a processor on a busy machine is not its own.

Where the system does not say what a process does (there is no ``/proc``), all time is its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .processes import family, stat_fields

LONGEST = 10.0
"""Times its limit that a process is waited for at most, however busy the machine is."""

TICKS, TICK = 20, 0.5
"""A process is looked at so often within its limit, and at least so often, in seconds."""


class Use(NamedTuple):
    """Seconds of processors that processes had so far, and whether they want one now."""

    processor: float
    ready: bool


def use(session: int) -> Use | None:
    """Return what a session and all its descendants use, None where the system does not say."""
    if not Path("/proc/self/stat").exists():
        return None
    members = family(session)
    states = (state for member in members for state in _thread_states(member.pid))
    seconds = sum(member.seconds for member in members)
    return Use(seconds, "R" in states) if members else None


def _thread_states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):  # it has ended, or is not ours to look at
            yield stat_fields(thread / "stat")[0]


class TimeLimit:
    """Calls ``end`` when a process, the leader of its session, has had its time.

    Its time is what it computes and what it sleeps; not its time is what it waits for a processor.
    After ``LONGEST`` times the limit ``end`` is called all the same. ``own`` and ``waited`` are
    seconds since the last restart, ``total`` since the beginning.
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
        """Whether it was ended although it had not had its time."""
        return self.reached and self.own < self.seconds

    def restart(self, seconds: float) -> None:
        """Give it time anew."""
        with self._lock:
            self.seconds, self.own = seconds, 0.0
            self.since = self._last = time.monotonic()
            self._use = None

    def stop(self) -> None:
        """End the watch: the process has answered."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(TICK, self.seconds / TICKS)):
            with self._lock:
                self._look()
                over = self.own >= self.seconds or self.waited >= LONGEST * self.seconds
                self.reached = over and not self._stopped.is_set()
            if self.reached:
                self.end()
                return

    def _look(self) -> None:
        """Count the time since the last look: all of it, or, of one that waits, what it was given.

        What the watch itself came late by is not counted: then nobody was given a processor.
        """
        now, current = time.monotonic(), use(self.session)
        passed = min(now - self._last, 2 * TICK)
        given = current.processor - self._use.processor if current and self._use else -1.0
        # A sum that has fallen has lost a member: what that was given, nobody can say.
        if current is not None and current.ready and given >= 0:
            passed = min(passed, given)
        self.own += passed
        self._last, self._use = now, current
