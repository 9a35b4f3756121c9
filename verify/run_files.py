"""Runs are files: a folder with ``run.json`` (the plan) and ``verdicts.jsonl`` (append-only).

Every verdict is on disk before the next check starts, so a killed run loses none of them; what
was planned and has no verdict is *not tested*. Reading trusts nothing: what does not have the
expected form is refused in one sentence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from . import provenance
from .verdict import STATUSES, Verdict

SCHEMA = "gatewise.run/3"
SINCE: dict[int, dict[str, Any]] = {
    2: {"place": "", "script": "", "subject_seconds": 0.0, "oracle_seconds": 0.0},
    3: {"drawn": ""},
}
"""Fields of verdicts that earlier schemas did not have, by the version that brought them."""

READABLE = {f"gatewise.run/{version}": version for version in (1, 2, 3)}

LARGEST_FILE = 64 * 2**20


class RunFileError(ValueError):
    """A run that cannot be read; the message says which file and why."""


@dataclass(frozen=True)
class Planned:
    """One check of one subject in one dtype."""

    subject: str
    check: str
    dtype: str


@dataclass(frozen=True)
class Run:
    """A run as read: header, plan and verdicts."""

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
    header = {
        "schema": SCHEMA,
        "command": command,
        "created": provenance.now(),
        "seed": seed,
        "budget": budget,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "source": provenance.source_state(),
        "request": dict(request or {}),
        "planned": [asdict(p) for p in planned],
    }
    (folder / "run.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def append(folder: Path, verdict: Verdict) -> None:
    """Add a verdict; it is on disk when this returns."""
    line = json.dumps(asdict(verdict))
    with (folder / "verdicts.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def keep_diagnosis(folder: Path, diagnosis: Mapping[str, Any]) -> None:
    """Add what explains a subject's failures; it is on disk when this returns."""
    with (folder / "diagnoses.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(diagnosis) + "\n")
        file.flush()
        os.fsync(file.fileno())


def diagnosed(folder: Path) -> bool:
    """Whether failures of this run have been explained already."""
    return (folder / "diagnoses.jsonl").exists()


def drop_torn_line(folder: Path) -> None:
    """Cut off what a killed run had begun to write, so that more can be appended."""
    path = folder / "verdicts.jsonl"
    if path.exists():
        whole, newline, _ = path.read_bytes().rpartition(b"\n")
        path.write_bytes(whole + newline)


def read(folder: Path) -> Run:
    """Read a run; RunFileError says what is wrong with one that is not as it should be."""
    header = _object(folder / "run.json", _text(folder / "run.json"))
    if str(header.get("schema")) not in READABLE:
        raise RunFileError(f"{folder}: expected schema {SCHEMA}, got {header.get('schema')!r}")
    version = READABLE[str(header["schema"])]
    added = {n: v for since, new in SINCE.items() if since > version for n, v in new.items()}
    where = folder / "run.json"
    return Run(
        command=_field(where, header, "command", str),
        created=_field(where, header, "created", str),
        seed=_field(where, header, "seed", int),
        budget=_field(where, header, "budget", str),
        versions=_strings(where, header, "versions"),
        machine=_strings(where, header, "machine"),
        source=_field(where, header, "source", str),
        planned=tuple(_planned(where, header)),
        verdicts=tuple(_verdicts(folder / "verdicts.jsonl", added)),
        request=_field(where, header, "request", dict) if version > 1 else {},
    )


def newest(runs: Path) -> Path:
    """Return the run folder made last below ``runs``."""
    found = sorted(runs.glob("*/run.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise RunFileError(
            f"{runs}: there is no run yet; make one with: gatewise verify torch:LSTM"
        )
    return found[-1].parent


def _text(path: Path) -> str:
    if not path.is_file():
        raise RunFileError(f"{path}: there is no such file; expected a folder made by a run")
    if path.stat().st_size > LARGEST_FILE:
        raise RunFileError(f"{path}: larger than {LARGEST_FILE // 2**20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunFileError(f"{path}: not UTF-8 text ({error.reason})") from error


def _object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunFileError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _field(path: Path, value: dict[str, Any], name: str, kind: type) -> Any:
    if type(value.get(name)) is not kind:
        raise RunFileError(f"{path}: {name}: expected {kind.__name__}, got {value.get(name)!r:.60}")
    return value[name]


def _strings(path: Path, value: dict[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] = _field(path, value, name, dict)
    if not all(isinstance(v, str) for v in found.values()):
        raise RunFileError(f"{path}: {name}: expected text for every entry")
    return found


def _planned(path: Path, header: dict[str, Any]) -> Iterator[Planned]:
    for entry in _field(path, header, "planned", list):
        if not isinstance(entry, dict):
            raise RunFileError(f"{path}: planned: expected objects, got {entry!r:.60}")
        yield Planned(*(_field(path, entry, f.name, str) for f in fields(Planned)))


def _verdicts(path: Path, added: Mapping[str, Any]) -> Iterator[Verdict]:
    if not path.exists():
        return
    lines = _text(path).split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number == len(lines):
            return  # the last line has no newline: the run was killed while writing it
        where = Path(f"{path}:{number}")
        yield _verdict(where, {**added, **_object(where, line)})


def _is_number(value: Any) -> bool:
    """Whether JSON gave a finite number of at least 0; 1e400 reads as infinity, true as an int."""
    return type(value) in (int, float) and 0 <= value < float("inf")


def _verdict(where: Path, value: dict[str, Any]) -> Verdict:
    names = {f.name for f in fields(Verdict)}
    if value.keys() != names:
        odd = ", ".join(sorted(value.keys() ^ names))
        raise RunFileError(f"{where}: fields missing or unknown: {odd}")
    for name in ("subject", "cell", "check", "statement", "dtype", "status", "worst"):
        _field(where, value, name, str)
    for name in ("message", "place", "case", "drawn", "reproduce", "script", "version"):
        _field(where, value, name, str)
    for name in ("seed", "cases", "blind_cases"):
        _field(where, value, name, int)
    equations = _field(where, value, "equations", list)
    ratio = value["worst_ratio"]
    if not all(isinstance(name, str) for name in equations):
        raise RunFileError(f"{where}: equations: expected names")
    if ratio is not None and not _is_number(ratio):
        raise RunFileError(f"{where}: worst_ratio: expected a number or null")
    for name in ("seconds", "subject_seconds", "oracle_seconds"):
        if not _is_number(value[name]):
            raise RunFileError(f"{where}: {name}: expected a number")
    if value["status"] not in STATUSES:
        raise RunFileError(f"{where}: status: expected one of {', '.join(STATUSES)}")
    return Verdict(**value)
