"""Equinox's cells: the conventions are right, and a wrong one is seen."""

from dataclasses import replace

import pytest

pytest.importorskip("equinox")

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(2, 1), seed_value=5, shrink=False)


@pytest.mark.parametrize("name", ["equinox:LSTM", "equinox:GRU"])
@pytest.mark.parametrize("check", ["forward", "gradient"])
def test_a_cell_is_that_of_the_equations(name, check):
    """With a bias and without, in the forced case and the drawn ones."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "order"), [("equinox:LSTM", "igfo"), ("equinox:GRU", "zrn")])
def test_a_wrong_convention_fails(name, order):
    """The equations are then held against other parameters than the cell has."""
    right = subject_named(name)
    wrong = replace(right, convention=replace(right.convention, order=order))

    assert held(wrong, "forward").status == "failed"


def test_a_cell_has_no_lengths():
    """What the framework does not offer is neither passed nor failed."""
    assert held(subject_named("equinox:LSTM"), "padding").status == "not supported"
