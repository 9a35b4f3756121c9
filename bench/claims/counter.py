"""C20: an LSTM that counts, by construction, and the limit of every GRU."""

from __future__ import annotations

import numpy as np

from ...reference.arrays import Array
from ...reference.cells import cell_named
from ...reference.parameters import Parameters, Sizes
from .ledger import LAW, Evidence, claim
from .material import FAR, GRUS, apart, logit

ROWS = STEPS = 1000
N = ROWS * STEPS
"""The largest count."""

ROUNDING = 4 * 2.0**-53
"""The error of the three roundings of u h + (1 - u) n."""


@claim(
    "C20", "The LSTM is strictly stronger than the GRU: it can count.",
    documents=("D1",), about=("E17", "E18", "E23a", "E23b"), reading=LAW,
)  # fmt: skip
def counting(e: Evidence, rng: np.random.Generator) -> None:
    """Count up to a million and back with given weights; see how near a GRU's counts come."""
    up, down = (_counting_error(sign) for sign in (1.0, -1.0))
    e.number(f"LSTM: largest |c_n - n|, n = 1 ... {N}", up)
    e.number(f"LSTM: largest |c_n - (N - n)|, back to 0 from N = {N}", down)
    e.number("LSTM, float32: counts from which c + 1 is c", _float32_limit())
    outside = e.number("GRU: largest |h| after 200 steps, gains up to 100", _largest_state(rng))
    gaps = {z: _gap(z) for z in (0.9, 0.999, 1 - 1e-6, 1.0)}
    for z, gap in gaps.items():
        e.number(f"GRU that counts with u = {z:.7g}: distance of counts N - 1 and N", gap)
    e.number("no bounded unit can keep N counts further apart than", 2 / (N - 1))
    stuck = e.number("GRU, float32, u = 0.999: counts that are told apart", _steps_to_stall(), "",
                     "never stops")  # fmt: skip
    exact = up == down == 0
    e.says(f"an LSTM counts to {N} and back exactly: c = n, one apart", exact,
           f"c is off by {max(up, down):.3g}")  # fmt: skip
    e.says(
        "a GRU's state cannot leave [-1, 1]", outside <= 1 + ROUNDING, f"a state of {outside:.3g}"
    )
    e.says(f"so of {N} counts two lie within {2 / (N - 1):.0e} of each other",
           outside <= 1 + ROUNDING and max(gaps.values()) <= 2 / (N - 1))  # fmt: skip
    e.says("and in floating point they coincide", np.isfinite(stuck) and stuck < N)
    e.instead("at finite precision, then: c itself stops in float32 at 2²⁴",
              _float32_limit() == 2**24)  # fmt: skip


def _counter() -> Parameters:
    """Return an LSTM of one unit with f = i = o = 1 and g = sign of the input: c' = c ± 1."""
    shapes = cell_named("lstm").shapes(Sizes(1, 1))
    W, b = np.zeros((4, 1, 1)), np.full((4, 1), FAR)
    W[2], b[2] = FAR, 0.0
    return Parameters(shapes, {"W": W, "U": np.zeros((4, 1, 1)), "b": b})


def _counting_error(sign: float) -> float:
    """Return the largest error while counting to N, or from N down to 0.

    Row k counts from 1000 k to 1000 (k + 1). Every row ends in the state, h and c, in which the
    next one starts, so the rows are one run of a million steps, to the last bit.
    """
    cell, p = cell_named("lstm"), _counter()
    n = STEPS * np.arange(ROWS, dtype=float)[:, None]
    n = n if sign > 0 else N - n
    state: tuple[Array, ...] = (np.tanh(n), n)
    worst = 0.0
    first = state
    for _ in range(STEPS):
        state, _ = cell.step(p, np.full((ROWS, 1), sign), state)
        n = n + sign
        worst = max(worst, apart(state[1], n))
    seams = [apart(end[:-1], start[1:]) for end, start in zip(state, first, strict=True)]
    return max(worst, *seams)


def _float32_limit() -> float:
    """Return the count at which a further step does not change c in float32."""
    cell, p = cell_named("lstm"), _counter().map(lambda a: a.astype(np.float32))
    for k in range(40):
        c = np.array([[2.0**k]], np.float32)
        new, _ = cell.step(p, np.ones((1, 1), np.float32), (np.tanh(c), c))
        if np.array_equal(new[1], c):
            return 2.0**k
    return np.inf


def _largest_state(rng: np.random.Generator) -> float:
    """Return the largest |h| of GRUs with weights of any size, from states in [-1, 1]."""
    worst, sizes = 0.0, Sizes(3, 8)
    for name in GRUS:
        cell = cell_named(name)
        for gain in (0.1, 1.0, 10.0, 100.0):
            p = cell.random_parameters(rng, sizes)
            p = Parameters(p.shapes, {k: a * gain for k, a in p.items()})
            h: Array = rng.uniform(-1, 1, (16, 8))
            for _ in range(200):
                ((h,), _) = cell.step(p, rng.standard_normal((16, 3)), (h,))
                worst = max(worst, float(np.abs(h).max()))
    return worst


def _gru_with(z: float) -> Parameters:
    """Return a GRU of one unit with update gate z and candidate 1: h_n = 1 - z^n."""
    shapes = cell_named("gru-keeps-old").shapes(Sizes(1, 1))
    b = np.array([[0.0], [logit(z)], [FAR]])
    return Parameters(shapes, {"W": np.zeros((3, 1, 1)), "U": np.zeros((3, 1, 1)), "b": b})


def _gap(z: float) -> float:
    """Return |h_N - h_(N-1)|, the last of N steps taken by the cell from h_(N-1) = 1 - z^(N-1)."""
    h = np.array([[-np.expm1((N - 1) * np.log(z))]])
    ((new,), _) = cell_named("gru-keeps-old").step(_gru_with(z), np.zeros((1, 1)), (h,))
    return apart(new, h)


def _steps_to_stall(z: float = 0.999) -> float:
    """Return the number of steps after which a float32 state no longer changes."""
    cell, p = cell_named("gru-keeps-old"), _gru_with(z).map(lambda a: a.astype(np.float32))
    h: Array = np.zeros((1, 1), np.float32)
    for n in range(100_000):
        ((new,), _) = cell.step(p, np.zeros((1, 1), np.float32), (h,))
        if np.array_equal(new, h):
            return float(n)
        h = new
    return np.inf
