"""The part in which a mutant differs from the right layer, found by running both on cases.

The diagnosis locates a mistake from checks that fail. This module answers the same question without
checks: both layers make the same calls, and the first part in which they differ is the location.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...verify.cases.case import Case
from ...verify.cases.schedule import parsed
from ...verify.checks.schedules import Batch, Row, Server
from ...verify.mutants import right_subject
from ...verify.mutants.catalogue import MutantSubject
from ...verify.subjects.called import under_test
from ...verify.subjects.inputs import draw_cotangents, draw_inputs
from ...verify.subjects.protocol import Subject

PARTS = ("outputs", "gradients", "tangents", "calls", "training")
"""The parts, in the order of comparison."""

CLOSE = {"float64": 1e-9, "float32": 1e-3}
"""Differences that rounding explains; those of D01 and D02 are larger."""

PLAIN = Case(5, 3, 2, 4)
RICH = Case(
    4, 3, 2, 5, layers=2, bidirectional=True, lengths=True, zero_length=True, dropout=0.5, seed=1
)

Arrays = list[Floats]


def part(subject: MutantSubject, cases: Sequence[Case]) -> str:
    """Return the part in which a mutant is wrong, "" if it is right in all these cases."""
    parts = {differs(subject, case) for case in cases} - {""}
    return next((name for name in ("program", *PARTS) if name in parts), "")


def differs(subject: MutantSubject, case: Case) -> str:
    """Return the first part in which a mutant and the right layer differ in one case."""
    right_layer = right_subject(subject.cell_name)
    for name in PARTS:
        if name == "tangents" and (not subject.options.jvp or case.lengths):
            continue
        try:
            results = list(SESSIONS[name](subject, case))
        except Exception:
            return "program"
        if not _same(results, list(SESSIONS[name](right_layer, case)), CLOSE[case.dtype]):
            return name
    if not case.schedule:
        return ""
    results, expected = (list(_schedule(layer, case)) for layer in (subject, right_layer))
    return "" if _same(results, expected, CLOSE[case.dtype]) else "outputs"


def same_numbers(first: Subject, second: Subject, case: Case) -> bool:
    """Return whether two layers give the same outputs and gradients for the same arrays."""
    inputs, pair = draw_inputs(first, case), draw_cotangents(first, case)

    def numbers(subject: Subject) -> Arrays:
        return [*_numbers(subject.build(case).gradients(inputs, [deepcopy(pair)])[0])]

    return _same(numbers(first), numbers(second), CLOSE[case.dtype])


def _same(first: Arrays, second: Arrays, close: float) -> bool:
    def alike(a: Floats, b: Floats) -> bool:
        return (a.shape, a.dtype) == (b.shape, b.dtype) and bool(
            np.allclose(a, b, rtol=close, atol=close, equal_nan=True)
        )

    return len(first) == len(second) and all(map(alike, first, second))


def _numbers(result: Any) -> Iterator[Floats]:
    yield from (np.array(a) for a in (result.y, *result.final))
    if hasattr(result, "parameters"):
        gradients = (*result.parameters.values(), result.x, *result.initial)
        yield from (np.array(a) for a in gradients)


def _outputs(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """Yield the results of a call without dropout, and of one more with NaN in the padding."""
    case = replace(case, dropout=0.0)
    inputs = draw_inputs(subject, case)
    x = inputs.x.copy()
    if inputs.lengths is not None:
        x[np.arange(len(x))[:, None] >= inputs.lengths] = np.nan
    for arguments in (inputs, replace(inputs, x=x)):
        yield from _numbers(subject.build(case).forward(arguments))


def _schedule(subject: Subject, case: Case) -> Iterator[Floats]:
    """Yield the results of all calls of a schedule, whose server keeps states and changes them."""
    called, rows = under_test(subject).build(case), tuple(Row(k) for k in range(case.B))
    server = Server(called, draw_inputs(subject, case), Batch(rows, None), case.B)
    for operation in parsed(case.schedule):
        if (answer := server.perform(operation)) is not None:
            yield from _numbers(answer[0])


def _gradients(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """Yield the gradients of a new layer for several choices of cotangents."""
    case = replace(case, dropout=0.0)
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    strided = np.ascontiguousarray(dy.swapaxes(0, 1)).swapaxes(0, 1)
    none = tuple(None for _ in dfinal)
    for pair in ((dy, dfinal), (dy, none), (None, dfinal), (strided, dfinal)):
        for pulled in subject.build(case).gradients(inputs, [deepcopy(pair)]):
            yield from _numbers(pulled)


def _tangents(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """Yield the tangents of one call of a new layer."""
    case = replace(case, dropout=0.0)
    inputs = draw_inputs(subject, case)
    tangents = draw_inputs(subject, replace(case, seed=case.seed + 1))
    yield from _numbers(subject.build(case).jvp(inputs, tangents))


def _training(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """Yield the results of new layers in each mode, then of one layer that changes its mode."""
    inputs, pair = draw_inputs(subject, case), draw_cotangents(subject, case)
    for training in (True, False):
        layer = subject.build(case)
        layer.train(training)
        yield from _numbers(layer.gradients(inputs, [pair])[0])
    layer = subject.build(case)
    for training in (True, True, False, True):
        layer.train(training)
        yield from _numbers(layer.forward(inputs))


def _calls(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """Yield the results of one layer over many different calls, and the arguments afterwards."""
    case = replace(case, dropout=0.0)
    layer, inputs = subject.build(case), draw_inputs(subject, case)
    other = draw_inputs(subject, replace(case, seed=case.seed + 1))
    larger = draw_inputs(subject, replace(case, T=case.T + 1, B=case.B + 1))
    pair = draw_cotangents(subject, case)
    first_result = layer.forward(inputs)
    for arguments in (inputs, larger, inputs, replace(inputs, parameters=other.parameters), other):
        yield from _numbers(layer.forward(arguments))
    yield from _numbers(first_result)
    for pulled in layer.gradients(inputs, [pair, pair]):
        yield from _numbers(pulled)
    yield from (inputs.x, *(inputs.state or ()), pair[0], *pair[1])
    again = [layer.forward(inputs) for _ in range(8)]  # the same bits? sums in another order differ
    yield np.array([np.array_equal(again[0].y, run.y, equal_nan=True) for run in again])


SESSIONS: dict[str, Callable[[MutantSubject, Case], Iterator[Floats]]] = {
    "outputs": _outputs,
    "gradients": _gradients,
    "tangents": _tangents,
    "training": _training,
    "calls": _calls,
}
