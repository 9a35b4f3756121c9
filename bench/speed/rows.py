"""The rows of groups of contenders, written to and read from a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..cost.shape import Shape
from ..run import BenchRun, from_json
from ..timing.measurement import Timing
from .gate import Gate

OK, NOISY, OOM, TIMEOUT = "OK", "NOISY", "OOM", "TIMEOUT"
UNSUPPORTED, FALLBACK, WRONG = "UNSUPPORTED", "FALLBACK", "WRONG"
STATUSES = (OK, NOISY, OOM, TIMEOUT, UNSUPPORTED, FALLBACK, WRONG)
"""NOISY has a time whose interval is wide; the ones after it have none. FALLBACK: something else
ran than the name says. WRONG: the gate refused it."""

CEILINGS, NOISE = "ceilings", "noise"
"""The pieces that are not groups."""


@dataclass(frozen=True)
class Entry:
    """One pass of one contender.

    ``of`` is the pass. ``gate`` has the errors with which it passed; ``first`` is the first call's
    time in seconds, compilation included; ``timing`` holds all samples, taken in turns with those
    of the group's other contenders; ``peak`` are bytes; ``device`` has a GPU's numbers. ``counts``
    are, for a call of a rung of the ladder, its matrix ``products`` (stacked matrices count one by
    one), their ``flop``, all ``calls`` of NumPy, the arrays ``made`` for results with the bytes
    ``written`` to them, and the bytes ``kept`` when a forward pass has returned.
    """

    subject: str
    of: str
    status: str
    message: str = ""
    version: str = ""
    algorithm: str = ""
    note: str = ""
    gate: Gate | None = None
    first: float | None = None
    timing: Timing | None = None
    peak: int | None = None
    device: dict[str, Any] | None = None
    counts: dict[str, int] | None = None


@dataclass(frozen=True)
class Group:
    """All contenders of a cell in a shape and dtype, which took turns.

    ``ceiling`` has the seconds that the products of each pass take alone, ``work`` the counts of
    ``bench cost`` by pass, ``seconds`` is the time of the whole group.
    """

    id: str
    status: str
    cell: str
    shape: Shape
    dtype: str
    threads: int
    entries: tuple[Entry, ...]
    ceiling: dict[str, float]
    work: dict[str, dict[str, float]]
    seconds: float
    message: str = ""


def groups(run: BenchRun) -> Iterator[Group]:
    """Yield the groups of a run; RunFileError says what is wrong with one."""
    for row in run.rows:
        if row["id"] not in (CEILINGS, NOISE):
            yield from_json(Group, row)


def piece(run: BenchRun, id: str) -> dict[str, Any]:
    """Return the row of a piece that is not a group; empty if there is none yet."""
    return next((row for row in run.rows if row["id"] == id), {})


def floor(run: BenchRun) -> float:
    """Return the session's noise floor, a share; 0 if it was not measured."""
    share = piece(run, NOISE).get("floor", 0.0)
    return float(share)
