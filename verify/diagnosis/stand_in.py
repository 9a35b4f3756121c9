"""A subject in the place of another: what it does not say itself, the other one says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..subjects.protocol import Subject


@dataclass(frozen=True)
class StandIn:
    """A subject of which a part is replaced."""

    subject: Subject

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)

    @property
    def as_subject(self) -> Subject:
        """Return it as what it is: the rest of the protocol is the subject's own."""
        return cast("Subject", self)
