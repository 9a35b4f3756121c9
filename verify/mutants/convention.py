"""One convention taken for another: where the reset acts, what z is, how many biases (C)."""

from __future__ import annotations

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array, minimum, switch, tanh
from ...reference.parameters import Parameters
from .catalogue import mutant
from .parts import (
    GRU,
    LSTM,
    Gate,
    any_step,
    changed,
    gru_step,
    pre_activation,
    reads,
    with_gates,
)
from .replaceable_layer import At, ReplaceableLayer


@mutant(
    "C01",
    statement="The reset gate acts on the wrong side of the product with U_n: before it instead "
    "of after it, or the other way round.",
    cells=GRU,
    models="pytorch/pytorch#8153",
    killed_by=("forward",),
    fix="move r across the product: r ⊙ (h U_n + b_hn) if the layer resets after it, as "
    "PyTorch's GRU, else (r ⊙ h) U_n",
)
def reset_on_the_other_side_of_the_product(layer: ReplaceableLayer) -> None:
    def candidate(p: Parameters, x: Array, h: Array, r: Array) -> Array:
        if "b_hn" in p:
            return tanh(x @ p.W_n + p.b_n + (r * h) @ p.U_n + p.b_hn)
        return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n))

    layer.step = lambda at, p, x, s: gru_step(layer.cell.name, p, x, s, candidate=candidate)


@mutant(
    "C02",
    statement="The recurrent bias of the candidate is merged into its input bias, so the reset "
    "gate no longer scales it.",
    cells=("gru",),
    models="apple/coremltools#1124",
    killed_by=("forward", "gradient"),
    fix="keep b_n and b_hn apart, and add b_hn inside the reset: x W_n + b_n + r ⊙ (h U_n + b_hn)",
)
def biases_of_the_candidate_merged(layer: ReplaceableLayer) -> None:
    def merged(p: Parameters) -> Parameters:
        return changed(with_gates(p, b_n=p.b_n + p.b_hn), b_hn=0 * p.b_hn)

    reads(layer, merged)


@mutant(
    "C03",
    statement="The recurrent bias of the candidate is never added.",
    cells=("gru",),
    models="google/flax#5594",
    killed_by=("influence", "forward"),
    fix="add b_hn inside the reset: r ⊙ (h U_n + b_hn)",
    same_as="b_hn not read",
)
def recurrent_bias_dropped(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, b_hn=0 * p.b_hn))


@mutant(
    "C03b",
    statement="The bias is never added.",
    cells=("rnn", "lstm", "gru-keeps-old"),
    killed_by=("influence", "forward"),
    fix="add the bias before every activation: x W + h U + b, where b is the sum if there are two",
    same_as="b not read",
)
def bias_dropped(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, b=0 * p.b))


@mutant(
    "C04",
    statement="The bias is added twice.",
    cells=("rnn", *LSTM, *GRU),
    models="kelvinxu/arctic-captions#7",
    killed_by=("forward",),
    fix="add each bias once: x W + b + h U, not (x W + b) + (h U + b)",
)
def bias_added_twice(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, b=2 * p.b))


@mutant(
    "C05",
    statement="The update gate has the wrong polarity: 1 − z is used where z belongs.",
    cells=GRU,
    models="pytorch/pytorch#60645",
    killed_by=("gate-limits", "forward"),
    fix="exchange z and 1 - z: h' = z h + (1 - z) n, as in PyTorch (z n + (1 - z) h where z "
    "is the share of the new)",
)
def update_gate_of_the_other_polarity(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: with_gates(p, W_z=-p.W_z, U_z=-p.U_z, b_z=-p.b_z))


def hard_sigmoid(slope: float) -> Gate:
    """Return a gate of straight lines: clip(slope s + 1/2, 0, 1)."""

    def gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        line = pre_activation(p, letter, x, h, c) * slope + 0.5
        return minimum(switch(line, 0 * line, line), 1 + 0 * line)

    return gate


@mutant(
    "C06",
    statement="The gates use a hard sigmoid, clip(0.2 s + 0.5, 0, 1), instead of the sigmoid.",
    cells=(*LSTM, *GRU),
    models="minimaxir/textgenrnn#153",
    killed_by=("forward", "gradient"),
    fix="use the sigmoid 1 / (1 + exp(-s)) for the gates, not the hard one, clip(0.2 s + 0.5, "
    "0, 1)",
)
def hard_sigmoid_of_slope_a_fifth(layer: ReplaceableLayer) -> None:
    gate = hard_sigmoid(0.2)
    layer.step = lambda at, p, x, s: any_step(layer.cell.name, p, x, s, gate)


@mutant(
    "C06b",
    statement="The gates use a hard sigmoid, clip(s / 6 + 0.5, 0, 1), instead of the sigmoid.",
    cells=("lstm", "gru"),
    killed_by=("forward", "gradient"),
    fix="use the sigmoid 1 / (1 + exp(-s)) for the gates, not the hard one, clip(s / 6 + 0.5, "
    "0, 1)",
)
def hard_sigmoid_of_slope_a_sixth(layer: ReplaceableLayer) -> None:
    gate = hard_sigmoid(1 / 6)
    layer.step = lambda at, p, x, s: any_step(layer.cell.name, p, x, s, gate)


@mutant(
    "C07",
    statement="Every unit's candidate uses the reset gate of unit 0 instead of its own.",
    cells=GRU,
    models="ooples/AiDotNet#722",
    killed_by=("unit-permutation", "forward"),
    fix="multiply by the reset gates of all units: r of shape (B, H), not r[:, :1]",
)
def reset_gate_of_the_first_unit_for_all(layer: ReplaceableLayer) -> None:
    cell = layer.cell.name

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        def candidate(p: Parameters, x: Array, h: Array, r: Array) -> Array:
            r = r[:, :1]
            if "b_hn" in p:
                return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n + p.b_hn))
            return tanh(x @ p.W_n + p.b_n + (r * h) @ p.U_n)

        return gru_step(cell, p, x, state, candidate=candidate)

    layer.step = step


@mutant(
    "C08",
    statement="Every gate adds the bias of the first gate instead of its own.",
    cells=("lstm", "gru"),
    models="tensorflow/tfjs#2442",
    killed_by=("influence", "forward"),
    fix="give every gate its own bias: b_i, b_f, b_g, b_o (b_r, b_z, b_n in a GRU), not the "
    "first for all",
)
def bias_of_the_first_gate_for_all(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, b=np.stack([p.b[0]] * len(p.b))))
