"""Dual numbers: the equations run on them give the derivative that a complex step gives."""

import numpy as np
import pytest

from gatewise.reference.cells import cells
from gatewise.reference.layer import Layer
from gatewise.reference.parameters import Parameters, Sizes
from gatewise.verify.numbers.arithmetic import FLOAT64
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.complex_step import STEP
from gatewise.verify.numbers.dual import Dual

LENGTHS = np.array([4, 1, 3])


def drawn(cell, seed):
    """Parameters, input and states of two layers in both directions."""
    rng = np.random.default_rng(seed)
    layers = 1 if "readout" in cell.traits else 2
    layer = Layer(cell, Sizes(3, 4), layers=layers, bidirectional=True)
    x = cell.random_input(rng, 4, 3, layer.sizes)
    named = zip(cell.states, cell.state_shapes(layer.sizes), strict=True)
    state = tuple(cell.random_state(name, rng, (2 * layers, 3, *shape)) for name, shape in named)
    return layer, layer.random_parameters(rng), x, state


def combined(one, other, function):
    """Combine two draws array by array."""
    (layer, p, x, s), (_, dp, dx, ds) = one, other
    q = [
        Parameters(a.shapes, {n: function(a[n], b[n]) for n in a})
        for a, b in zip(p, dp, strict=True)
    ]
    return layer, q, function(x, dx), tuple(map(function, s, ds))


@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_the_tangent_is_the_complex_step_derivative(cell):
    point, direction = drawn(cell, 0), drawn(cell, 1)
    layer, p, x, state = combined(
        point, direction, lambda a, d: Dual(Bounded.exact(a, FLOAT64), Bounded.exact(d, FLOAT64))
    )
    dual = layer.forward(p, x, state, LENGTHS)
    _, p, x, state = combined(point, direction, lambda a, d: a + 1j * STEP * d)
    stepped = layer.forward(p, x, state, LENGTHS)

    meaning = 0.1 if "layer_norm" in cell.equations else 1e-9  # bounds grow by 20 a step there
    pairs = [(dual.y, stepped.y), *zip(dual.final, stepped.final, strict=True)]
    for got, want in pairs:
        tangent, derivative = got.tangent, want.imag / STEP
        assert np.all(np.abs(tangent.value - derivative) <= tangent.bound)
        assert np.max(tangent.bound) < meaning


def test_what_it_does_not_know_it_refuses():
    """A branch that would pick a side silently is an error."""
    one = Dual(np.ones(2), np.ones(2))
    with pytest.raises(TypeError):
        np.maximum(one, 0.0)


def test_a_quotient():
    """(u / v)' = (u' - u/v v') / v."""
    u, v = Dual(np.array([3.0]), np.array([2.0])), Dual(np.array([4.0]), np.array([5.0]))
    assert (u / v).tangent == (2.0 - 3.0 / 4.0 * 5.0) / 4.0
