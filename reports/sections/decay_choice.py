"""Which rows of a decay bench a figure is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...bench.decay.rows import DecayRow

Key = TypeVar("Key")

FAMILY = ("rnn", "lstm", "lstm-peephole", "gru", "lstm-phased", "skip-lstm")
"""One of each kind that the documents have, as colours do not reach for all cells."""


def chosen(rows: Sequence[DecayRow]) -> list[DecayRow]:
    """Return the row of the usual setting of every cell: the first of it in the run.

    Those of ``FAMILY`` come first, in its order.
    """
    found: dict[str, DecayRow] = {}
    for row in rows:
        found.setdefault(row.cell, row)
    return sorted(found.values(), key=lambda r: (*FAMILY, r.cell).index(r.cell))


def family(rows: Sequence[DecayRow]) -> list[DecayRow]:
    """Return those of ``chosen`` in ``FAMILY``, or the first six where there are fewer than two."""
    found = [row for row in rows if row.cell in FAMILY]
    return found if len(found) > 1 else list(rows)[: len(FAMILY)]


def varied(
    rows: Sequence[DecayRow], value: Callable[[DecayRow], Any], rest: Callable[[DecayRow], Any]
) -> dict[str, list[DecayRow]]:
    """Return, by cell, rows that differ from the usual one in ``value`` alone, in its order.

    Cells of which there are fewer than two such rows are left out.
    """
    found = {}
    for usual in chosen(rows):
        same = [r for r in rows if r.cell == usual.cell and rest(r) == rest(usual)]
        distinct = {value(r): r for r in reversed(same) if value(r) is not None}
        if len(distinct) > 1:
            found[usual.cell] = [distinct[key] for key in sorted(distinct)]
    return found
