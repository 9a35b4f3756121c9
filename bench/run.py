"""A bench's run: its plan, piece by piece, and its folder.

``run.json`` has the plan, ``rows.jsonl`` each row as soon as it is measured.
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
    """Return a run to resume, without a torn last line; raise ValueError for another kind."""
    run = read(folder)
    if run.kind != kind:
        raise ValueError(f"{folder}: a run of {run.kind}, not of {kind}")
    drop_torn_line(folder)
    return run


def to_json(row: Any) -> dict[str, Any]:
    """Return a measured row as JSON values, without its id, which the plan has."""
    return {name: value for name, value in asdict(row).items() if name != "id"}


# The plan of a run, and its execution.


OK, UNSUPPORTED = "OK", "UNSUPPORTED"


class UnsupportedError(RuntimeError):
    """A piece cannot be measured here; the message, the reason, goes into its row."""


@dataclass(frozen=True)
class Piece:
    """A measurement of a plan; ``measure`` returns JSON values, with or without ``status``."""

    id: str
    measure: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """The pieces of a bench, and its settings."""

    kind: str
    seed: int
    settings: Mapping[str, Any]
    pieces: Sequence[Piece]


def carry_out(plan: Plan, folder: Path, command: str) -> Iterator[dict[str, Any]]:
    """Measure every piece without a row, and yield each row once it is on disk.

    Resume a folder that exists; raise ValueError if its run has another plan.
    """
    planned = [piece.id for piece in plan.pieces]
    exists = (folder / "run.json").exists()
    if not exists:
        start(folder, kind=plan.kind, command=command, seed=plan.seed,
              settings=plan.settings, planned=planned)  # fmt: skip
    with locked(folder):
        measured = _measured_ids(plan, folder, planned) if exists else set()
        for piece in plan.pieces:
            if piece.id in measured:
                continue
            row: dict[str, Any] = {"id": piece.id, "status": OK}
            try:
                row |= piece.measure()
            except UnsupportedError as reason:
                row |= {"status": UNSUPPORTED, "message": str(reason)}
            append(folder, row)
            yield row


def _measured_ids(plan: Plan, folder: Path, planned: Sequence[str]) -> set[str]:
    run = unfinished(folder, plan.kind)
    if (run.seed, run.planned) != (plan.seed, tuple(planned)):
        raise ValueError(f"{folder}: the run is of another plan; give the options that it has: "
                         f"{run.command}")  # fmt: skip
    return {row["id"] for row in run.rows}
