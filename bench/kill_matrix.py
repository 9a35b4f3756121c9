"""The kill matrix as a run: each mutant's row is on disk when it is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..verify import mutation
from ..verify.executing import Here
from ..verify.mutation import Row
from . import run
from .run import BenchRun, from_json

KIND = "mutants"


def decide(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    seed: int,
    jobs: int,
    command: str,
    on_plan: Callable[[int], None] = lambda count: None,
) -> Iterator[Row]:
    """Yield every row that the folder does not have yet, when it is decided and on disk.

    ``settings``: ``mutants`` (ids; none for all), ``budget``, ``full``. A folder that is a run is
    gone on with by its own settings; ValueError if it is a run of something else.
    """
    if (folder / "run.json").exists():
        before = _before(folder)
        settings, seed = before.settings, before.seed
        done = {row["id"] for row in before.rows}
    else:
        before, done = None, set()
    planned = mutation.blank_rows(mutation.choose(settings["mutants"]))
    if before is None:
        run.start(folder, kind=KIND, command=command, seed=seed, settings=settings,
                  planned=[row.id for row in planned])  # fmt: skip
    left = [row for row in planned if row.id not in done]
    on_plan(len(left))
    pool = Here(jobs, mutation.PATIENT, mutation.MEMORY)
    try:
        matrix = mutation.Matrix(pool, settings["budget"], seed, settings["full"])
        for row in matrix.decided(left):
            run.append(folder, {"id": row.id, "status": "OK", "row": asdict(row)})
            yield row
    finally:
        pool.close()


def rows(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a run's rows, mutants before equivalent programs; RunFileError for other rows."""
    read = [from_json(Row, row.get("row"), row["id"]) for row in found]
    return sorted(read, key=lambda row: (not row.expected, row.id))


def _before(folder: Path) -> BenchRun:
    run.drop_torn_line(folder)
    before = run.read(folder)
    if before.kind != KIND:
        raise ValueError(f"{folder}: a run of {before.kind}, not of {KIND}")
    return before
