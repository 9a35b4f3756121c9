"""The power guard: were bounds as wide as a sharp comparison allows, mutants would still fail.

A comparison whose bound is wider than ``SHARP`` of the largest value is blind. That is only honest
if the effect of every mutant exceeds such a bound, on the check that must see it.
"""

import numpy as np
import pytest

from gatewise.verify import check as checking
from gatewise.verify.bounded import Bounded
from gatewise.verify.checks import check_named
from gatewise.verify.mutants import mutant_subject, mutants, right_subject
from gatewise.verify.runner import hold
from gatewise.verify.verdict import WRONG

PLANTED = [m for m in mutants() if not m.isolated]


@pytest.fixture
def as_wide_as_allowed(monkeypatch):
    """Let every comparison have the widest bound that counts as sharp."""
    real = checking.Ledger.compare

    def compare(self, quantity, got, expected, *, first=0):
        share = self.share or checking.SHARP.get(expected.arithmetic.name, checking.SHARP_ELSEWHERE)
        scale = np.max(np.abs(expected.value), initial=0)
        bound = np.maximum(expected.bound, 0.999 * share * scale)
        real(self, quantity, got, Bounded(expected.value, bound, expected.arithmetic), first=first)

    monkeypatch.setattr(checking.Ledger, "compare", compare)


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.id)
def test_a_mutant_fails_under_the_widest_bound_that_counts(mutant, as_wide_as_allowed):
    """The check that must see it does, with no help from how narrow bounds really are."""
    verdict = hold(
        mutant_subject(mutant, mutant.cells[0]),
        check_named(mutant.killed_by[0]),
        mutant.dtypes[0],
        shrink=False,
    )
    assert verdict.status in WRONG


def test_a_right_layer_passes_under_it(as_wide_as_allowed):
    """Otherwise the test above would show nothing."""
    verdict = hold(right_subject("lstm"), check_named("gradient"), "float64", shrink=False)
    assert verdict.status == "passed"
