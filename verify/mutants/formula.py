"""Mistakes in equations: gates, peepholes, updates, time gates (F)."""

from __future__ import annotations

from functools import partial

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.cells.lstm import cell_state
from ...reference.parameters import Parameters
from .catalogue import mutant
from .parts import GRU, LSTM, candidate, changed, gate, peephole, reads, steps, with_gates
from .replaceable_layer import At, ReplaceableLayer, StepPart

PEEPHOLES = ("lstm-peephole", "lstm-peephole-old", "lstm-phased")
OTHER_READING = dict(zip(PEEPHOLES[:2], PEEPHOLES[1::-1], strict=True))
"""The cell with the other reading of o's peephole."""


mutant(
    "F01",
    "A forget bias of 1 is added after the sigmoid instead of before it, so the forget gate "
    "exceeds 1.",
    ("gate-limits", "forward"),
    cells=LSTM,
    models="apache/tvm#3410",
    fix="remove the 1 added to f; a forget bias belongs in b_f, inside the sigmoid: f = "
    "sigmoid(... + b_f)",
    change=lambda layer: steps(
        layer, gate=lambda p, k, x, h, c: gate(p, k, x, h, c) + 1 * (k == "f")
    ),
)

mutant(
    "F02",
    "The peephole term is added to the gate after the sigmoid instead of before it.",
    ("forward",),
    cells=("lstm-peephole",),
    models="Lasagne/Lasagne#448",
    fix="add the peephole inside the sigmoid: i = sigmoid(x W_i + h U_i + p_i c + b_i); f "
    "likewise, and o with the new c",
    change=lambda layer: steps(
        layer, gate=lambda p, k, x, h, c: gate(p, k, x, h, 0 * c) + peephole(p, k, c)
    ),
)

mutant(
    "F03",
    "The peephole of the output gate reads the wrong cell state: the old one instead of the new "
    "one, or the other way round.",
    ("forward",),
    cells=("lstm-peephole", "lstm-peephole-old"),
    models="MartinuzziFrancesco/RecurrentLayers.jl#134",
    fix="give o's peephole the other cell state: the new c, as usual, or the old c where the layer "
    "claims that",
    part="step",
    change=lambda layer, original, at, p, x, state: cell_named(OTHER_READING[layer.cell.name]).step(
        p, x, state
    )[0],
)

mutant(
    "F04",
    "The peephole weights are read in the order i, o, f instead of i, f, o.",
    ("forward",),
    cells=PEEPHOLES,
    fix="read the rows of the peepholes in the order i, f, o: p_i, p_f, p_o",
    change=lambda layer: reads(layer, lambda p: changed(p, p=p.p[[0, 2, 1]])),
)

mutant(
    "F04b",
    "The gates ignore the cell state: the peepholes are never added.",
    ("influence", "forward"),
    cells=PEEPHOLES,
    same_as="p not read",
    fix="add the peepholes inside the sigmoids: p_i c to i, p_f c to f, p_o c' to o (p_o c if so "
    "claimed)",
    change=lambda layer: reads(layer, lambda p: changed(p, p=0 * p.p)),
)

mutant(
    "F05",
    "The input gate is added to the candidate instead of being multiplied with it.",
    ("forward",),
    cells=LSTM,
    models="MartinuzziFrancesco/torchrecurrent#22",
    fix="multiply the candidate by the input gate: c' = f c + i g, not f c + (i + g)",
    change=lambda layer: steps(layer, blend=lambda f, c, i, g: f * c + (i + g)),
)

mutant(
    "F06",
    "The forget gate is 1 − i instead of a gate of its own.",
    ("influence", "forward"),
    cells=LSTM,
    models="glample/tagger#25",
    fix="compute f from its own weights: f = sigmoid(x W_f + h U_f + b_f), with p_f c if it has "
    "peepholes; not 1 - i",
    change=lambda layer: steps(layer, blend=lambda f, c, i, g: cell_state(1 - i, c, i, g)),
)

mutant(
    "F07",
    "The reset gate is computed but the candidate does not use it.",
    ("influence", "forward"),
    cells=GRU,
    models="Maluuba/gensen#5",
    fix="use r in the candidate: r ⊙ (h U_n + b_hn), as in PyTorch, or (r ⊙ h) U_n if it resets "
    "before the product",
    change=lambda layer: steps(layer, candidate=lambda p, x, h, r: candidate(p, x, h, 1 + 0 * r)),
)


def first_for_second(array: str, layer: ReplaceableLayer) -> None:
    """Let the second gate use the first gate's slice of an array."""
    first, second, *_ = (f"{array}_{letter}" for letter in layer.cell.gates)
    reads(layer, lambda p: with_gates(p, **{second: getattr(p, first)}))


mutant(
    "F08",
    "The second gate uses the recurrent weights of the first gate instead of its own.",
    ("influence", "forward"),
    cells=(*LSTM, "gru"),
    models="stanfordnlp/stanza#88",
    fix="use U_f for f, not U_i (in a GRU U_z for z, not U_r)",
    change=partial(first_for_second, "U"),
)

mutant(
    "F08b",
    "The second gate uses the bias of the first gate instead of its own.",
    ("forward",),
    cells=("lstm", "gru"),
    models="ddbourgin/numpy-ml#42",
    fix="use b_f for f, not b_i (in a GRU b_z for z, not b_r)",
    change=partial(first_for_second, "b"),
)


@mutant(
    "F09",
    "The hidden state is overwritten in place: the second half of the units reads values that the "
    "first half has already replaced.",
    ("unit-permutation", "forward"),
    models="onnx/onnx-mlir#367",
    fix="keep the old h until every unit of the step is computed: write the new h into another "
    "array",
    part="step",
)
def state_overwritten_while_it_is_read(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Floats, state: State
) -> State:
    half = layer.case.H // 2
    early, _ = layer.cell.step(p, x, state)
    mixed = np.concatenate([early[0][:, :half], state[0][:, half:]], axis=1)
    late, _ = layer.cell.step(p, x, (mixed, *state[1:]))
    # A unit's own c, or the GRU's own h, is read before it is written.
    return tuple(
        np.concatenate([e[:, :half], n[:, half:]], axis=1) for e, n in zip(early, late, strict=True)
    )


@mutant(
    "F19",
    "The candidate is added in full, whatever share of the old state the update gate keeps.",
    ("bounds", "gate-limits", "forward"),
    cells=GRU,
    fix="multiply the candidate by its share: h' = z h + (1 - z) n (z n + (1 - z) h where z is the "
    "share of the new)",
    part="step",
)
def shares_add_up_to_more_than_one(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Floats, state: State
) -> State:
    (h,) = state
    n, z = candidate(p, x, h, gate(p, "r", x, h, h)), gate(p, "z", x, h, h)
    return ((1 - z if layer.cell.name == "gru-takes-new" else z) * h + n,)


mutant(
    "F14",
    "The bias is skipped when the number of steps times the number of rows exceeds 512.",
    ("transition",),
    models="ROCm/rocm-libraries#10551",
    fix="add the bias whatever the size of the input: look for a branch or kernel for T * B > 512",
    change=lambda layer: reads(
        layer, lambda p: p if layer.inputs.x[:, :, 0].size <= 512 else changed(p, b=0 * p.b)
    ),
)

mutant(
    "F15",
    "A scratch buffer is not cleared between rows, so row b also contains what row b − 2 left "
    "there.",
    ("batch-single", "batch-permutation", "forward"),
    models="microsoft/onnxruntime#3893",
    fix="clear scratch before every row, or give each row its own: look for buffers used in turns",
    part="see",
    change=lambda layer, original, at, x: np.concatenate(
        [(clean := original(at, x))[:2], clean[2:] + clean[:-2]]
    ),
)
