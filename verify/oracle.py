"""The reference's answer to a case, in the subject's own terms, with a bound on every number."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..reference.cell import State
from ..reference.cells import cell_named
from ..reference.functions import Array
from ..reference.layer import Layer
from .arithmetic import ARITHMETICS
from .bounded import Bounded
from .cases import SCALES, Case
from .check import Ledger, Mismatch
from .subjects.protocol import Inputs, Result, Subject, SubjectUnavailable


class SubjectCrashed(RuntimeError):
    """The subject raised instead of returning; the cause is chained."""


@dataclass(frozen=True)
class Expected:
    """Outputs, final states and (if cotangents were given) gradients; every array is Bounded."""

    y: Bounded
    final: tuple[Bounded, ...]
    parameters: Mapping[str, Bounded]
    x: Bounded | None
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


def expected(
    subject: Subject, case: Case, inputs: Inputs, cotangents: tuple[Array, State] | None = None
) -> Expected:
    """Run the reference on Bounded numbers of the case's arithmetic."""
    arithmetic = ARITHMETICS[case.dtype]

    def exact(array: Array) -> Bounded:
        return Bounded.exact(array, arithmetic)

    layer = layer_of(subject, case)
    named = {name: exact(array) for name, array in inputs.parameters.items()}
    p = subject.to_reference(case, named)
    state = None if inputs.state is None else tuple(map(exact, inputs.state))
    output = layer.forward(p, exact(inputs.x), state, inputs.lengths)
    if cotangents is None:
        return Expected(output.y, output.final, {}, None, ())
    dy, dfinal = cotangents
    gradient = layer.vjp(p, output, exact(dy), tuple(map(exact, dfinal)))
    packed = subject.from_reference(case, gradient.parameters)
    initial = gradient.initial if case.state else ()
    return Expected(output.y, output.final, packed, gradient.x, initial)


def run(
    subject: Subject, case: Case, inputs: Inputs, cotangents: tuple[Array, State] | None = None
) -> Result:
    """Call the subject; whatever it raises becomes SubjectCrashed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the subject's own, not the user's concern here
            if cotangents is None:
                return subject.forward(case, inputs)
            return subject.gradient(case, inputs, *cotangents)
    except SubjectUnavailable:
        raise
    except Exception as error:
        raise SubjectCrashed(f"{type(error).__name__}: {error}") from error


def compare_outputs(
    ledger: Ledger, subject: Subject, case: Case, got: Result, want: Expected
) -> None:
    """Compare y and the final states."""
    names = layer_of(subject, case).cell.states
    _same_count("final states", len(got.final), len(want.final))
    ledger.compare("y", got.y, want.y)
    for name, g, w in zip(names, got.final, want.final, strict=True):
        ledger.compare(f"final {name}", g, w)


def compare_gradients(
    ledger: Ledger, subject: Subject, case: Case, got: Result, want: Expected
) -> None:
    """Compare the gradients of every parameter, of x and of the initial states."""
    if got.parameters is None or got.x is None or want.x is None:
        raise Mismatch("gradients: expected those of every parameter and of x, got none")
    for name, w in want.parameters.items():
        if name not in got.parameters:
            raise Mismatch(f"gradient of {name}: expected shape {w.shape}, got none")
        ledger.compare(f"gradient of {name}", got.parameters[name], w)
    ledger.compare("gradient of x", got.x, want.x)
    names = layer_of(subject, case).cell.states
    _same_count("gradients of initial states", len(got.initial or ()), len(want.initial))
    for name, g, w in zip(names, got.initial or (), want.initial, strict=False):
        ledger.compare(f"gradient of initial {name}", g, w)


def _same_count(what: str, got: int, want: int) -> None:
    if got != want:
        raise Mismatch(f"{what}: expected {want}, got {got}")
