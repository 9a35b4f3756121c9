"""Runs are files: a folder with ``run.json`` (the plan) and lines that are only ever added.

Checks write ``verdicts.jsonl`` and ``diagnoses.jsonl``, a bench writes ``rows.jsonl``. Every line
is on disk before the next piece starts, so a killed run loses none; a planned check without a line
is *not tested*. Files are read as untrusted input: a wrong form is refused in one sentence.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec

from . import provenance, records
from .diagnosis import Diagnosis
from .records import RunFileError, typed
from .status import STATUSES
from .verdict import Planned, Verdict

SCHEMA, BENCH_SCHEMA = "gatewise.run/5", "gatewise.bench/1"
SINCE: dict[int, dict[str, Any]] = {
    2: {"place": "", "script": "", "subject_seconds": 0.0, "oracle_seconds": 0.0},
    3: {"drawn": ""},
    4: {"arithmetic": "", "ran": "", "lacking": ""},
    5: {"isolation": "", "plan": ""},
}
"""Fields of verdicts that earlier schemas did not have, by the version that brought them."""

READABLE = {f"gatewise.run/{version}": version for version in (1, 2, 3, 4, 5)}
FILES: dict[type, str] = {
    Verdict: "verdicts.jsonl", Diagnosis: "diagnoses.jsonl", dict: "rows.jsonl"
}  # fmt: skip
"""The file of each kind of record."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """The common fields of ``run.json``: how, when, with what and where the run was made."""

    schema: str
    command: str
    created: str
    seed: Annotated[int, msgspec.Meta(ge=0)]
    versions: dict[str, str]
    machine: dict[str, str]
    source: str


@dataclass(frozen=True, kw_only=True)
class CheckHeader(Header):
    """The contents of ``run.json`` of checks.

    ``request`` holds the arguments of the command, with which an unfinished run is continued.
    """

    budget: str
    planned: tuple[Planned, ...]
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def plan(self) -> str:
        """A digest of everything that its verdicts depend on; each verdict holds it."""
        planned = [asdict(p) for p in self.planned]
        parts = [self.seed, self.budget, self.versions, planned, self.request]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Run(CheckHeader):
    """A run of checks as read: its verdicts, and the diagnoses of failures."""

    verdicts: tuple[Verdict, ...]
    diagnoses: tuple[Diagnosis, ...] = ()

    @property
    def untested(self) -> tuple[Planned, ...]:
        """The planned checks without a verdict."""
        judged = {v.planned for v in self.verdicts}
        return tuple(p for p in self.planned if p not in judged)

    @property
    def in_order(self) -> list[Verdict]:
        """The verdicts in the order of the plan."""
        order = {planned: place for place, planned in enumerate(self.planned)}
        return sorted(self.verdicts, key=lambda verdict: order[verdict.planned])


@dataclass(frozen=True, kw_only=True)
class BenchHeader(Header):
    """The contents of ``run.json`` of a bench; its plan was made from ``settings``."""

    kind: str
    settings: dict[str, Any]
    planned: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BenchRun(BenchHeader):
    """A bench's run as read: the rows that were finished.

    A row is a JSON object with ``id`` (one of ``planned``) and ``status``; its other fields are
    the bench's own, which reads them with ``typed``.
    """

    rows: tuple[dict[str, Any], ...]

    @property
    def untested(self) -> tuple[str, ...]:
        """The planned ids without a row."""
        finished = {row["id"] for row in self.rows}
        return tuple(id for id in self.planned if id not in finished)


def start(
    folder: Path,
    *,
    command: str,
    seed: int,
    budget: str,
    planned: Sequence[Planned],
    request: Mapping[str, Any] | None = None,
) -> CheckHeader:
    """Create the folder of a run of checks; write its header and return it as it is read."""
    header = records.as_read(CheckHeader(
        schema=SCHEMA, budget=budget, planned=tuple(planned), request=dict(request or {}),
        **provenance.header(command, seed),
    ), folder / "run.json")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    records.write(folder / "run.json", header)
    return header


def start_bench(
    folder: Path,
    *,
    kind: str,
    command: str,
    seed: int,
    settings: Mapping[str, Any],
    planned: Sequence[str],
) -> None:
    """Create the folder of a bench's run, and write its header."""
    folder.mkdir(parents=True, exist_ok=True)
    about = provenance.header(command, seed)
    records.write(folder / "run.json", BenchHeader(
        schema=BENCH_SCHEMA, kind=kind, settings=dict(settings), planned=tuple(planned), **about
    ))  # fmt: skip


def append(folder: Path, record: Verdict | Diagnosis | dict[str, Any]) -> None:
    """Add a verdict, a diagnosis or a bench's row; it is on disk when this returns."""
    records.append(folder / FILES[type(record)], record)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run against other writers; raise RunFileError if another process holds the lock."""
    with (folder / "run.json").open("rb") as file:
        if not _lock(file.fileno()):
            raise RunFileError(f"{folder}: another process is adding to this run; wait for its end")
        yield


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; return whether no other process holds the lock.

    On file systems without locks, return True.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 2**30, os.SEEK_SET)  # beyond what is read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def drop_torn_line(folder: Path) -> None:
    """Cut off incomplete last lines, so that more can be appended."""
    for name in FILES.values():
        records.drop_torn_line(folder / name)


def read(folder: Path) -> Run | BenchRun:
    """Read a run of any kind; raise RunFileError with a reason if it is invalid."""
    where = folder / "run.json"
    value = records.parsed(where, records.text(where))
    schema = str(value.get("schema"))
    if schema == BENCH_SCHEMA:
        return _bench(folder, typed(BenchHeader, value, where))
    if schema in READABLE:
        return _checks(folder, typed(CheckHeader, value, where))
    raise RunFileError(f"{folder}: expected schema {SCHEMA} or {BENCH_SCHEMA}, got {schema!r:.60}")


def read_checks(folder: Path) -> Run:
    """Read a run of checks; raise RunFileError if it is invalid or of another kind."""
    run = read(folder)
    if not isinstance(run, Run):
        raise RunFileError(f"{folder}: expected a run of checks, got one of {run.kind}")
    return run


def read_bench(folder: Path) -> BenchRun:
    """Read a bench's run; raise RunFileError if it is invalid or of another kind."""
    run = read(folder)
    if not isinstance(run, BenchRun):
        raise RunFileError(f"{folder}: expected a bench's run, got one of checks")
    return run


def newest(runs: Path) -> Path:
    """Return the newest run folder below ``runs``."""
    paths = sorted(runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not paths:
        raise RunFileError(
            f"{runs}: there is no run yet; make one with: gatewise verify torch:LSTM"
        )
    return paths[-1].parent


def _checks(folder: Path, header: CheckHeader) -> Run:
    version = READABLE[header.schema]
    added = {n: v for since, new in SINCE.items() if since > version for n, v in new.items()}
    lines = records.lines(folder / FILES[Verdict])
    plan = header.plan
    verdicts = tuple(_verdict(where, {**added, **value}, plan) for where, value in lines)
    lines = records.lines(folder / FILES[Diagnosis])
    diagnoses = tuple(typed(Diagnosis, value, where) for where, value in lines)
    return Run(**vars(header), verdicts=verdicts, diagnoses=diagnoses)


def sound(verdict: Verdict) -> Verdict:
    """Return a verdict as it would be read; raise RunFileError if it could not be."""
    value = asdict(records.as_read(verdict, "verdict"))
    return _verdict(Path("verdict"), value, verdict.plan)


def _verdict(where: Path, value: dict[str, Any], plan: str) -> Verdict:
    if odd := sorted(value.keys() ^ {f.name for f in fields(Verdict)}):
        raise RunFileError(f"{where}: fields missing or unknown: {', '.join(odd):.200}")
    verdict = typed(Verdict, value, where)
    if verdict.status not in STATUSES:
        raise RunFileError(f"{where}: status: expected one of {', '.join(STATUSES)}")
    if verdict.plan not in ("", plan):
        raise RunFileError(f"{where}: is of another plan than run.json, which was changed since")
    return verdict


def _bench(folder: Path, header: BenchHeader) -> BenchRun:
    rows = tuple(_row(*line) for line in records.lines(folder / FILES[dict]))
    return BenchRun(**vars(header), rows=rows)


def _row(where: Path, row: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "status"):
        records.field(where, row, name, str)
    return row
