"""The tables of a report: subjects against checks, against equations, and in numbers."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..verify.numbers.arithmetic import ARITHMETICS
from ..verify.runs.status import rank
from ..verify.runs.verdict import PARAMETERS, Planned
from .section import grouped
from .summary import Entry
from .words import printable


@dataclass(frozen=True)
class Column:
    """A subject's columns of the table, one per dtype."""

    subject: str
    cell: str
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The table: checks down, subjects with their dtypes across; None where nothing was planned."""

    subjects: tuple[Column, ...]
    rows: dict[str, tuple[Entry | None, ...]]
    versions: tuple[str, ...]


MOST = 15_000
"""The most entries that a page shows each; more are counted by check."""


def grid(rows: Sequence[Entry]) -> Grid:
    """Arrange entries by check, subject and dtype, each in order of appearance."""
    by_place = {row.planned: row for row in rows}
    dtypes = grouped(dict.fromkeys((row.planned.subject, row.planned.dtype) for row in rows))
    cells = _by_subject(rows, "cell")
    places = [(subject, dtype) for subject, names in dtypes.items() for dtype in names]
    columns = tuple(Column(name, cells[name], tuple(names)) for name, names in dtypes.items())
    checks = dict.fromkeys(row.planned.check for row in rows)
    lines = {
        check: tuple(by_place.get(Planned(subject, check, dtype)) for subject, dtype in places)
        for check in checks
    }
    versions = [row.verdict.version for row in rows if row.verdict and row.verdict.version]
    if len(columns) > 1:
        versions = [*map(_package_version, versions)]
    return Grid(columns, lines, tuple(dict.fromkeys(versions)))


def _package_version(version: str) -> str:
    """Return a version without the appended meanings of parameter names."""
    return version.partition(PARAMETERS)[0]


@dataclass(frozen=True)
class Tally:
    """The number of checks of one subject, or of subjects at one check, by status."""

    name: str
    version: str
    count: dict[str, int]


def tallies(rows: Sequence[Entry]) -> tuple[Tally, ...]:
    """Return each subject with its version and its statuses, counted over checks and dtypes."""
    versions = _by_subject(rows, "version")
    statuses = grouped((row.planned.subject, row.status) for row in rows)
    return tuple(
        Tally(name, _package_version(versions[name]), Counter(of_subject))
        for name, of_subject in statuses.items()
    )


def by_check(rows: Sequence[Entry]) -> tuple[Tally, ...]:
    """Return each check with its statuses, counted over subjects and dtypes."""
    statuses = grouped((row.planned.check, row.status) for row in rows)
    return tuple(Tally(name, "", Counter(of_check)) for name, of_check in statuses.items())


def _by_subject(rows: Sequence[Entry], field: str) -> dict[str, str]:
    """Return, for each subject, the distinct values of a field of its verdicts."""
    values = grouped((row.planned.subject, getattr(row.verdict, field, "")) for row in rows)
    return {name: ", ".join(filter(None, dict.fromkeys(words))) for name, words in values.items()}


COARSEST_FIRST = tuple(ARITHMETICS)


@dataclass(frozen=True)
class Ran:
    """The arithmetic and the kernels of a subject's results in one dtype."""

    subject: str
    dtype: str
    arithmetic: str
    ran: str


def ran(rows: Sequence[Entry]) -> tuple[Ran, ...]:
    """Return each subject's arithmetic and kernels in each dtype, where known.

    Of several arithmetics it is the coarsest, which covers all results.
    """
    verdicts = grouped(
        ((row.planned.subject, row.planned.dtype), v)
        for row in rows
        if (v := row.verdict) and (v.arithmetic or v.ran)
    )
    return tuple(
        Ran(
            *key,
            min(
                (v.arithmetic for v in of_subject if v.arithmetic in COARSEST_FIRST),
                key=COARSEST_FIRST.index,
                default="",
            ),
            max(of_subject, key=lambda v: (bool(v.lacking), len(v.ran))).ran,
        )
        for key, of_subject in verdicts.items()
    )


def as_csv(rows: Sequence[Entry]) -> str:
    """Return every result as CSV; no text is a spreadsheet's formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(("subject", "check", "dtype", "status", "error/bound", "worst in", "cases",
                     "blind", "seconds"))  # fmt: skip
    for row in rows:
        p, v = row.planned, row.verdict
        measured = (v.worst_ratio, v.worst, v.cases, v.blind_cases, v.seconds) if v else ()
        writer.writerow([inert(value) for value in (p.subject, p.check, p.dtype, row.status,
                                                   *measured)])  # fmt: skip
    return file.getvalue()


def inert(value: object) -> object:
    """Return a value for a CSV file; text that a spreadsheet takes for a formula is quoted."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(tuple("=+-@\t\r")) else "") + printable(value)


def statements(rows: Sequence[Entry]) -> dict[str, str]:
    """Return the statement of each check, from the first entry that has it."""
    texts: dict[str, str] = {}
    for row in rows:
        texts[row.planned.check] = texts.get(row.planned.check) or row.statement
    return texts


@dataclass(frozen=True)
class Standing:
    """The results of one subject for one equation: the number of its checks that passed.

    ``judged`` counts the checks that it supports, ``unsupported`` the others; ``status`` is the
    worst of the former, if there are any.
    """

    subject: str
    status: str
    passed: int
    judged: int
    unsupported: int


def standings(rows: Sequence[Entry]) -> dict[str, tuple[Standing, ...]]:
    """Return each subject's standing for every equation that the run tested."""
    of_equations = grouped((name, row) for row in rows for name in row.equations)
    statuses = {
        name: grouped((row.planned.subject, row.status) for row in tested)
        for name, tested in of_equations.items()
    }
    return {
        name: tuple(
            Standing(
                subject,
                min(verdicts or every_status, key=rank),
                verdicts.count("passed"),
                len(verdicts),
                len(every_status) - len(verdicts),
            )
            for subject, every_status in by_subject.items()
            for verdicts in [[status for status in every_status if status != "not supported"]]
        )
        for name, by_subject in statuses.items()
    }
