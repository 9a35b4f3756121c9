"""The first checks: the layer runs forward, and has the right parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import strategies as st

from ..cases.case import Case
from ..numbers.ledger import Ledger, Mismatch
from ..subjects.called import SubjectCrashed, SubjectUnderTest
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Subject
from .check import SubjectCheck
from .kernels import call_once

SMOKE = "smoke"
"""The id of the check that must pass before others are run."""


def plain_case(subject: Subject, dtype: str) -> Case:
    """Return a case that uses as few options as possible."""
    return Case(3, 2, 4, 5, state=not subject.options.default_state, dtype=dtype)


def smoke(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Build and call the layer once; check shapes and dtypes."""
    if subject.options.problem:
        return call_once(subject, case)
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    try:
        called = subject.build(case)
    except Mismatch as other_parameters:
        raise SubjectCrashed(str(other_parameters)) from other_parameters
    called.forward(inputs)
    ledger.require("call", True, "")
    return ledger


def parameters(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Build the layer with an option; its adapter refuses parameters that differ from torch's."""
    ledger = Ledger()
    subject.build(case)
    ledger.require("parameters", True, "")
    return ledger


def optional_cases(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield a case for each option of the constructor, and one with all of them."""
    plain = replace(plain_case(subject, dtype), B=3)
    offered = subject.options
    changes: dict[str, dict[str, object]] = {
        "layers": {"layers": 3},
        "bidirectional": {"bidirectional": True},
        "bias": {"bias": False},
        "projection": {"P": 2},
    }
    together: dict[str, object] = {}
    for option, change in changes.items():
        if getattr(offered, option):
            yield replace(plain, **change)  # type: ignore[arg-type]
            together |= change
    yield replace(plain, **together)  # type: ignore[arg-type]


CHECKS = (
    SubjectCheck(
        SMOKE,
        "The layer can be built and called, and returns arrays of the right shapes and dtype.",
        smoke,
        cases=lambda subject, dtype: st.just(plain_case(subject, dtype)),
        problems=None,
    ),
    SubjectCheck(
        "parameters",
        "With every option of its constructor, the layer has torch's parameters: names and shapes.",
        parameters,
        cases=lambda subject, dtype: st.sampled_from(list(optional_cases(subject, dtype))),
        needs=("named_parameters",),
        forced=optional_cases,
        share=0.1,
    ),
)
