"""The time limit of a diagnosis."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """A time limit in seconds that begins with its construction."""

    seconds: float
    start: float = field(default_factory=time.monotonic)

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self.start >= self.seconds

    @property
    def words(self) -> str:
        """A clause that says that a diagnosis was stopped."""
        return f"stopped after {self.seconds:g} s"
