"""A recording's folder: written completely or not at all, and read as untrusted input."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.options import Options
from ..numbers.arithmetic import DTYPES
from ..runs import records
from ..runs.records import RunFileError, typed
from ..runs.run import Header
from .replayed import EXCEPTIONS, RecordedKernels, Replayed
from .trace import STORED_DTYPES, Store, Trace, restored

SCHEMA = "gatewise.recording/1"
INDEX = "recording.json"
FILE = re.compile(r"[0-9]{3}-[a-z-]+\.safetensors")
LARGEST_TENSOR_FILE = 64 * 2**20
MOST_CASES = 999
LARGEST_CASE = {"T": 2048, "B": 256, "D": 512, "H": 512, "layers": 8}
"""More than is ever recorded; a file of few bytes must not cost hours of arithmetic."""


@dataclass(frozen=True)
class Form:
    """The meaning of the parameters.

    They are those of an adapter of this package (``named``), those of a class of torch.nn
    (``like``), or gatewise's own for a cell (``explicit``).
    """

    kind: str
    name: str


@dataclass(frozen=True)
class Entry:
    """One case of one check; ``sha256`` is the digest of its file.

    ``ran`` lists the kernels that ran, if they are known, ``lacking`` those that should have run
    and did not, ``flags`` the settings of the framework.
    """

    check: str
    case: dict[str, Any]
    file: str
    sha256: str
    ran: str = ""
    lacking: str = ""
    flags: dict[str, bool] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The case as a line of JSON."""
        return Case.from_json(json.dumps(self.case)).to_json()


@dataclass(frozen=True, kw_only=True)
class Recording(Header):
    """The contents of ``recording.json``; ``device`` describes the GPU, if there is one."""

    subject: str
    form: Form
    cells: tuple[str, ...]
    dtypes: tuple[str, ...]
    options: dict[str, bool]
    reasons: tuple[tuple[str, str], ...]
    version: str
    device: dict[str, str]
    entries: tuple[Entry, ...]

    @property
    def origin(self) -> str:
        """The version that verdicts carry."""
        where = self.device.get("name") or self.machine.get("processor", "another machine")
        return f"{self.version} on {where}, recorded {self.created[:10]}"


def write_trace(path: Path, trace: Trace) -> str:
    """Write the trace of one case; return the file's digest."""
    data = encoded(trace)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def encoded(trace: Trace) -> bytes:
    """Return a trace as a safetensors file."""
    from safetensors.numpy import save

    store = Store()
    index = msgspec.to_builtins(trace, enc_hook=store.keep) | {"other": store.other}
    text = msgspec.json.encode(index).decode()
    data: bytes = save(store.arrays, metadata={"gatewise": text})
    return data


def write(folder: Path, recording: Recording) -> None:
    """Write the index."""
    records.write(folder / INDEX, recording)


def read(folder: Path) -> Recording:
    """Read the index and check the digests of all files; raise RunFileError if one is wrong."""
    where = folder / INDEX
    value = records.parsed(where, records.text(where))
    if value.get("schema") != SCHEMA:
        raise RunFileError(f"{where}: expected schema {SCHEMA}, got {value.get('schema')!r:.60}")
    recording = typed(Recording, value, where)
    _check_index(where, recording)
    for entry in recording.entries:
        tensor_file(folder, entry)
    return recording


LATER = {
    "partial_state", "kept_state", "reorders", "packed", "left_padding", "left_padding_state",
}  # fmt: skip
"""Options that older recordings do not name, and do not have."""


def _check_index(where: Path, recording: Recording) -> None:
    from ...reference.cells import cells

    odd = [name for name in recording.cells if name not in cells()]
    if odd or not recording.cells:
        raise RunFileError(f"{where}: cells: unknown: {', '.join(odd) or 'none given':.100}")
    if not set(recording.dtypes) <= {*DTYPES} or not recording.dtypes:
        raise RunFileError(f"{where}: dtypes: expected some of {', '.join(DTYPES)}")
    options = {k for k, v in asdict(Options()).items() if isinstance(v, bool)}
    if odd := sorted((recording.options.keys() ^ options) - LATER):
        raise RunFileError(f"{where}: options: missing or unknown: {', '.join(odd):.200}")
    if not 0 < len(recording.entries) <= MOST_CASES:
        raise RunFileError(f"{where}: entries: expected 1 to {MOST_CASES} cases")
    for number, entry in enumerate(recording.entries):
        _check_entry(f"{where}: entries[{number}]", recording, entry)
    keys = [(entry.check, entry.text) for entry in recording.entries]
    if len(set(keys)) < len(keys):
        raise RunFileError(f"{where}: entries: a check and a case occur twice")


def _check_entry(where: str, recording: Recording, entry: Entry) -> None:
    if not FILE.fullmatch(entry.file):
        raise RunFileError(f"{where}: file: expected a name in this folder, got {entry.file!r:.80}")
    try:
        case = Case.from_json(json.dumps(entry.case))
    except ValueError as error:
        raise RunFileError(f"{where}: {error!s:.200}") from error
    for name, most in LARGEST_CASE.items():
        if getattr(case, name) > most:
            raise RunFileError(f"{where}: case: {name}: expected at most {most}")
    if case.dtype not in recording.dtypes:
        raise RunFileError(f"{where}: case: dtype {case.dtype} is not one of the recording's")


def tensor_file(folder: Path, entry: Entry) -> bytes:
    """Return the bytes of a case's file; raise RunFileError if it is not the recorded one."""
    path = folder / entry.file
    if path.is_symlink() or not path.is_file():
        raise RunFileError(f"{path}: there is no such file in the recording")
    if path.stat().st_size > LARGEST_TENSOR_FILE:
        raise RunFileError(f"{path}: larger than {LARGEST_TENSOR_FILE // 2**20} MiB")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise RunFileError(f"{path}: is not the file that was recorded: its SHA-256 differs")
    return data


def read_trace(folder: Path, entry: Entry) -> Trace:
    """Read the trace of one case; raise RunFileError if its file is invalid."""
    return parse_trace(folder / entry.file, tensor_file(folder, entry))


def parse_trace(path: Path, data: bytes) -> Trace:
    """Return the trace in a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = {name: np.asarray(array) for name, array in load(data).items()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunFileError(f"{path}: not a safetensors file ({error!s:.100})") from error
    size = int.from_bytes(data[:8], "little")
    header = records.parsed(path, data[8 : 8 + size].decode("utf-8"))
    text = header.get("__metadata__", {}).get("gatewise", "")
    index = records.parsed(path, text)
    other = typed(dict[str, str], index.pop("other", {}), f"{path}: other")
    if missing := sorted(other.keys() - arrays.keys()):
        raise RunFileError(f"{path}: arrays missing: {', '.join(missing):.200}")
    if odd := sorted({str(a.dtype) for a in arrays.values()} - {*STORED_DTYPES}):
        raise RunFileError(f"{path}: dtypes that are not recorded: {', '.join(odd)}")
    trace = typed(Trace, index, path, partial(_named, restored(arrays, other)))
    if trace.ended is not None and trace.ended.kind not in EXCEPTIONS:
        raise RunFileError(f"{path}: ended: expected one of {', '.join(EXCEPTIONS)}")
    for key, array in trace.drawn.items():
        if not key.endswith(f" {list(array.shape)}"):
            raise RunFileError(f"{path}: drawn: an array has another shape than {key:.120}")
    return trace


def _named(arrays: Mapping[str, Floats], kind: type[Any], name: object) -> Floats:
    """Return the array of a name in an index; ValueError if there is none."""
    if not isinstance(name, str) or name not in arrays:
        raise ValueError(f"arrays missing: {name!s:.200}")
    return arrays[name]


def subject(name: str, folder: Path) -> Replayed:
    """Return the subject of a recording; raise RunFileError if it is invalid."""
    require_safetensors()
    recording = read(folder)
    offered: dict[str, Any] = {**recording.options}
    options = Options(**offered, reasons=recording.reasons)
    return Replayed(
        name,
        base(folder / INDEX, recording, options),
        options,
        recording.dtypes,
        recording.cells,
        recording.origin,
        {(e.check, e.text): partial(read_trace, folder, e) for e in recording.entries},
        RecordedKernels({(e.check, e.text): (e.ran, e.lacking) for e in recording.entries}),
    )


def base(where: Path, recording: Recording, options: Options) -> Any:
    """Return the adapter of the recorded parameters, without importing any layer."""
    from ..subjects import LIKE, adapter
    from ..subjects.explicit import Explicit
    from ..subjects.torch_like import REFERENCE, TorchLike

    form = recording.form
    if form.kind == "named" and (subject := adapter(form.name)):
        return subject
    if form.kind == "like" and form.name in LIKE:
        kind = form.name.rpartition(".")[2]
        return TorchLike(recording.subject, REFERENCE[kind], options, kind=kind)
    if form.kind == "explicit" and (form.name,) == recording.cells:
        return Explicit(recording.subject, Claim(form.name), options, recording.dtypes)
    raise RunFileError(f"{where}: form: {form.kind} {form.name!r:.60} is not known here")


@dataclass(frozen=True)
class Claim:
    """Stands for a recorded class, of which only the claimed cell is known."""

    cell: str


def require_safetensors() -> None:
    """Raise RunFileError if safetensors is not installed."""
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise RunFileError(
            "recordings need safetensors; install it with: pip install 'gatewise[record]'"
        ) from error
