"""The reference's answer to a case, in the subject's own terms, with a bound on every number."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..reference.cell import State
from ..reference.cells import cell_named
from ..reference.functions import Array
from ..reference.layer import Layer, Output
from ..reference.parameters import Parameters
from .arithmetic import ARITHMETICS
from .bounded import Bounded
from .cases import SCALES, Case
from .check import Ledger, Mismatch
from .subjects.protocol import Inputs, Pulled, Result, Subject, SubjectUnavailable

R = TypeVar("R")


class SubjectCrashed(RuntimeError):
    """The subject raised instead of returning; the cause is chained."""


@dataclass(frozen=True)
class Expected:
    """Outputs and final states, Bounded."""

    y: Bounded
    final: tuple[Bounded, ...]


@dataclass(frozen=True)
class ExpectedGradient(Expected):
    """The same, and the gradients in the subject's parameters, Bounded."""

    parameters: Mapping[str, Bounded]
    x: Bounded
    initial: tuple[Bounded, ...]


def layer_of(subject: Subject, case: Case) -> Layer:
    """Return the reference's layer that the subject claims to be."""
    cell = cell_named(subject.cell(case))
    return Layer(cell, case.sizes, case.layers, case.bidirectional)


def draw_inputs(subject: Subject, case: Case) -> Inputs:
    """Draw everything the subject is called with."""
    layer = layer_of(subject, case)
    scale = SCALES[case.scale]
    parameters = {
        name: case.normal(name, shape, scale / np.sqrt(shape[-1]) if len(shape) > 1 else 0.5)
        for name, shape in subject.shapes(case).items()
    }
    state = None
    if case.state:
        shapes = _state_shapes(layer, case)
        state = tuple(case.normal(f"state {k}", shape) for k, shape in enumerate(shapes))
    x = case.normal("x", (case.T, case.B, layer.cell.input_width(case.sizes)))
    return Inputs(parameters, x, state, case.row_lengths())


def draw_cotangents(subject: Subject, case: Case) -> tuple[Array, State]:
    """Draw cotangents on y and on the final states."""
    layer = layer_of(subject, case)
    shapes = _state_shapes(layer, case)
    width = shapes[0][2] * case.directions
    dfinal = tuple(case.normal(f"dfinal {k}", shape) for k, shape in enumerate(shapes))
    return case.normal("dy", (case.T, case.B, width)), dfinal


def _state_shapes(layer: Layer, case: Case) -> list[tuple[int, int, int]]:
    passes = case.layers * case.directions
    return [(passes, case.B, width) for width in layer.cell.widths(case.sizes)]


def expected(subject: Subject, case: Case, inputs: Inputs) -> Expected:
    """Run the reference on Bounded numbers of the case's arithmetic."""
    _, _, output = _reference_run(subject, case, inputs)
    return Expected(output.y, output.final)


def expected_gradient(
    subject: Subject, case: Case, inputs: Inputs, cotangents: tuple[Array, State]
) -> ExpectedGradient:
    """Run the reference forward and back on Bounded numbers."""
    layer, p, output = _reference_run(subject, case, inputs)
    dy, dfinal = exact(case, cotangents[0]), tuple(exact(case, d) for d in cotangents[1])
    gradient = layer.vjp(p, output, dy, dfinal)
    packed = subject.from_reference(case, gradient.parameters)
    initial = gradient.initial if case.state else ()
    return ExpectedGradient(output.y, output.final, packed, gradient.x, initial)


def exact(case: Case, array: Array) -> Bounded:
    """Return given numbers in the case's arithmetic."""
    return Bounded.exact(array, ARITHMETICS[case.dtype])


def _reference_run(
    subject: Subject, case: Case, inputs: Inputs
) -> tuple[Layer, Sequence[Parameters], Output]:
    layer = layer_of(subject, case)
    named = {name: exact(case, array) for name, array in inputs.parameters.items()}
    p = subject.to_reference(case, named)
    state = None if inputs.state is None else tuple(exact(case, s) for s in inputs.state)
    return layer, p, layer.forward(p, exact(case, inputs.x), state, inputs.lengths)


def run(subject: Subject, case: Case, inputs: Inputs) -> Result:
    """Run the subject; what it raises becomes SubjectCrashed, a wrong shape a Mismatch."""
    result = _called(lambda: subject.forward(case, inputs))
    _check_shapes(subject, case, result)
    return result


def run_gradient(
    subject: Subject, case: Case, inputs: Inputs, cotangents: tuple[Array, State]
) -> Pulled:
    """Run the subject and let it pull the cotangents back, with the same care."""
    pulled = _called(lambda: subject.gradient(case, inputs, *cotangents))
    _check_shapes(subject, case, pulled)
    width = layer_of(subject, case).cell.input_width(case.sizes)
    _check_shape("gradient of x", pulled.x, (case.T, case.B, width))
    return pulled


def _called(function: Callable[[], R]) -> R:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the subject's own, not the user's concern here
            return function()
    except SubjectUnavailable:
        raise
    except Exception as error:
        raise SubjectCrashed(f"{type(error).__name__}: {error}") from error


def _check_shapes(subject: Subject, case: Case, result: Result) -> None:
    states = _state_shapes(layer_of(subject, case), case)
    _check_shape("y", result.y, (case.T, case.B, states[0][2] * case.directions))
    _same_count("final states", len(result.final), len(states))
    for k, (state, shape) in enumerate(zip(result.final, states, strict=True)):
        _check_shape(f"final state {k}", state, shape)
    if "bounded" in layer_of(subject, case).cell.traits:
        _check_finite("y", np.asarray(result.y))
        for k, state in enumerate(result.final):
            _check_finite(f"final state {k}", np.asarray(state))


def _check_finite(name: str, array: Array) -> None:
    """Raise Mismatch for NaN or inf; cells that stay in [-1, 1] have no business with either."""
    if not np.isfinite(array).all():
        where = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
        raise Mismatch(f"{name}{list(where)} = {array[where]}, expected a finite number")


def _check_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise Mismatch(f"{name}: expected shape {shape}, got {np.shape(array)}")


def compare_outputs(
    ledger: Ledger, subject: Subject, case: Case, got: Result, want: Expected
) -> None:
    """Compare y and the final states."""
    names = layer_of(subject, case).cell.states
    ledger.compare("y", got.y, want.y)
    for name, g, w in zip(names, got.final, want.final, strict=True):
        ledger.compare(f"final {name}", g, w)


def compare_gradients(
    ledger: Ledger, subject: Subject, case: Case, got: Pulled, want: ExpectedGradient
) -> None:
    """Compare the gradients of every parameter, of x and of the initial states."""
    for name, w in want.parameters.items():
        if name not in got.parameters:
            raise Mismatch(f"gradient of {name}: expected shape {w.shape}, got none")
        ledger.compare(f"gradient of {name}", got.parameters[name], w)
    ledger.compare("gradient of x", got.x, want.x)
    names = layer_of(subject, case).cell.states
    _same_count("gradients of initial states", len(got.initial), len(want.initial))
    for name, g, w in zip(names, got.initial, want.initial, strict=False):
        ledger.compare(f"gradient of initial {name}", g, w)


def _same_count(what: str, got: int, want: int) -> None:
    if got != want:
        raise Mismatch(f"{what}: expected {want}, got {got}")
