"""The two tables of a report: subjects against checks, and subjects against equations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..verify.run_files import Planned
from .summary import Entry, rank


@dataclass(frozen=True)
class Row:
    """A subject's line of the table: one entry a column, None where nothing was planned."""

    subject: str
    cell: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True)
class Group:
    """The subjects of one package."""

    name: str
    version: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Grid:
    """The table: checks with their dtypes across, subjects by package down."""

    checks: tuple[tuple[str, tuple[str, ...]], ...]
    groups: tuple[Group, ...]

    @property
    def width(self) -> int:
        """How many columns stand beside the subject's."""
        return sum(len(dtypes) for _, dtypes in self.checks)


def grid(rows: Sequence[Entry]) -> Grid:
    """Arrange entries by subject, check and dtype, each in order of appearance."""
    by_place = {row.planned: row for row in rows}
    dtypes: dict[str, dict[str, None]] = {}
    packages: dict[str, dict[str, list[Entry]]] = {}
    for row in rows:
        dtypes.setdefault(row.planned.check, {})[row.planned.dtype] = None
        lines_of = packages.setdefault(row.planned.subject.partition(":")[0], {})
        lines_of.setdefault(row.planned.subject, []).append(row)
    columns = [(check, dtype) for check, each in dtypes.items() for dtype in each]

    def line(subject: str, found: Iterable[Entry]) -> Row:
        cell = _distinct(row.verdict.cell for row in found if row.verdict)
        return Row(subject, cell, tuple(by_place.get(Planned(subject, *c)) for c in columns))

    groups = []
    for package, by_subject in packages.items():
        verdicts = [row.verdict for found in by_subject.values() for row in found if row.verdict]
        lines = tuple(line(subject, found) for subject, found in by_subject.items())
        groups.append(Group(package, _distinct(v.version for v in verdicts), lines))
    return Grid(tuple((check, tuple(each)) for check, each in dtypes.items()), tuple(groups))


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
