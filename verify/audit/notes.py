"""What a run of their suite tells the audit: lines of JSON in a file of the audit's own.

They are written as they are made, so that a suite that hangs or crashes leaves them as well.
"""

from __future__ import annotations

import json
from pathlib import Path

ENVIRONMENT = "GATEWISE_AUDIT"
"""The variable that holds the order of a run: target, like, mutant ("" for none), way, notes."""


class Notes:
    """A file that several processes may write; each says a thing once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._said: set[tuple[str, str]] = set()

    def __call__(self, what: str, about: str = "") -> None:
        """Write a note, if it is new."""
        if (what, about) not in self._said:
            self._said.add((what, about))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([what, about]) + "\n")


def read(path: Path) -> dict[str, list[str]]:
    """Return what was noted, and about what."""
    notes: dict[str, list[str]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            what, about = json.loads(line)
            notes.setdefault(what, []).append(about)
    return notes
