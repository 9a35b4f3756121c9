"""Quantisations are texts; integers are exact; at a tie both neighbours are allowed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.reference import functions
from gatewise.verify.numbers.arithmetic import FLOAT32, FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.fixed import Fixed
from gatewise.verify.numbers.levels import Levels, Operand
from gatewise.verify.numbers.quantisation import (
    ROUNDINGS,
    FixedPoint,
    Quantisation,
    QuantisationError,
    neighbours,
)

FIXED = Quantisation(fixed="<16,6>")
CALL = Quantisation(weights=8, activations=8)


@pytest.mark.parametrize(
    "text",
    [
        "weights=8",
        "weights=4, per=channel, weight_zero=yes",
        "weights=8, weight_levels=127.5, activations=8, range=row, activation_zero=no",
        "weights=8, activations=8, range=given, scales=x:0.02:128+h:0.0078",
        "activations=8, range=row, zero_added=before, rounding=away",
        "fixed=<16,6>, products=yes, initial=given, rounding=down, overflow=wrap",
        "weights=8, states=c:<16,5>",
        "weights=8, per=gate, activations=8, range=given, scales=x:0.02:128+h:0.0078:128, "
        "states=c:<16,5>, gates=<16,4>, rescaling=once, rounding=away",
    ],
)
def test_a_text_is_read_as_it_is_written(text):
    quantisation = Quantisation.parse(text)

    assert quantisation.text == text
    assert Quantisation.parse(quantisation.text) == quantisation
    assert Quantisation.parse(quantisation) is quantisation
    assert quantisation.words
    assert Quantisation.parse({"weights": 8}) == Quantisation(weights=8)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("weights=eight", "weights: expected an integer, got 'eight'"),
        ("weights=1", "weights: expected 2 to 16 bits"),
        ("bits=8", "bits: unknown; there are weights, per"),
        ("weights", "expected name=value"),
        ("weights=8 and more", "^quantised: expected name=value"),
        ("", "expected name=value"),
        (True, "expected a text"),
        ("per=channel", "expected weights, activations, fixed or states"),
        ("weights=8, range=batch", "range: expected one of call, row, given"),
        ("weights=8, weight_zero=perhaps", "weight_zero: expected yes or no"),
        ("fixed=16.6", "expected <bits,integer bits> as in <16,6>"),
        ("fixed=<16,6>, weights=8", "no other quantisation beside it"),
        ("activations=8, range=given", "scales: expected one for each of x and h"),
        ("activations=8, range=given, scales=x:a+h:1", "scales: expected as in"),
        ("weights=8, states=c:<16,5>, gates=<16,4>", "gates: expected weights=8, per=gate, activ"),
        ("activations=8, zero_added=never", "zero_added: expected one of after, before"),
        ("weights=8, states=c16", "states: expected name:<bits,integer bits>"),
    ],
)
def test_what_means_nothing_is_refused_in_a_sentence(given, says):
    with pytest.raises(QuantisationError, match=says):
        Quantisation.parse(given)


@given(st.integers(-40, 40), st.sampled_from(sorted(ROUNDINGS)))
def test_roundings_at_ties_and_between(n, rounding):
    tie = n + 0.5
    want = {"even": n + n % 2, "away": n if n < 0 else n + 1, "up": n + 1, "down": n,
            "zero": n + (n < 0)}  # fmt: skip
    nearest = ROUNDINGS[rounding]

    assert nearest(np.float64(tie)) == want[rounding]
    assert nearest(np.float64(n)) == n
    assert abs(nearest(np.float64(n + 0.3)) - n - 0.3) < 1


def test_neighbours_are_both_allowed_within_the_error_of_a_tie():
    low, high = neighbours(np.array([2.5 - 1e-9, 2.4, -2.5]), np.array([1e-8, 1e-8, 0.0]), "even")
    assert low.tolist() == [2, 2, -2]
    assert high.tolist() == [3, 2, -2]


def test_fixed_point_is_exact_and_rounds_sums_once():
    """0.5 + 2^-10 times itself needs 20 bits; a sum of such is rounded when it is used."""
    a = Fixed.read(np.array([0.5 + 2.0**-10]), FIXED, FLOAT64)
    summed = a * a + a * a

    assert summed.bound == 0
    assert summed.value == 2 * (0.5 + 2.0**-10) ** 2
    assert summed.closed.value == 0.5 + 2.0**-9  # 2^-19 is lost
    assert summed.closed.bound == 0
    each = Quantisation(fixed="<16,6>", products=True)
    b = Fixed.read(np.array([0.5 + 2.0**-10]), each, FLOAT64)
    assert (b * b).value == 0.25 + 2.0**-10


def test_sums_that_a_dtype_does_not_hold_have_an_error():
    """float32 holds integers up to 2^24: a sum of products of 16 bits may be larger."""
    many = np.full((1, 64), 30 + 2.0**-10)
    for arithmetic, exact in ((FLOAT64, True), (FLOAT32, False)):
        a = Fixed.read(many, FIXED, arithmetic)
        assert bool(((a @ a.T).bound == 0).all()) == exact
        assert bool(((a @ a.T + 1).bound == 0).all()) == exact


def test_activations_near_a_tie_are_both_neighbours():
    """Where the sigmoid is within its error of a tie; elsewhere there is one."""
    step = 2.0**-10
    at = np.arange(-4096, 4096) * step
    gate = functions.sigmoid(Fixed.read(at, FIXED, FLOAT32))
    exact = 1 / (1 + np.exp(-at))
    near = np.abs(exact / step - np.floor(exact / step) - 0.5) * step < 2.0**-21

    assert (gate.bound[near] > 0).all()
    assert (gate.bound > 0).sum() < 100
    assert (np.abs(gate.value - exact) <= step / 2 + gate.bound + 1e-6).all()
    assert gate.bound[at == 0] == 0


def test_numbers_that_are_given_are_not_rounded_before_they_are_used():
    """As initial states may be: their products are rounded once, and have float64's error."""
    given_ = Fixed.unrounded(Bounded.exact(np.array([np.pi, 0.0]), FLOAT64), FIXED, FLOAT64)
    squares = given_ * given_ * 1.0 + given_

    assert 0 < squares.bound[0] < 1e-14
    assert squares.closed.value.tolist() == [np.rint((np.rint(np.pi**2 * 1024) / 1024 + np.pi)
                                                     * 1024) / 1024, 0.0]  # fmt: skip


@pytest.mark.parametrize("overflow", ["saturate", "wrap"])
def test_what_is_too_large_saturates_or_wraps(overflow):
    rule = Quantisation(fixed="<8,4>", overflow=overflow)
    got = Fixed.read(np.array([7.9375, 8.0, -9.0, 100.0]), rule, FLOAT64).value.tolist()

    wrapped = [7.9375, -8.0, 7.0, 4.0]
    assert got == ([7.9375, 7.9375, -8.0, 7.9375] if overflow == "saturate" else wrapped)
    assert FixedPoint.parse("<8,4>").step == 2.0**-4


def test_activations_are_integers_of_one_range_or_of_each_row():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 6)).astype(np.float32) * 4.0 ** -np.arange(4)[:, None]
    for range_, axis in (("call", None), ("row", 1)):
        q = Quantisation(weights=8, activations=8, range=range_)
        got = Operand(q, "x").levels(Bounded.exact(x, FLOAT32))
        low = np.minimum(x.min(axis, keepdims=True), 0)
        scale = (np.maximum(x.max(axis, keepdims=True), 0) - low) / np.float32(255)
        zero = np.rint(-low / scale)
        integers = np.clip(np.rint(x / scale) + zero, 0, 255) - zero
        assert (np.abs(got.integers - integers) <= got.spread).all()
        assert (got.spread == 0).mean() > 0.9
        ends = np.maximum(got.integers.max(axis), 0) - np.minimum(got.integers.min(axis), 0)
        assert (ends >= 254).all()


@pytest.mark.parametrize(("added", "tie"), [("after", 41), ("before", 40)])
def test_a_zero_point_is_added_after_rounding_or_before(added, tie):
    """40.5 steps are -63.5 in signed levels with 24 for 0, and away from 0 is down there."""
    q = Quantisation(weights=8, activations=8, range="row", rounding="away", zero_added=added)
    row = np.array([[-24.0, 231.0, 40.5, 139.5]]) * 2.0**-7
    got = Operand(q, "x").levels(Bounded.exact(row, FLOAT32))

    assert got.spread.max() == 0
    assert got.integers.tolist() == [[-24, 231, tie, 140]]


def test_products_are_of_integers_and_contain_both_neighbours():
    """What is ambiguous spreads; what is not is as exact as float32."""
    rng = np.random.default_rng(1)
    w = np.round(rng.standard_normal((6, 3)) * 40)
    weights = Levels.from_integers(w, w, np.asarray(0.01), 0.0, FLOAT32).read_by(Operand(CALL, "h"))
    x = rng.standard_normal((2, 6)).astype(np.float32).astype(float)
    sharp = Bounded.exact(x, FLOAT32) @ weights
    vague = Bounded(x, np.full(x.shape, 1e-3), FLOAT32) @ weights

    assert (sharp.bound < 1e-5 * np.abs(sharp.value).max()).all()
    assert (vague.bound > 1e-3).any()
    assert (np.abs(vague.value - sharp.value) <= vague.bound).all()
