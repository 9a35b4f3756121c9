"""States: the default initial state, carrying a state over, the final state."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ...reference.cell import State
from ..cases.case import Case
from ..cases.strategies import cases, flag, varied
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest, layer_of
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .against_reference import BACK, outputs_and_gradients
from .check import SubjectCheck, reads_out
from .oracle import agree, agree_outputs, expected, expected_gradient


def default_state(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a run without an initial state with one from the cell's default state."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    stated = replace(inputs, state=layer_of(subject, case).initial_state(inputs.x, case.B))
    want = expected(subject, case, stated)
    without = subject.build(case).forward(inputs)
    explicit = subject.build(replace(case, state=True)).forward(stated)
    agree_outputs(ledger, subject, case, without, explicit, want)
    return ledger


def carry(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare one run with two successive ones, the second from the first's final state."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    k = split(case)
    run = subject.build(case).forward(inputs)
    first = subject.build(replace(case, T=k)).forward(part(inputs, None, k))
    rest = part(inputs, k, None, first.final)
    second = subject.build(replace(case, T=case.T - k, state=True)).forward(rest)
    joined = Result(np.concatenate([first.y, second.y]), second.final)
    agree_outputs(ledger, subject, case, joined, run, want)
    return ledger


def carry_gradient(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the gradient of one run with that of two, chained by the state in between."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    dy, dfinal = draw_cotangents(subject, case)
    want = expected_gradient(subject, case, inputs, (dy, dfinal))
    k = split(case)
    run = subject.build(case).gradient(inputs, (dy, dfinal))
    early, late = replace(case, T=k), replace(case, T=case.T - k)
    first_part = part(inputs, None, k)
    first = subject.build(early).forward(first_part)
    second = subject.build(late).gradient(part(inputs, k, None, first.final), (dy[k:], dfinal))
    before = subject.build(early).gradient(first_part, (dy[:k], second.initial))
    dx = np.concatenate([before.x, second.x])
    agree(ledger, case, "gradient of x", dx, run.x, want.x)
    for name, w in want.parameters.items():
        summed = before.parameters[name] + second.parameters[name]
        agree(ledger, case, f"gradient of {name}", summed, run.parameters[name], w)
    names = layer_of(subject, case).cell.states
    triples = zip(before.initial, run.initial, want.initial, strict=True)
    for name, (got, of_run, w) in zip(names, triples, strict=True):
        agree(ledger, case, f"gradient of initial {name}", got, of_run, w)
    return ledger


def final_state(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the top layer's final h with y where each row and direction ends."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    got = subject.build(case).forward(inputs)
    width = got.final[0].shape[2]
    ends = np.full(case.B, case.T) if inputs.lengths is None else inputs.lengths
    rows = np.flatnonzero(ends > 0)
    for direction in range(case.directions):
        last = ends[rows] - 1 if direction == 0 else np.zeros(len(rows), dtype=int)
        units = slice(direction * width, (direction + 1) * width)
        k = (case.layers - 1) * case.directions + direction
        outputs, bound = got.y[last, rows, units], want.y[last, rows, units]
        name = f"{'backward' if direction else 'forward'} direction: final h"
        agree(ledger, case, name, got.final[0][k, rows], outputs, bound)
    return ledger


def split(case: Case) -> int:
    """Return the number of steps before the split of a sequence."""
    return int(case.generator("split").integers(1, case.T))


def part(inputs: Inputs, start: int | None, stop: int | None, state: State | None = None) -> Inputs:
    """Return the inputs of some steps, with another initial state if ``state`` is not None."""
    x: Floats = np.ascontiguousarray(inputs.x[start:stop])
    return replace(inputs, x=x, state=inputs.state if state is None else state)


def one_direction(case: Case) -> str:
    """Return the reason why a case cannot be split, "" if it can."""
    if case.T > 1 and not case.bidirectional and not case.lengths:
        return ""
    return "expected T > 1, one direction, no lengths"


def forward_cases(subject: Subject, dtype: str, *, state: bool) -> st.SearchStrategy[Case]:
    """Draw cases that can be split, of one or two layers."""
    return st.builds(
        replace,
        cases(subject, dtype, state=state, lengths=False, depth=False),
        layers=st.integers(1, 2) if subject.options.layers else st.just(1),
    )


CHECKS = (
    SubjectCheck(
        "default-state",
        "Without an initial state, the layer starts from zeros.",
        default_state,
        cases=partial(cases, state=False),
        needs=("equations", "state", "default_state"),
        share=0.3,
        refuses=lambda case: "expected a case without a state" if case.state else "",
    ),
    SubjectCheck(
        "carry",
        "Splitting a sequence in two and carrying the state gives the same result as one run.",
        carry,
        cases=partial(forward_cases, state=True),
        needs=("state",),
        share=0.3,
        refuses=one_direction,
    ),
    SubjectCheck(
        "carry-gradient",
        "Splitting a sequence in two and carrying the state's gradient back gives the same "
        "gradients.",
        carry_gradient,
        cases=partial(forward_cases, state=True),
        equations=("bptt.backpropagate",),
        needs=("state", "gradient"),
        share=0.3,
        refuses=lambda case: one_direction(case) or ("" if case.state else "expected a state"),
    ),
    SubjectCheck(
        "final",
        "The final hidden state is the output at each row's last step, and at its first step in "
        "the backward direction.",
        final_state,
        equations=("bidirectional", "sequence.reversed"),
        concerned=lambda subject: not reads_out(subject),
        share=0.3,
        forced=varied,
    ),
    SubjectCheck(
        "no-steps",
        "A sequence of no steps has no outputs, ends in its initial state, and hands that "
        "state's cotangent on.",
        outputs_and_gradients,
        cases=lambda subject, dtype: st.builds(
            Case,
            T=st.just(0),
            B=st.integers(1, 3),
            D=st.integers(1, 3),
            H=st.integers(1, 4),
            bidirectional=flag(subject.options.bidirectional),
            dtype=st.just(dtype),
        ),
        equations=BACK,
        needs=("state", "no_steps"),
        share=0.1,
    ),
)
