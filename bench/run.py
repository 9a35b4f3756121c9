"""A bench's run: a folder with ``run.json`` (what was planned) and ``rows.jsonl`` (append-only).

Every row is on disk before the next piece starts, so a killed run loses none of them; what was
planned and has no row is *not tested*. Reading trusts nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..verify.runs import provenance
from ..verify.runs import records as reading
from ..verify.runs.records import RunFileError, typed

SCHEMA = "gatewise.bench/1"

from_json = typed


@dataclass(frozen=True)
class Header:
    """What ``run.json`` holds; ``settings`` are what the plan was made from."""

    schema: str
    kind: str
    command: str
    created: str
    seed: int
    versions: dict[str, str]
    machine: dict[str, str]
    source: str
    settings: dict[str, Any]
    planned: tuple[str, ...]


@dataclass(frozen=True)
class BenchRun:
    """A run as read: header, what was planned, and the rows that were finished.

    A row is a JSON object with ``id`` (one of ``planned``) and ``status``; what else it holds is
    the bench's own, who reads it with ``from_json``.
    """

    kind: str
    command: str
    created: str
    seed: int
    versions: dict[str, str]
    machine: dict[str, str]
    source: str
    settings: dict[str, Any]
    planned: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def untested(self) -> tuple[str, ...]:
        """What was planned and has no row."""
        done = {row["id"] for row in self.rows}
        return tuple(id for id in self.planned if id not in done)


def start(
    folder: Path,
    *,
    kind: str,
    command: str,
    seed: int,
    settings: Mapping[str, Any],
    planned: Sequence[str],
) -> None:
    """Create a run's folder and write its header."""
    folder.mkdir(parents=True, exist_ok=True)
    header = Header(SCHEMA, kind, **provenance.header(command, seed), settings=dict(settings),
                    planned=tuple(planned))  # fmt: skip
    said = json.dumps(asdict(header), indent=1, allow_nan=False)
    (folder / "run.json").write_text(said + "\n", encoding="utf-8")


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a row; it is on disk when this returns."""
    reading.append(folder / "rows.jsonl", row)


def drop_torn_line(folder: Path) -> None:
    """Cut off what a killed run had begun to write, so that more can be appended."""
    reading.drop_torn_line(folder / "rows.jsonl")


def read(folder: Path) -> BenchRun:
    """Read a run; RunFileError says what is wrong with one that is not as it should be."""
    where = folder / "run.json"
    said = reading.parsed(where, reading.text(where))
    if said.get("schema") != SCHEMA:
        raise RunFileError(f"{folder}: expected schema {SCHEMA}, got {said.get('schema')!r:.60}")
    header = typed(Header, said, where)
    return BenchRun(
        **{f.name: getattr(header, f.name) for f in fields(Header) if f.name != "schema"},
        rows=tuple(_row(place, row) for place, row in reading.lines(folder / "rows.jsonl")),
    )


def _row(where: Path, row: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "status"):
        reading.field(where, row, name, str)
    return row
