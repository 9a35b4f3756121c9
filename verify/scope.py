"""Which equations a check of a subject is about: in principle, and in one case."""

from __future__ import annotations

from dataclasses import replace

from ..reference.cells import cell_named
from .case import Case
from .checks.subject_check import SubjectCheck
from .subjects.protocol import Subject

STRUCTURE = {
    "bidirectional": "bidirectional",
    "sequence.reversed": "bidirectional",
    "stacked": "layers",
}
"""Equations of depth and direction, and the option that a case must use to touch them."""


def possible(subject: Subject, check: SubjectCheck) -> tuple[str, ...]:
    """Return the equations that some case of this check may touch."""
    plain = Case(9, 1, 2, 3)
    taken = [c for c in (plain, replace(plain, P=1)) if not subject.options.lacking(c)]
    cells = [subject.cell(c) for c in taken if not check.refuses(c)]
    names = [name for cell in cells for name in cell_named(cell).equations]
    names += [n for n in check.equations if getattr(subject.options, STRUCTURE.get(n, ""), True)]
    return tuple(dict.fromkeys(names))


def touched(subject: Subject, check: SubjectCheck, case: Case) -> tuple[str, ...]:
    """Return the equations that this case touches."""
    used = {"bidirectional": case.bidirectional, "layers": case.layers > 1}
    names = [*cell_named(subject.cell(case)).equations]
    names += [n for n in check.equations if used.get(STRUCTURE.get(n, ""), True)]
    return tuple(names)
