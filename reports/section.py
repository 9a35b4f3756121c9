"""The sections of a report: text, figures and tables, as data for every format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

Cell: TypeAlias = str | int | float | None
K = TypeVar("K")
V = TypeVar("V")


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return the values of every key, in their order."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


@dataclass(frozen=True)
class Figure:
    """A figure; ``chart`` returns its Altair chart, so that Altair is needed only to draw.

    ``alt`` describes the figure in a sentence or two, for readers who do not see it.
    """

    id: str
    title: str
    caption: str
    alt: str
    chart: Callable[[], Any]


@dataclass(frozen=True)
class Table:
    """Rows under headings, which include the units; numbers are rounded unless they are text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a column without a heading."""
        if not all(self.headings):
            raise ValueError(f"{self.title or 'a table'}: a heading is empty")

    @classmethod
    def of(cls, title: str, records: Iterable[Mapping[str, Cell]], note: str = "") -> Table:
        """Return a table of at least one record; the keys are the headings."""
        rows = list(records)
        return cls(title, tuple(rows[0]), tuple(tuple(row.values()) for row in rows), note)

    @property
    def numeric(self) -> tuple[int, ...]:
        """The columns without text."""
        columns = enumerate(zip(*self.rows, strict=True))
        return tuple(n for n, cells in columns if not any(isinstance(c, str) for c in cells))


@dataclass(frozen=True)
class Section:
    """The results of one kind of bench; ``intro`` are paragraphs of plain text."""

    id: str
    title: str
    intro: tuple[str, ...]
    parts: tuple[Figure | Table, ...]
