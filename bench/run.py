"""A bench's run: what is to be measured, piece by piece, and its folder.

``run.json`` says what was planned, ``rows.jsonl`` has each row from when it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..verify.runs.records import RunFileError
from ..verify.runs.records import typed as from_json
from ..verify.runs.run import BenchRun, append, drop_torn_line, locked
from ..verify.runs.run import read_bench as read
from ..verify.runs.run import start_bench as start

__all__ = [
    "OK", "UNSUPPORTED", "BenchRun", "Piece", "Plan", "RunFileError", "UnsupportedError", "append",
    "carry_out", "from_json", "locked", "read", "start", "to_json", "unfinished",
]  # fmt: skip


def unfinished(folder: Path, kind: str) -> BenchRun:
    """Return a run that is to be gone on with, its torn line cut off; ValueError for another."""
    run = read(folder)
    if run.kind != kind:
        raise ValueError(f"{folder}: a run of {run.kind}, not of {kind}")
    drop_torn_line(folder)
    return run


def to_json(row: Any) -> dict[str, Any]:
    """Return a row that was measured as JSON has it, without its id, which the plan gives it."""
    return {name: value for name, value in asdict(row).items() if name != "id"}


# What is to be measured, and the carrying out of it.


OK, UNSUPPORTED = "OK", "UNSUPPORTED"


class UnsupportedError(RuntimeError):
    """A piece cannot be measured here; the message says why. It becomes that row's status."""


@dataclass(frozen=True)
class Piece:
    """Something to measure; ``measure`` returns JSON values, ``status`` among them or not."""

    id: str
    measure: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """A bench's pieces, and the settings that chose them."""

    kind: str
    seed: int
    settings: Mapping[str, Any]
    pieces: Sequence[Piece]


def carry_out(plan: Plan, folder: Path, command: str) -> Iterator[dict[str, Any]]:
    """Measure every piece that has no row yet, and yield each row when it is on disk.

    A folder that exists is gone on with: ValueError if it is a run of something else.
    """
    planned = [piece.id for piece in plan.pieces]
    begun = (folder / "run.json").exists()
    if not begun:
        start(folder, kind=plan.kind, command=command, seed=plan.seed,
              settings=plan.settings, planned=planned)  # fmt: skip
    with locked(folder):
        done = _done(plan, folder, planned) if begun else set()
        for piece in plan.pieces:
            if piece.id in done:
                continue
            row: dict[str, Any] = {"id": piece.id, "status": OK}
            try:
                row |= piece.measure()
            except UnsupportedError as why:
                row |= {"status": UNSUPPORTED, "message": str(why)}
            append(folder, row)
            yield row


def _done(plan: Plan, folder: Path, planned: Sequence[str]) -> set[str]:
    before = unfinished(folder, plan.kind)
    if (before.seed, before.planned) != (plan.seed, tuple(planned)):
        raise ValueError(f"{folder}: the run is of another plan; give the options that it has: "
                         f"{before.command}")  # fmt: skip
    return {row["id"] for row in before.rows}
