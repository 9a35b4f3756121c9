"""One case of one check, recorded: the numbers drawn for it, the calls, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..numbers.arithmetic import ARITHMETICS
from ..subjects.called import Call
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result

HELD = ("float64", "float32", "float16", "int64", "int32", "bool")
"""The dtypes of arrays that safetensors and NumPy share."""


@dataclass(frozen=True)
class Given:
    """What a layer was called with; every array by its name in the file."""

    parameters: dict[str, str]
    x: str
    state: tuple[str, ...] | None
    lengths: str | None


@dataclass(frozen=True)
class Pulling:
    """Cotangents on y and on each final state."""

    dy: str | None
    dfinal: tuple[str | None, ...]


@dataclass(frozen=True)
class Returned:
    """What came back; ``parameters``, ``x`` and ``initial`` are gradients, where asked for."""

    y: str
    final: tuple[str, ...]
    parameters: dict[str, str] | None = None
    x: str | None = None
    initial: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """One call: of which layer (counted from 0) made for which case, with what, what came back.

    Of a call that raised there are no results. Without inputs only the mode was switched.
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
    """What the layer did instead of returning: ``kind`` is the name of the exception."""

    kind: str
    message: str


@dataclass
class Trace:
    """The whole of it; ``drawn`` by case, part and shape.

    ``other`` are arrays whose dtype the file does not have, by name: they are stored in one that
    holds their numbers exactly, and bfloat16 becomes itself again when it is read.
    """

    drawn: dict[str, str] = field(default_factory=dict)
    calls: tuple[Made, ...] = ()
    ended: Ended | None = None
    other: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)

    def index(self) -> dict[str, Any]:
        """Return everything but the arrays, as JSON values."""
        return {
            "drawn": self.drawn,
            "calls": [asdict(call) for call in self.calls],
            "ended": None if self.ended is None else asdict(self.ended),
            "other": self.other,
        }


@dataclass(frozen=True)
class Index:
    """What ``Trace.index`` returns, as it is read."""

    drawn: dict[str, str]
    calls: tuple[Made, ...]
    ended: Ended | None
    other: dict[str, str]


def drawing(case: Case, part: str, shape: Sequence[int]) -> str:
    """Return the key of the numbers of one part of a case."""
    return f"{case.to_json()} {part} {list(shape)}"


class Store:
    """Arrays by content: each is kept once, under the first name that it was given."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.other: dict[str, str] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def keep(self, name: str, array: Array) -> str:
        """Keep an array, and return its name."""
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
        """Keep the arrays of a call."""
        pairs = call.cotangents
        return Made(
            layer,
            call.layer.case.to_json(),
            self._given(f"{number}.inputs", call.inputs),
            None if pairs is None else tuple(
                self._pulling(f"{number}.cotangents.{k}", pair) for k, pair in enumerate(pairs)
            ),
            self._given(f"{number}.tangents", call.tangents),
            tuple(
                self._returned(f"{number}.results.{k}", r) for k, r in enumerate(call.results)
            ),
            call.training,
        )  # fmt: skip

    def _given(self, where: str, inputs: Inputs | None) -> Given | None:
        if inputs is None:
            return None
        named = {
            name: self.keep(f"{where}.parameters.{name}", array)
            for name, array in inputs.parameters.items()
        }
        state, lengths = inputs.state, inputs.lengths
        return Given(
            named,
            self.keep(f"{where}.x", inputs.x),
            None if state is None else self._several(f"{where}.state", state),
            None if lengths is None else self.keep(f"{where}.lengths", lengths),
        )

    def _pulling(self, where: str, pair: Cotangents) -> Pulling:
        dy, dfinal = pair
        ends = (
            None if d is None else self.keep(f"{where}.dfinal.{k}", d) for k, d in enumerate(dfinal)
        )
        return Pulling(None if dy is None else self.keep(f"{where}.dy", dy), tuple(ends))

    def _returned(self, where: str, result: Result) -> Returned:
        y = self.keep(f"{where}.y", result.y)
        final = self._several(f"{where}.final", result.final)
        if not isinstance(result, Pulled):
            return Returned(y, final)
        named = {
            name: self.keep(f"{where}.gradients.{name}", array)
            for name, array in result.parameters.items()
        }
        x = self.keep(f"{where}.gradients of x", result.x)
        return Returned(y, final, named, x, self._several(f"{where}.initial", result.initial))

    def _several(self, where: str, arrays: Sequence[Array]) -> tuple[str, ...]:
        return tuple(self.keep(f"{where}.{k}", array) for k, array in enumerate(arrays))


def restored(arrays: Mapping[str, Array], other: Mapping[str, str]) -> dict[str, Array]:
    """Return the arrays of a file, those of bfloat16 in bfloat16; the numbers are the same."""
    half = ARITHMETICS["bfloat16"]
    again = dict(arrays)
    for name, dtype in other.items():
        if dtype == half.name:
            again[name] = arrays[name].astype(half.dtype)
    return again


def named_arrays(index: Index) -> list[str]:
    """Return the name of every array that an index speaks of."""
    names = [*index.drawn.values(), *index.other]
    for call in index.calls:
        for given in filter(None, (call.inputs, call.tangents)):
            names += [*given.parameters.values(), given.x, *(given.state or ())]
            names += [given.lengths] if given.lengths else []
        for pair in call.cotangents or ():
            names += [name for name in (pair.dy, *pair.dfinal) if name is not None]
        for result in call.results:
            names += [result.y, *result.final, *(result.parameters or {}).values(), *result.initial]
            names += [result.x] if result.x else []
    return names


def same_inputs(trace: Trace, recorded: Given | None, inputs: Inputs) -> bool:
    """Return whether a call is made with the recorded numbers, bit by bit."""
    if recorded is None or recorded.parameters.keys() != inputs.parameters.keys():
        return False
    pairs = [(recorded.parameters[n], a) for n, a in inputs.parameters.items()]
    pairs.append((recorded.x, inputs.x))
    if (recorded.state is None) != (inputs.state is None):
        return False
    if len(recorded.state or ()) != len(inputs.state or ()):
        return False
    pairs += list(zip(recorded.state or (), inputs.state or (), strict=True))
    if (recorded.lengths is None) != (inputs.lengths is None):
        return False
    if recorded.lengths is not None:
        pairs.append((recorded.lengths, inputs.lengths))
    return all(same_bits(trace.arrays[name], array) for name, array in pairs)


def same_cotangents(
    trace: Trace, recorded: Sequence[Pulling] | None, given: Sequence[Cotangents] | None
) -> bool:
    """Return whether the recorded cotangents are pulled back, bit by bit."""
    if recorded is None or given is None:
        return recorded is None and given is None
    if len(recorded) != len(given):
        return False
    for pulling, (dy, dfinal) in zip(recorded, given, strict=True):
        if len(pulling.dfinal) != len(dfinal):
            return False
        for name, array in zip((pulling.dy, *pulling.dfinal), (dy, *dfinal), strict=True):
            if (name is None) != (array is None):
                return False
            if name is not None and not same_bits(trace.arrays[name], array):
                return False
    return True


def same_bits(first: Array, second: Array) -> bool:
    """Return whether two arrays hold the same bits."""
    second = np.asarray(second)
    alike = first.shape == second.shape and first.dtype == second.dtype
    return bool(alike and first.tobytes() == second.tobytes())
