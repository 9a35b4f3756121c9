"""Initial and final states: ignored, mixed up, kept, overwritten (S)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ..numbers.tape import plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import changed, masked, row_after_row
from .replaceable_layer import (
    OutputsPart,
    ReadStatePart,
    ReplaceableLayer,
    RunPart,
    WritePart,
    carried,
)


def given_states(layer: ReplaceableLayer, function: Callable[[State], State]) -> None:
    """Replace the initial state by a function of it."""

    def read(original: ReadStatePart, state: State | None, x: Floats) -> State:
        return original(state, x) if state is None else function(state)

    layer.wrap("read_state", read)


mutant(
    "S01",
    "The initial hidden state is ignored.",
    ("carry", "forward"),
    models="opencv/opencv#23475",
    fix="start h from the initial state that was given, not from zeros",
    change=lambda layer: given_states(layer, lambda state: (0 * state[0], *state[1:])),
)

mutant(
    "S01b",
    "The initial cell state is ignored.",
    ("carry", "forward"),
    cells=("lstm", "lstm-peephole"),
    fix="start c from the initial cell state that was given, not from zeros",
    change=lambda layer: given_states(layer, lambda state: (state[0], 0 * state[1])),
)

mutant(
    "S02",
    "Every step reads the initial hidden state instead of the previous one.",
    ("carry", "forward"),
    models="tracel-ai/burn#2701",
    fix="read h_{t-1} at step t, not h_0: assign the new h at the end of every step",
    part="step",
    change=lambda layer, original, at, p, x, state: original(at, p, x, (at.start[0], *state[1:])),
)

mutant(
    "S03",
    "Without an initial state, the first step leaves out the recurrent bias together with the "
    "recurrent product.",
    ("default-state",),
    cells=("gru",),
    models="ml-explore/mlx#3249",
    fix="add b_hn in the first step without an initial state, too: r ⊙ (0 U_n + b_hn) is not 0",
    part="step",
    change=lambda layer, original, at, p, x, state: original(
        at, p if at.t or layer.inputs.state else changed(p, b_hn=0 * p.b_hn), x, state
    ),
)


def of_forward(layer: ReplaceableLayer, state: State) -> State:
    """Return the forward direction's states for both directions."""
    directions = layer.case.directions
    return tuple(s[[k - k % directions for k in range(s.shape[0])]] for s in state)


mutant(
    "S04",
    "The backward direction starts from the forward direction's initial state.",
    ("direction", "forward"),
    models="PaddlePaddle/Paddle#27644",
    needs=("bidirectional",),
    fix="start the backward direction from its own state: entry 2 * layer + 1 of h_0 (and c_0)",
    change=lambda layer: given_states(layer, lambda state: of_forward(layer, state)),
)

mutant(
    "S05",
    "Every layer starts from the initial state of the lowest layer.",
    ("forward",),
    models="pytorch/pytorch#95137",
    needs=("layers",),
    fix="start every layer from its own state: entry layer * directions + direction of h_0 (and "
    "c_0)",
    change=lambda layer: given_states(
        layer,
        lambda state: tuple(s[np.arange(len(s)) % layer.case.directions] for s in state),
    ),
)

mutant(
    "S06",
    "Every row starts from the initial state of row 0.",
    ("batch-permutation", "batch-single", "forward"),
    models="llvm/torch-mlir#4741",
    fix="start every row from its own state: h_0[:, b] for row b, not h_0[:, 0] for all",
    change=lambda layer: given_states(
        layer, lambda state: tuple(s[:, [0] * s.shape[1]] for s in state)
    ),
)

mutant(
    "S07",
    "Each row starts from the final state of the row before it.",
    ("batch-single", "batch-permutation", "forward"),
    models="alibaba/MNN#1573",
    fix="start row b from its own initial state, not from where row b - 1 ended: reset it for "
    "every row",
    part="unroll",
    change=lambda layer, original, at, p, x: row_after_row(
        original, at, p, x, lambda b, before: before or tuple(s[:1] for s in at.start)
    ),
)

mutant(
    "S08",
    "Without an initial state, a call starts from the final state of the previous call.",
    ("repeat",),
    models="tensorflow/tensorflow#46620",
    fix="start from zeros when no initial state is given: keep nothing of the call before",
    change=lambda layer: starting_where_the_last_call_ended(
        layer, lambda last, state, x: state is None and last[0].shape[1] == x.shape[1]
    ),
)


def starting_where_the_last_call_ended(
    layer: ReplaceableLayer, fits: Callable[[State, State | None, Floats], bool]
) -> None:
    """Let a call start from the final state of the last one, where that ``fits`` (state, x)."""
    last: list[State] = []

    def read(original: ReadStatePart, state: State | None, x: Floats) -> State:
        return last[0] if last and fits(last[0], state, x) else original(state, x)

    def write(
        original: WritePart, y: Floats, final: State, lengths: Floats | None
    ) -> tuple[Floats, State]:
        last[:] = [tuple(np.array(plain(s)) for s in final)]
        return original(y, final, lengths)

    layer.wrap("read_state", read)
    layer.wrap("write", write)


@mutant(
    "S09",
    "The final state overwrites the caller's initial state; without an initial state, x is changed "
    "in place.",
    ("purity",),
    models="keras-team/keras#23464",
    fix="copy the caller's arrays (initial state, x) before writing into them",
    part="give_outputs",
)
def writes_into_the_callers_arrays(
    layer: ReplaceableLayer, original: OutputsPart, result: Result
) -> Result:
    arrays = layer.inputs
    for s, final in zip(arrays.state or (), result.final, strict=False):
        _write(s, final)
    if arrays.state is None:
        _write(arrays.x, 2 * arrays.x)
    return original(result)


def _write(target: Floats, numbers: Floats) -> None:
    if target.flags.writeable:
        target[...] = numbers


mutant(
    "S10",
    "The final states are returned as (c, h) instead of (h, c).",
    ("final", "carry", "forward"),
    cells=("lstm", "lstm-peephole"),
    models="microsoft/nni#2842",
    fix="return the final states as (h, c), not (c, h)",
    part="write",
    change=lambda layer, original, y, final, lengths: (y, final[::-1]),
)

mutant(
    "S11",
    "The forward direction's final state is also returned as that of the backward direction.",
    ("final", "forward"),
    models="tflearn/tflearn#522",
    needs=("bidirectional",),
    fix="return the backward direction's own final state as entry 2 * layer + 1, not the forward "
    "one's",
    part="write",
    change=lambda layer, original, y, final, lengths: (y, of_forward(layer, final)),
)

mutant(
    "S12",
    "A row's state takes one step more than its outputs before it stops.",
    ("final", "forward"),
    models="apache/mxnet#18669",
    needs=("lengths",),
    fix="stop the state with its row: update it where t < length, not where t <= length",
    part="carry",
    change=lambda layer, original, at, new, old: carried(at._replace(t=at.t - 1), new, old),
)


@mutant(
    "S13",
    "Input with as many steps as rows is taken for batch-first, and the outputs are returned so.",
    ("shapes",),
    models="pytorch/pytorch#19675",
    fix="take the layout from the option (batch_first), not from the sizes: look for T == B",
    part="run",
)
def time_and_batch_swapped_where_equal(
    layer: ReplaceableLayer, original: RunPart, inputs: Inputs
) -> Result:
    x = unpacked(inputs.x, inputs.lengths)
    if len(x) != x.shape[1]:
        return original(inputs)
    result = original(replace(inputs, x=swapped(x)))
    y = unpacked(swapped(result.y), inputs.lengths)
    after = np.zeros((len(inputs.x) - len(y), *y.shape[1:]), y.dtype)
    return replace(result, y=np.concatenate([y, after]) if len(after) else y)


def unpacked(x: Floats, lengths: Floats | None) -> Floats:
    """Cut x (T, B, width) to its longest row, with 0 past each row's end, as packing does."""
    return x if lengths is None else masked(x[: max(lengths)], lengths)


def swapped(x: Floats) -> Floats:
    """Return x with its first two axes exchanged."""
    return np.stack([x[:, k] for k in range(x.shape[1])])


@mutant(
    "S15",
    "Without an initial state, a call starts from random numbers instead of zeros.",
    ("default-state", "repeat"),
    fix="start from zeros when no initial state is given: look for random or uninitialised memory",
    part="read_state",
)
def default_state_drawn_at_random(
    layer: ReplaceableLayer, original: ReadStatePart, state: State | None, x: Floats
) -> State:
    start = original(state, x)
    if state is not None:
        return start
    rng = layer.memory.setdefault("rng", np.random.default_rng())
    return tuple(rng.standard_normal(s.shape).astype(s.dtype) for s in start)
