"""Exponents, products, rates and closed forms against matrices whose answers are known."""

import itertools
import math

import numpy as np
import pytest

from gatewise.bench.decay import closed_forms
from gatewise.bench.decay.rates import band, half_life, log_of_mean, rate, slope
from gatewise.bench.decay.rows import Spectrum
from gatewise.bench.decay.spectra import exponents, log_singular_values


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def chained(factors, seed=0):
    """Matrices whose product has the products of ``factors`` (lags, n) as singular values."""
    rng, n = np.random.default_rng(seed), len(factors[0])
    frames = [orthogonal(rng, n) for _ in range(len(factors) + 1)]
    return [frames[k + 1] * d @ frames[k].T for k, d in enumerate(factors)]


@pytest.mark.parametrize("n", [1, 2, 5, 24])
def test_singular_values_of_products_are_right_far_beyond_float64(n):
    rng = np.random.default_rng(n)
    factors = np.exp(-np.linspace(0, 8, n) + 0.3 * rng.standard_normal((120, n)))
    expected = -np.sort(-np.log(factors).sum(axis=0))

    (found,) = log_singular_values(chained(factors), [120])

    if n > 2:
        assert found[0] - found[-1] > 800  # float64 ends at 745
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_singular_values_of_a_short_product_are_those_of_the_product():
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal((7, 7)) for _ in range(3)]
    for lag, found in zip((1, 3), log_singular_values(factors, [1, 3]), strict=True):
        product = np.linalg.multi_dot([*factors[:lag][::-1], np.eye(7)])
        np.testing.assert_allclose(np.exp(found), np.linalg.svd(product)[1], rtol=1e-12)


def test_close_and_equal_singular_values_are_found_too():
    factors = np.exp([[-0.1, -0.1, -0.1, -0.10001, -3.0]] * 50)
    (found,) = log_singular_values(chained(factors), [50])
    np.testing.assert_allclose(found, 50 * np.log(factors[0]), atol=1e-11)


def test_a_product_of_singular_matrices_has_zeros():
    factors = np.ones((4, 5))
    singular = chained(factors)
    singular[1] = np.diag([1.0, 1.0, 0.0, 0.0, 1.0]) @ singular[1]
    (found,) = log_singular_values(singular, [4])
    np.testing.assert_allclose(found[:3], 0, atol=1e-14)
    assert (found[3:] == -np.inf).all()


def test_exponents_of_triangular_matrices_stand_on_the_diagonal():
    logs = np.array([0.2, -0.3, -1.1])
    J = np.diag(np.exp(logs)) + np.triu(np.ones((3, 3)), 1)
    found = exponents(itertools.repeat(J), steps=200, transient=300)

    np.testing.assert_allclose(found.values, logs, atol=1e-13)
    assert found.log_det == pytest.approx(logs.sum(), abs=1e-13)
    assert abs(found.residual) < 1e-12
    assert (found.errors < 1e-12).all()


def test_the_error_is_that_of_a_mean_of_parts():
    rng = np.random.default_rng(0)
    draws = rng.standard_normal(4000)
    found = exponents((np.array([[np.exp(d)]]) for d in draws), steps=3999, transient=1)

    assert found.values[0] == pytest.approx(draws[1:].mean(), abs=1e-12)
    assert found.errors[0] == pytest.approx(1 / math.sqrt(4000), rel=0.4)


def test_singular_jacobians_have_exponents_of_minus_infinity():
    rng = np.random.default_rng(0)
    J = [rng.standard_normal((5, 5)) * (rng.permutation(5) > 1)[:, None] for _ in range(60)]
    found = exponents(J, steps=50, transient=10)

    assert np.isfinite(found.values[:3]).all()
    assert (found.values[3:] == -np.inf).all()
    assert math.isnan(found.residual)
    assert found.log_det == -math.inf
    assert found.lost == 0


def test_rare_orthonormalisation_loses_the_last_directions_and_the_sum_rule_misses_them():
    rng = np.random.default_rng(1)
    J = [np.diag(np.exp([0.0, -1.0, -2.0])) @ (np.eye(3) + 0.3 * rng.standard_normal((3, 3)))
         for _ in range(1100)]  # fmt: skip
    often, rarely = (exponents(J, steps=1000, transient=100, qr_every=k) for k in (1, 200))

    assert rarely.values[0] == pytest.approx(often.values[0], abs=1e-3)
    assert rarely.lost == 2  # what R has of them is no more than how one processor rounds
    assert (rarely.values[1:] == -np.inf).all()
    assert (rarely.errors[1:] == 0).all()
    assert np.isfinite(rarely.log_det)
    assert rarely.residual == -np.inf
    assert often.lost == 0
    assert abs(often.residual) < 1e-12


@pytest.mark.parametrize(("steps", "lost"), [(1, 0), (2, 0), (4, 1)])
def test_a_direction_is_lost_once_rounding_has_left_nothing_of_it(steps, lost):
    """Both columns grow as the first direction does; after 4 steps e^-12 is beneath 2 k u."""
    turn = np.array([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
    J = np.diag(np.exp([0.0, -12.0])) @ turn
    found = exponents(itertools.repeat(J), steps=20 * steps, transient=steps, qr_every=steps)

    assert found.lost == lost
    assert np.isneginf(found.values).sum() == lost


def test_growth_along_axes_is_not_lost_however_different_it_is():
    J = np.diag(np.exp([0.0, -50.0]))
    found = exponents(itertools.repeat(J), steps=100, transient=10)

    assert found.lost == 0
    np.testing.assert_allclose(found.values, [0.0, -50.0], rtol=1e-14, atol=1e-14)
    assert abs(found.residual) < 1e-12


def test_directions_that_were_lost_are_not_told_as_singular_jacobians():
    assert Spectrum((0.1, None), (0.0, 0.0), -1.0, None, 40, 0.1, lost=1).unsummed == (
        "1 lost to rounding"
    )
    assert Spectrum((0.1, None), (0.0, 0.0), None, None, 40, 0.1).unsummed == "J is singular"
    assert Spectrum((0.1, -0.2), (0.0, 0.0), -0.1, 1e-16, 40, 0.1).unsummed == ""


def test_slopes_bands_and_intervals():
    lags = np.arange(0, 50, 5)
    assert slope(lags, 3 - 0.2 * lags) == pytest.approx(-0.2)
    assert math.isnan(slope(lags, np.where(lags > 20, -np.inf, 0.0)))
    found = rate(np.array([-0.1, -0.2, -0.3, math.nan]))
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)  # Student's t with 2 degrees of freedom
    assert (found.value, found.seeds) == (pytest.approx(-0.2), 3)
    assert (found.low, found.high) == (pytest.approx(-0.2 - reach), pytest.approx(-0.2 + reach))
    assert rate(np.array([math.nan])).value is None
    assert rate(np.array([-0.5])).low is None
    assert half_life(-math.log(2) / 7) == pytest.approx(7)


def test_a_band_has_minus_infinity_where_gradients_are_zero():
    curves = np.array([[0.0, -np.inf], [0.0, -np.inf], [0.0, -3.0]])
    found = band(curves)
    assert found.median == [0.0, None]
    assert found.high == [0.0, -3.0]


def test_the_mean_of_norms_is_that_of_the_largest():
    logs = np.array([-2000.0, -1000.0, -10.0])
    assert log_of_mean(logs) == pytest.approx(-10 - math.log(3))
    assert logs.mean() < -1000
    assert log_of_mean(np.full(3, -np.inf)) == -np.inf


def test_the_forget_bias_that_is_recommended_and_what_it_keeps():
    assert [round(closed_forms.half_life(b), 2) for b in (0, 1, 2)] == [1.0, 2.21, 5.46]
    assert round(closed_forms.half_life(5)) == 103
    assert round(closed_forms.e_fold(1), 2) == 3.19
    for T in (100, 1000):
        assert closed_forms.e_fold(math.log(T - 1)) == pytest.approx(T - 0.5, rel=1 / (10 * T))


@pytest.mark.parametrize(("cell", "b"), [("rnn", None), ("lstm", 0.3), ("gru", 1.0),
                                         ("lstm-coupled", 2.0)])  # fmt: skip
def test_the_rate_at_rest_is_0_at_the_threshold(cell, b):
    gain = closed_forms.threshold(cell, b)
    assert closed_forms.rate_at_rest(cell, gain, b) == pytest.approx(0, abs=1e-15)
    assert closed_forms.rate_at_rest(cell, 1.1 * gain, b) > 0


def test_no_theory_is_claimed_where_there_is_none():
    assert closed_forms.rate_at_rest("lstm-phased", 1.0, 1.0) is None
    assert closed_forms.threshold("skip-rnn", None) is None


def test_the_mean_field_has_its_known_limits():
    assert closed_forms.tanh_chi(0.5, 0.0) == pytest.approx(0.25)
    assert closed_forms.tanh_variance(0.9, 0.0) == pytest.approx(0, abs=1e-12)
    assert closed_forms.tanh_chi(1.5, 0.0) > 1  # chaos
    assert closed_forms.tanh_chi(1.5, 1.0) < 1  # which input suppresses


def test_pascanu_eigenvalue_condition_is_not_sufficient():
    U, b, a = closed_forms.counterexample()
    np.testing.assert_allclose(np.tanh(a @ U + b), a, atol=1e-15)
    assert np.abs(np.linalg.eigvals(U)).max() < 1e-6  # "vanishes", by the largest eigenvalue
    J = np.diag(1 - a**2) @ U.T
    for lag in (1, 2, 10):
        norm = np.linalg.norm(np.linalg.matrix_power(J, lag), 2)
        assert norm == pytest.approx(10 * math.sqrt(2) * 2 ** (lag - 1), rel=1e-14)
        assert math.log(norm) <= lag * closed_forms.pascanu_bound(U)
