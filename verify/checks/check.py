"""What a check is, and how a number that is off is put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from hypothesis.strategies import SearchStrategy

from ...reference.cell import Cell
from ...reference.cells import cells as known_cells
from ..cases.case import Case
from ..cases.options import Offering
from ..cases.strategies import cases
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.protocol import Subject


@dataclass(frozen=True)
class Check:
    """A sentence that must hold: its id, the sentence, the equations it is about, its function.

    ``equations`` are names from the catalogue in code. ``run`` takes what the kind of check takes
    (a proof: nothing, its own cases included; a check of a subject: the subject and a case).
    """

    id: str
    statement: str
    equations: tuple[str, ...]
    run: Callable[..., Any]


STEPS = {"float16": 3, "bfloat16": 2}
"""Most steps of a whole run in halves; with more, most bounds are too wide to mean anything."""


class Offers(Offering, Protocol):
    """What is known of a subject without calling it."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells it computes."""


def catalogued(subject: Offers) -> Cell | None:
    """Return the cell of the catalogue that a subject computes; None if it is none of those."""
    return known_cells().get(subject.cells[0])


def reads_out(subject: Offers) -> bool:
    """Whether the outputs are none of the states, and the gates are given, not computed."""
    cell = catalogued(subject)
    return cell is not None and "readout" in cell.traits


@dataclass(frozen=True)
class SubjectCheck:
    """A sentence about any subject: id, statement, the comparison, cases, and extra equations.

    It is about the equations of the subject's cell, and about those named here. ``run`` compares
    and returns the ledger; it does not judge.

    ``needs`` are options without which the check is not supported: ``equations`` of a check that
    judges the numbers themselves; ``concerned`` says whether it means anything for a subject at
    all. ``forced`` are cases that are always run, ``share`` the
    part of the budget's drawn cases that this check needs, ``shrinks`` whether a simpler case
    tells as much. ``problems`` says that it is of submissions to a benchmark's problems, which no
    other is. ``refuses`` says, for a case that somebody else made, why this check cannot
    take it; "" if it can. ``whole`` says that whole runs are compared, not single steps.
    """

    id: str
    statement: str
    run: Callable[[SubjectUnderTest, Case], Ledger]
    cases: Callable[[Subject, str], SearchStrategy[Case]] = cases
    equations: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    concerned: Callable[[Offers], bool] = lambda subject: True
    forced: Callable[[Subject, str], Iterable[Case]] = lambda subject, dtype: ()
    share: float = 1.0
    shrinks: bool = True
    refuses: Callable[[Case], str] = lambda case: ""
    whole: bool = True
    problems: bool | None = False

    def concerns(self, subject: Offers) -> bool:
        """Whether the check means anything for a subject."""
        alike = self.problems is None or self.problems == subject.options.problem
        own: tuple[str, ...] = getattr(subject, "held_to", ())  # a node of a file names them
        return alike and (not own or self.id in own) and self.concerned(subject)

    def reached(self, case: Case) -> Case:
        """Return the case with no more steps than a bound on a whole run can mean something."""
        most = STEPS.get(case.dtype, case.T) if self.whole else case.T
        return replace(case, T=min(case.T, most))
