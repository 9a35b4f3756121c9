"""Haiku's cores: the conventions are right, and a wrong one is seen."""

from dataclasses import replace

import pytest

pytest.importorskip("haiku")

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(2, 1), seed_value=5, shrink=False)


@pytest.mark.parametrize("name", ["haiku:LSTM", "haiku:GRU", "haiku:RNN"])
@pytest.mark.parametrize("check", ["forward", "gradient"])
def test_a_core_is_that_of_the_equations(name, check):
    """Two layers, with a given state and without."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("check", ["default-state", "no-steps", "batch-first", "jvp"])
def test_a_core_passes_what_it_offers(check):
    """float32 too, where the state that the core makes must not be float64."""
    verdict = held(subject_named("haiku:LSTM"), check, "float32")

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("haiku:LSTM", {"order": "ifgo"}),
    ("haiku:LSTM", {"forget_offset": 0.0}),
    ("haiku:GRU", {"update": "keep"}),
    ("haiku:GRU", {"reset": "after"}),
    ("haiku:RNN", {"candidate": "tanh"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """The equations are then others, or held against other parameters than the core has."""
    right = subject_named(name)
    verdict = held(replace(right, convention=replace(right.convention, **wrong)), "forward")

    assert verdict.status == "failed"
