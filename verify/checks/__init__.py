"""Checks of any subject. One function a check; a new module here is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .subject_check import SubjectCheck


@cache
def subject_checks() -> tuple[SubjectCheck, ...]:
    """Return every check of subjects, in the order of their modules and lines."""
    found: list[SubjectCheck] = []
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        found += getattr(importlib.import_module(module.name), "CHECKS", ())
    return tuple(found)
