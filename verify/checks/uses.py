"""What a layer without equations declares, it uses: every array, its input and its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.strategies import SEEDS
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .check import SubjectCheck

DRAWN = 3
"""Inputs in all of which a change has no influence before that is said: a unit may be shut."""


def uses(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Change each array, x, and all states together: some result must change."""
    ledger = Ledger()
    cases = [replace(case, seed=case.seed + k) for k in range(DRAWN)]
    drawn = [(subject.build(each), draw_inputs(subject, each)) for each in cases]
    declared = [*drawn[0][1].parameters, "x", *(["the state"] if case.state else [])]
    for what in declared:
        changed = any(
            _differ(called.forward(inputs), called.forward(_changed(inputs, what)))
            for called, inputs in drawn
        )
        ledger.require(what, changed, "changing it changes nothing")
    return ledger


def _changed(inputs: Inputs, what: str) -> Inputs:
    def other(array: Floats) -> Floats:
        return (array * 1.25 + 0.125).astype(array.dtype)

    parameters: Mapping[str, Floats] = {
        name: other(array) if name == what else array for name, array in inputs.parameters.items()
    }
    state = inputs.state
    if what == "the state" and state is not None:
        state = tuple(map(other, state))
    return replace(
        inputs, parameters=parameters, x=other(inputs.x) if what == "x" else inputs.x, state=state
    )


def _differ(first: Result, second: Result) -> bool:
    pairs = zip((first.y, *first.final), (second.y, *second.final), strict=True)
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _plain(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    state = subject.options.state
    return st.builds(Case, T=st.just(4), B=st.just(3), D=st.just(3), H=st.just(5),
                     state=st.just(state), dtype=st.just(dtype), seed=SEEDS)  # fmt: skip


def _refuses(case: Case) -> str:
    """Beside zeros, an array that is read has no influence either."""
    return "expected no zeroed arrays" if case.zeroed or case.rounded else ""


CHECKS = (
    SubjectCheck(
        "uses",
        "The result depends on the input, the states and every array that the layer declares.",
        uses,
        cases=_plain,
        concerned=lambda subject: not subject.options.equations,
        share=0.1,
        shrinks=False,
        refuses=_refuses,
    ),
)
