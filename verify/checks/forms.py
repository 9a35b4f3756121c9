"""Forms of one subject: steps, chunks and scans compute the same function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from hypothesis import strategies as st

from ...reference.forms import form_named
from ..cases.case import Case
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Subject
from .check import SubjectCheck
from .oracle import around, expected, expected_gradient, state_names
from .quantities import by_name

WITHOUT_CHUNKS = 5
"""Number of steps if no form has chunks."""


def chunk_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield sequences of 1, C - 1, C, C + 1 and 2 C + 3 steps for each chunk size C."""
    sizes = {form_named(name).size for name in subject.options.forms} - {0} or {WITHOUT_CHUNKS}
    steps = {T for C in sizes for T in (1, C - 1, C, C + 1, 2 * C + 3) if T}
    for number, T in enumerate(sorted(steps)):
        yield Case(T, 2, 3, 4, dtype=dtype, state=subject.options.state, seed=number)


def compare_forms(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare each form with the reference, and every two with each other."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    cotangents, names = draw_cotangents(subject, case), state_names(subject, case)
    answers = {}
    for form in subject.options.forms:
        form_case = replace(case, form=form)
        if subject.options.gradient:
            want = by_name(names, expected_gradient(subject, form_case, inputs, cotangents))
            got = by_name(names, subject.build(form_case).gradient(inputs, cotangents))
        else:
            want = by_name(names, expected(subject, form_case, inputs))
            got = by_name(names, subject.build(form_case).forward(inputs))
        for quantity, w in want.items():
            ledger.compare(f"{form}: {quantity}", got[quantity], w)
        answers[form] = got, want
    for (first, (a, a_want)), (second, (b, b_want)) in combinations(answers.items(), 2):
        for quantity in a:
            bound = a_want[quantity].bound + b_want[quantity].bound
            ledger.compare(f"{first} and {second}: {quantity}", a[quantity],
                           around(case, b[quantity], bound))  # fmt: skip
    return ledger


CHECKS = (
    SubjectCheck(
        "forms",
        "All forms of the layer, steps, chunks or scans, give the same values and gradients, with "
        "an initial state and cotangents on the final state, about the ends of chunks.",
        compare_forms,
        cases=lambda subject, dtype: st.sampled_from(list(chunk_cases(subject, dtype))),
        equations=("bptt.backpropagate",),
        needs=("equations",),
        concerned=lambda subject: len(subject.options.forms) > 1,
        forced=chunk_cases,
        share=0.1,
    ),
)
