"""Where the time of a check goes: to the subject, to the oracle, or to drawing and comparing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Clock:
    """Seconds spent in the subject and in the oracle since the last reset."""

    subject: float = 0.0
    oracle: float = 0.0

    def reset(self) -> None:
        """Start again at 0."""
        self.subject = self.oracle = 0.0

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time of the block to one part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)


CLOCK = Clock()
