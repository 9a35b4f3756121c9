"""pytest-benchmark's JSON, read as a run: one row a benchmark, with its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bench.run import BenchRun
from ..verify.runs import records
from ..verify.runs.records import RunFileError

KIND = "pytest-benchmark"


def read(path: Path) -> BenchRun:
    """Read what ``pytest --benchmark-json`` wrote; RunFileError where it is something else."""
    value = records.parsed(path, records.text(path))
    rows = tuple(_row(path, each) for each in records.field(path, value, "benchmarks", list))
    about = records.field(path, value, "machine_info", dict)
    return BenchRun(
        schema="",
        kind=KIND,
        command=f"pytest --benchmark-json={path.name}",
        created=records.field(path, value, "datetime", str),
        seed=0,
        versions={"python": str(about.get("python_version", ""))},
        machine={name: str(about.get(name, "")) for name in ("system", "release", "processor")},
        source=str(value.get("commit_info", {}).get("id", "")),
        settings={},
        planned=tuple(row["id"] for row in rows),
        rows=rows,
    )


def _row(path: Path, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RunFileError(f"{path}: benchmarks: expected objects, got {value!r:.60}")
    stats = records.field(path, value, "stats", dict)
    data = stats.get("data") or [records.field(path, stats, "median", float)]
    if not all(type(each) in (int, float) and 0 < each < float("inf") for each in data):
        raise RunFileError(f"{path}: stats.data: expected times in seconds")
    return {"id": records.field(path, value, "fullname", str), "status": "OK", "samples": data}
