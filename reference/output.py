"""The layers after the cell: softmax (E03), the output layer (E05) and cross-entropy (E06)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Same
from .equation import equation
from .functions import midpoint

States: TypeAlias = Annotated[Array, "... H"]
Logits: TypeAlias = Annotated[Array, "... C"]
Weight: TypeAlias = Annotated[Array, "H C"]
Bias: TypeAlias = Annotated[Array, "C"]


@equation(
    "E03",
    "softmax",
    latex=r"f(s_k) = \frac{e^{s_k}}{\sum_{k'=1}^{C} e^{s_{k'}}}",
    documents=("D2", "D3", "D4"),
    note="computed from s - max(s), which changes nothing and cannot overflow",
)
def softmax(s: Logits) -> Logits:
    """Return probabilities over the last axis of ``s``."""
    e: Array = np.exp(_shift(s))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_vjp(y: Logits, dy: Logits) -> Logits:
    """Pull dy back through softmax, given its value ``y``."""
    return y * (dy - (y * dy).sum(axis=-1, keepdims=True))


def log_softmax(s: Logits) -> Logits:
    """Return log(softmax(s)), without underflow of the probabilities."""
    shifted = _shift(s)
    e: Array = np.exp(shifted)
    log: Array = np.log(e.sum(axis=-1, keepdims=True))
    return shifted - log


def _shift(s: Logits) -> Logits:
    largest: Array = midpoint(s).max(axis=-1, keepdims=True)
    return s - largest


@equation(
    "E05",
    "rnn.output",
    latex=r"\hat y_t = \mathrm{softmax}(V s_t + b_z), \quad p(y_t = c) = \hat y_{t,c}",
    documents=("D3", "D4"),
)
def output_layer(h: States, V: Weight, b: Bias) -> Logits:
    """Return probabilities from states."""
    return softmax(h @ V + b)


def output_layer_vjp(h: States, V: Weight, d_logits: Logits) -> tuple[States, Weight, Bias]:
    """Pull a cotangent on the logits back to (dh, dV, db)."""
    flat_h, flat_d = h.reshape(-1, h.shape[-1]), d_logits.reshape(-1, d_logits.shape[-1])
    return d_logits @ V.T, flat_h.T @ flat_d, flat_d.sum(axis=0)


@equation(
    "E05",
    "rnn.sequence_probability",
    latex=r"P(y_1, \dots, y_T \mid x_1, \dots, x_T) = \prod_t p(y_t)",
    documents=("D3",),
)
def sequence_log_probability(
    y_hat: Annotated[Array, "T B C"], y: Annotated[Array, "T B C"]
) -> Annotated[Array, "B"]:
    """Return log P of one-hot targets y under probabilities ŷ."""
    return -cross_entropy(y_hat, y).sum(axis=0)


@equation(
    "E06",
    "loss.cross_entropy",
    latex=r"E_t = -y_t \log \hat y_t, \quad E = \sum_t E_t",
    documents=("D3",),
    note="gradient at the logits: ŷ_t - y_t; where y = 0 the term is 0, even at ŷ = 0",
)
def cross_entropy(y_hat: Logits, y: Logits) -> Same:
    """Return E_t from probabilities ŷ and targets y."""
    impossible = np.asarray(y) == 0
    log: Array = np.log(np.where(impossible, np.ones(y.shape), y_hat))
    return -(y * log).sum(axis=-1)


def cross_entropy_of_logits(s: Logits, y: Logits) -> Same:
    """Return E_t (...) from logits: the same number, and finite for every finite logit."""
    return -(y * log_softmax(s)).sum(axis=-1)


def cross_entropy_vjp(s: Logits, y: Logits, dE: Same) -> Logits:
    """Pull dE back to the logits: dE (ŷ - y), for targets that sum to 1."""
    return dE[..., None] * (softmax(s) - y)
