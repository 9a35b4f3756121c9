"""A layer without equations uses all that it declares: arrays, input and states."""

from __future__ import annotations

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
"""Inputs tried before an array is reported as unused: a unit may be shut in one of them."""


def uses(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Change each array, x, and all states; some result must change each time."""
    ledger = Ledger()
    cases = [replace(case, seed=case.seed + k) for k in range(DRAWN)]
    layers = [(subject.build(c), draw_inputs(subject, c)) for c in cases]
    declared = [*layers[0][1].parameters, "x", *(["the state"] if case.state else [])]
    for name in declared:
        changed = any(
            _differ(called.forward(inputs), called.forward(_changed(inputs, name)))
            for called, inputs in layers
        )
        ledger.require(name, changed, "changing it changes nothing")
    return ledger


def _changed(inputs: Inputs, target: str) -> Inputs:
    def changed(name: str, array: Floats) -> Floats:
        return (array * 1.25 + 0.125).astype(array.dtype) if name == target else array

    parameters = {name: changed(name, array) for name, array in inputs.parameters.items()}
    state = inputs.state and tuple(changed("the state", s) for s in inputs.state)
    return replace(inputs, parameters=parameters, x=changed("x", inputs.x), state=state)


def _differ(first: Result, second: Result) -> bool:
    pairs = zip((first.y, *first.final), (second.y, *second.final), strict=True)
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _plain(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    state = subject.options.state
    return st.builds(Case, T=st.just(4), B=st.just(3), D=st.just(3), H=st.just(5),
                     state=st.just(state), dtype=st.just(dtype), seed=SEEDS)  # fmt: skip


def _refuses(case: Case) -> str:
    """Refuse zeroed arrays: next to zeros, even an array that is used has no influence."""
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
