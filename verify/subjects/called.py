"""A subject under test: its calls are recorded and timed, and its results checked for form.

An exception of the subject becomes SubjectCrashed.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.layer import Layer
from ..cases.case import Case
from ..numbers.ledger import Mismatch
from ..numbers.quantisation import Quantisation
from ..numbers.quantised_layer import QuantisedCell, QuantisedLayer
from ..runs.exception_text import exception_text
from .protocol import (
    Built,
    Cotangents,
    Inputs,
    Pulled,
    Result,
    Subject,
    SubjectUnavailable,
    cotangents_of,
)

R = TypeVar("R")
A = TypeVar("A", bound=Result)


@dataclass(frozen=True)
class Call:
    """One call of a subject: its layer, arguments and results; no results if it raised.

    ``inputs`` is None for a switch of mode, to ``training``; ``tangents`` is set for a call of
    ``jvp``. Calls keep their layer, since layers are distinguished by identity.
    """

    layer: Called
    inputs: Inputs | None
    cotangents: Sequence[Cotangents] | None = None
    results: list[Result] = field(default_factory=list)
    training: bool = False
    tangents: Inputs | None = None


@dataclass
class Clock:
    """Seconds spent in the subject and in the oracle, without drawing and comparing.

    ``on_answer`` is called once, after the subject's first answer.
    """

    subject: float = 0.0
    oracle: float = 0.0
    on_answer: Callable[[], None] | None = None

    def note_answer(self) -> None:
        """Call ``on_answer``, the first time only."""
        on_answer, self.on_answer = self.on_answer, None
        if on_answer is not None:
            on_answer()

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time of the block to one part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - started)


class SubjectUnderTest(Subject, Protocol):
    """A subject with the record of its calls and its clock.

    Checks use it in place of the subject; no other object records calls.
    """

    calls: list[Call]
    clock: Clock

    def build(self, case: Case) -> Called:
        """Return the layer, ready to be called with care."""


def under_test(
    subject: Subject, calls: list[Call] | None = None, clock: Clock | None = None
) -> SubjectUnderTest:
    """Return a subject whose calls are recorded in ``calls`` and timed by ``clock``, if given."""
    record = _UnderTest(subject, [] if calls is None else calls, clock or Clock())
    return cast("SubjectUnderTest", record)


@dataclass(frozen=True)
class _UnderTest:
    subject: Subject
    calls: list[Call]
    clock: Clock

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)

    def build(self, case: Case) -> Called:
        with self.clock.timing("subject"):
            built = with_care(lambda: self.subject.build(case))
        return Called(cast("SubjectUnderTest", self), case, built)


class SubjectCrashed(RuntimeError):
    """The subject raised instead of returning; the cause is chained."""


class NotOffered(RuntimeError):
    """The subject says that it does not implement what was called."""


def cell_of(subject: Subject, case: Case) -> Cell:
    """Return the cell that the subject claims to compute, in the arithmetic that it claims."""
    own_cell: Cell | None = getattr(subject, "own_cell", None)
    cell = own_cell or cell_named(subject.cell(case))
    quantisation: Quantisation | None = getattr(subject, "quantisation", None)
    return QuantisedCell(cell, quantisation) if quantisation and in_steps(subject) else cell


def in_steps(subject: object) -> bool:
    """Whether a subject is quantised in its steps, beyond its weights."""
    quantisation: Quantisation | None = getattr(subject, "quantisation", None)
    return quantisation is not None and quantisation.stepwise


def layer_of(subject: Subject, case: Case) -> Layer:
    """Return the reference's layer that the subject claims to be."""
    cell = cell_of(subject, case)
    layer = QuantisedLayer if isinstance(cell, QuantisedCell) else Layer
    return layer(cell, case.sizes, case.layers, case.bidirectional)


def state_shapes(layer: Layer, case: Case) -> list[tuple[int, ...]]:
    """Return the shape of every state of all layers and directions."""
    passes = case.layers * case.directions
    return [(passes, case.B, *shape) for shape in layer.cell.state_shapes(case.sizes)]


def output_shape(layer: Layer, case: Case) -> tuple[int, int, int]:
    """Return the shape of the outputs."""
    return case.T, case.B, layer.cell.output_width(case.sizes) * case.directions


@dataclass(frozen=True)
class Called:
    """A subject built for a case; every call gets copies, and its results are checked for form."""

    subject: SubjectUnderTest
    case: Case
    built: Built

    def attempt(self, function: Callable[[], R]) -> R:
        """Call the subject by ``with_care``, and count the time as the subject's."""
        with self.subject.clock.timing("subject"):
            answer = with_care(function)
        self.subject.clock.note_answer()
        return answer

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer."""
        return self._answers(Call(self, inputs), lambda: [self.built.forward(copied(inputs))])[0]

    def gradient(self, inputs: Inputs, cotangents: Cotangents) -> Pulled:
        """Run the layer and pull one pair of cotangents back."""
        return self.gradients(inputs, [cotangents])[0]

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once and pull several pairs of cotangents back."""
        pairs = [cotangents_of(_copied, pair) for pair in cotangents]
        pulled = self._answers(
            Call(self, inputs, cotangents), lambda: self.built.gradients(copied(inputs), pairs)
        )
        for result in pulled:
            self._check_gradients(inputs, result)
        return pulled

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward."""
        call = Call(self, inputs, tangents=tangents)
        return self._answers(call, lambda: [self.built.jvp(copied(inputs), tangents)])[0]

    def _answers(self, call: Call, function: Callable[[], Sequence[A]]) -> Sequence[A]:
        """Record a call, then make it: it may raise."""
        self.subject.calls.append(call)
        answers = self.attempt(function)
        call.results.extend(map(_snapshot, answers))
        for result in answers:
            self._check_outputs(result)
        return answers

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.attempt(lambda: self.built.train(training))
        self.subject.calls.append(Call(self, None, training=training))

    def _check_outputs(self, result: Result) -> None:
        layer, case = layer_of(self.subject, self.case), self.case
        shapes = state_shapes(layer, case)
        self._check_array("y", result.y, output_shape(layer, case))
        same_count("final states", len(result.final), len(shapes))
        finite = "bounded" in layer.cell.traits and case.dropout == 0
        if finite:
            _check_finite("y", result.y)
        for k, (state, shape) in enumerate(zip(result.final, shapes, strict=True)):
            name = f"final {layer.cell.states[k]}"
            self._check_array(name, state, shape)
            if finite:
                _check_finite(name, state)

    def _check_gradients(self, inputs: Inputs, pulled: Pulled) -> None:
        self._check_array("gradient of x", pulled.x, inputs.x.shape)
        for name, parameter in inputs.parameters.items():
            if name not in pulled.parameters:
                raise Mismatch(f"gradient of {name}: expected shape {parameter.shape}, got none")
            self._check_array(f"gradient of {name}", pulled.parameters[name], parameter.shape)
        names = layer_of(self.subject, self.case).cell.states
        same_count("gradients of initial states", len(pulled.initial), len(inputs.state or ()))
        for name, d, s in zip(names, pulled.initial, inputs.state or (), strict=False):
            self._check_array(f"gradient of initial {name}", d, s.shape)

    def _check_array(self, name: str, array: Floats, shape: tuple[int, ...]) -> None:
        if np.shape(array) != shape:
            raise Mismatch(f"{name}: expected shape {shape}, got {np.shape(array)}")
        got, wanted = np.asarray(array).dtype, self.case.number_type
        if got != wanted:
            raise Mismatch(f"{name}: expected dtype {wanted}, got {got}")


def with_care(function: Callable[[], R]) -> R:
    """Call the subject without warnings; turn its exceptions into SubjectCrashed."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return function()
    except (SubjectUnavailable, Mismatch, SubjectCrashed, NotOffered):
        raise
    except NotImplementedError as error:
        reason = (
            exception_text(error).removeprefix("NotImplementedError: ") or "NotImplementedError"
        )
        raise NotOffered(f"refused: {reason}{_origin(error)}") from error
    except Exception as error:
        if _raised_by_adapter(error):
            raise
        raise SubjectCrashed(f"{exception_text(error)}{_origin(error)}") from error


SLIPS = (AttributeError, ImportError, KeyError, NameError, TypeError)
"""Exceptions that mistakes in Python raise; packages' native code raises others, too."""


def _raised_by_adapter(error: Exception) -> bool:
    """Whether one of gatewise's adapters raised, and not the package that it adapts."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(__file__).parent / "frameworks"
    return isinstance(error, SLIPS) and Path(frames[-1].filename).is_relative_to(ours)


PACKAGES = ("torch", "numpy")
"""Packages whose lines do not locate a mistake: the line that called them does."""


def _origin(error: BaseException) -> str:
    """Return the file, line and function in which the subject raised; "" for native code.

    The path of a file of an installed package begins with the package.
    """
    frame = _own_frame(error)
    if frame is None:
        return ""
    path = Path(frame.filename)
    installed = max((k for k, part in enumerate(path.parts) if part == "site-packages"), default=-1)
    name = "/".join(path.parts[installed + 1 :]) if installed >= 0 else path.name
    return f" ({name}, line {frame.lineno}, in {frame.name})"


def _own_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of the subject, or of a package if that is the subject."""
    ours = Path(__file__).parents[1]
    frames = traceback.extract_tb(error.__traceback__)
    below = list(takewhile(lambda f: not Path(f.filename).is_relative_to(ours), reversed(frames)))
    frames_of_subject = [f for f in below if not {*Path(f.filename).parts} & {*PACKAGES}]
    engine = any("autograd" in Path(f.filename).parts for f in below)  # native code called by it
    return next(iter(frames_of_subject or ([] if engine else below)), None)


def raised_by(error: BaseException) -> str:
    """Return the subject's source line in which an error, or its cause, was raised."""
    frame = _own_frame(error.__cause__ or error)
    return (frame.line or "") if frame else ""


def copied(inputs: Inputs) -> Inputs:
    """Return the inputs in new memory, so that the callee's writes do not reach the caller's.

    Arrays that are not contiguous are so on purpose, and are not copied.
    """
    lengths = None if inputs.lengths is None else np.array(inputs.lengths)
    return replace(inputs.map(_copied), lengths=lengths)


def _snapshot(result: R) -> R:
    """Return a result in new memory: a later call may write into an earlier call's result."""

    def snapshot(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(snapshot, value))
        if isinstance(value, Mapping):
            return {name: snapshot(array) for name, array in value.items()}
        return np.array(value) if isinstance(value, np.ndarray) else value

    values = {f.name: snapshot(getattr(result, f.name)) for f in fields(result)}  # type: ignore[arg-type]
    return replace(result, **values)  # type: ignore[type-var]


def _copied(array: Floats) -> Floats:
    return np.array(array) if array.flags.c_contiguous else array


def same_count(name: str, got: int, want: int) -> None:
    """Raise Mismatch unless the counts are equal."""
    if got != want:
        raise Mismatch(f"{name}: expected {want}, got {got}")


def _check_finite(name: str, array: Floats) -> None:
    """Raise Mismatch for NaN or inf, which cells with values in [-1, 1] cannot compute."""
    finite = np.isfinite(array)
    if not finite.all():
        where = tuple(int(k) for k in np.argwhere(~finite)[0])
        raise Mismatch(f"{name}{list(where)} = {array[where]}, expected a finite number")
