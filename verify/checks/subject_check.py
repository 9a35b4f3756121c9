"""The form of a check of a subject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis.strategies import SearchStrategy

from ..cases import Case
from ..check import Ledger
from ..subjects.protocol import Subject


@dataclass(frozen=True)
class SubjectCheck:
    """A sentence about any subject: id, statement, extra equations, cases, and the comparison.

    It is about the equations of the subject's cell, and about those named here. ``run`` compares
    and returns the ledger; it does not judge. ``refuses`` says, for a case that somebody else
    made, why this check cannot take it; "" if it can.
    """

    id: str
    statement: str
    equations: tuple[str, ...]
    cases: Callable[[Subject, str], SearchStrategy[Case]]
    run: Callable[[Subject, Case], Ledger]
    refuses: Callable[[Case], str] = lambda case: ""
