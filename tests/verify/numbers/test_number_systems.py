"""Bounded, balls and complex steps: what they promise, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simulated
from gatewise.reference.cells import cells
from gatewise.reference.functions import midpoint, minimum, relu, sigmoid, softplus, switch
from gatewise.verify.cases.case import Case
from gatewise.verify.numbers.arithmetic import ARITHMETICS, FLOAT32, FLOAT64, TF32
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.complex_step import derivative
from gatewise.verify.numbers.enclosure import balls, distance, precision
from gatewise.verify.proofs.cell_gradients import _slope
from gatewise.verify.proofs.material import cell_material, forward, gradients
from simulated import rounded

SEEDS = st.integers(0, 2**32 - 1)


def exact(x, arithmetic=FLOAT32):
    return Bounded.exact(np.asarray(x, dtype=np.float64), arithmetic)


@given(SEEDS)
def test_sums_in_any_order_stay_within_the_bound(seed):
    """Bias first, bias last, one product or two, pairwise or sequential: one bound covers all."""
    rng = np.random.default_rng(seed)
    x, W, h, U = (
        rng.standard_normal(s).astype(np.float32) for s in ((2, 9), (9, 3), (2, 8), (8, 3))
    )
    b = rng.standard_normal(3).astype(np.float32)
    bounded = exact(x) @ exact(W) + exact(h) @ exact(U) + exact(b)
    joined = np.concatenate([x, h], axis=1), np.concatenate([W, U])
    sequential = np.broadcast_to(b, (2, 3)).copy()
    for k in rng.permutation(17):
        sequential = sequential + joined[0][:, k, None] * joined[1][k]

    for computed in (x @ W + h @ U + b, b + h @ U + x @ W, joined[0] @ joined[1] + b, sequential):
        assert computed.dtype == np.float32
        assert (np.abs(computed - bounded.value) <= bounded.bound).all()


@given(SEEDS)
def test_the_bound_is_no_fantasy(seed):
    """Errors reach a good share of the bound: for one product, more than a hundredth."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 200)).astype(np.float32)
    product = exact(a) * exact(b)
    assert (np.abs(a * b - product.value) / product.bound).max() > 0.01


def test_tf32_products_have_a_wider_bound():
    """Rounding the operands to 11 bits first shows as a bound some thousand times wider."""
    a, b = np.ones((1, 4)), np.ones((4, 1))
    narrow, wide = (exact(a, x) @ exact(b, x) for x in (FLOAT32, TF32))
    assert (wide.bound > 1000 * narrow.bound).all()


@pytest.mark.parametrize("function", [np.maximum, np.minimum, np.rint, np.sign, np.floor])
def test_unsound_functions_are_refused(function):
    """A function that would silently pick a side of a ball is no function of Bounded."""
    with pytest.raises(TypeError):
        function(exact([1.0]), exact([2.0])) if function.nin == 2 else function(exact([1.0]))


def test_a_switch_inside_the_ball_returns_the_hull():
    """ReLU of 0 ± 1 is [0, 1], as Bounded and as ball; away from 0 it picks a side."""
    import flint

    wide = Bounded(np.array([0.0]), np.array([1.0]), FLOAT64)
    both = relu(wide)
    ball = relu(np.array([flint.arb(0, 1)], dtype=object))[0]

    assert both.value - both.bound <= 0 <= 1 <= both.value + both.bound
    assert ball.contains(flint.arb(0))
    assert ball.contains(flint.arb(1))
    assert relu(exact([-2.0])).bound == 0
    assert switch(exact([3.0]), 0.0, 5.0).value == 5.0


def test_overflow_promises_nothing():
    assert np.isinf((exact([1e30]) * exact([1e30])).bound).all()
    assert np.isfinite((exact([1e30], FLOAT64) * exact([1e30], FLOAT64)).bound).all()


def test_overflow_inside_a_sum_promises_nothing():
    """A sum whose terms overflow in some order has an infinite bound, small as it may be."""
    terms = exact([[3e38, 3e38, -3e38]])
    assert np.isinf(terms.sum(axis=1).bound).all()
    assert np.isinf((terms @ exact(np.ones((3, 1)))).bound).all()
    assert np.isfinite(exact([[1e38, 1e38, -1e38]]).sum(axis=1).bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_a_cell_keeps_its_dtype(cell, dtype):
    m = cell_material(cell, Case(4, 2, 3, 3, lengths=True)).map(lambda a: a.astype(dtype))
    outputs = (*forward(cell, m), *gradients(cell, m).values())
    assert {array.dtype for array in outputs} == {np.dtype(dtype)}


@given(SEEDS, st.sampled_from(["float32", "float64", "longdouble"]))
def test_balls_hold_floats_exactly(seed, dtype):
    x = np.random.default_rng(seed).standard_normal(3).astype(np.longdouble) / 3
    x = x.astype(dtype)
    with precision():
        assert (distance(x, balls(x)) == 0).all()


def test_balls_keep_what_float64_cannot_hold():
    """The second half of a longdouble is in the ball."""
    x = np.longdouble(1) + np.longdouble(2) ** -60

    with precision():
        off = distance(np.array([x]), balls(np.array([1.0])))

    assert abs(off[0] - 2.0**-60) < 2.0**-100


def test_distance_is_seen():
    with precision():
        off = distance(np.array([1.5]), balls(np.array([1.0])))
    assert 0.5 <= off[0] < 0.5 + 1e-9


def test_complex_step_is_exact_where_differences_are_not():
    """The derivative of exp(s)/s^1.5 (Squire & Trapp's example) is right to the last digits."""
    (slope,) = derivative(lambda z: (np.exp(z) / z**1.5,), np.array(1.5), np.array(1.0))
    true = np.exp(1.5) / 1.5**1.5 * (1 - 1.5 / 1.5)
    assert abs(slope - true) < 4 * np.spacing(np.exp(1.5) / 1.5**1.5)


@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_vjp_and_complex_step_agree_to_a_few_ulp(cell):
    """Over 12 cases, the median disagreement is below 4 units of roundoff of the terms' sum.

    8 where normalisations, whose errors are divided by a deviation, are in between.
    """
    units = []
    for seed in range(12):
        m = cell_material(cell, Case(4, 2, 3, 3, seed=seed))
        for name, d in gradients(cell, m).items():
            direction = np.random.default_rng(seed).standard_normal(d.shape)
            want = _slope(cell, m, name, direction)
            scale = np.abs(d * direction).sum()
            if scale:  # no later step reads the output of some cells
                units.append(abs((d * direction).sum() - want) / (scale * 2.0**-53))

    assert np.median(units) < (8 if "layer_norm" in cell.equations else 4)


def test_midpoint_and_minimum_agree_in_every_system():
    a, b = np.array([1.0, 5.0]), np.array([2.0, 3.0])
    systems = (lambda v: v, lambda v: v.astype(complex), balls, exact)
    for system in systems:
        np.testing.assert_array_equal(midpoint(minimum(system(a), system(b))), [1.0, 3.0])


@pytest.mark.parametrize("kind", [simulated.BFloat16, simulated.TF32])
@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_simulated_arithmetics_lie_within_their_bounds(cell, kind):
    """bfloat16 and TF32 results, forward and backward, lie within the bound; float32's is not."""
    arithmetic = ARITHMETICS[kind.__name__.lower()]
    narrower_fails, compared = 0, 0
    for seed in range(4):
        m = cell_material(cell, Case(3, 2, 3, 3, seed=seed, lengths=bool(seed % 2)))
        m = m.map(lambda a: rounded(a, kind.bits))
        got = m.map(lambda a: a.view(kind))
        got = [*forward(cell, got), *gradients(cell, got).values()]
        bounds, narrow = (
            [*forward(cell, b), *gradients(cell, b).values()]
            for b in (m.map(lambda a, x=x: exact(a, x)) for x in (arithmetic, FLOAT32))
        )
        for g, b, n in zip(got, bounds, narrow, strict=True):
            assert (np.abs(np.asarray(g) - b.value) <= b.bound).all()
            compared += 1
            narrower_fails += (np.abs(np.asarray(g) - n.value) > n.bound).any()

    fewest = 5 if "layer_norm" in cell.equations else compared / 3 if "W" in m.p else 0
    assert narrower_fails > fewest


def test_softplus_is_the_same_in_every_system():
    s = np.array([-800.0, -40.0, -1.0, 0.0, 0.5, 30.0, 800.0])
    bounded = softplus(exact(s, FLOAT64))
    with precision():
        right = softplus(balls(s))
        assert (distance(softplus(s), right) <= bounded.bound).all()
        assert (distance(bounded.value, right) <= bounded.bound).all()
    (slope,) = derivative(lambda z: (softplus(z),), s, np.ones_like(s))
    np.testing.assert_allclose(slope, sigmoid(s), rtol=1e-14, atol=1e-300)
    assert {softplus(s.astype(t)).dtype for t in (np.float32, np.longdouble)} == {
        np.dtype(np.float32), np.dtype(np.longdouble),
    }  # fmt: skip
