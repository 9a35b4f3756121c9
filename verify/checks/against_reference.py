"""Comparison of whole runs with the reference: outputs, final states, all gradients."""

from __future__ import annotations

from itertools import combinations

from ..cases.case import Case
from ..cases.strategies import varied
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Cotangents, Subject
from .check import SubjectCheck
from .oracle import (
    compare_call,
    compare_gradients,
    compare_outputs,
    expected,
    expected_gradient,
    expected_gradients,
    state_names,
)

DEPTH = ("sequence.reversed", "bidirectional", "stacked")
BACK = ("bptt.backpropagate", *DEPTH)


def forward(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare y and the final states of one run."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    compare_outputs(ledger, subject, case, subject.build(case).forward(inputs), want)
    return ledger


def gradient(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare all gradients under random cotangents on y and on the final states."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    cotangents = draw_cotangents(subject, case)
    want = expected_gradient(subject, case, inputs, cotangents)
    got = subject.build(case).gradient(inputs, cotangents)
    compare_gradients(ledger, subject, case, got, want)
    return ledger


def outputs_and_gradients(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare outputs of one run, and gradients if the subject offers them."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    compare_call(ledger, subject.build(case), inputs, draw_cotangents(subject, case))
    return ledger


def cotangent_subsets(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare all gradients for cotangents on some of the outputs and none on the others."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    subsets = _subsets(draw_cotangents(subject, case))
    wants = expected_gradients(subject, case, inputs, subsets)
    for subset, want in zip(subsets, wants, strict=True):
        got = subject.build(case).gradient(inputs, subset)
        prefix = f"cotangents on {_named(subject, case, subset)}: "
        compare_gradients(ledger, subject, case, got, want, prefix=prefix)
    return ledger


def _subsets(cotangents: Cotangents) -> list[Cotangents]:
    """Return all choices of one or two outputs, and the choice of all."""
    outputs = [cotangents[0], *cotangents[1]]
    places = range(len(outputs))
    choices = {*combinations(places, 1), *combinations(places, 2), tuple(places)}
    subsets = [[d if k in choice else None for k, d in enumerate(outputs)] for choice in choices]
    return [(dy, tuple(dfinal)) for dy, *dfinal in subsets]


def _named(subject: Subject, case: Case, subset: Cotangents) -> str:
    names = ["y", *(f"final {s}" for s in state_names(subject, case))]
    cotangents = [subset[0], *subset[1]]
    return ", ".join(n for n, d in zip(names, cotangents, strict=False) if d is not None)


CHECKS = (
    SubjectCheck(
        "forward",
        "Outputs and final states are those of the equations.",
        forward,
        equations=DEPTH,
        needs=("equations",),
        forced=varied,
    ),
    SubjectCheck(
        "gradient",
        "The gradients of every parameter, of the input and of the initial states are those of "
        "the equations, for cotangents on the outputs and on the final states.",
        gradient,
        equations=BACK,
        needs=("equations", "gradient"),
        forced=varied,
    ),
    SubjectCheck(
        "cotangents",
        "The gradients are those of the equations whichever of the outputs have a "
        "cotangent; the others have none.",
        cotangent_subsets,
        equations=BACK,
        needs=("equations", "gradient"),
        share=0.2,
        forced=varied,
    ),
)
