"""Files of a run, read as untrusted input: one sentence refuses what is not as it should be.

``verify.run_files`` reads what checks wrote, ``bench.run`` what benches did.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import types
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

LONGEST = 550
"""Characters of a message."""

LARGEST_FILE = 64 * 2**20
LARGEST_LINE = 4 * 2**20
"""What a verdict or a row may take; those that are written take less than a fortieth of it."""


class RunFileError(ValueError):
    """A run that cannot be read; the message says which file and why.

    It is one line that can be printed, even where it quotes what is none.
    """

    def __init__(self, message: str) -> None:
        line = "".join(each if each.isprintable() else " " for each in message)
        super().__init__(line if len(line) <= LONGEST else f"{line[:LONGEST]} …")


def text(path: Path) -> str:
    """Return what a file of a run holds."""
    if not path.is_file():
        raise RunFileError(f"{path}: there is no such file; expected a folder made by a run")
    if path.stat().st_size > LARGEST_FILE:
        raise RunFileError(f"{path}: larger than {LARGEST_FILE // 2**20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunFileError(f"{path}: not UTF-8 text ({error.reason})") from error


def parsed(path: Path, said: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(said, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RunFileError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RunFileError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def lines(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the objects of a file of one JSON object per line, each with where it stands.

    A last line without its newline is what a killed run had begun to write; it is left out.
    """
    if not path.exists():
        return
    whole = text(path).split("\n")
    for number, line in enumerate(whole[:-1], start=1):
        if line.strip():
            where = Path(f"{path}:{number}")
            if len(line) > LARGEST_LINE:
                raise RunFileError(f"{where}: a line of more than {LARGEST_LINE // 2**20} MiB")
            yield where, parsed(where, line)


def append(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line; it is on disk when this returns."""
    line = json.dumps(value, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed run had begun to write, so that more can be appended.

    The file is shortened, not written anew: on a full disk that would lose all of it.
    """
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def field(path: Path, value: dict[str, Any], name: str, kind: type) -> Any:
    """Return a field that has to be there, of exactly this type."""
    if type(value.get(name)) is not kind:
        raise RunFileError(f"{path}: {name}: expected {kind.__name__}, got {value.get(name)!r:.60}")
    return value[name]


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


# JSON values as frozen dataclasses, each field checked against its annotation.


T = TypeVar("T")
PLAIN = (str, bool, int)
"""What needs no look inside; a float may be infinite."""


def typed(kind: type[T], value: Any, where: Path | str = "row") -> T:
    """Return ``value`` as a dataclass; RunFileError says which field is not what it should be.

    Fields may be str, bool, int, float (finite), None, other dataclasses, and tuples, lists and
    dictionaries (by name) of those. Fields that the class does not have are refused; those with a
    default may be missing.
    """
    if not isinstance(value, Mapping):
        raise RunFileError(f"{where}: expected an object, got {value!r:.60}")
    hints, known = _fields(kind)  # type: ignore[arg-type]
    if odd := sorted(value.keys() - hints.keys()):
        raise RunFileError(f"{where}: unknown fields: {', '.join(odd):.200}")
    found = {}
    for f in known:
        if f.name in value:
            hint, given = hints[f.name], value[f.name]
            if type(given) is hint and hint in PLAIN:  # most are; a run has a million of them
                found[f.name] = given
            else:
                found[f.name] = _value(hint, given, f"{where}: {f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RunFileError(f"{where}: {f.name} is missing")
    return kind(**found)


@lru_cache
def _fields(kind: Any) -> tuple[dict[str, Any], tuple[dataclasses.Field[Any], ...]]:
    """Return the annotations of a class's fields, and its fields; a run has thousands of rows."""
    hints, known = get_type_hints(kind), dataclasses.fields(kind)
    return {f.name: hints[f.name] for f in known}, known


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, where)
    if origin in (tuple, list) and type(value) is list:
        return _sequence(origin, inner, value, where)
    if origin is dict and type(value) is dict:
        return {name: _value(inner[1], each, f"{where}.{name}") for name, each in value.items()}
    if dataclasses.is_dataclass(hint) and type(value) is dict:
        return typed(hint, value, where)  # type: ignore[arg-type]
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)  # no NaN, no infinity, and no integer beyond what a float holds
    if hint is Any or (hint in PLAIN and type(value) is hint):
        return value
    raise RunFileError(f"{where}: expected {_named(hint)}, got {value!r:.60}")


def _one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    (kind,) = (k for k in kinds if k is not type(None))
    return _value(kind, value, where)


def _sequence(origin: Any, inner: tuple[Any, ...], value: list[Any], where: str) -> Any:
    kinds = [inner[0]] * len(value) if origin is list or inner[-1] is ... else list(inner)
    if len(kinds) != len(value):
        raise RunFileError(f"{where}: expected {len(kinds)} entries, got {len(value)}")
    return origin(
        _value(k, v, f"{where}[{n}]") for n, (k, v) in enumerate(zip(kinds, value, strict=True))
    )


def _named(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)


# JSON Schema of what a dataclass looks like in a file (draft 2020-12).
#
# ``typed`` reads by the same annotations, so that what a schema says is what is accepted.


SIMPLE: dict[Any, dict[str, str]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}


def schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a type: a dataclass, or what its fields may be."""
    if kind in SIMPLE:
        return dict(SIMPLE[kind])
    if dataclasses.is_dataclass(kind):
        return _object(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema(each) for each in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(inner[1])}
    if origin is list or (origin is tuple and inner[-1] is ...):
        return {"type": "array", "items": schema(inner[0])}
    if origin is tuple:
        places = [schema(each) for each in inner]
        return {"type": "array", "prefixItems": places, "items": False, "minItems": len(places)}
    raise TypeError(f"{kind}: a file has nothing like this")


def _object(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {
        "title": kind.__name__,
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {f.name: schema(hints[f.name]) for f in dataclasses.fields(kind)},
        "required": [f.name for f in dataclasses.fields(kind) if _has_no_default(f)],
        "additionalProperties": False,
    }


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
