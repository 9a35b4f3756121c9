"""Theory in closed forms, without measurements."""

from __future__ import annotations

import math

import numpy as np

from ...reference.functions import Array

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(81)
"""Gauss-Hermite quadrature for the mean over a standard normal number."""


def half_life(b: float) -> float:
    """Return ln 2 / ln(1 + e^-b), the steps in which σ(b)^t halves: the direct path of an LSTM's c.

    Jozefowicz, Zaremba & Sutskever 2015 argue from it for b = 1 or 2.
    """
    return math.log(2) * e_fold(b)


def e_fold(b: float) -> float:
    """Return 1 / ln(1 + e^-b), the steps in which σ(b)^t falls by e; T - 1/2 for b = ln(T - 1).

    That b is the chrono initialisation's longest (Tallec & Ollivier 2018, arXiv:1804.11188).
    """
    return 1 / math.log1p(math.exp(-b))


def keep(b: float) -> float:
    """Return σ(b), the share of the old state that the gate keeps."""
    return 1 / (1 + math.exp(-b))


def gru_at_rest(U_n: Array, kappa: float) -> Array:
    """Return J = κ I + (1 - κ) U_nᵀ / 2 at h = 0 without input, κ the share that is kept.

    Reset before or after the product is the same there; for κ = 1/2 it is I/2 + U_nᵀ/4.
    """
    return kappa * np.eye(len(U_n)) + (1 - kappa) * U_n.T / 2


def lstm_at_rest(U_g: Array, f: float) -> Array:
    """Return the nonzero eigenvalues f + μ/4 of J at (h, c) = 0, μ those of U_g."""
    return f + np.linalg.eigvals(U_g) / 4


LIKE_LSTM = ("lstm", "lstm-peephole", "lstm-peephole-old")
LIKE_GRU = ("gru", "gru-keeps-old", "gru-takes-new", "lstm-coupled")


def rate_at_rest(cell: str, gain: float, b: float | None) -> float | None:
    """Return the slope of ln ‖gradient‖ of a wide cell at rest; None without a theory.

    U ~ N(0, g²/H) has its eigenvalues within the circle of radius g (Girko 1984), so that g takes
    the place of μ: ln g for the tanh RNN, ln(f + g/4) for an LSTM, ln(κ + (1 - κ) g/2) for a GRU
    and for an LSTM with coupled gates. Peepholes do nothing at c = 0.
    """
    if cell == "rnn":
        return math.log(gain)
    if b is not None and cell in LIKE_LSTM:
        return math.log(keep(b) + gain / 4)
    if b is not None and cell in LIKE_GRU:
        return math.log(keep(b) + (1 - keep(b)) * gain / 2)
    return None


def threshold(cell: str, b: float | None) -> float | None:
    """Return the gain from which gradients explode at rest; None without a theory.

    That is 1 for the tanh RNN, 4 (1 - f) for an LSTM and 2 for a GRU, whatever its bias. For the
    ReLU RNN, half of whose units are on, it is √2 when it is driven (He et al. 2015).
    """
    if b is not None and cell in LIKE_LSTM:
        return 4 * (1 - keep(b))
    if b is not None and cell in LIKE_GRU:
        return 2.0
    return {"rnn": 1.0, "rnn-relu": math.sqrt(2)}.get(cell)


def tanh_variance(gain: float, drive: float) -> float:
    """Return the variance q of the pre-activation of a wide random tanh RNN.

    q = g² E[tanh²(√q z)] + drive, z ~ N(0, 1) (Sompolinsky, Crisanti & Sommers 1988; with white
    input of variance ``drive``: Molgedey, Schuchhardt & Schuster 1992).
    """
    q = gain**2 + drive
    for _ in range(10_000):
        following = gain**2 * _mean(np.tanh(math.sqrt(q) * NODES) ** 2) + drive
        if abs(following - q) <= 1e-15 * q:
            break
        q = following
    return q


def tanh_chi(gain: float, drive: float) -> float:
    """Return χ = g² E[φ'²], the mean of ‖J‖²_F / H; ln χ / 2 is the first Lyapunov exponent."""
    q = tanh_variance(gain, drive)
    return gain**2 * _mean((1 - np.tanh(math.sqrt(q) * NODES) ** 2) ** 2)


def pascanu_bound(U: Array) -> float:
    """Return ln ‖U‖₂, the most that the log-norm of a gradient grows per step if slopes are <= 1.

    Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063) print the largest *eigenvalue* where their
    proof needs this norm; see ``counterexample``.
    """
    return math.log(float(np.linalg.norm(U, 2)))


def counterexample() -> tuple[Array, Array, Array]:
    """Return U, b and a fixed point a of a' = tanh(a U + b) whose gradient doubles each step.

    U is nilpotent: its largest eigenvalue is 0, which would make the gradient vanish. Yet
    J = diag(1, 3/4) Uᵀ has J² = 2 J, so that ‖J^l‖ = 10 √2 · 2^(l-1).
    """
    W = np.array([[8.0, 8.0], [-8.0, -8.0]])
    a = np.array([0.0, 0.5])
    return W.T, np.arctanh(a) - W @ a, a


def phased_keep(time: float, tau: float, s: float, r_on: float, leak: float, f: float) -> float:
    """Return 1 - k + k f, the direct path of a Phased LSTM's cell state; 1 where k = 0 (E28)."""
    phi = (time - s) / tau % 1.0
    rising, falling = 2 * phi / r_on, 2 - 2 * phi / r_on
    k = rising if phi < r_on / 2 else falling if phi < r_on else leak * phi
    return 1 - k + k * f


def _mean(values: Array) -> float:
    """Return the mean over a standard normal number of a function's values at ``NODES``."""
    return float(values @ WEIGHTS / WEIGHTS.sum())
