"""A bench's run: a folder with ``run.json`` (what was planned) and ``rows.jsonl``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..verify.runs.records import RunFileError
from ..verify.runs.records import typed as from_json
from ..verify.runs.run import BenchRun, append, drop_torn_line, locked
from ..verify.runs.run import read_bench as read
from ..verify.runs.run import start_bench as start

__all__ = [
    "BenchRun", "RunFileError", "append", "drop_torn_line", "from_json", "locked", "read", "start",
    "to_json", "unfinished",
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
