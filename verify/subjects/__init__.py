"""Adapters: the implementations that can be held against the reference, by name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .protocol import Subject


class UnknownSubject(ValueError):
    """A name that no adapter answers to."""


@cache
def subjects() -> dict[str, Subject]:
    """Return every registered subject by name, without importing what it adapts."""
    found: dict[str, Subject] = {}
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        for subject in getattr(importlib.import_module(module.name), "SUBJECTS", ()):
            found[subject.name] = subject
    return dict(sorted(found.items()))


def subject_named(name: str) -> Subject:
    """Return the subject called ``name``; UnknownSubject lists the names there are."""
    if name not in subjects():
        raise UnknownSubject(f"subject {name!r} is not known; there are {', '.join(subjects())}")
    return subjects()[name]
