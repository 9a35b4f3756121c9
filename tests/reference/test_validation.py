"""Bad input gets one sentence that names the argument, what was expected and what was got."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.reference.cells import cell_named, cells
from gatewise.reference.errors import InputError
from gatewise.reference.layer import Layer
from gatewise.reference.parameters import Parameters, Sizes


@pytest.fixture
def _shapes_of_signatures():
    """Shapes are wrong here on purpose: the layer refuses them itself, in a sentence."""


LAYER = Layer(cell_named("lstm"), Sizes(3, 4))
P = LAYER.random_parameters(np.random.default_rng(0))
X = np.ones((5, 2, 3))
Z = np.zeros((1, 2, 4))
STATE = (Z, Z)
PEEPHOLE = cell_named("lstm-peephole").random_parameters(np.random.default_rng(0), Sizes(3, 4))


def with_array(name, array):
    return (Parameters(P[0].shapes, {**P[0], name: array}),)


NAN = X.copy()
NAN[2, 1, 0] = np.nan

BAD = {
    "x of two axes": (dict(x=X[0]),
                      r"x: expected an array of shape \(T, B, 3\), got shape \(2, 3\)"),
    "x of wrong width": (dict(x=X[:, :, :2]), r"x: expected .* 3\), got shape \(5, 2, 2\)"),
    "x a list": (dict(x=[[1.0]]), r"x: expected an array .*, got list"),
    "integers": (dict(x=X.astype(int)), r"x: expected floating-point numbers, got int64"),
    "empty batch": (dict(x=X[:, :0]), r"x: expected a batch of at least one sequence"),
    "NaN": (dict(x=NAN), r"x: expected finite numbers, got nan at \(2, 1, 0\)"),
    "mixed dtypes": (dict(x=X.astype(np.float32)),
                     r"parameters\[0\]\['W'\]: expected the dtype of x"),
    "wrong weight": (dict(parameters=with_array("U", np.ones((4, 4, 3)))),
                     r"parameters\[0\]\['U'\]: expected shape \(4, 4, 4\), got \(4, 4, 3\)"),
    "NaN in a weight": (dict(parameters=with_array("b", np.full((4, 4), np.nan))),
                        r"parameters\[0\]\['b'\]: expected finite numbers"),
    "too many parameters": (dict(parameters=P * 2), r"parameters: expected 1 Parameters"),
    "state not a tuple": (dict(state=STATE[0]), r"state: expected a tuple of 2 arrays \(h, c\)"),
    "state without c": (dict(state=STATE[:1]),
                        r"state: expected a tuple of 2 arrays \(h, c\), got 1"),
    "state of wrong shape":
        (dict(state=(STATE[0], STATE[1][:, :1])),
         r"state\[1\] \(c\): expected shape \(1, 2, 4\), got shape \(1, 1, 4\)"),
    "lengths too long": (dict(lengths=np.array([6, 1])),
                         r"lengths: expected values from 0 to T = 5"),
    "negative length": (dict(lengths=np.array([-1, 1])), r"lengths: .*got \[-1, 1\]"),
    "one length": (dict(lengths=np.array([5])), r"lengths: expected 2 integers, one a sequence"),
    "float lengths": (dict(lengths=np.array([5.0, 1.0])), r"lengths: expected 2 integers"),
    "NaN in the state": (dict(state=(Z, Z + np.nan)), r"state\[1\] \(c\): expected finite numbers"),
    "state of another dtype": (dict(state=(Z, Z.astype("float32"))),
                               r"state\[1\] \(c\): expected the dtype of x"),
    "lengths of truth values": (dict(lengths=np.array([True, True])),
                                "lengths: expected 2 integers"),
    "another cell's parameters": (dict(parameters=(PEEPHOLE,)),
                                  r"parameters\[0\]: expected the names \['U', 'W', 'b'\]"),
    "infinity": (dict(x=np.where(np.arange(5)[:, None, None] == 2, np.inf, X)),
                 "x: expected finite numbers, got inf"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_named(bad):
    arguments, message = BAD[bad]
    good = {"parameters": P, "x": X, "state": STATE, "lengths": None}
    with pytest.raises(InputError, match=message):
        LAYER.forward(**(good | arguments))


@pytest.mark.parametrize("sizes", [(3, 0), (0, 4), (3, -1), (3, 1.5), (3, 4, 0)])
def test_sizes_are_positive_integers(sizes):
    with pytest.raises(InputError, match=r"[DHP]: expected an integer of at least 1, got"):
        Sizes(*sizes)


@pytest.mark.parametrize(("asked", "message"), [
    (lambda: replace(LAYER, layers=0).forward(P, X), "layers: expected at least 1, got 0"),
    (lambda: replace(LAYER, sizes=Sizes(3, 4, 2)).forward(P, X),
     "P: expected none, for lstm has no projection, got 2"),
    (lambda: cell_named("lstmm"), r"cell: expected one of .*gru, .*, got 'lstmm'"),
])  # fmt: skip
def test_a_layer_that_there_is_not_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        asked()


def test_without_dfinal_the_final_states_have_no_cotangent():
    output = LAYER.forward(P, X)
    left_out = LAYER.vjp(P, output, output.y)
    zeros = LAYER.vjp(P, output, output.y, tuple(0 * s for s in output.final))
    np.testing.assert_array_equal(left_out.x, zeros.x)


def test_cotangents_are_checked():
    output = LAYER.forward(P, X)

    with pytest.raises(InputError, match=r"dy: expected an array of shape \(5, 2, 4\) as"):
        LAYER.vjp(P, output, np.ones((5, 2, 3)), output.final)
    with pytest.raises(InputError, match="dfinal: expected 2 arrays"):
        LAYER.vjp(P, output, output.y, output.final[:1])
    with pytest.raises(InputError, match=r"dfinal\[1\]: expected an array of shape"):
        LAYER.vjp(P, output, output.y, (output.final[0], output.final[1][:, :1]))
    with pytest.raises(InputError, match="dy: expected the dtype"):
        LAYER.vjp(P, output, output.y.astype(np.float32), output.final)
    with pytest.raises(InputError, match="dy: expected finite numbers, got nan"):
        LAYER.vjp(P, output, output.y * np.nan, output.final)


def test_nan_in_the_padding_is_no_bad_input():
    """What stands beyond a row's length is nobody's business."""
    x = X.copy()
    x[3:, 1] = np.nan

    y = LAYER.forward(P, x, lengths=np.array([5, 3])).y

    assert np.isfinite(y).all()
    assert (y[3:, 1] == 0).all()


@pytest.mark.parametrize("cell", cells().values(), ids=lambda cell: cell.name)
def test_no_steps_end_in_the_initial_state(cell):
    layer = Layer(cell, Sizes(3, 4))
    p = layer.random_parameters(np.random.default_rng(0))
    x = np.ones((0, 2, cell.input_width(layer.sizes)))
    output = layer.forward(p, x)
    gradient = layer.vjp(p, output, np.zeros(output.y.shape), output.final)

    assert output.y.shape[0] == 0
    for s, start, d in zip(output.final, layer.initial_state(x, 2), gradient.initial, strict=True):
        np.testing.assert_array_equal(s, start)
        np.testing.assert_array_equal(d, s)
    assert all((d == 0).all() for d in gradient.parameters[0].values())
    assert gradient.x.shape == x.shape
