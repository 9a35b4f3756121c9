"""Where an arithmetic loses the gradient, and what clipping does to one that explodes."""

import numpy as np

from gatewise.bench.decay.adjoint import loss, rounded
from gatewise.bench.decay.gradient_clipping import clipped
from gatewise.bench.decay.problem import Setting, draw
from linear_rnn import linear


def test_a_halving_gradient_leaves_each_dtype_where_its_numbers_end():
    problem = linear(0.5)
    trajectory = problem.follow(1200, 0)
    found = {d: loss(problem, trajectory, d) for d in ("float16", "float32", "float64")}

    # 2^-k is subnormal from k = 15, 127, 1023 on; the last one is 2^-24, 2^-149, 2^-1074.
    assert [f.subnormal for f in found.values()] == [15, 127, 1023]
    assert [f.zero for f in found.values()] == [25, 150, 1075]
    assert [f.wrong for f in found.values()] == [25, 150, 1075]
    assert all(f.overflow is None for f in found.values())


def test_a_doubling_gradient_overflows_where_the_largest_number_is():
    problem = linear(2.0)
    trajectory = problem.follow(1100, 0)
    found = [loss(problem, trajectory, d) for d in ("float16", "float32", "float64")]

    assert [f.overflow for f in found] == [16, 128, 1024]
    assert [f.wrong for f in found] == [16, 128, 1024]
    assert all(f.zero is None for f in found)


def test_rounding_keeps_something_that_is_not_right():
    problem = draw(Setting("rnn", 64, 1.0, None, 0.3), 0)
    found = loss(problem, problem.follow(600, 100), "float16")

    assert found.zero is None
    assert found.wrong is not None
    assert found.wrong < 200
    assert found.text(found.zero) == "> 600"


def clipping(problem, steps, dtype="float64"):
    p, *cotangent = (problem.p.map(lambda a: a.astype(dtype)),
                     *(d.astype(dtype) for d in problem.cotangent))  # fmt: skip
    walk = (rounded(step, dtype) for step in problem.follow(steps, 20).backwards())
    return clipped(problem.cell, p, walk, tuple(cotangent), range(1, steps + 1))


def test_clipping_bounds_what_it_clips_and_keeps_its_direction_only_by_norm():
    found = clipping(draw(Setting("rnn", 32, 6.0), 0), 120)

    assert found.gradient[-1] > 10
    assert found.carried[-1] > 10
    assert (found.by_norm <= 1e-15).all()
    assert (found.carried_clipped <= 1e-15).all()
    assert found.cosine[-1] < 0.95
    assert found.refused is None


def test_clipping_changes_nothing_where_gradients_vanish():
    found = clipping(draw(Setting("rnn", 16, 0.1), 0), 60)
    np.testing.assert_array_equal(found.carried_clipped, found.carried)


def test_nothing_is_left_to_clip_once_the_gradient_has_overflowed():
    found = clipping(linear(2.0), 150, "float32")

    assert found.refused == 128  # the bias has gathered 1 + 2 + ... + 2^127
    assert np.isnan(found.by_norm[127:]).all()
    assert np.isfinite(found.by_norm[:127]).all()
    assert np.isfinite(found.carried_clipped).all()
