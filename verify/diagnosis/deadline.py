"""The time that a diagnosis may take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """So many seconds from when it was made."""

    seconds: float
    start: float = field(default_factory=time.monotonic)

    @property
    def passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self.start >= self.seconds

    @property
    def words(self) -> str:
        """How a diagnosis says that it was stopped."""
        return f"stopped after {self.seconds:g} s"
