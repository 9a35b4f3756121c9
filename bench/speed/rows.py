"""What is written down of every group of contenders, and read again."""

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
"""NOISY has a time whose interval is wide; the others below have none. FALLBACK: something else
ran than was asked for. WRONG: the gate refused it."""

CEILINGS, NOISE = "ceilings", "noise"
"""The pieces that are no groups."""


@dataclass(frozen=True)
class Entry:
    """One pass of one contender.

    ``gate`` says with what errors it was let through; ``first`` is the first call's time in
    seconds, compilation included; ``timing`` holds all samples, taken in turns with those of the
    group's other contenders; ``peak`` are bytes; ``device`` is what a GPU adds. ``counts`` are, of
    a call of a rung of the ladder, its matrix ``products`` (of stacked matrices as many), their
    ``flop``, all ``calls`` of NumPy, the arrays ``made`` for results with the bytes ``written`` to
    them, and the bytes ``kept`` when a forward pass has returned.
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

    ``ceiling`` are the seconds that the products of each pass take alone, ``work`` the counts of
    ``bench cost`` by pass, ``seconds`` what the whole group took.
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
    """Return the row of a piece that is no group; empty where there is none yet."""
    return next((row for row in run.rows if row["id"] == id), {})


def floor(run: BenchRun) -> float:
    """Return the noise floor that the session measured, a share; 0 where it did not."""
    share = piece(run, NOISE).get("floor", 0.0)
    return float(share)
