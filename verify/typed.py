"""JSON values as frozen dataclasses, each field checked against its annotation."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .reading import RunFileError

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
