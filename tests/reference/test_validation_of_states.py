"""More bad input: states, names of parameters, infinities."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.reference.errors import InputError
from gatewise.reference.layer import Layer
from gatewise.reference.parameters import Sizes

LAYER = Layer(cell_named("lstm"), Sizes(3, 4))
P = LAYER.random_parameters(np.random.default_rng(0))
X = np.ones((5, 2, 3))
Z = np.zeros((1, 2, 4))
PEEPHOLE = cell_named("lstm-peephole").random_parameters(np.random.default_rng(0), Sizes(3, 4))
BAD = {
    "NaN in the state": (dict(state=(Z, Z + np.nan)), r"state\[1\] \(c\): expected finite numbers"),
    "state of another dtype": (
        dict(state=(Z, Z.astype("float32"))),
        r"state\[1\] \(c\): expected the dtype of x",
    ),
    "lengths of truth values": (
        dict(lengths=np.array([True, True])),
        "lengths: expected 2 integers",
    ),
    "another cell's parameters": (
        dict(parameters=(PEEPHOLE,)),
        r"parameters\[0\]: expected the names \['U', 'W', 'b'\]",
    ),
    "infinity": (
        dict(x=np.where(np.arange(5)[:, None, None] == 2, np.inf, X)),
        "x: expected finite numbers, got inf",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad(bad):
    a, message = BAD[bad]
    with pytest.raises(InputError, match=message):
        LAYER.forward(**({"parameters": P, "x": X} | a))


def test_more():
    out = LAYER.forward(P, X)
    with pytest.raises(InputError, match=r"dfinal\[1\]: expected an array of shape"):
        LAYER.vjp(P, out, out.y, (out.final[0], out.final[1][:, :1]))
