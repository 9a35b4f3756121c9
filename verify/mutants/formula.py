"""Equations with a mistake in them: gates, peepholes, updates, time gates (F)."""

from __future__ import annotations

import numpy as np

from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.cells.lstm import cell_state
from ...reference.functions import Array, tanh, zeros
from ...reference.parameters import Parameters
from .catalogue import mutant
from .parts import GRU, LSTM, PLAIN, changed, gate, gru_step, lstm_step, reads, with_gates
from .replaceable_layer import At, ReplaceableLayer

PEEPHOLES = ("lstm-peephole", "lstm-peephole-old", "lstm-phased")


@mutant(
    "F01",
    statement="A forget bias of 1 is added after the sigmoid instead of before it, so the forget "
    "gate exceeds 1.",
    cells=LSTM,
    models="apache/tvm#3410",
    killed_by=("gate-limits", "forward"),
    fix="remove the 1 added to f; a forget bias belongs in b_f, inside the sigmoid: f = "
    "sigmoid(... + b_f)",
)
def forget_bias_after_the_sigmoid(layer: ReplaceableLayer) -> None:
    def more(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        right = gate(p, letter, x, h, c)
        return right + 1 if letter == "f" else right

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, gate=more)


@mutant(
    "F02",
    statement="The peephole term is added to the gate after the sigmoid instead of before it.",
    cells=("lstm-peephole",),
    models="Lasagne/Lasagne#448",
    killed_by=("forward",),
    fix="add the peephole inside the sigmoid: i = sigmoid(x W_i + h U_i + p_i c + b_i); "
    "f likewise, and o with the new c",
)
def peephole_after_the_sigmoid(layer: ReplaceableLayer) -> None:
    def after(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        return gate(p, letter, x, h, 0 * c) + getattr(p, f"p_{letter}") * c

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, gate=after)


@mutant(
    "F03",
    statement="The peephole of the output gate reads the wrong cell state: the old one instead "
    "of the new one, or the other way round.",
    cells=("lstm-peephole", "lstm-peephole-old"),
    models="MartinuzziFrancesco/RecurrentLayers.jl#134",
    killed_by=("forward",),
    fix="give o's peephole the other cell state: the new c, as usual, or the old c where the "
    "layer claims that",
)
def output_peephole_of_the_other_reading(layer: ReplaceableLayer) -> None:
    other = {"lstm-peephole": "lstm-peephole-old", "lstm-peephole-old": "lstm-peephole"}
    cell = cell_named(other[layer.cell.name])
    layer.step = lambda at, p, x, s: cell.step(p, x, s)[0]


@mutant(
    "F04",
    statement="The peephole weights are read in the order i, o, f instead of i, f, o.",
    cells=PEEPHOLES,
    killed_by=("forward",),
    fix="read the rows of the peepholes in the order i, f, o: p_i, p_f, p_o",
)
def peepholes_in_another_order(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, p=p.p[[0, 2, 1]]))


@mutant(
    "F04b",
    statement="The gates ignore the cell state: the peepholes are never added.",
    cells=PEEPHOLES,
    killed_by=("influence", "forward"),
    fix="add the peepholes inside the sigmoids: p_i c to i, p_f c to f, p_o c' to o (p_o c if "
    "so claimed)",
    same_as="p not read",
)
def no_peepholes(layer: ReplaceableLayer) -> None:
    reads(layer, lambda p: changed(p, p=0 * p.p))


@mutant(
    "F05",
    statement="The input gate is added to the candidate instead of being multiplied with it.",
    cells=LSTM,
    models="MartinuzziFrancesco/torchrecurrent#22",
    killed_by=("forward",),
    fix="multiply the candidate by the input gate: c' = f c + i g, not f c + (i + g)",
)
def input_gate_added_to_the_candidate(layer: ReplaceableLayer) -> None:
    def added(f: Array, c: Array, i: Array, g: Array) -> Array:
        return f * c + (i + g)

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, blend=added)


@mutant(
    "F06",
    statement="The forget gate is 1 − i instead of a gate of its own.",
    cells=LSTM,
    models="glample/tagger#25",
    killed_by=("influence", "forward"),
    fix="compute f from its own weights: f = sigmoid(x W_f + h U_f + b_f), with p_f c if it "
    "has peepholes; not 1 - i",
)
def forget_gate_coupled(layer: ReplaceableLayer) -> None:
    def coupled(f: Array, c: Array, i: Array, g: Array) -> Array:
        return cell_state(1 - i, c, i, g)

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, blend=coupled)


@mutant(
    "F07",
    statement="The reset gate is computed but the candidate does not use it.",
    cells=GRU,
    models="Maluuba/gensen#5",
    killed_by=("influence", "forward"),
    fix="use r in the candidate: r ⊙ (h U_n + b_hn), as in PyTorch, or (r ⊙ h) U_n if it "
    "resets before the product",
)
def reset_gate_not_used(layer: ReplaceableLayer) -> None:
    def candidate(p: Parameters, x: Array, h: Array, r: Array) -> Array:
        recurrent = h @ p.U_n + (p.b_hn if "b_hn" in p else 0)
        return tanh(x @ p.W_n + p.b_n + recurrent)

    layer.step = lambda at, p, x, s: gru_step(layer.cell.name, p, x, s, candidate=candidate)


@mutant(
    "F08",
    statement="The second gate uses the recurrent weights of the first gate instead of its own.",
    cells=(*LSTM, "gru"),
    models="stanfordnlp/stanza#88",
    killed_by=("influence", "forward"),
    fix="use U_f for f, not U_i (in a GRU U_z for z, not U_r)",
)
def recurrent_weights_of_another_gate(layer: ReplaceableLayer) -> None:
    first, second, *_ = layer.cell.gates
    reads(
        layer, lambda p: with_gates(p, **{f"U_{second}": getattr(p, f"U_{first}")})
    )  # fmt: skip


@mutant(
    "F08b",
    statement="The second gate uses the bias of the first gate instead of its own.",
    cells=("lstm", "gru"),
    models="ddbourgin/numpy-ml#42",
    killed_by=("forward",),
    fix="use b_f for f, not b_i (in a GRU b_z for z, not b_r)",
)
def bias_of_another_gate(layer: ReplaceableLayer) -> None:
    first, second, *_ = layer.cell.gates
    reads(
        layer, lambda p: with_gates(p, **{f"b_{second}": getattr(p, f"b_{first}")})
    )  # fmt: skip


@mutant(
    "F09",
    statement="The hidden state is overwritten in place: the second half of the units reads "
    "values that the first half has already replaced.",
    cells=PLAIN,
    models="onnx/onnx-mlir#367",
    killed_by=("unit-permutation", "forward"),
    fix="keep the old h until every unit of the step is computed: write the new h into "
    "another array",
)
def state_overwritten_while_it_is_read(layer: ReplaceableLayer) -> None:
    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        half = layer.case.H // 2
        early, _ = layer.cell.step(p, x, state)
        mixed = np.concatenate([early[0][:, :half], state[0][:, half:]], axis=1)
        late, _ = layer.cell.step(p, x, (mixed, *state[1:]))
        # A unit's own c, or the GRU's own h, is read before it is written.
        return tuple(
            np.concatenate([e[:, :half], n[:, half:]], axis=1)
            for e, n in zip(early, late, strict=True)
        )

    layer.step = step


@mutant(
    "F19",
    statement="The candidate is added in full, whatever share of the old state the update gate "
    "keeps.",
    cells=GRU,
    killed_by=("bounds", "gate-limits", "forward"),
    fix="multiply the candidate by its share: h' = z h + (1 - z) n (z n + (1 - z) h where z "
    "is the share of the new)",
)
def shares_add_up_to_more_than_one(layer: ReplaceableLayer) -> None:
    takes_new = layer.cell.name == "gru-takes-new"

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        (n,) = gru_step("gru", p, x, state, gate=_no_update)
        z = gate(p, "z", x, h, h)
        return ((1 - z if takes_new else z) * h + n,)

    layer.step = step


def _no_update(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return the gates with z = 0, with which a step that keeps the old returns n."""
    return zeros(h, h.shape) if letter == "z" else gate(p, letter, x, h, c)


LARGE_BATCH = 512


@mutant(
    "F14",
    statement="The bias is skipped when the number of steps times the number of rows exceeds 512.",
    cells=PLAIN,
    models="ROCm/rocm-libraries#10551",
    killed_by=("transition",),
    fix="add the bias whatever the size of the input: look for a branch or kernel for T * B > 512",
)
def no_bias_in_large_inputs(layer: ReplaceableLayer) -> None:
    def read(p: Parameters) -> Parameters:
        T, B, _ = layer.given.x.shape
        return changed(p, b=0 * p.b) if T * B > LARGE_BATCH else p

    reads(layer, read)


@mutant(
    "F15",
    statement="A scratch buffer is not cleared between rows, so row b also contains what row b − "
    "2 left there.",
    cells=PLAIN,
    models="microsoft/onnxruntime#3893",
    killed_by=("batch-single", "batch-permutation", "forward"),
    fix="clear scratch before every row, or give each row its own: look for buffers used in turns",
)
def scratch_not_cleared_between_rows(layer: ReplaceableLayer) -> None:
    right = layer.see

    def see(at: At, x: Array) -> Array:
        x = right(at, x)
        return x if x.shape[0] < 3 else np.concatenate([x[:2], x[2:] + x[:-2]])

    layer.see = see
