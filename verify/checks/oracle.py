"""The expected results of a case by the reference, with a bound on every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.dual import Dual
from ..numbers.ledger import Ledger
from ..subjects.called import Called, SubjectUnderTest, layer_of
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result, Subject
from .check import catalogued
from .formed import formed
from .own_answer import narrowed, own_answer
from .quantities import by_name, gradients_by_name


@dataclass(frozen=True)
class Expected:
    """Outputs and final states, Bounded."""

    y: Bounded
    final: tuple[Bounded, ...]


@dataclass(frozen=True)
class ExpectedGradient(Expected):
    """Outputs, final states and gradients by the subject's parameters, Bounded."""

    parameters: Mapping[str, Bounded]
    x: Bounded
    initial: tuple[Bounded, ...]


def expected(subject: SubjectUnderTest, case: Case, inputs: Inputs) -> Expected:
    """Run the reference on Bounded numbers of the case's arithmetic.

    Of a layer without equations, its own result of the plainest call is expected.
    """
    if not subject.options.equations:
        answer = own_answer(subject, case, inputs).bounded()
        return cast("Expected", _from_names(subject, case, inputs, answer))
    with subject.clock.timing("oracle"):
        _, _, output = _reference_run(subject, case, inputs)
    return _narrowed(subject, case, inputs, Expected(output.y, output.final))


def expected_gradient(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Cotangents
) -> ExpectedGradient:
    """Run the reference forward and back on Bounded numbers."""
    return expected_gradients(subject, case, inputs, [cotangents])[0]


def expected_gradients(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, cotangents: Sequence[Cotangents]
) -> list[ExpectedGradient]:
    """Run the reference forward once, and back for each pair of cotangents."""
    if not subject.options.equations:
        answers = (own_answer(subject, case, inputs, pair) for pair in cotangents)
        return [_from_names(subject, case, inputs, answer.bounded()) for answer in answers]
    with subject.clock.timing("oracle"):
        layer, p, output = _reference_run(subject, case, inputs)
    gradients = []
    for dy, dfinal in cotangents:
        dys = _cotangent(case, dy, output.y)
        ends = tuple(_cotangent(case, d, s) for d, s in zip(dfinal, output.final, strict=True))
        with subject.clock.timing("oracle"):
            gradient = layer.vjp(p, output, dys, ends)
        packed = subject.parameter_map(case).from_reference(gradient.parameters)
        initial = gradient.initial if inputs.state is not None else ()
        proven = ExpectedGradient(output.y, output.final, packed, gradient.x, initial)
        gradients.append(_narrowed(subject, case, inputs, proven, (dy, dfinal)))
    return gradients


E = TypeVar("E", bound=Expected)


def _narrowed(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    proven: E,
    cotangents: Cotangents | None = None,
) -> E:
    """Return expected results; bounds of a user's own step are narrowed if too wide."""
    if catalogued(subject) is not None:
        return proven
    named = by_name(state_names(subject, case), proven)
    sharp = narrowed(subject, case, inputs, named, cotangents)
    return cast("E", _from_names(subject, case, inputs, sharp))


def _from_names(subject: Subject, case: Case, inputs: Inputs, named: Mapping[str, Bounded]) -> Any:
    """Return expected results from quantities by name, with gradients if there are any."""
    states = state_names(subject, case)
    outputs = named["y"], tuple(named[f"final {s}"] for s in states)
    if "gradient of x" not in named:
        return Expected(*outputs)
    return ExpectedGradient(
        *outputs,
        {name: named[f"gradient of {name}"] for name in inputs.parameters},
        named["gradient of x"],
        tuple(named[f"gradient of initial {s}"] for s in states if inputs.state is not None),
    )


def expected_jvp(
    subject: SubjectUnderTest, case: Case, inputs: Inputs, tangents: Inputs
) -> Expected:
    """Run the reference on duals of Bounded numbers: the derivative along ``tangents``."""
    layer = layer_of(subject, case)

    def dual(array: Floats, tangent: Floats) -> Dual:
        return Dual(exact(case, array), exact(case, tangent))

    with subject.clock.timing("oracle"):
        pairs = {n: dual(a, tangents.parameters[n]) for n, a in inputs.parameters.items()}
        state = tuple(map(dual, inputs.state or (), tangents.state or ())) or None
        p = subject.parameter_map(case).to_reference(pairs)
        output = layer.forward(p, dual(inputs.x, tangents.x), state, inputs.lengths)
    return Expected(output.y.tangent, tuple(s.tangent for s in output.final))


def exact(case: Case, array: Floats) -> Bounded:
    """Return an array as exact numbers in the case's arithmetic."""
    return Bounded.exact(array, case.arithmetic)


def around(case: Case, values: Floats, bound: Floats) -> Bounded:
    """Return the values of another run, with a bound on the distance of this one from them."""
    return Bounded(np.asarray(values, dtype=np.float64), bound, case.arithmetic)


def agree(
    ledger: Ledger, case: Case, quantity: str, got: Floats, second: Floats, want: Bounded
) -> None:
    """Compare two results of the subject that must agree up to rounding.

    ``want`` bounds the distance of either from the exact number.
    """
    ledger.compare(quantity, got, around(case, second, 2 * want.bound))


def agree_outputs(
    ledger: Ledger,
    subject: Subject,
    case: Case,
    got: Result,
    second: Result,
    want: Result | Expected,
    *,
    prefix: str = "",
) -> None:
    """Compare outputs and final states of two runs by ``agree``; ``want`` is Bounded."""
    others, bounds = (by_name(state_names(subject, case), result) for result in (second, want))
    for name, array in by_name(state_names(subject, case), got).items():
        agree(ledger, case, f"{prefix}{name}", array, others[name], bounds[name])


def _cotangent(case: Case, cotangent: Floats | None, output: Bounded) -> Bounded:
    return exact(case, np.zeros(output.shape) if cotangent is None else cotangent)


def _reference_run(
    subject: Subject, case: Case, inputs: Inputs
) -> tuple[Any, Sequence[Parameters], Any]:
    layer, numbers = formed(subject, case), inputs.map(partial(exact, case))
    p = subject.parameter_map(case).to_reference(numbers.parameters)
    rows = slice(None) if inputs.rows is None else list(inputs.rows)
    state = numbers.state and tuple(s[:, rows] for s in numbers.state)
    return layer, p, layer.forward(p, numbers.x, state, inputs.lengths)


def state_names(subject: Subject, case: Case) -> tuple[str, ...]:
    """Return the names of the cell's states whose final values are judged."""
    states = layer_of(subject, case).cell.states
    return states if subject.options.final_states else states[:1]


def compare_outputs(
    ledger: Ledger, subject: Subject, case: Case, got: Result, want: Expected
) -> None:
    """Compare y and the final states."""
    states = state_names(subject, case)
    expected_by_name = by_name(states, Expected(want.y, want.final))
    named = by_name(states, Result(got.y, got.final))
    for name, w in expected_by_name.items():
        ledger.compare(name, named[name], w)


def compare_gradients(
    ledger: Ledger,
    subject: Subject,
    case: Case,
    got: Pulled,
    want: ExpectedGradient,
    *,
    prefix: str = "",
) -> None:
    """Compare the gradients of all parameters, of x and of the initial states."""
    states = state_names(subject, case)
    named = gradients_by_name(states, got)
    for name, w in gradients_by_name(states, want).items():
        ledger.compare(f"{prefix}{name}", named[name], w)


def compare_call(
    ledger: Ledger, called: Called, inputs: Inputs, cotangents: Cotangents, *, prefix: str = ""
) -> None:
    """Call a layer, and compare its outputs, and all gradients if it offers them."""
    subject, case = called.subject, called.case
    if subject.options.gradient:
        gradient = expected_gradient(subject, case, inputs, cotangents)
        compare_pulled(ledger, called, inputs, cotangents, gradient, prefix=prefix)
    else:
        want = expected(subject, case, inputs)
        compare_outputs(ledger, subject, case, called.forward(inputs), want)


def compare_pulled(
    ledger: Ledger,
    called: Called,
    inputs: Inputs,
    cotangents: Cotangents,
    want: ExpectedGradient,
    *,
    prefix: str = "",
) -> Pulled:
    """Call a layer, compare its outputs and all gradients, and return the gradients."""
    got = called.gradient(inputs, cotangents)
    compare_outputs(ledger, called.subject, called.case, got, want)
    compare_gradients(ledger, called.subject, called.case, got, want, prefix=prefix)
    return got
