"""What is measured holds against theory, and the mistakes of published code do not."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.bench.decay.measurement import RIGHT
from gatewise.bench.decay.validations import LAWS, Finding, compare, worst
from planted_in_decay import PLANTED

BY_ID = {validation.id: validation for validation in LAWS}


@pytest.mark.parametrize("id", BY_ID)
def test_what_is_measured_is_what_theory_says(id):
    found = BY_ID[id].measure(RIGHT)
    assert found.passed, found


@pytest.mark.parametrize(
    ("planted", "id"), [(planted, id) for planted in PLANTED for id in sorted(planted.seen_by)],
    ids=lambda value: getattr(value, "id", value),
)  # fmt: skip
def test_a_planted_mistake_is_seen(planted, id):
    with np.errstate(all="ignore"):
        found = BY_ID[id].measure(planted.methods)
    assert not found.passed, found


def test_no_validation_is_without_a_mistake_that_it_sees():
    assert set().union(*(planted.seen_by for planted in PLANTED)) == BY_ID.keys()


def test_only_the_order_of_factors_is_wrong_in_forward_order():
    """What conserves sums and norms cannot see it: half-lives and the sum rule hold."""
    (planted,) = (p for p in PLANTED if p.id == "forward-order")
    assert BY_ID["half-life b=1"].measure(planted.methods).passed


def test_a_finding_that_is_no_number_does_not_pass():
    assert not compare(np.ones(2), np.array([1.0, np.nan]), 1.0).passed
    assert not compare(np.ones(2), np.ones(3), 1.0).passed
    found = compare(np.array([2.0, 4.0]), np.array([2.0, 4.4]), 0.01)
    assert (found.expected, found.measured) == (4.0, 4.4)
    assert found.error == pytest.approx(0.1)
    assert found.digits == pytest.approx(1.0)


def test_the_worst_is_what_uses_most_of_its_allowance():
    exact, far = Finding(0, 0, 0.0, 0.0), Finding(0, 1, 1e-3, 0.0)
    used = Finding(1, 1, 1e-3, 1e-2)
    assert worst([exact, used]) is used
    assert worst([used, far]) is far
    assert not replace(used, allowed=1e-4).passed
