"""The trace of one case of one check: the drawn numbers, the calls, and the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..numbers.arithmetic import ARITHMETICS
from ..subjects.called import Call

HELD = ("float64", "float32", "float16", "int64", "int32", "bool")
"""The dtypes of arrays that safetensors and NumPy share."""


@dataclass(frozen=True)
class Given:
    """The inputs of a call; arrays by their names in the file."""

    parameters: dict[str, str]
    x: str
    state: tuple[str | None, ...] | None
    lengths: str | None


@dataclass(frozen=True)
class Pulling:
    """Cotangents on y and on each final state."""

    dy: str | None
    dfinal: tuple[str | None, ...]


@dataclass(frozen=True)
class Returned:
    """Returned arrays; ``parameters``, ``x`` and ``initial`` are gradients, if requested."""

    y: str
    final: tuple[str, ...]
    parameters: dict[str, str] | None = None
    x: str | None = None
    initial: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """One call: the number of its layer, the case that it was built for, inputs and results.

    A call that raised has no results. A record without inputs only switches the mode.
    """

    layer: int
    case: str
    inputs: Given | None
    cotangents: tuple[Pulling, ...] | None
    tangents: Given | None
    results: tuple[Returned, ...]
    training: bool


@dataclass(frozen=True)
class Ended:
    """The exception that ended a case; ``kind`` is its name."""

    kind: str
    message: str


@dataclass
class Index:
    """A trace without its arrays: ``drawn`` has their names by case, part and shape.

    ``other`` has, by name, the dtypes of arrays that safetensors lacks: these are stored exactly in
    another dtype, and bfloat16 is restored when the file is read.
    """

    drawn: dict[str, str] = field(default_factory=dict)
    calls: tuple[Made, ...] = ()
    ended: Ended | None = None
    other: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all arrays in it."""
        calls = [(c.inputs, c.cotangents, c.tangents, c.results) for c in self.calls]
        return [*self.drawn.values(), *self.other, *_leaves(calls)]


@dataclass
class Trace(Index):
    """The index and the arrays."""

    arrays: dict[str, Floats] = field(default_factory=dict)

    @property
    def index(self) -> dict[str, Any]:
        """Everything but the arrays."""
        return {f.name: getattr(self, f.name) for f in fields(Index)}


def drawing(case: Case, part: str, shape: Sequence[int]) -> str:
    """Return the key of the numbers of one part of a case."""
    return f"{case.to_json()} {part} {list(shape)}"


class Store:
    """Arrays by content; equal ones are stored once, under their first name."""

    def __init__(self) -> None:
        self.arrays: dict[str, Floats] = {}
        self.other: dict[str, str] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def keep(self, name: str, array: Floats) -> str:
        """Store an array, and return its name."""
        array = np.asarray(array)
        key = (array.shape, str(array.dtype), array.tobytes())
        if key not in self._names:
            self._names[key] = name
            if str(array.dtype) not in HELD:
                self.other[name] = str(array.dtype)
                narrow = array.astype(np.float32)
                exact = np.array_equal(narrow.astype(array.dtype), array, equal_nan=True)
                array = narrow if exact else array.astype(np.float64)
            self.arrays[name] = np.array(array, order="C")
        return self._names[key]

    def call(self, number: int, layer: int, call: Call) -> Made:
        """Store the arrays of a call."""
        pairs = None if call.cotangents is None else [Pulling(*pair) for pair in call.cotangents]
        named = {
            "layer": layer,
            "case": call.layer.case.to_json(),
            "inputs": self._named(f"{number}.inputs", call.inputs),
            "cotangents": self._named(f"{number}.cotangents", pairs),
            "tangents": self._named(f"{number}.tangents", call.tangents),
            "results": self._named(f"{number}.results", call.results),
            "training": call.training,
        }
        return msgspec.convert(named, Made)

    def _named(self, where: str, value: Any) -> Any:
        """Store all arrays of a value, and return it with names instead of arrays."""
        if value is None:
            return None
        parts = _parts(value)
        if parts is None:
            return self.keep(where, value)
        named = {key: self._named(f"{where}.{key}", part) for key, part in parts.items()}
        return list(named.values()) if isinstance(value, list | tuple) else named


def _parts(value: Any) -> dict[Any, Any] | None:
    """Return the parts of a record, mapping or sequence by name or number; None for others."""
    if is_dataclass(value):
        # calls are replayed in order
        arrays = (f.name for f in fields(value) if f.name not in ("kept", "rows", "layout"))
        return {name: getattr(value, name) for name in arrays}
    if isinstance(value, Mapping):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values within nested records, mappings and sequences."""
    parts = _parts(value)
    if parts is not None:
        for part in parts.values():
            yield from _leaves(part)
    elif value is not None:
        yield value


def restored(arrays: Mapping[str, Floats], dtypes: Mapping[str, str]) -> dict[str, Floats]:
    """Return the arrays of a file, with bfloat16 restored."""
    half = ARITHMETICS["bfloat16"]
    result = dict(arrays)
    for name, dtype in dtypes.items():
        if dtype == half.name:
            result[name] = arrays[name].astype(half.dtype)
    return result


def same(trace: Trace, recorded: Any, value: Any) -> bool:
    """Return whether a value has the structure of a record, with the bits of its arrays."""
    if recorded is None or value is None:
        return recorded is value
    names, parts = _parts(recorded), _parts(value)
    if names is None or parts is None:
        return names is parts and same_bits(trace.arrays[recorded], value)
    return names.keys() == parts.keys() and all(same(trace, names[k], parts[k]) for k in names)


def same_bits(first: Floats, second: Floats) -> bool:
    """Return whether two arrays hold the same bits."""
    second = np.asarray(second)
    alike = first.shape == second.shape and first.dtype == second.dtype
    return bool(alike and first.tobytes() == second.tobytes())
