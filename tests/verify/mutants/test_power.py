"""The power guard: were bounds as wide as a sharp comparison allows, mutants would still fail.

A comparison whose bound is wider than ``SHARP`` of the largest value is blind. That is only honest
if the effect of every mutant exceeds such a bound, on the check that must see it.
"""

import numpy as np
import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import hold
from gatewise.verify.mutants import mutant_subject, mutants, right_subject
from gatewise.verify.numbers import ledger as checking
from gatewise.verify.numbers.bounded import Bounded

PLANTED = [m for m in mutants() if not m.isolated]

LOST_IN_HALVES = {"D01", "F12", "F12b", "G19", "J02", "K20", "K22", "M10"}
"""Mutants whose effect is below the share that counts as sharp in halves."""


@pytest.fixture
def as_wide_as_allowed(monkeypatch):
    """Let every comparison have the widest bound that counts as sharp."""
    widened(monkeypatch, lambda ledger, expected: ledger.share or checking.SHARP.get(
        expected.arithmetic.dtype_name, checking.SHARP_ELSEWHERE))  # fmt: skip


@pytest.fixture
def as_wide_as_in_halves(monkeypatch):
    """Let every comparison have the widest bound that counts as sharp in halves."""
    share = checking.SHARP["float16"]
    assert share == checking.SHARP["bfloat16"]
    monkeypatch.setattr(checking, "SHARP", {})
    monkeypatch.setattr(checking, "SHARP_ELSEWHERE", 1.0)
    widened(monkeypatch, lambda ledger, expected: share)


def widened(monkeypatch, share_of):
    real = checking.Ledger.compare

    def compare(self, quantity, got, expected, *, first=0):
        share = share_of(self, expected)
        scale = np.max(np.abs(expected.value), initial=0)
        bound = np.maximum(expected.bound, 0.999 * share * scale)
        real(self, quantity, got, Bounded(expected.value, bound, expected.arithmetic), first=first)

    monkeypatch.setattr(checking.Ledger, "compare", compare)


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.id)
def test_a_mutant_fails_under_the_widest_bound_that_counts(mutant, as_wide_as_allowed):
    """The check that must see it does, with no help from how narrow bounds really are."""
    verdict = hold(mutant_subject(mutant, mutant.cells[0]), check_named(mutant.killed_by[0]),
                   mutant.dtypes[0], shrink=False)  # fmt: skip
    assert verdict.wrong


def test_a_right_layer_passes_under_it(as_wide_as_allowed):
    """Otherwise the test above would show nothing."""
    verdict = hold(right_subject("lstm"), check_named("gradient"), "float64", shrink=False)
    assert verdict.status == "passed"


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.id)
def test_a_mutant_fails_under_the_widest_bound_of_halves(mutant, as_wide_as_in_halves):
    """All but a few; docs/tolerances.md says how many."""
    wrong = any(
        hold(mutant_subject(mutant, mutant.cells[0]), check_named(check), mutant.dtypes[-1],
             shrink=False).wrong
        for check in mutant.killed_by
    )  # fmt: skip
    assert wrong is (mutant.id not in LOST_IN_HALVES)


def test_the_documentation_counts_them(root):
    said = f"all but {len(LOST_IN_HALVES)} of the mutants"
    assert said in " ".join((root / "docs" / "tolerances.md").read_text(encoding="utf-8").split())
