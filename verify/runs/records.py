"""Files of records, read as untrusted input: an invalid one is refused in one sentence."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

LONGEST_MESSAGE = 550
"""Characters of a message."""

LARGEST_FILE = 2**30
"""Bytes of a file of lines."""

LARGEST_HEADER = 64 * 2**20
LARGEST_LINE = 4 * 2**20
"""Bytes of a verdict or a row, 40 times as many as gatewise writes."""


APPENDING = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)  # fmt: skip
"""Flags of ``os.open``: follow no link, and do not wait for the reader of a pipe."""


class RunFileError(ValueError):
    """A run that cannot be read; the message, one printable line, names the file and the reason."""

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else " " for c in message)
        super().__init__(line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} …")


def text(path: Path) -> str:
    """Return the text of a file of a run."""
    if not path.is_file():
        raise RunFileError(f"{path}: there is no such file; expected a folder made by a run")
    _require_size(path, LARGEST_HEADER)
    return _decoded(path, path.read_bytes())


def _require_size(path: Path, most: int) -> None:
    if path.stat().st_size > most:
        raise RunFileError(f"{path}: larger than {most // 2**20} MiB")


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunFileError(f"{path}: not UTF-8 text ({error.reason})") from error


_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which command a terminal, and surrogates, which UTF-8 does not encode."""


def harmless(value: Any) -> Any:
    """Return a JSON value with U+FFFD for the characters that files or terminals do not take."""
    if isinstance(value, str):
        return _ODD.sub("\ufffd", value)
    if isinstance(value, dict):
        return {harmless(name): harmless(v) for name, v in value.items()}
    return [*map(harmless, value)] if isinstance(value, list | tuple) else value


def parsed(path: Path, text: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        if "\\u" in text or _ODD.search(text):  # JSON may escape them
            value = harmless(value)
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunFileError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def lines(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the objects of a file of one JSON object per line, each with its file and line number.

    A last line without its newline, which a killed run leaves behind, is skipped.
    """
    if not path.exists():
        return
    if not path.is_file():
        raise RunFileError(f"{path}: expected a regular file")
    _require_size(path, LARGEST_FILE)
    with path.open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(LARGEST_LINE + 2)
            where = Path(f"{path}:{number}")
            if len(line) > LARGEST_LINE + 1:
                raise RunFileError(f"{where}: a line of more than {LARGEST_LINE // 2**20} MiB")
            if not line.endswith(b"\n"):
                return
            if line.strip():
                yield where, parsed(where, _decoded(where, line))


def as_read(record: T, where: Path | str = "row") -> T:
    """Return a record as it would be read from a file; raise RunFileError if it cannot be."""
    try:
        text = json.dumps(dataclasses.asdict(record), allow_nan=False)  # type: ignore[call-overload]
    except (TypeError, ValueError, RecursionError) as error:
        raise RunFileError(f"{where}: cannot be written as JSON ({error})") from error
    return typed(type(record), parsed(Path(where), text), where)


def write(path: Path, record: Any) -> None:
    """Write a record as a file of its own."""
    text = json.dumps(dataclasses.asdict(record), indent=1, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def append(path: Path, record: Any) -> None:
    """Add a record as one line; it is on disk when this returns."""
    value = record if isinstance(record, dict) else dataclasses.asdict(record)
    line = json.dumps(value, allow_nan=False)
    with os.fdopen(os.open(path, APPENDING, 0o666), "a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def drop_torn_line(path: Path) -> None:
    """Cut off an incomplete last line, so that more can be appended.

    The file is truncated in place: to write it anew on a full disk would lose all of it.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - LARGEST_LINE - 1)
        file.seek(start)
        last = file.read().rfind(b"\n")
    if start and last < 0:
        raise RunFileError(f"{path}: a line of more than {LARGEST_LINE // 2**20} MiB")
    os.truncate(path, start + last + 1)


def field(path: Path, value: dict[str, Any], name: str, kind: type) -> Any:
    """Return a required field; raise RunFileError unless it is of exactly this type."""
    if type(value.get(name)) is not kind:
        raise RunFileError(f"{path}: {name}: expected {kind.__name__}, got {value.get(name)!r:.60}")
    return value[name]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def typed(
    kind: type[T],
    value: Any,
    where: Path | str = "row",
    dec_hook: Callable[[type[Any], Any], Any] | None = None,
) -> T:
    """Return ``value`` as a dataclass; raise RunFileError that names an invalid field.

    Unknown fields and numbers that are not finite are refused; fields with a default may be
    missing. ``dec_hook`` converts what JSON lacks, as in msgspec.
    """
    try:
        record = msgspec.convert(value, kind, dec_hook=dec_hook)
        odd = _oddity(record, value)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).replace("`", "").partition(" - at $")
        reason = reason[0].lower() + reason[1:]
        raise RunFileError(
            f"{where}: {place.lstrip('.')}{': ' if place else ''}{reason}"
        ) from error
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise RunFileError(f"{where}: {error}") from error
    if odd:
        raise RunFileError(f"{where}: {odd}")
    return record


def _oddity(record: Any, value: Any) -> str:
    """Return the unknown field or the number that is not finite in a value, "" if none."""
    if isinstance(record, float):
        return "" if math.isfinite(record) else f"expected a finite number, got {record}"
    if record is value:
        return ""
    if dataclasses.is_dataclass(record):
        if unknown := sorted(value.keys() - record.__dataclass_fields__.keys()):
            return f"unknown fields: {', '.join(unknown):.200}"
        pairs = ((name, getattr(record, name), v) for name, v in value.items())
    elif isinstance(record, dict):
        pairs = ((name, v, value[name]) for name, v in record.items())
    elif isinstance(record, list | tuple):
        pairs = ((f"[{n}]", *pair) for n, pair in enumerate(zip(record, value, strict=True)))
    else:
        return ""
    return next((f"{name}: {odd}" for name, *pair in pairs if (odd := _oddity(*pair))), "")


def schema(*kinds: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the values that ``typed`` accepts as these."""
    places, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for part in parts.values():
        part["description"] = part.get("description", "").partition("\n")[0]
        part["additionalProperties"] = False
    if len(kinds) > 1:
        return {"anyOf": list(places), "$defs": parts}
    top = parts.pop(places[0]["$ref"].rpartition("/")[2])
    return {**top, "$defs": parts} if parts else top
