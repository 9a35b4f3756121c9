"""Additive attention over encoder states (E33; Bahdanau, Cho & Bengio 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Lengths
from .equation import equation
from .functions import tanh, tanh_slope, zeros
from .output import softmax, softmax_vjp

SOURCE = ("D1", "Bahdanau, Cho & Bengio 2014")


Query: TypeAlias = Annotated[Array, "B S"]
Encoded: TypeAlias = Annotated[Array, "T B H"]
Scores: TypeAlias = Annotated[Array, "B T"]
Context: TypeAlias = Annotated[Array, "B H"]


@dataclass(frozen=True)
class Attention:
    """Parameters: W acts on the query, U on the encoder states, v scores."""

    W: Annotated[Array, "S A"]
    U: Annotated[Array, "H A"]
    v: Annotated[Array, "A"]


@equation("E33", "attention.scores", latex=r"e_{j} = v^\top \tanh(s W + h_j U)", documents=SOURCE)
def scores(a: Attention, s: Query, h: Encoded) -> Scores:
    """Return the score of a query against each encoder state."""
    return (tanh(s @ a.W + h @ a.U) @ a.v).T


@equation(
    "E33",
    "attention.weights",
    latex=r"\alpha_j = \frac{e^{e_j}}{\sum_{j'} e^{e_{j'}}}",
    documents=SOURCE,
    note="with lengths, over each row's own states only; a row of length 0 has no weights",
)
def weights(e: Scores, lengths: Lengths | None = None) -> Scores:
    """Return α, each row summing to 1."""
    if lengths is None:
        return softmax(e)
    rows = []
    for b, length in enumerate(np.asarray(lengths)):
        beyond = zeros(e, (e.shape[1] - length,))
        rows.append(np.concatenate([softmax(e[b, :length]), beyond]) if length else beyond)
    return np.stack(rows)


@equation(
    "E33", "attention.context", latex=r"\mathrm{context} = \sum_j \alpha_j h_j", documents=SOURCE
)
def context(alpha: Scores, h: Encoded) -> Context:
    """Return the weighted sum of encoder states."""
    return (alpha.T[:, :, None] * h).sum(axis=0)


def attend(a: Attention, s: Query, h: Encoded, lengths: Lengths | None = None) -> Context:
    """Return the context of a query: the encoder states, weighted by its scores."""
    return context(weights(scores(a, s, h), lengths), h)


def attend_vjp(
    a: Attention, s: Query, h: Encoded, lengths: Lengths | None, d_context: Context
) -> tuple[Attention, Query, Encoded]:
    """Pull a cotangent on the context back to the parameters, the query and the states."""
    hidden = tanh(s @ a.W + h @ a.U)
    alpha = weights((hidden @ a.v).T, lengths)
    d_alpha = (h * d_context).sum(axis=2).T
    de = softmax_vjp(alpha, d_alpha)
    dz = de.T[:, :, None] * a.v * tanh_slope(hidden)
    d_query = dz.sum(axis=0)
    flat_h, flat_dz = h.reshape(-1, h.shape[-1]), dz.reshape(-1, dz.shape[-1])
    dv = (hidden * de.T[:, :, None]).reshape(-1, len(a.v)).sum(axis=0)
    dh = alpha.T[:, :, None] * d_context + dz @ a.U.T
    return Attention(s.T @ d_query, flat_h.T @ flat_dz, dv), d_query @ a.W.T, dh
