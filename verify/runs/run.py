"""Runs are files: a folder with ``run.json`` (the plan) and ``verdicts.jsonl`` (append-only).

Every verdict is on disk before the next check starts, so a killed run loses none of them; what
was planned and has no verdict is *not tested*. Reading trusts nothing: what does not have the
expected form is refused in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import provenance
from . import records as reading
from .records import RunFileError, typed
from .status import STATUSES
from .verdict import Verdict

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

SCHEMA = "gatewise.run/4"
SINCE: dict[int, dict[str, Any]] = {
    2: {"place": "", "script": "", "subject_seconds": 0.0, "oracle_seconds": 0.0},
    3: {"drawn": ""},
    4: {"arithmetic": "", "ran": "", "lacking": ""},
}
"""Fields of verdicts that earlier schemas did not have, by the version that brought them."""

READABLE = {f"gatewise.run/{version}": version for version in (1, 2, 3, 4)}


@dataclass(frozen=True)
class Planned:
    """One check of one subject in one dtype."""

    subject: str
    check: str
    dtype: str


@dataclass(frozen=True)
class Header:
    """What ``run.json`` holds: how, when, with what and where a run was made, and what it is to be.

    ``request`` is what was asked for, from which an unfinished run is gone on with.
    """

    schema: str
    command: str
    created: str
    seed: int
    versions: dict[str, str]
    machine: dict[str, str]
    source: str
    budget: str
    planned: tuple[Planned, ...]
    request: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run as read: header, plan, verdicts, and what explains those that failed."""

    command: str
    created: str
    seed: int
    budget: str
    versions: dict[str, str]
    machine: dict[str, str]
    source: str
    planned: tuple[Planned, ...]
    verdicts: tuple[Verdict, ...]
    request: dict[str, Any] = field(default_factory=dict)
    diagnoses: tuple[Diagnosis, ...] = ()

    @property
    def untested(self) -> tuple[Planned, ...]:
        """What was planned and has no verdict."""
        done = {Planned(v.subject, v.check, v.dtype) for v in self.verdicts}
        return tuple(p for p in self.planned if p not in done)


def start(
    folder: Path,
    *,
    command: str,
    seed: int,
    budget: str,
    planned: list[Planned],
    request: Mapping[str, Any] | None = None,
) -> None:
    """Create a run's folder and write its header."""
    folder.mkdir(parents=True)
    header = Header(SCHEMA, **provenance.header(command, seed), budget=budget,
                    planned=tuple(planned), request=dict(request or {}))  # fmt: skip
    said = json.dumps(asdict(header), indent=1, allow_nan=False)
    (folder / "run.json").write_text(said + "\n", encoding="utf-8")


def append(folder: Path, verdict: Verdict) -> None:
    """Add a verdict; it is on disk when this returns."""
    reading.append(folder / "verdicts.jsonl", asdict(verdict))


def keep_diagnosis(folder: Path, diagnosis: Mapping[str, Any]) -> None:
    """Add what explains a subject's failures; it is on disk when this returns."""
    reading.append(folder / "diagnoses.jsonl", diagnosis)


def drop_torn_line(folder: Path) -> None:
    """Cut off what a killed run had begun to write, so that more can be appended."""
    for name in ("verdicts.jsonl", "diagnoses.jsonl"):
        reading.drop_torn_line(folder / name)


def read(folder: Path) -> Run:
    """Read a run; RunFileError says what is wrong with one that is not as it should be."""
    where = folder / "run.json"
    said = reading.parsed(where, reading.text(where))
    if str(said.get("schema")) not in READABLE:
        raise RunFileError(f"{folder}: expected schema {SCHEMA}, got {said.get('schema')!r:.60}")
    header = typed(Header, said, where)
    version = READABLE[header.schema]
    added = {n: v for since, new in SINCE.items() if since > version for n, v in new.items()}
    verdicts = reading.lines(folder / "verdicts.jsonl")
    return Run(
        **{f.name: getattr(header, f.name) for f in fields(Header) if f.name != "schema"},
        verdicts=tuple(_verdict(place, {**added, **value}) for place, value in verdicts),
        diagnoses=tuple(_diagnoses(folder / "diagnoses.jsonl")),
    )


def newest(runs: Path) -> Path:
    """Return the run folder made last below ``runs``."""
    found = sorted(runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise RunFileError(
            f"{runs}: there is no run yet; make one with: gatewise verify torch:LSTM"
        )
    return found[-1].parent


def _diagnoses(path: Path) -> Iterator[Diagnosis]:
    for where, value in reading.lines(path):
        from .diagnosis import Diagnosis  # a slow import, and few runs have any

        yield Diagnosis.from_json(value, where)


def _verdict(where: Path, value: dict[str, Any]) -> Verdict:
    names = {f.name for f in fields(Verdict)}
    if value.keys() != names:
        odd = ", ".join(sorted(value.keys() ^ names))
        raise RunFileError(f"{where}: fields missing or unknown: {odd:.200}")
    verdict = typed(Verdict, value, where)
    if verdict.status not in STATUSES:
        raise RunFileError(f"{where}: status: expected one of {', '.join(STATUSES)}")
    for name in ("worst_ratio", "seconds", "subject_seconds", "oracle_seconds"):
        if (getattr(verdict, name) or 0) < 0:
            raise RunFileError(f"{where}: {name}: expected a number of at least 0")
    return verdict
