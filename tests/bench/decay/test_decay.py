"""Gradients carried back: by any cell, over any lag, and in little memory."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest

from gatewise.bench.decay.adjoint import carried, log_norms
from gatewise.bench.decay.problem import Setting, draw, has_gain, keeping_gate
from gatewise.bench.decay.spectra import direct_rate, exponents
from gatewise.bench.decay.trajectory import (
    BLOCK,
    joined,
    parted,
    state_jacobian,
    state_jacobians,
    wander,
)
from gatewise.bench.run import UnsupportedError
from gatewise.reference.bptt import state_jacobian as literal_jacobian
from gatewise.reference.cells import cell_named, gating_cells
from gatewise.reference.sequence import backpropagate, unroll
from linear_rnn import linear


def setting(name, hidden=5, gain=1.2):
    gain = gain if has_gain(cell_named(name)) else 1.0
    return Setting(name, hidden, gain, 1.0 if keeping_gate(cell_named(name)) else None)


# One step.


@pytest.mark.parametrize("name", gating_cells())
def test_the_jacobian_is_that_of_the_whole_state(name):
    problem = draw(setting(name), 0)
    step = next(problem.follow(10, 3).forwards())
    x, state, _, _ = step
    got = state_jacobian(problem.transition, *step)
    expected = literal_jacobian(problem.cell, problem.p, x[0], tuple(s[0] for s in state))

    assert got.shape == (sum(problem.transition.widths),) * 2
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-15 * len(got))


def test_arrays_lie_side_by_side_and_come_apart_again():
    arrays = (np.ones((2, 3)), np.zeros((2, 1)), np.full((2, 4), 5.0))
    for one, other in zip(parted(joined(arrays), (3, 1, 4)), arrays, strict=True):
        np.testing.assert_array_equal(one, other)


# What is drawn.


def test_the_share_that_is_kept_is_the_sigmoid_of_the_forget_bias():
    for name in ("lstm", "lstm-coupled", "gru", "gru-keeps-old", "gru-takes-new"):
        problem = draw(Setting(name, 4, 1.0, 0.7, at_rest=True), 0)
        steps = problem.follow(4, 0).forwards()
        found = direct_rate(problem.cell, problem.transition, steps)
        assert found == pytest.approx(-np.log1p(np.exp(-0.7)), rel=1e-14), name


def test_no_forget_bias_where_nothing_keeps_the_state():
    with pytest.raises(UnsupportedError, match="no gate keeps its state"):
        draw(Setting("rnn", 4, 1.0, 1.0), 0)
    assert keeping_gate(cell_named("rnn")) is None
    assert keeping_gate(cell_named("skip-lstm")) == ("f", 1)
    assert keeping_gate(cell_named("gru-takes-new")) == ("z", -1)


def test_the_same_seed_draws_the_same_matrices_for_every_gain():
    one, other = (draw(Setting("lstm", 4, gain, 1.0), 3).p for gain in (1.0, 2.0))
    np.testing.assert_array_equal(2 * one["U"], other["U"])
    np.testing.assert_array_equal(one["W"], other["W"])


@pytest.mark.parametrize("name", ["rnn", "lstm-phased"])
def test_blocks_of_inputs_are_the_same_in_any_order_and_as_a_stream(name):
    inputs = draw(setting(name), 0).inputs
    backwards = [inputs.block(k) for k in (4, 3, 2, 1, 0)]
    stream = np.array(list(islice(inputs.stream(), 5 * BLOCK)))

    np.testing.assert_array_equal(np.concatenate(backwards[::-1]), stream)
    if name == "lstm-phased":
        assert (np.diff(stream[:, 0, 0]) > 0).all()


# Trajectories.


@pytest.mark.parametrize("steps", [1, 63, 64, 65, 200])
def test_what_lies_between_checkpoints_is_computed_again(steps):
    problem = draw(setting("lstm"), 0)
    trajectory = problem.follow(steps, 0)
    xs = np.array(list(islice(problem.inputs.stream(), steps)))
    run = unroll(problem.cell, problem.p, xs, problem.start)

    forwards = list(trajectory.forwards())
    assert len(forwards) == steps
    for (x, state, _, new), expected in zip(forwards, run.steps, strict=True):
        np.testing.assert_array_equal(x, expected.x)
        np.testing.assert_array_equal(joined(state), joined(expected.state))
        np.testing.assert_array_equal(joined(new), joined(expected.new))
    backwards = [joined(step[1]) for step in trajectory.backwards()]
    np.testing.assert_array_equal(backwards[::-1], [joined(step[1]) for step in forwards])


def test_a_warm_up_goes_before():
    problem = draw(setting("gru"), 0)
    whole, late = problem.follow(80, 0), problem.follow(16, 3)
    expected = [joined(step[3]) for step in whole.forwards()][64:]
    np.testing.assert_array_equal([joined(step[3]) for step in late.forwards()], expected)


def test_a_state_that_overflows_ends_the_trajectory_early():
    problem = draw(Setting("rnn-relu", 8, 40.0), 0)
    with np.errstate(all="ignore"):
        trajectory = problem.follow(900, 0)

    assert trajectory.overflowed
    assert 0 < trajectory.steps < 900
    assert all(np.isfinite(step[3][0]).all() for step in trajectory.forwards())


# Adjoints.


@pytest.mark.parametrize("name", gating_cells())
def test_the_adjoint_is_that_of_backpropagation(name):
    steps = 150
    problem = draw(setting(name), 0)
    xs = np.array(list(islice(problem.inputs.stream(), steps)))
    run = unroll(problem.cell, problem.p, xs, problem.start)
    dy = np.zeros_like(run.y)
    _, _, expected = backpropagate(problem.cell, problem.p, run, dy, problem.cotangent)

    *_, last = carried(problem.follow(steps, 0), problem.cotangent)

    np.testing.assert_array_equal(np.ldexp(joined(last.cotangent), last.exponent), joined(expected))


@pytest.mark.parametrize("factor", [0.5, 4.0])
def test_the_exponent_is_kept_apart_beyond_the_range_of_float64(factor):
    steps = 3000
    problem = linear(factor)
    (found,) = log_norms(problem.follow(steps, 0), problem.cotangent, [steps])
    assert found[-1] == pytest.approx(steps * np.log(factor), rel=1e-15)


def test_a_gradient_of_zero_has_a_log_norm_of_minus_infinity():
    problem = linear(0.0)
    found = log_norms(problem.follow(5, 0), problem.cotangent, range(6))[:, -1]
    np.testing.assert_array_equal(found, [0.0] + 5 * [-np.inf])


def test_only_the_lags_that_are_asked_for_are_kept():
    problem = draw(setting("lstm"), 0)
    trajectory = problem.follow(40, 0)
    every = log_norms(trajectory, problem.cotangent, range(41))
    np.testing.assert_array_equal(
        log_norms(trajectory, problem.cotangent, [0, 7, 40]), every[[0, 7, 40]]
    )
    np.testing.assert_allclose(
        every[5:, 2], np.log(np.hypot(np.exp(every[5:, 0]), np.exp(every[5:, 1])))
    )


def peak(prepared, *, repeats=3):
    """Bytes that what ``prepared`` returns needs at its worst, the least of ``repeats`` runs.

    What other threads and the garbage collector hold at that moment (up to 85 kB were seen) is
    counted too, but not every time; what the run itself holds is there every time.
    """
    return min(_traced_peak(prepared()) for _ in range(repeats))


def stays_below(limit, prepared, *, repeats=3):
    """Whether the peak of what ``prepared`` returns is below a limit in one of these runs."""
    return any(_traced_peak(prepared()) < limit for _ in range(repeats))


def _traced_peak(run):
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_sixteen_times_the_steps_need_four_times_the_memory():
    def last(steps):
        problem = draw(setting("rnn", 16), 0)
        return lambda: [0 for _ in carried(problem.follow(steps, 0), problem.cotangent) if False]

    last(10)()
    assert stays_below(5 * peak(lambda: last(400)), lambda: last(6400))


def test_exponents_need_no_more_memory_for_more_steps():
    def measured(steps):
        problem = draw(setting("rnn", 4), 0)
        walk = wander(problem.transition, problem.inputs, problem.start)
        jacobians = state_jacobians(problem.transition, walk)
        return lambda: exponents(jacobians, steps=steps, transient=10)

    measured(10)()
    one_number_a_step = 8 * (2000 - 200)
    assert stays_below(peak(lambda: measured(200)) + one_number_a_step, lambda: measured(2000))
