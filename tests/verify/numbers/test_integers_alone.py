"""Integer kernels: rescaling rounds twice, tables are near the functions, intervals hold both."""

import numpy as np
import pytest

from gatewise.verify.numbers import gemmlowp
from gatewise.verify.numbers.arithmetic import FLOAT32
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.integer_lstm import Interval
from gatewise.verify.numbers.levels import Levels

INT16 = np.arange(gemmlowp.LEAST, gemmlowp.MOST + 1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.7e-4, 0.9999999999, 123.4])
def test_a_multiplier_and_a_shift_are_the_scale(scale):
    multiplier, shift = gemmlowp.multiplier_of(scale)
    assert 2**30 <= multiplier < 2**31
    assert abs(np.ldexp(multiplier, shift - 31) - scale) <= np.ldexp(scale, -31)


def test_scales_beyond_any_shift():
    assert gemmlowp.multiplier_of(2.0**-40) == (0, 0)
    assert gemmlowp.multiplier_of(2.0**40) == (2**31 - 1, 30)


def test_a_rescaling_rounds_twice():
    """11.4991 becomes 11.5, and that 12: the example of tensorflow/tensorflow#25087."""
    scale = float(np.ldexp(1583594044, -31 - 9))
    assert round(7984 * scale, 4) == 11.4991
    assert gemmlowp.rescaled(np.array([7984, -7984]), scale).tolist() == [12, -12]
    assert gemmlowp.rescaled(np.array([7984, 7985]), scale, once=True).tolist() == [11, 12]
    assert gemmlowp.rescaled(np.array([3, 5]), 2.0).tolist() == [6, 10]


def test_shifts_round_ties_away_from_zero():
    assert gemmlowp.shifted([5, 6, 7, -5, -6, -7], 2).tolist() == [1, 2, 2, -1, -2, -2]
    assert gemmlowp.shifted([5], 0).tolist() == [5]


@pytest.mark.parametrize("whole", range(7))
def test_tables_are_near_the_functions(whole):
    at = INT16 * 2.0 ** (whole - 15)
    sigmoid, tanh = gemmlowp.sigmoid_table(whole), gemmlowp.tanh_table(whole)

    assert np.abs(tanh - np.tanh(at) * 2**15).max() < 13
    assert np.abs(sigmoid - 2**15 / (1 + np.exp(-at))).max() < 13
    zero = int(np.flatnonzero(INT16 == 0)[0])
    assert (tanh[zero], sigmoid[zero]) == (0, 2**14)
    assert (tanh[1:zero] == -tanh[:zero:-1]).all()
    assert (sigmoid[1:zero] + sigmoid[:zero:-1] == gemmlowp.MOST).all()


def test_the_constants_of_the_exponential_are_those_of_31_bits():
    for exponent, factor in gemmlowp._FACTORS.items():
        assert abs(factor - np.exp(-(2.0**exponent)) * 2**31) < 1


def test_intervals_hold_every_choice_of_neighbours():
    rng = np.random.default_rng(0)
    low = rng.integers(-100, 100, (3, 4))
    a = Interval(low, low + rng.integers(0, 2, low.shape))
    w = rng.integers(-127, 128, (4, 2))
    weights = Interval(w, w + rng.integers(0, 2, w.shape))
    summed, times = a @ weights, a * a
    table = gemmlowp.tanh_table(3)
    shown = a.at(table)
    ends = set()
    for _ in range(200):
        one, of_w = (rng.integers(i.low, i.high + 1) for i in (a, weights))
        total = one @ of_w
        assert ((summed.low <= total) & (total <= summed.high)).all()
        assert ((times.low <= one**2) & (one**2 <= times.high)).all()
        value = table[one - gemmlowp.LEAST]
        assert ((shown.low <= value) & (value <= shown.high)).all()
        ends.add(total.tobytes())
    assert len(ends) > 1


def test_numbers_on_a_grid_are_read_as_their_integers():
    low = np.array([[3.0, -4.0]])
    levels = Levels.from_integers(low, np.array([[3.0, -3.0]]), np.asarray(0.5), 0.0, FLOAT32)
    read = Interval.from_levels(levels)

    assert (read.low.tolist(), read.high.tolist()) == ([[3, -4]], [[3, -3]])
    back = read.numbers(0.5, Bounded.exact(np.zeros(1), FLOAT32))
    assert (back.integers.tolist(), back.spread.tolist()) == ([[3, -3.5]], [[0, 0.5]])
