"""Certificates and grades: what they promise, and that a planted error takes it away."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.tolerances.certificate import setting
from gatewise.verify.tolerances.grade import BLIND, SOUND, TOO_TIGHT, grade


@pytest.fixture(scope="module")
def at():
    return setting("lstm", Case(6, 3, 4, 5, dtype="float32"))


@pytest.fixture(scope="module")
def mistakes(at):
    return tuple(at.mistakes())


def test_a_tolerance_is_the_largest_bound_in_every_measure(at):
    """Absolute, relative, and in units in the last place, of each number."""
    for tolerance in at.tolerances(3, 0):
        want = at.expected[tolerance.quantity]
        value = np.abs(want.value)
        ulps = want.bound / np.spacing(np.maximum(value, 2.0**-126).astype(np.float32))

        assert tolerance.absolute == np.max(want.bound)
        assert tolerance.relative == pytest.approx(np.max(want.bound / value))
        assert tolerance.ulps == pytest.approx(np.max(ulps), rel=1e-6)
        assert 0 < tolerance.seen <= tolerance.absolute


def test_a_bound_that_is_too_narrow_is_seen(at):
    narrow = {
        name: Bounded(want.value, want.bound / 1000, want.arithmetic)
        for name, want in at.expected.items()
    }
    assert max(t.used for t in replace(at, expected=narrow).tolerances(5, 0)) > 1


def test_mistakes_show_where_they_can(mistakes):
    """A gate left out shows in one call; what needs lengths or a second call does not."""
    by_id = {mistake.id: mistake for mistake in mistakes}
    assert by_id["C04"].shown
    assert not by_id["B01"].shown
    assert 30 < sum(mistake.shown for mistake in mistakes) < len(mistakes)


@pytest.mark.parametrize(("atol", "words"), [
    (1e-12, (TOO_TIGHT,)), (1e-4, (SOUND,)), (1.0, (BLIND,)),
])  # fmt: skip
def test_grades(at, mistakes, atol, words):
    given = grade(at, mistakes, atol, 0.0, evaluations=5, seed=0)
    assert given.words == words
    assert (given.refused > 0) == (TOO_TIGHT in words)
    assert len(given.passed) + given.caught == sum(mistake.shown for mistake in mistakes)


def test_inputs_of_ones_own_stand_in_the_place_of_drawn_ones():
    case = Case(2, 2, 3, 4, dtype="float32")
    mine = np.full((2, 2, 3), 0.5)
    at = setting("gru", case, {"x": mine})

    assert np.array_equal(at.inputs.x, mine.astype(np.float32))
    assert at.inputs.x.dtype == np.float32


@pytest.mark.parametrize(("given", "message"), [
    ({"z": np.zeros(3)}, "'z': no such array; there are 'W_l0'"),
    ({"x": np.zeros(3)}, r"x: has the shape \(3,\), and the sizes ask for \(2, 2, 3\)"),
    ({"x": np.full((2, 2, 3), np.nan)}, "x: expected finite numbers"),
    ({"x": np.full((2, 2, 3), "a")}, "x: expected finite numbers"),
])  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        setting("gru", Case(2, 2, 3, 4, dtype="float32"), given)
