"""Whole runs against the reference: outputs, final states, every gradient."""

from __future__ import annotations

from hypothesis.strategies import SearchStrategy

from ..cases import Case, cases
from ..check import Ledger
from ..oracle import (
    compare_gradients,
    compare_outputs,
    draw_cotangents,
    draw_inputs,
    expected,
    expected_gradient,
    run,
    run_gradient,
)
from ..subjects.protocol import Subject
from .subject_check import SubjectCheck


def short_cases(subject: Subject, dtype: str) -> SearchStrategy[Case]:
    """Draw sequences short enough for a bound on the whole trajectory to mean something."""
    return cases(subject.options, dtype)


def forward(subject: Subject, case: Case) -> Ledger:
    """Compare y and the final states of one run."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    compare_outputs(ledger, subject, case, run(subject, case, inputs), want)
    return ledger


def gradient(subject: Subject, case: Case) -> Ledger:
    """Compare all gradients under random cotangents on y and on the final states."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    cotangents = draw_cotangents(subject, case)
    want = expected_gradient(subject, case, inputs, cotangents)
    got = run_gradient(subject, case, inputs, cotangents)
    compare_gradients(ledger, subject, case, got, want)
    return ledger


CHECKS = (
    SubjectCheck(
        "forward",
        "Outputs and final states are those of the equations.",
        ("sequence.reversed", "bidirectional", "stacked"),
        short_cases,
        forward,
    ),
    SubjectCheck(
        "gradient",
        "The gradients of every parameter, of the input and of the initial states are those of "
        "the equations, for cotangents on the outputs and on the final states.",
        ("bptt.backpropagate", "sequence.reversed", "bidirectional", "stacked"),
        short_cases,
        gradient,
    ),
)
