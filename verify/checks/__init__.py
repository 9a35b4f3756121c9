"""Checks of any subject, one function each; ``CHECKS`` of every module here are collected."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .check import SubjectCheck
from .smoke import SMOKE


@cache
def subject_checks() -> tuple[SubjectCheck, ...]:
    """Return all checks of subjects, the smoke check first, then module by module."""
    checks: list[SubjectCheck] = []
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        checks += getattr(importlib.import_module(module.name), "CHECKS", ())
    ids = [check.id for check in checks]
    if twice := {id for id in ids if ids.count(id) > 1}:
        raise ValueError(f"two checks have the id {', '.join(sorted(twice))}")
    return tuple(sorted(checks, key=lambda check: check.id != SMOKE))


def check_named(name: str) -> SubjectCheck:
    """Return the check with this id; raise ValueError that lists the ids for an unknown one."""
    checks = {check.id: check for check in subject_checks()}
    if name not in checks:
        raise ValueError(f"check {name!r} is not known; there are {', '.join(checks)}")
    return checks[name]
