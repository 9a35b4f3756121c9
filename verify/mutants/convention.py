"""Mistaken conventions: the place of the reset, the polarity of z, the biases (C)."""

from __future__ import annotations

import numpy as np

from ...reference.arrays import Array
from ...reference.functions import minimum, switch, tanh
from ...reference.parameters import Parameters
from .catalogue import mutant
from .parts import GRU, LSTM, Gate, candidate, changed, pre_activation, reads, steps, with_gates


def reset_elsewhere(p: Parameters, x: Array, h: Array, r: Array) -> Array:
    """Return a candidate that resets before the product if the cell does after it, or after it."""
    if "b_hn" in p:
        return tanh(x @ p.W_n + p.b_n + (r * h) @ p.U_n + p.b_hn)
    return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n))


mutant(
    "C01",
    "The reset gate acts on the wrong side of the product with U_n: before it instead of after it, "
    "or the other way round.",
    ("forward",),
    cells=GRU,
    models="pytorch/pytorch#8153",
    fix="move r across the product: r ⊙ (h U_n + b_hn) if the layer resets after it, as PyTorch's "
    "GRU, else (r ⊙ h) U_n",
    change=lambda layer: steps(layer, candidate=reset_elsewhere),
)

mutant(
    "C02",
    "The recurrent bias of the candidate is merged into its input bias, so the reset gate no "
    "longer scales it.",
    ("forward", "gradient"),
    cells=("gru",),
    models="apple/coremltools#1124",
    fix="keep b_n and b_hn apart, and add b_hn inside the reset: x W_n + b_n + r ⊙ (h U_n + b_hn)",
    change=lambda layer: reads(
        layer, lambda p: changed(with_gates(p, b_n=p.b_n + p.b_hn), b_hn=0 * p.b_hn)
    ),
)

mutant(
    "C03",
    "The recurrent bias of the candidate is never added.",
    ("influence", "forward"),
    cells=("gru",),
    models="google/flax#5594",
    same_as="b_hn not read",
    fix="add b_hn inside the reset: r ⊙ (h U_n + b_hn)",
    change=lambda layer: reads(layer, lambda p: changed(p, b_hn=0 * p.b_hn)),
)

mutant(
    "C03b",
    "The bias is never added.",
    ("influence", "forward"),
    cells=("rnn", "lstm", "gru-keeps-old"),
    same_as="b not read",
    fix="add the bias before every activation: x W + h U + b, where b is the sum if there are two",
    change=lambda layer: reads(layer, lambda p: changed(p, b=0 * p.b)),
)

mutant(
    "C04",
    "The bias is added twice.",
    ("forward",),
    cells=("rnn", *LSTM, *GRU),
    models="kelvinxu/arctic-captions#7",
    fix="add each bias once: x W + b + h U, not (x W + b) + (h U + b)",
    change=lambda layer: reads(layer, lambda p: changed(p, b=2 * p.b)),
)

mutant(
    "C05",
    "The update gate has the wrong polarity: 1 − z is used where z belongs.",
    ("gate-limits", "forward"),
    cells=GRU,
    models="pytorch/pytorch#60645",
    fix="exchange z and 1 - z: h' = z h + (1 - z) n, as in PyTorch (z n + (1 - z) h where z is the "
    "share of the new)",
    change=lambda layer: reads(layer, lambda p: with_gates(p, W_z=-p.W_z, U_z=-p.U_z, b_z=-p.b_z)),
)


def hard_sigmoid(slope: float) -> Gate:
    """Return a gate clip(slope s + 1/2, 0, 1)."""

    def gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        line = pre_activation(p, letter, x, h, c) * slope + 0.5
        return minimum(switch(line, 0 * line, line), 1 + 0 * line)

    return gate


mutant(
    "C06",
    "The gates use a hard sigmoid, clip(0.2 s + 0.5, 0, 1), instead of the sigmoid.",
    ("forward", "gradient"),
    cells=(*LSTM, *GRU),
    models="minimaxir/textgenrnn#153",
    fix="use the sigmoid 1 / (1 + exp(-s)) for the gates, not the hard one, clip(0.2 s + 0.5, 0, "
    "1)",
    change=lambda layer: steps(layer, gate=hard_sigmoid(0.2)),
)

mutant(
    "C06b",
    "The gates use a hard sigmoid, clip(s / 6 + 0.5, 0, 1), instead of the sigmoid.",
    ("forward", "gradient"),
    cells=("lstm", "gru"),
    fix="use the sigmoid 1 / (1 + exp(-s)) for the gates, not the hard one, clip(s / 6 + 0.5, 0, "
    "1)",
    change=lambda layer: steps(layer, gate=hard_sigmoid(1 / 6)),
)

mutant(
    "C07",
    "Every unit's candidate uses the reset gate of unit 0 instead of its own.",
    ("unit-permutation", "forward"),
    cells=GRU,
    models="ooples/AiDotNet#722",
    fix="multiply by the reset gates of all units: r of shape (B, H), not r[:, :1]",
    change=lambda layer: steps(layer, candidate=lambda p, x, h, r: candidate(p, x, h, r[:, :1])),
)

mutant(
    "C08",
    "Every gate adds the bias of the first gate instead of its own.",
    ("influence", "forward"),
    cells=("lstm", "gru"),
    models="tensorflow/tfjs#2442",
    fix="give every gate its own bias: b_i, b_f, b_g, b_o (b_r, b_z, b_n in a GRU), not the first "
    "for all",
    change=lambda layer: reads(layer, lambda p: changed(p, b=np.stack([p.b[0]] * len(p.b)))),
)
