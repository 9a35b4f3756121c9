"""The tables of a report: subjects against checks, against equations, and in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..verify.run_files import Planned
from .summary import Entry, rank


@dataclass(frozen=True)
class Column:
    """A subject's columns of the table, one a dtype."""

    subject: str
    cell: str
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The table: checks down, subjects with their dtypes across; None where nothing was planned."""

    subjects: tuple[Column, ...]
    rows: dict[str, tuple[Entry | None, ...]]
    versions: tuple[str, ...]


def grid(rows: Sequence[Entry]) -> Grid:
    """Arrange entries by check, subject and dtype, each in order of appearance."""
    by_place = {row.planned: row for row in rows}
    dtypes: dict[str, dict[str, None]] = {}
    for row in rows:
        dtypes.setdefault(row.planned.subject, {})[row.planned.dtype] = None
    columns = tuple(
        Column(subject, _distinct(_own(rows, subject, "cell")), tuple(each))
        for subject, each in dtypes.items()
    )
    return Grid(
        columns,
        {
            check: tuple(
                by_place.get(Planned(column.subject, check, dtype))
                for column in columns
                for dtype in column.dtypes
            )
            for check in dict.fromkeys(row.planned.check for row in rows)
        },
        tuple(dict.fromkeys(v.version for row in rows if (v := row.verdict) and v.version)),
    )


@dataclass(frozen=True)
class Tally:
    """How many checks of one subject had which status."""

    subject: str
    version: str
    count: dict[str, int]


def tallies(rows: Sequence[Entry]) -> tuple[Tally, ...]:
    """Return each subject with its version and its statuses, counted over checks and dtypes."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(row.planned.subject, Counter())[row.status] += 1
    return tuple(
        Tally(subject, _distinct(_own(rows, subject, "version")), dict(count))
        for subject, count in found.items()
    )


def _own(rows: Sequence[Entry], subject: str, field: str) -> Iterator[str]:
    for row in rows:
        if row.planned.subject == subject and row.verdict:
            yield getattr(row.verdict, field)


def statements(rows: Sequence[Entry]) -> dict[str, str]:
    """Return what each check states, as the first entry that knows has it."""
    found: dict[str, str] = {}
    for row in rows:
        found[row.planned.check] = found.get(row.planned.check) or row.statement
    return found


def _distinct(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, words)))


@dataclass(frozen=True)
class Standing:
    """How one subject stands to one equation: of all checks about it, how many passed."""

    subject: str
    status: str
    passed: int
    total: int


def standings(rows: Sequence[Entry]) -> dict[str, tuple[Standing, ...]]:
    """Return, for every equation that the run is about, each subject's standing."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for name in row.equations:
            found.setdefault(name, {}).setdefault(row.planned.subject, []).append(row.status)
    return {
        name: tuple(
            Standing(subject, min(each, key=rank), each.count("passed"), len(each))
            for subject, each in by_subject.items()
        )
        for name, by_subject in found.items()
    }
