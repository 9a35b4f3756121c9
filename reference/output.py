"""Around the cell: softmax (E03), the output layer (E05) and cross-entropy (E06)."""

from __future__ import annotations

import numpy as np

from .equation import equation
from .functions import Array, midpoint


@equation(
    "E03",
    "softmax",
    latex=r"f(s_k) = \frac{e^{s_k}}{\sum_{k'=1}^{C} e^{s_{k'}}}",
    documents=("D2", "D3", "D4"),
    note="computed from s - max(s), which changes nothing and cannot overflow",
)
def softmax(s: Array) -> Array:
    """Return probabilities over the last axis of ``s``."""
    e = np.exp(_shifted(s))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_vjp(y: Array, dy: Array) -> Array:
    """Pull dy back through softmax, given its value ``y``."""
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))


def log_softmax(s: Array) -> Array:
    """Return log(softmax(s)) without ever forming a probability that underflows."""
    shifted = _shifted(s)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _shifted(s: Array) -> Array:
    return s - midpoint(s).max(axis=-1, keepdims=True)


@equation(
    "E05",
    "rnn.output",
    latex=r"\hat y_t = \mathrm{softmax}(V s_t + b_z), \quad p(y_t = c) = \hat y_{t,c}",
    documents=("D3", "D4"),
)
def output_layer(h: Array, V: Array, b: Array) -> Array:
    """Return probabilities (..., C) from states (..., H), V (H, C) and b (C,)."""
    return softmax(h @ V + b)


def output_layer_vjp(h: Array, V: Array, d_logits: Array) -> tuple[Array, Array, Array]:
    """Pull a cotangent on the logits (T, B, C) back to (dh, dV, db)."""
    flat_h, flat_d = h.reshape(-1, h.shape[-1]), d_logits.reshape(-1, d_logits.shape[-1])
    return d_logits @ V.T, flat_h.T @ flat_d, flat_d.sum(axis=0)


@equation(
    "E05",
    "rnn.sequence_probability",
    latex=r"P(y_1, \dots, y_T \mid x_1, \dots, x_T) = \prod_t p(y_t)",
    documents=("D3",),
)
def sequence_log_probability(y_hat: Array, y: Array) -> Array:
    """Return log P (B,) of one-hot targets y (T, B, C) under probabilities ŷ (T, B, C)."""
    return -cross_entropy(y_hat, y).sum(axis=0)


@equation(
    "E06",
    "loss.cross_entropy",
    latex=r"E_t = -y_t \log \hat y_t, \quad E = \sum_t E_t",
    documents=("D3",),
    note="gradient at the logits: ŷ_t - y_t; where y = 0 the term is 0, even at ŷ = 0",
)
def cross_entropy(y_hat: Array, y: Array) -> Array:
    """Return E_t (...) from probabilities ŷ and targets y (..., C)."""
    impossible = np.asarray(y) == 0
    return -(y * np.log(np.where(impossible, np.ones(y.shape), y_hat))).sum(axis=-1)


def cross_entropy_of_logits(s: Array, y: Array) -> Array:
    """Return E_t (...) from logits: the same number, and finite for every finite logit."""
    return -(y * log_softmax(s)).sum(axis=-1)


def cross_entropy_vjp(s: Array, y: Array, dE: Array) -> Array:
    """Pull dE (...) back to the logits: dE (ŷ - y), for targets that sum to 1."""
    return dE[..., None] * (softmax(s) - y)
