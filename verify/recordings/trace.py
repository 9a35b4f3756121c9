"""The trace of one case of one check: the drawn numbers, the calls, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..numbers.arithmetic import ARITHMETICS, DTYPES
from ..subjects.call_records import ArgumentRecord, ResultRecord
from ..subjects.called import Call
from ..subjects.protocol import Cotangents, Inputs

STORED_DTYPES = ("float64", "float32", "float16", "int64", "int32", "bool")
"""The dtypes of arrays that safetensors and NumPy share."""


class CotangentRecord(msgspec.Struct, forbid_unknown_fields=True):
    """Cotangents on y and on each final state."""

    dy: Floats | None
    dfinal: tuple[Floats | None, ...]


class CallArguments(NamedTuple):
    """The arguments of a call."""

    inputs: ArgumentRecord | None
    cotangents: tuple[CotangentRecord, ...] | None
    tangents: ArgumentRecord | None


class CallRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One call: the number of its layer, the case that it was built for, inputs and results.

    A call that raised has no results. A record without inputs only switches the mode.
    """

    layer: int
    case: str
    inputs: ArgumentRecord | None
    cotangents: tuple[CotangentRecord, ...] | None
    tangents: ArgumentRecord | None
    results: tuple[ResultRecord, ...]
    training: bool

    @classmethod
    def of(cls, layer: int, call: Call) -> CallRecord:
        """Return a call as a record."""
        arguments = call_arguments(call.inputs, call.cotangents, call.tangents)
        results = tuple(map(ResultRecord.of, call.results))
        return cls(layer, call.layer.case.to_json(), *arguments, results, call.training)

    @property
    def arguments(self) -> CallArguments:
        """The arguments of the call."""
        return CallArguments(self.inputs, self.cotangents, self.tangents)


def call_arguments(
    inputs: Inputs | None, pairs: Sequence[Cotangents] | None, tangents: Inputs | None
) -> CallArguments:
    """Return the arguments of a call as records."""
    cotangents = None if pairs is None else tuple(CotangentRecord(*pair) for pair in pairs)
    return CallArguments(_argument_record(inputs), cotangents, _argument_record(tangents))


def _argument_record(inputs: Inputs | None) -> ArgumentRecord | None:
    """Return arguments without what follows from the order of the calls, and from their case."""
    if inputs is None:
        return None
    return ArgumentRecord.of(replace(inputs, kept=False, rows=None, layout=""))


@dataclass(frozen=True)
class Ending:
    """The exception that ended a case; ``kind`` is its name."""

    kind: str
    message: str


@dataclass(frozen=True)
class Trace:
    """The numbers that were drawn, by case, part and shape; the calls, and how the case ended."""

    drawn: dict[str, Floats] = field(default_factory=dict)
    calls: tuple[CallRecord, ...] = ()
    ended: Ending | None = None


def numbers_key(case: Case, part: str, shape: Sequence[int]) -> str:
    """Return the key of the numbers of one part of a case."""
    return f"{case.to_json()} {part} {list(shape)}"


class Store:
    """The arrays of a file by name, equal ones once.

    ``other`` has, by name, the dtypes of arrays that safetensors lacks: these are stored exactly in
    another dtype, and bfloat16 is restored when the file is read.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Floats] = {}
        self.other: dict[str, str] = {}
        self._names: dict[bytes, str] = {}

    def keep(self, array: Floats) -> str:
        """Store an array, and return its name."""
        name = self._names.setdefault(bits(array), str(len(self._names)))
        if name not in self.arrays:
            if str(array.dtype) not in STORED_DTYPES:
                self.other[name] = str(array.dtype)
                narrow = array.astype(np.float32)
                exact = np.array_equal(narrow.astype(array.dtype), array, equal_nan=True)
                array = narrow if exact else array.astype(np.float64)
            self.arrays[name] = np.array(array, order="C")
        return name


def restored(arrays: Mapping[str, Floats], other: Mapping[str, str]) -> dict[str, Floats]:
    """Return the arrays of a file, with bfloat16 restored.

    In place of one of a dtype that is not known here is the name of its dtype, as an object.
    """
    half = ARITHMETICS["bfloat16"]
    result = dict(arrays)
    for name, dtype in other.items():
        if dtype == half.name:
            result[name] = arrays[name].astype(half.dtype)
        elif dtype not in DTYPES:
            result[name] = np.array(dtype, object)
    return result


def bits(value: Any) -> bytes:
    """Return records as bytes: equal for the same structure, and the same bits of arrays."""
    return msgspec.msgpack.encode(value, enc_hook=_bits, order="deterministic")


def _bits(array: Floats) -> tuple[tuple[int, ...], str, bytes]:
    return array.shape, str(array.dtype), array.tobytes()
