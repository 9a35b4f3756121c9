"""What is compared with what: two results may differ by both their errors, and no further."""

import numpy as np
import pytest

import miniatures
from gatewise.verify.cases.case import Case
from gatewise.verify.checks.oracle import agree, around, expected, expected_gradient
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Ledger
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs

CASE = Case(3, 2, 2, 3)


@pytest.mark.parametrize(("apart", "fails"), [(1.9, False), (2.1, True), (-2.1, True)])
def test_two_results_may_be_two_bounds_apart(apart, fails):
    bound, ledger = 1e-12, Ledger()
    want = Bounded(np.ones(1), np.array([bound]), CASE.arithmetic)
    agree(ledger, CASE, "q", np.ones(1) + apart * bound, np.ones(1), want)
    assert bool(ledger.failed) is fails


def test_around_is_as_wide_as_it_says():
    assert around(CASE, np.ones(2), np.array([0.5, 0.25])).bound == pytest.approx([0.5, 0.25])


def test_given_numbers_are_exact_and_answers_are_not():
    subject = under_test(miniatures.Right())
    inputs = draw_inputs(subject, CASE)
    want = expected(subject, CASE, inputs)
    seen = subject.forward(CASE, inputs)
    assert (np.abs(seen.y - want.y.value) <= want.y.bound).all()
    assert 0 < want.y.bound.max() < 1e-13
    pulled = expected_gradient(subject, CASE, inputs, draw_cotangents(subject, CASE))
    assert pulled.parameters.keys() == inputs.parameters.keys()
    assert 0 < pulled.x.bound.max() < 1e-11
