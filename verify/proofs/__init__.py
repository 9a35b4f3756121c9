"""Checks of the reference itself, by methods that do not share its mistakes.

Adding a module with ``PROOFS`` adds proofs; each is a ``Check`` whose ``run`` takes the number of
examples to draw and the seed, and raises ``Mismatch`` naming the equations that do not hold.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from ..checks.check import Check


@cache
def proofs() -> tuple[Check, ...]:
    """Return all proofs, in the order of their modules and lines."""
    checks: list[Check] = []
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        checks += getattr(importlib.import_module(module.name), "PROOFS", ())
    return tuple(checks)
