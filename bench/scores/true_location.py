"""In which part a mutant differs from the right layer: found by running both, case by case.

The diagnosis locates a mistake from checks that fail; this is the same question answered without
any check: both layers make the same calls, and the first part in which they differ is the place.
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
"""In the order in which they are looked at."""

CLOSE = {"float64": 1e-9, "float32": 1e-3}
"""Differences that rounding explains; D01 and D02 differ by more where they show."""

PLAIN = Case(5, 3, 2, 4)
RICH = Case(
    4, 3, 2, 5, layers=2, bidirectional=True, lengths=True, zero_length=True, dropout=0.5, seed=1
)

Seen = list[Floats]


def part(subject: MutantSubject, cases: Sequence[Case]) -> str:
    """Return the part in which a mutant is wrong, "" if it is right in all these cases."""
    parts = {differs(subject, case) for case in cases} - {""}
    return next((name for name in ("program", *PARTS) if name in parts), "")


def differs(subject: MutantSubject, case: Case) -> str:
    """Return the first part in which a mutant and the right layer differ in one case."""
    right = right_subject(subject.cell_name)
    for name in PARTS:
        if name == "tangents" and (not subject.options.jvp or case.lengths):
            continue
        try:
            seen = list(SESSIONS[name](subject, case))
        except Exception:
            return "program"
        if not _same(seen, list(SESSIONS[name](right, case)), CLOSE[case.dtype]):
            return name
    if not case.schedule:
        return ""
    seen, wanted = (list(_served(one, case)) for one in (subject, right))
    return "" if _same(seen, wanted, CLOSE[case.dtype]) else "outputs"


def same_numbers(one: Subject, other: Subject, case: Case) -> bool:
    """Whether two layers with the same arrays give the same outputs and gradients in a case."""
    inputs, pair = draw_inputs(one, case), draw_cotangents(one, case)

    def numbers(subject: Subject) -> Seen:
        return [*_numbers(subject.build(case).gradients(inputs, [deepcopy(pair)])[0])]

    return _same(numbers(one), numbers(other), CLOSE[case.dtype])


def _same(one: Seen, other: Seen, close: float) -> bool:
    def alike(a: Floats, b: Floats) -> bool:
        return (a.shape, a.dtype) == (b.shape, b.dtype) and bool(
            np.allclose(a, b, rtol=close, atol=close, equal_nan=True)
        )

    return len(one) == len(other) and all(map(alike, one, other))


def _numbers(result: Any) -> Iterator[Floats]:
    yield from (np.array(a) for a in (result.y, *result.final))
    if hasattr(result, "parameters"):
        gradients = (*result.parameters.values(), result.x, *result.initial)
        yield from (np.array(a) for a in gradients)


def _outputs(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """One call of a new layer, without dropout; once more with NaN in the padding."""
    case = replace(case, dropout=0.0)
    inputs = draw_inputs(subject, case)
    spoilt = inputs.x.copy()
    if inputs.lengths is not None:
        spoilt[np.arange(len(spoilt))[:, None] >= inputs.lengths] = np.nan
    for given in (inputs, replace(inputs, x=spoilt)):
        yield from _numbers(subject.build(case).forward(given))


def _served(subject: Subject, case: Case) -> Iterator[Floats]:
    """All calls of a schedule, in whose arrays the server keeps states and changes them."""
    called, rows = under_test(subject).build(case), tuple(Row(k) for k in range(case.B))
    server = Server(called, draw_inputs(subject, case), Batch(rows, None), case.B)
    for operation in parsed(case.schedule):
        if (answer := server.perform(operation)) is not None:
            yield from _numbers(answer[0])


def _gradients(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """One pull back through a new layer, for several choices of cotangents."""
    case = replace(case, dropout=0.0)
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    strided = np.ascontiguousarray(dy.swapaxes(0, 1)).swapaxes(0, 1)
    none = tuple(None for _ in dfinal)
    for pair in ((dy, dfinal), (dy, none), (None, dfinal), (strided, dfinal)):
        for pulled in subject.build(case).gradients(inputs, [deepcopy(pair)]):
            yield from _numbers(pulled)


def _tangents(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """One push forward."""
    case = replace(case, dropout=0.0)
    inputs = draw_inputs(subject, case)
    other = draw_inputs(subject, replace(case, seed=case.seed + 1))
    yield from _numbers(subject.build(case).jvp(inputs, other))


def _training(subject: MutantSubject, case: Case) -> Iterator[Floats]:
    """New layers in each mode, with dropout if the case has it; then one that changes its mode."""
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
    """One layer, called in many ways one after the other; and what became of the arguments."""
    case = replace(case, dropout=0.0)
    layer, inputs = subject.build(case), draw_inputs(subject, case)
    other = draw_inputs(subject, replace(case, seed=case.seed + 1))
    larger = draw_inputs(subject, replace(case, T=case.T + 1, B=case.B + 1))
    pair = draw_cotangents(subject, case)
    first = layer.forward(inputs)
    for given in (inputs, larger, inputs, replace(inputs, parameters=other.parameters), other):
        yield from _numbers(layer.forward(given))
    yield from _numbers(first)
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
