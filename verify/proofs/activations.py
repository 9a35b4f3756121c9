"""E01 and E02: the sigmoid and tanh against their exact values and their identities."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ...reference.functions import Array, sigmoid, sigmoid_slope, tanh, tanh_slope
from ..numbers.complex_step import derivative
from ..numbers.enclosure import balls, distance, precision
from .material import agree, disprove, proof

ULPS = 4
"""Units in the last place: exp, an addition and a division, each at most about one."""


def points() -> st.SearchStrategy[Array]:
    """Draw points from the tiny to the saturating, both signs."""
    seeds = st.integers(0, 2**16)
    return st.tuples(seeds, st.sampled_from([1e-300, 1e-8, 1.0, 8.0, 40.0, 700.0])).map(
        lambda drawn: np.random.default_rng(drawn[0]).standard_normal(20) * drawn[1]
    )


def sigmoid_is_exact(s: Array) -> None:
    """σ(s) is 1/(1 + e^-s), to a few units in the last place, wherever it is normal."""
    with precision():
        exact = 1 / (1 + np.exp(-balls(s)))
        error = distance(sigmoid(s), exact)
    allowed = ULPS * np.spacing(np.maximum(sigmoid(s), 2.0**-1022)) + 2.0**-1022
    if not (error <= allowed).all():
        disprove(
            ["sigmoid"], f"off by {error.max():.3g} at s = {s[np.argmax(error / allowed)]:.17g}"
        )


def sigmoid_laws(s: Array) -> None:
    """σ lies in [0, 1], σ(-s) = 1 - σ(s), its slope is σ(1 - σ) <= 1/4."""
    y: Array = sigmoid(s)
    agree(["sigmoid"], "σ(-s) against 1 - σ(s)", sigmoid(-s), 1 - y, units=4)
    (slope,) = derivative(lambda z: (sigmoid(z),), s, np.ones_like(s))
    agree(["sigmoid"], "slope", sigmoid_slope(y), slope, units=8)
    if not ((y >= 0) & (y <= 1) & (np.asarray(sigmoid_slope(y)) <= 0.25)).all():
        disprove(["sigmoid"], "not in [0, 1], or steeper than 1/4")


def sigmoid_limits(s: Array) -> None:
    """σ neither overflows nor warns at either end."""
    ends = np.array([-1e4, -800.0, 800.0, 1e4, -np.inf, np.inf]) * np.sign(abs(s[0]) + 1)
    with np.errstate(all="raise", under="ignore"):
        y: Array = sigmoid(ends)
    if not np.array_equal(y, [0.0, 0.0, 1.0, 1.0, 0.0, 1.0]):
        disprove(["sigmoid"], f"σ({ends.tolist()}) = {y.tolist()}")


def tanh_laws(s: Array) -> None:
    """tanh(s) = 2σ(2s) - 1 = (e^s - e^-s)/(e^s + e^-s), slope 1 - tanh² <= 1."""
    y = tanh(s)
    agree(["tanh"], "tanh against 2σ(2s) - 1", y, 2 * sigmoid(2 * s) - 1, units=8)
    with precision(bits=2200):  # e^s - e^-s cancels 1000 bits at s = 1e-300
        z = balls(s)
        error = distance(y, (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)))
    if not (error <= ULPS * np.spacing(np.maximum(np.abs(y), 2.0**-1022))).all():
        disprove(["tanh"], f"off by {error.max():.3g} from (e^s - e^-s)/(e^s + e^-s)")
    (slope,) = derivative(lambda z: (tanh(z),), s, np.ones_like(s))
    agree(["tanh"], "slope", tanh_slope(y), slope, units=8)


PROOFS = (
    proof("sigmoid.exact", "σ(s) is 1/(1 + e^-s) to a few units in the last place (Arb).",
          ["sigmoid"], points(), sigmoid_is_exact),
    proof("sigmoid.laws", "σ(-s) = 1 - σ(s); σ' = σ(1 - σ) <= 1/4.",
          ["sigmoid"], points(), sigmoid_laws),
    proof("sigmoid.limits", "σ reaches 0 and 1 at the ends without overflow.",
          ["sigmoid"], points(), sigmoid_limits),
    proof("tanh.laws", "tanh(s) = 2σ(2s) - 1 = (e^s - e^-s)/(e^s + e^-s); tanh' = 1 - tanh².",
          ["tanh"], points(), tanh_laws),
)  # fmt: skip
