"""A subject in the place of another, from which it takes the attributes that it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ..subjects.protocol import Subject


@dataclass(frozen=True)
class StandIn:
    """A subject with some attributes replaced."""

    subject: Subject

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)

    @property
    def as_subject(self) -> Subject:
        """Return it with the type Subject: __getattr__ supplies the rest of the protocol."""
        return cast("Subject", self)
