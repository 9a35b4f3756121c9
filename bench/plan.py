"""What a bench is to measure, piece by piece, and the carrying out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import run

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
        run.start(folder, kind=plan.kind, command=command, seed=plan.seed,
                  settings=plan.settings, planned=planned)  # fmt: skip
    with run.locked(folder):
        done = _done(plan, folder, planned) if begun else set()
        for piece in plan.pieces:
            if piece.id in done:
                continue
            row = {"id": piece.id, "status": OK, **_measured(piece)}
            run.append(folder, row)
            yield row


def _measured(piece: Piece) -> Mapping[str, Any]:
    try:
        return piece.measure()
    except UnsupportedError as why:
        return {"status": UNSUPPORTED, "message": str(why)}


def _done(plan: Plan, folder: Path, planned: Sequence[str]) -> set[str]:
    before = run.unfinished(folder, plan.kind)
    if (before.seed, before.planned) != (plan.seed, tuple(planned)):
        raise ValueError(f"{folder}: the run is of another plan; give the options that it has: "
                         f"{before.command}")  # fmt: skip
    return {row["id"] for row in before.rows}
