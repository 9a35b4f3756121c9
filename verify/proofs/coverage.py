"""The proofs and checks of each equation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...reference.equation import equations
from ..checks import subject_checks
from ..checks.location import possible
from ..subjects import subjects
from . import proofs


@dataclass(frozen=True)
class Coverage:
    """An equation with its proofs of the reference and its checks of subjects."""

    id: str
    name: str
    latex: str
    documents: tuple[str, ...]
    source: str
    note: str
    proofs: tuple[str, ...]
    checks: tuple[str, ...]


@cache
def coverage() -> tuple[Coverage, ...]:
    """Return one row for every equation of the reference."""
    about = {
        check.id: {name for s in subjects().values() for name in possible(s, check)}
        for check in subject_checks()
    }
    rows = []
    for e in equations():
        proving = tuple(p.id for p in proofs() if e.name in p.equations)
        checking = tuple(check for check, names in about.items() if e.name in names)
        rows.append(
            Coverage(e.id, e.name, e.latex, e.documents, e.source, e.note, proving, checking)
        )
    return tuple(rows)
