"""Runs of any kind, told apart by the schema that their header names."""

from __future__ import annotations

from pathlib import Path

from ..bench import run as bench_run
from ..bench.run import BenchRun
from ..verify.runs import records as reading
from ..verify.runs import run as run_files
from ..verify.runs.run import Run, newest

__all__ = ["newest", "read"]


def read(folder: Path) -> Run | BenchRun:
    """Read a run of checks or of a bench; RunFileError says what is wrong with it."""
    where = folder / "run.json"
    schema = reading.parsed(where, reading.text(where)).get("schema")
    return bench_run.read(folder) if schema == bench_run.SCHEMA else run_files.read(folder)
