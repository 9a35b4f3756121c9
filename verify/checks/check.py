"""The definition of a check."""

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
    """A statement that must hold, with its id, its equations and the function that checks it.

    ``equations`` are names from the catalogue in code. ``run`` of a proof has no arguments; ``run``
    of a check of subjects takes the subject and a case.
    """

    id: str
    statement: str
    equations: tuple[str, ...]
    run: Callable[..., Any]


STEPS = {"float16": 3, "bfloat16": 2}
"""Largest number of steps of a run in halves; with more, most bounds are too wide."""


class Offers(Offering, Protocol):
    """The description of a subject, which is known without calling it."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the cells that it computes."""


def catalogued(subject: Offers) -> Cell | None:
    """Return the cell of the catalogue that a subject computes; None if there is none."""
    return known_cells().get(subject.cells[0])


def reads_out(subject: Offers) -> bool:
    """Return whether outputs are read from the states, and gates are inputs, not computed."""
    cell = catalogued(subject)
    return cell is not None and "readout" in cell.traits


@dataclass(frozen=True)
class SubjectCheck:
    """A statement about any subject: id, statement, comparison, cases, additional equations.

    A check concerns the equations of the subject's cell, and those named here. ``run`` compares
    and returns the ledger; it does not judge. ``needs`` are options without which the check is not
    supported, ``equations`` among them if it judges the numbers themselves; ``concerned`` returns
    whether it applies to a subject at all. ``forced`` are cases that are always run, ``share`` is
    the check's share of the budget's drawn cases; ``shrinks``: a simpler failing case is as
    useful. ``refuses`` returns the reason why the check cannot use a case that others made, "" if
    it can. ``whole_runs``: runs are compared as a whole, not step by step. ``problems``: the check
    is for submissions to a benchmark's problems alone (True), for all other subjects (False), or
    for both (None).
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
    whole_runs: bool = True
    problems: bool | None = False

    def concerns(self, subject: Offers) -> bool:
        """Return whether the check applies to a subject."""
        alike = self.problems is None or self.problems == subject.options.problem
        ids: tuple[str, ...] = getattr(subject, "held_to", ())  # a node of a file names its checks
        return alike and (not ids or self.id in ids) and self.concerned(subject)

    def reached(self, case: Case) -> Case:
        """Return the case with at most as many steps as a useful bound on a whole run allows."""
        most = STEPS.get(case.dtype, case.T) if self.whole_runs else case.T
        return replace(case, T=min(case.T, most))
