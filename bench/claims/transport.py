"""How much of a gradient arrives, lag by lag, for cells whose weights a claim has chosen.

The measuring itself is ``bench.decay``'s; here are problems with given weights, and the words in
which claims speak of curves: rate, half-life, horizon.
"""

from __future__ import annotations

import numpy as np

from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ..decay.adjoint import log_norms
from ..decay.lyapunov import Exponents, exponents
from ..decay.problem import Problem
from ..decay.rates import slope
from ..decay.trajectory import Inputs
from ..decay.transition import Bound, random_unit_cotangent


def problem(
    name: str, p: Parameters, rng: np.random.Generator, *,
    inputs: float = 1.0, start: State | None = None,
) -> Problem:  # fmt: skip
    """Return a cell with weights ``p``, N(0, inputs²) input, and a start (1, width): zeros."""
    cell, (D, H) = cell_named(name), p["W"].shape[1:]
    sizes = Sizes(D, H)
    transition = Bound(cell, p, sizes)
    start = cell.initial_state(np.zeros(()), 1, sizes) if start is None else start
    drawn = Inputs(cell, sizes, (int(rng.integers(2**32)),), inputs)
    cotangent = random_unit_cotangent(transition, rng)
    return Problem(cell, sizes, p, transition, drawn, start, cotangent)


def log_gradients(
    name: str, p: Parameters, rng: np.random.Generator, steps: int, *,
    inputs: float = 1.0, rows: int = 1, start: State | None = None,
) -> Array:  # fmt: skip
    """Return ln ‖∂L/∂(all states)‖₂ (steps + 1, rows) at lags 0 to ``steps``.

    L is a random unit projection of the last output; each row has inputs of its own. -inf where a
    gradient is exactly 0, and for all lags where the states themselves overflow.
    """
    curves = np.full((rows, steps + 1), -np.inf)
    for curve in curves:
        one = problem(name, p, rng, inputs=inputs, start=start)
        trajectory = one.follow(steps, 0)
        if not trajectory.overflowed:
            curve[:] = log_norms(trajectory, one.cotangent, range(steps + 1))[:, -1]
    return curves.T


def lyapunov(
    name: str, p: Parameters, rng: np.random.Generator, *, steps: int, transient: int
) -> Exponents:
    """Return the Lyapunov exponents of the whole state with N(0, 1) input."""
    jacobians = problem(name, p, rng).jacobians(transient)
    return exponents(jacobians, steps=steps, transient=transient)


def rate(logs: Array, transient: int) -> float:
    """Return the growth of the median log gradient a step, beyond a transient; -inf if it is 0."""
    median = np.median(logs, axis=1)[transient:]
    growth = slope(np.arange(len(median)), median)
    return -np.inf if np.isnan(growth) else growth


def half_life(rate: float) -> float:
    """Return the steps in which a gradient halves; infinite where it does not decay."""
    return float(np.log(2) / -rate) if rate < 0 else np.inf


def horizon(logs: Array, share: float) -> float:
    """Return the lag from which the median gradient stays below a share of that at lag 0."""
    median = np.median(logs, axis=1)
    above = np.flatnonzero(median >= median[0] + np.log(share))
    return np.inf if above[-1] == len(median) - 1 else float(above[-1] + 1)
