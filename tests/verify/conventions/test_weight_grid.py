"""Weights on a grid against integers made by hand: groups, zero points, ends, ties."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Parameters, Sizes
from gatewise.verify.conventions.weight_grid import GROUPS, Grid, grid_of
from gatewise.verify.numbers.quantisation import Quantisation, QuantisationError

SIZES = Sizes(3, 4)


def passes(count=2):
    cell, rng = cell_named("lstm"), np.random.default_rng(0)
    return [cell.random_parameters(rng, Sizes(3 if k == 0 else 4, 4)) for k in range(count)]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("per", "axes"), [("matrix", (0, 1, 2)), ("channel", (1,)),
                                           ("gate", (1, 2)), ("input", (2,))])  # fmt: skip
def test_integers_are_those_of_a_few_lines(bits, per, axes):
    p = passes()
    got = grid_of(Quantisation(weights=bits, per=per)).on_grid(p, 0, 0.0)["W"]
    w, most = p[0]["W"], 2 ** (bits - 1) - 1
    scale = np.abs(w).max(axis=axes, keepdims=True) / most
    np.testing.assert_array_equal(got.low, np.rint(w / scale))
    np.testing.assert_array_equal(got.high, got.low)
    assert abs(got.low).max() == most

    got = grid_of(Quantisation(weights=bits, per=per, weight_zero=True)).on_grid(p, 0, 0.0)["W"]
    low = np.minimum(w.min(axis=axes, keepdims=True), 0)
    high = np.maximum(w.max(axis=axes, keepdims=True), 0)
    scale = (high - low) / (2**bits - 1)
    zero = np.rint(-low / scale)
    np.testing.assert_array_equal(
        got.low, np.clip(np.rint(w / scale + zero), 0, 2**bits - 1) - zero
    )


def test_every_group_is_a_quantisation():
    """So ``per`` may be any of them; another is refused."""
    p = passes()
    for per in GROUPS:
        rounded = grid_of(Quantisation(weights=8, per=per)).rounded(p)
        assert 0 < abs(rounded[1]["W"] - p[1]["W"]).max() < 0.1
    with pytest.raises(QuantisationError, match="per: expected one of channel, input"):
        grid_of(Quantisation(weights=8, per="row"))


def test_the_largest_weight_may_stand_between_two_levels():
    """As where a range of 255 levels is centred: 127.5 becomes 127, and -127.5 becomes -128."""
    w = np.array([[[-1.0, 0.5, 1.0]] * 3] * 4)
    p = [Parameters({"W": cell_named("lstm").shapes(Sizes(3, 3))["W"]}, {"W": w})]
    grid = grid_of(Quantisation(weights=8, weight_levels=127.5))
    assert grid.on_grid(p, 0, 0.0)["W"].low[0, 0].tolist() == [-128, 64, 127]


def test_near_a_tie_both_neighbours_are_possible():
    """In float32 a quotient that is within its rounding of a tie; exact scales know ties."""
    w = np.array([[[127.0, 0.5, 1.5, 10.2]] * 3] * 4)
    p = [Parameters({"W": cell_named("lstm").shapes(Sizes(3, 4))["W"]}, {"W": w * 0.1})]
    exact = [Parameters(p[0].shapes, {"W": w / 128})]
    grid = Grid("scale", "matrix", 127)
    ambiguous = grid.on_grid(p, 0, 2.0**-24)["W"]
    certain = grid.on_grid(exact, 0, 2.0**-24)["W"]

    assert ambiguous.low[0, 0].tolist() == [127, 0, 1, 10]
    assert ambiguous.high[0, 0].tolist() == [127, 1, 2, 10]
    assert certain.low[0, 0].tolist() == certain.high[0, 0].tolist() == [127, 0, 2, 10]
