"""A problem of the decay bench whose every gradient is known."""

import numpy as np

from gatewise.bench.decay.problem import Problem
from gatewise.bench.decay.trajectory import Bound, Inputs
from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Parameters, Sizes


def linear(factor, width=3):
    """An RNN at rest whose Jacobian is ``factor`` times the identity."""
    cell, sizes = cell_named("rnn"), Sizes(1, width)
    arrays = {"W": np.zeros((1, 1, width)), "U": factor * np.eye(width)[None],
              "b": np.zeros((1, width))}  # fmt: skip
    p, start = Parameters(cell.shapes(sizes), arrays), (np.zeros((1, width)),)
    inputs = Inputs(cell, sizes, (0,), 0.0)
    unit = (np.eye(width)[:1],)
    return Problem(cell, sizes, p, Bound(cell, p, sizes), inputs, start, unit)
