"""Recording of a subject into a folder: case by case, in a process of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..cases.case import Case
from ..checks.smoke import SMOKE
from ..recordings import files
from ..recordings.files import Entry, Form, Recording
from ..recordings.trace import Ending, Trace
from ..runs import provenance
from ..runs.records import RunFileError, typed
from ..subjects.loader import UnknownSubject
from .isolation import Isolated
from .limits import MEMORY
from .tasks import Description, Named

T = TypeVar("T")

PATIENCE = 300.0
"""The time limit of one case in seconds."""


class NotRecorded(RuntimeError):
    """The subject cannot be recorded; the message says why."""


@dataclass(frozen=True)
class _Plan:
    """The plan of a subject's process: cases, as pairs of check and JSON."""

    cases: tuple[tuple[str, str], ...]
    form: Form
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class _CaseFile:
    """The process's description of the file of one case, which it has written."""

    sha256: str
    ran: str = ""
    lacking: str = ""
    flags: dict[str, bool] = field(default_factory=dict)
    device: dict[str, str] = field(default_factory=dict)


def _dtype(case: str, name: str) -> str:
    """Return the dtype of a planned case; NotRecorded for no case, or a name that is no file's."""
    try:
        dtype = Case.from_json(case).dtype
    except ValueError as error:
        raise NotRecorded(f"its process planned what is no case: {error}") from error
    if not files.FILE.fullmatch(name):
        raise NotRecorded(f"its process planned what is no check: {name!r:.60}")
    return dtype


def _typed(kind: type[T], answer: dict[str, Any]) -> T:
    try:
        return typed(kind, answer, "its process's answer")
    except RunFileError as error:
        raise NotRecorded(str(error)) from error


def record(
    named: Named,
    folder: Path,
    *,
    command: str,
    seed: int = 0,
    dtype: str | None = None,
    timeout: float = PATIENCE,
    memory: int = MEMORY,
    on_plan: Callable[[int], None] = lambda count: None,
) -> Iterator[Entry]:
    """Yield each case after it is recorded; the folder appears when all are.

    An earlier recording there is replaced, other contents are not. Raises UnknownSubject,
    NotRecorded, RunFileError (for the folder) and OSError.
    """
    files.require_safetensors()
    earlier = _replaceable(folder)
    part = folder.with_name(f"{folder.name}.part")
    isolated = Isolated(memory)
    part.mkdir(parents=True)
    try:
        description = _description(isolated, named, timeout)
        recorder = _Recorder(isolated, named, timeout)
        plan = _typed(_Plan, recorder.ask(step="plan", dtype=dtype, seed=seed))
        on_plan(len(plan.cases))
        entries: list[Entry] = []
        for entry in recorder.entries(plan, part):
            entries.append(entry)
            yield entry
        options = asdict(description.options)
        recording = Recording(
            schema=files.SCHEMA,
            subject=named.name,
            form=plan.form,
            cells=description.cells,
            dtypes=plan.dtypes,
            options={k: v for k, v in options.items() if isinstance(v, bool)},
            reasons=description.options.reasons,
            version=description.version,
            device=recorder.device,
            entries=tuple(entries),
            **provenance.header(command, seed),
        )
        files.write(part, recording)
        _put_in_place(part, folder, earlier)
    finally:
        isolated.close()
        shutil.rmtree(part, ignore_errors=True)


def _description(isolated: Isolated, named: Named, timeout: float) -> Description:
    """Return the description of a subject that can be recorded."""
    description = isolated.describe(named, timeout)
    if description.status == "unknown":
        raise UnknownSubject(description.problem)
    if description.problem:
        raise NotRecorded(description.problem)
    return description


def _replaceable(folder: Path) -> list[Path]:
    """Return the files of an earlier recording; RunFileError for a folder of other contents."""
    if not folder.exists():
        return []
    if not folder.is_dir() or folder.is_symlink():
        raise RunFileError(f"{folder}: is no folder; name a new one")
    contents = sorted(folder.iterdir())
    if not contents:
        return []
    other = [p for p in contents if p.name != files.INDEX and not files.FILE.fullmatch(p.name)]
    if other or not (folder / files.INDEX).is_file():
        raise RunFileError(f"{folder}: holds something else than a recording; name a new folder")
    return contents


def _put_in_place(part: Path, folder: Path, earlier: Sequence[Path]) -> None:
    """Rename a complete recording, after removing the files of an earlier one."""
    for path in earlier:
        path.unlink()
    if folder.exists():
        folder.rmdir()
    part.rename(folder)


class _Recorder:
    """A subject's process, which records one case after another.

    ``device`` describes the device of the last case that named one. ``dead`` are the dtypes in
    which even the smoke check has no answer; their other cases are left out.
    """

    def __init__(self, isolated: Isolated, named: Named, timeout: float) -> None:
        self.isolated, self.named, self.timeout = isolated, named, timeout
        self.device: dict[str, str] = {}
        self.dead: set[str] = set()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the process's answer; NotRecorded if it has a problem."""
        reply = self.isolated.ask("record", self.named, self.timeout, **request)
        if "problem" in reply:
            raise NotRecorded(reply["problem"])
        return reply

    def entries(self, plan: _Plan, folder: Path) -> Iterator[Entry]:
        """Record the planned cases into a folder; yield the index's entry of each."""
        for number, (check, case) in enumerate(plan.cases):
            name = f"{number:03}-{check}.safetensors"
            if _dtype(case, name) in self.dead:
                continue
            file = self.record_case(check, case, folder / name)
            self.device = file.device or self.device
            parsed = json.loads(case)
            yield Entry(check, parsed, name, file.sha256, file.ran, file.lacking, file.flags)

    def record_case(self, check: str, case: str, path: Path) -> _CaseFile:
        """Record a case, also if the process ends in it."""
        try:
            reply = self.ask(step="take", check=check, case=case, path=str(path.resolve()))
        except NotRecorded as problem:
            if check == SMOKE:
                self.dead.add(Case.from_json(case).dtype)
            ending = Ending("SubjectCrashed", str(problem))
            return _CaseFile(files.write_trace(path, Trace(ended=ending)))
        file = _typed(_CaseFile, reply)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
            raise NotRecorded(f"{path.name}: what stands on the disk is not what was written")
        return file
