"""A layer in any language: a program that answers lines of JSON, ``process:COMMAND``.

The program reads one JSON object a line from standard input and answers each with one line:

1. ``start`` → implementation, language, cell, the convention of the weights, dtypes, and whether it
   takes a state, lengths and gradients;
2. ``call`` → the computed arrays, or ``skipped`` or ``errored`` with a reason.

At the end of its input the program should exit. A line that does not answer the question counts as
a crash. ``SCHEMA`` is the version of the protocol.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import shlex
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named, cells
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.convention import Convention
from ..conventions.parameter_map import ConventionMap, ExplicitMap, ParameterMap
from ..numbers.arithmetic import DTYPES
from .called import SubjectCrashed
from .declared import Declaration
from .framework import Plain
from .loader import PROGRAMS, UnknownSubject
from .protocol import Built, Cotangents, Inputs, OneCell, Pulled, Result, SubjectUnavailable

SCHEMA = 1
EQUATIONS = "equations"
"""Weights in the layout of the reference: W (G, D, H), U (G, H, H), b (G, H)."""

LONGEST_LINE = 2**30
SHOWN = 80


class Start(msgspec.Struct, tag_field="do", tag="start"):
    """The first question."""

    protocol: int
    cell: str


class Numbers(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An array: its shape, and its entries in C order, little-endian in base64 or one by one.

    ``values`` are decimal numbers with all their digits, or ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``.
    """

    dtype: str
    shape: tuple[int, ...]
    data: str = ""
    values: list[float | str] | None = None


class Call(msgspec.Struct, tag_field="do", tag="call", omit_defaults=True):
    """One call of the layer: ``arrays`` are x, weights, states h0 ..., lengths, and cotangents.

    With cotangents (dy, and dh for a final state h) the program returns gradients.
    """

    id: int
    cell: str
    dtype: str
    T: int
    B: int
    D: int
    H: int
    arrays: dict[str, Numbers]
    gradients: bool = False


class Started(msgspec.Struct, forbid_unknown_fields=True):
    """The program's answer to ``start``: its description of itself.

    ``weights``: ``equations``, or whose convention its arrays have (torch, keras, onnx, ...);
    ``order``, ``layout`` and ``bias`` replace fields of that.
    """

    protocol: int
    implementation: str
    cell: str
    version: str = ""
    language: str = ""
    weights: str = EQUATIONS
    order: str = ""
    layout: str = ""
    bias: tuple[str, ...] | None = None
    dtypes: tuple[str, ...] = ("float64",)
    encoding: Literal["base64", "numbers"] = "base64"
    gradients: bool = False
    state: bool = True
    lengths: bool = False


class Answered(msgspec.Struct, forbid_unknown_fields=True):
    """The program's answer to ``call``: arrays, or why there are none."""

    id: int
    arrays: dict[str, Numbers] = {}
    skipped: str = ""
    errored: str = ""


def to_json(array: Floats, encoding: str) -> Numbers:
    """Encode an array for a line of JSON."""
    plain = np.ascontiguousarray(array)
    if encoding == "numbers":
        values = [float(v) if np.isfinite(v) else _SPECIAL[repr(float(v))] for v in plain.flat]
        return Numbers(plain.dtype.name, plain.shape, values=values)
    data = plain.astype(plain.dtype.newbyteorder("<"), copy=False).tobytes()
    return Numbers(plain.dtype.name, plain.shape, base64.b64encode(data).decode("ascii"))


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def from_json(name: str, numbers: Numbers) -> Floats:
    """Decode an array; SubjectCrashed says what is wrong with it."""
    try:
        if numbers.dtype not in DTYPES:
            raise ValueError(f"dtype {numbers.dtype!r}, expected one of {', '.join(DTYPES)}")
        if min(numbers.shape, default=0) < 0:
            raise ValueError(f"shape {numbers.shape}")
        dtype = Case(1, 1, 1, 1, dtype=numbers.dtype).number_type
        if numbers.values is not None:
            return np.array([float(v) for v in numbers.values], dtype).reshape(numbers.shape)
        data = base64.b64decode(numbers.data, validate=True)
        return np.frombuffer(bytearray(data), dtype).reshape(numbers.shape)
    except (ValueError, KeyError, TypeError, binascii.Error, OverflowError) as error:
        raise SubjectCrashed(f"array {name}: {str(error)[:SHOWN]}") from error


class Running:
    """A running program that answers one question at a time."""

    def __init__(self, command: str) -> None:
        self.command, self.calls = command, 0
        try:
            self._process = subprocess.Popen(
                shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnknownSubject(f"subject '{PROGRAMS}:{command}': {reason}") from error
        self.end = weakref.finalize(self, _end, self._process)

    def ask(self, question: msgspec.Struct, kind: Any) -> Any:
        """Return the answer to a question; SubjectCrashed if there is none of this kind."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101
        assert stdout is not None  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            stdin.write(msgspec.json.encode(question) + b"\n")
            stdin.flush()
        try:
            line = stdout.readline(LONGEST_LINE)
        except MemoryError:
            raise SubjectCrashed("the program wrote a line that memory does not hold") from None
        if not line.endswith(b"\n"):
            code = self._process.wait() if not line else "no end of line"
            raise SubjectCrashed(f"the program ended without an answer (exit code {code})")
        try:
            return msgspec.json.decode(line, type=kind)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            shown = line[:SHOWN].decode("utf-8", "replace").strip()
            raise SubjectCrashed(f"the program wrote {shown!r}, no answer ({error})") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and close its pipes."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


@dataclass(frozen=True)
class Program(OneCell):
    """A program, as a subject."""

    name: str
    started: Started
    running: Running = field(repr=False, compare=False)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell that it claims to compute."""
        return (self.started.cell,)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes in which it claims to compute."""
        return self.started.dtypes

    @property
    def options(self) -> Options:
        """The options: one layer in one direction; state, lengths and gradients as it says."""
        started = self.started
        return Options(
            layers=False, bidirectional=False, bias=self.convention is None,
            lengths=started.lengths, state=started.state, gradient=started.gradients,
        )  # fmt: skip

    @cached_property
    def convention(self) -> Convention | None:
        """The convention of its weights; None for the layout of the reference."""
        started = self.started
        if started.weights == EQUATIONS:
            return None
        return Declaration(
            started.cell,
            weights=started.weights,
            order=started.order,
            layout=started.layout,
            bias=started.bias,
        ).convention

    @property
    def form(self) -> tuple[str, str] | None:
        """The kind and cell that a recording stores, to reconstruct the weights' meaning."""
        return None if self.convention else ("explicit", self.started.cell)

    def version(self) -> str:
        """Return the implementation, version and language that the program states."""
        started = self.started
        language = f" ({started.language})" if started.language else ""
        return f"{started.implementation} {started.version}".strip() + language

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of its convention, or of the reference's layout."""
        if self.convention is None:
            return ExplicitMap(self.started.cell, case)
        return ConventionMap(self.convention, case)

    def build(self, case: Case) -> Built:
        """Return the layer."""
        layer = _Layer(self, case)
        return Plain(layer.forward, layer.gradients if self.started.gradients else None)


@dataclass
class _Layer:
    program: Program
    case: Case

    @property
    def states(self) -> tuple[str, ...]:
        return cell_named(self.program.started.cell).states

    def forward(self, inputs: Inputs) -> Result:
        return self._result(self._call(self._named(inputs), gradients=False))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        return [self._pulled(inputs, pair) for pair in cotangents]

    def _pulled(self, inputs: Inputs, cotangents: Cotangents) -> Pulled:
        dy, dfinal = cotangents
        arrays = self._named(inputs)
        shape = (*inputs.x.shape[:2], self.case.H)
        arrays["dy"] = np.zeros(shape, inputs.x.dtype) if dy is None else dy
        for name, d in zip(self.states, dfinal, strict=False):
            arrays[f"d{name}"] = np.zeros(shape[1:], inputs.x.dtype) if d is None else d[0]
        got = self._call(arrays, gradients=True)
        result = self._result(got)
        parameters = {n: self._array(got, f"d{_plain(n)}") for n in inputs.parameters}
        initial = tuple(
            self._array(got, f"d{name}0")[None]
            for name, state in zip(self.states, inputs.state or (), strict=False)
            if state is not None
        )
        return Pulled(result.y, result.final, parameters, self._array(got, "dx"), initial)

    def _named(self, inputs: Inputs) -> dict[str, Floats]:
        """Return the arrays by the names that programs know, without the suffix of the one pass."""
        arrays = {_plain(name): array for name, array in inputs.parameters.items()}
        arrays["x"] = inputs.x
        for name, state in zip(self.states, inputs.state or (), strict=False):
            if state is not None:
                arrays[f"{name}0"] = state[0]
        if inputs.lengths is not None:
            arrays["lengths"] = np.asarray(inputs.lengths, np.float64)
        return arrays

    def _call(self, arrays: Mapping[str, Floats], *, gradients: bool) -> dict[str, Numbers]:
        case, started, running = self.case, self.program.started, self.program.running
        running.calls += 1  # over all layers: an answer that one left unread is not another's
        x = arrays["x"]
        written = {name: to_json(array, started.encoding) for name, array in arrays.items()}
        call = Call(
            running.calls, started.cell, case.dtype, x.shape[0], x.shape[1], x.shape[2], case.H,
            written, gradients,
        )  # fmt: skip
        answer: Answered = running.ask(call, Answered)
        if answer.id != call.id:
            raise SubjectCrashed(f"the program answered call {answer.id}, expected {call.id}")
        if answer.skipped:
            raise NotImplementedError(answer.skipped)
        if answer.errored:
            raise SubjectCrashed(f"the program says: {answer.errored}")
        return answer.arrays

    def _result(self, got: Mapping[str, Numbers]) -> Result:
        final = tuple(self._array(got, name)[None] for name in self.states)
        return Result(self._array(got, "y"), final)

    def _array(self, got: Mapping[str, Numbers], name: str) -> Floats:
        if name not in got:
            names = ", ".join(got) or "no arrays"
            raise SubjectCrashed(f"the program returned {names}, expected {name}")
        return from_json(name, got[name])


def _plain(name: str) -> str:
    return name.removesuffix("_l0")


def program(name: str, cell: str | None) -> Program:
    """Start the program of ``process:COMMAND``; UnknownSubject if it describes no layer."""
    running = Running(name.removeprefix(f"{PROGRAMS}:"))
    try:
        started: Started = running.ask(Start(SCHEMA, cell or ""), Started)
    except SubjectCrashed as error:
        raise SubjectUnavailable(f"subject {name!r}: start: {error}") from error
    names = list(cells())
    problem = ""
    if started.protocol != SCHEMA:
        problem = f"protocol {started.protocol}, expected {SCHEMA}"
    elif started.cell not in names:
        problem = f"cell {started.cell!r}, expected one of {', '.join(names)}"
    elif cell and started.cell != cell:
        problem = f"cell {started.cell!r}, asked for {cell!r}"
    elif not started.dtypes or {*started.dtypes} - {*DTYPES}:
        problem = f"dtypes {', '.join(started.dtypes)}, expected some of {', '.join(DTYPES)}"
    if problem:
        raise UnknownSubject(f"subject {name!r}: it says {problem}")
    subject = Program(name, started, running)
    try:
        _ = subject.convention
    except ValueError as error:
        raise UnknownSubject(f"subject {name!r}: {error}") from error
    return subject


LINES = (Start, Call, Started, Answered)
"""The types of lines: two questions, and the answer to each."""
