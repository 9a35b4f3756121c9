"""Proofs of the equations around the cell: E03, E05, E06, E30, E31 and E33."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from hypothesis import strategies as st

from ...reference.attention import Attention, attend, attend_vjp, context, scores, weights
from ...reference.errors import InputError
from ...reference.functions import Array
from ...reference.gradient_clipping import clip_by_global_norm, clip_by_value, global_norm
from ...reference.output import (
    cross_entropy,
    cross_entropy_of_logits,
    cross_entropy_vjp,
    output_layer,
    output_layer_vjp,
    sequence_log_probability,
    softmax,
    softmax_vjp,
)
from ...reference.tokens import embedding, embedding_vjp, one_hot
from ..numbers.complex_step import derivative
from ..numbers.enclosure import balls, distance, precision
from .material import agree, disprove, proof

SEEDS = st.integers(0, 2**16)


def _pulls_back(
    names: Sequence[str],
    label: str,
    pulled: Array,
    function: Callable[[Array], Array],
    x: Array,
    d: Array,
    rng: np.random.Generator,
    *,
    scale: float = 8.0,
) -> None:
    """Compare the gradient of <d, f(x)> with the derivative along a random direction."""
    direction = rng.standard_normal(x.shape)
    (slope,) = derivative(lambda z: (function(z),), x, direction)
    agree(names, label, (pulled * direction).sum(), (d * slope).sum(), scale=scale)


def softmax_laws(seed: int) -> None:
    """E03: exact, sums to 1, invariant to a shift, finite at ±1e4, derivative as stated."""
    rng = np.random.default_rng(seed)
    s, names = rng.standard_normal((3, 5)) * 4, ["softmax"]
    y = softmax(s)
    agree(names, "sum", y.sum(axis=1), np.ones(3), units=8)
    agree(names, "shifted by 100", softmax(s + 100), y, units=512)
    with precision():
        e = np.exp(balls(s))
        error = distance(y, e / e.sum(axis=-1, keepdims=True))
    if not (error <= 32 * 2.0**-53).all():
        disprove(names, f"off by {error.max():.3g}")
    with np.errstate(all="raise", under="ignore"):
        agree(names, "at ±1e4", softmax(np.array([-1e4, 1e4])), np.array([0.0, 1.0]), units=0)
    dy = rng.standard_normal(s.shape)
    _pulls_back(names, "VJP", softmax_vjp(y, dy), softmax, s, dy, rng)


def output_laws(seed: int) -> None:
    """E05: the layer is softmax of h V + b; P(y|x) is the product; its VJP is its derivative."""
    rng = np.random.default_rng(seed)
    h, V, b = rng.standard_normal((4, 2, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
    y_hat = np.asarray(output_layer(h, V, b))
    labels = rng.integers(0, 5, (4, 2))
    product = np.prod(np.take_along_axis(y_hat, labels[..., None], 2)[..., 0], axis=0)
    logs = sequence_log_probability(y_hat, one_hot(labels, 5))
    agree(["rnn.sequence_probability"], "P(y | x)", np.exp(logs), product, scale=0.0, units=512)
    by_hand = np.exp(np.einsum("tbh,hc->tbc", h, V) + b)
    by_hand /= by_hand.sum(axis=2, keepdims=True)
    agree(["rnn.output"], "ŷ", y_hat, by_hand, units=256)
    d = rng.standard_normal((4, 2, 5))
    dh, dV, db = output_layer_vjp(h, V, d)
    for name, pulled, x, f in (
        ("h", dh, h, lambda z: z @ V + b),
        ("V", dV, V, lambda z: h @ z + b),
        ("b", db, b, lambda z: h @ V + z),
    ):
        _pulls_back(["rnn.output"], f"gradient of {name}", pulled, f, x, d, rng, scale=32.0)


def loss_laws(seed: int) -> None:
    """E06: -Σ y log ŷ; from logits the same, finite at ±1e4; gradient ŷ - y."""
    rng = np.random.default_rng(seed)
    s, names = rng.standard_normal((3, 5)), ["loss.cross_entropy"]
    y = one_hot(rng.integers(0, 5, 3), 5)
    by_hand = -np.log(softmax(s)[np.arange(3), y.argmax(axis=1)])
    agree(names, "E", cross_entropy(softmax(s), y), by_hand, units=64)
    agree(names, "E of logits", cross_entropy_of_logits(s, y), by_hand, units=64, scale=8.0)
    agree(names, "ŷ = 0 where y = 0", cross_entropy(y, y), np.zeros(3), units=0)
    if not np.isfinite(cross_entropy_of_logits(s * 1e4, y)).all():
        disprove(names, "not finite for logits of 1e4")
    dE = rng.standard_normal(3)
    pulled = cross_entropy_vjp(s, y, dE)
    loss = partial(cross_entropy_of_logits, y=y)
    _pulls_back(names, "gradient at the logits", pulled, loss, s, dE, rng)


def clipping_laws(seed: int) -> None:
    """E30: within the threshold, unchanged below it, direction kept by norm, NaN refused."""
    rng = np.random.default_rng(seed)
    g = {"W": rng.standard_normal((3, 4)) * 5, "b": rng.standard_normal(4)}
    flat = np.concatenate([a.ravel() for a in g.values()])
    value = clip_by_value(g, 1.0)
    for name, a in g.items():
        agree(["clip.by_value"], name, value[name], np.clip(a, -1, 1), units=0)
    norm = float(np.linalg.norm(flat))
    agree(["clip.by_global_norm"], "norm", global_norm(g), norm, units=16)
    clipped = clip_by_global_norm(g, norm / 3)
    for name, a in g.items():
        agree(["clip.by_global_norm"], name, clipped[name], a / 3, units=32)
        agree(["clip.by_global_norm"], "below", clip_by_global_norm(g, norm * 2)[name], a, units=0)
    huge = clip_by_global_norm({name: a * 1e300 for name, a in g.items()}, 1.0)
    agree(["clip.by_global_norm"], "huge", global_norm(huge), 1.0, units=32)
    for bad in (np.nan, np.inf):
        for name, clip in (("clip.by_value", clip_by_value),
                           ("clip.by_global_norm", clip_by_global_norm)):  # fmt: skip
            try:
                clip({"W": np.array([1.0, bad])}, 1.0)
            except InputError:
                continue
            disprove([name], f"{bad} passed silently")


def token_laws(seed: int) -> None:
    """E31: embedding is one-hot times the table; its gradient adds up where tokens repeat."""
    rng = np.random.default_rng(seed)
    indices, table = rng.integers(0, 4, (5, 2)), rng.standard_normal((4, 3))
    rows = one_hot(indices, 4)
    agree(["one_hot"], "row sums", rows.sum(axis=2), np.ones((5, 2)), units=0)
    agree(["one_hot"], "positions", rows.argmax(axis=2).astype(float), indices.astype(float))
    agree(["embedding", "one_hot"], "rows", embedding(indices, table), rows @ table, units=4)
    d = rng.standard_normal((5, 2, 3))
    want = rows.reshape(-1, 4).T @ d.reshape(-1, 3)
    agree(["embedding"], "gradient", embedding_vjp(indices, table, d), want, scale=8.0)


def attention_laws(seed: int) -> None:
    """E33: weights sum to 1 over each row's own states; context is theirs; gradients by step."""
    rng = np.random.default_rng(seed)
    a = Attention(rng.standard_normal((2, 4)), rng.standard_normal((3, 4)), rng.standard_normal(4))
    s, h = rng.standard_normal((3, 2)), rng.standard_normal((5, 3, 3))
    lengths = np.array([5, 2, 1])
    alpha = weights(scores(a, s, h), lengths)
    agree(["attention.weights"], "sum", alpha.sum(axis=1), np.ones(3), units=8)
    agree(["attention.weights"], "beyond the length", alpha[1, 2:], np.zeros(3), units=0)
    for b, n in enumerate(lengths):
        e = np.array([a.v @ np.tanh(s[b] @ a.W + h[j, b] @ a.U) for j in range(n)])
        agree(["attention.scores"], f"row {b}", scores(a, s, h)[b, :n], e, scale=8.0)
        mixed = (np.exp(e) / np.exp(e).sum()) @ h[:n, b]
        agree(["attention.context"], f"row {b}", context(alpha, h)[b], mixed, scale=8.0)
    d = rng.standard_normal((3, 3))
    da, ds, dh = attend_vjp(a, s, h, lengths, d)
    for name, pulled, x, f in (
        ("W", da.W, a.W, lambda z: attend(Attention(z, a.U, a.v), s, h, lengths)),
        ("U", da.U, a.U, lambda z: attend(Attention(a.W, z, a.v), s, h, lengths)),
        ("v", da.v, a.v, lambda z: attend(Attention(a.W, a.U, z), s, h, lengths)),
        ("s", ds, s, lambda z: attend(a, z, h, lengths)),
        ("h", dh, h, lambda z: attend(a, s, z, lengths)),
    ):
        names = ["attention.scores", "attention.weights", "attention.context"]
        _pulls_back(names, f"gradient of {name}", pulled, f, x, d, rng, scale=32.0)


PROOFS = (
    proof("output.softmax", "Softmax is exact, sums to 1, ignores shifts, survives ±1e4.",
          ["softmax"], SEEDS, softmax_laws),
    proof("output.layer", "ŷ = softmax(h V + b), P(y | x) = Π p(y_t), and their gradients.",
          ["rnn.output", "rnn.sequence_probability"], SEEDS, output_laws),
    proof("output.loss", "E = -y log ŷ with gradient ŷ - y at the logits.",
          ["loss.cross_entropy"], SEEDS, loss_laws),
    proof("clipping", "By value and by global norm; NaN and inf are refused.",
          ["clip.by_value", "clip.by_global_norm"], SEEDS, clipping_laws),
    proof("tokens", "Embedding is one-hot times the table; its gradient is a scatter-add.",
          ["one_hot", "embedding"], SEEDS, token_laws),
    proof("attention", "Attention weighs each row's own states; gradients by complex step.",
          ["attention.scores", "attention.weights", "attention.context"], SEEDS, attention_laws),
)  # fmt: skip
