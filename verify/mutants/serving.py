"""Mistakes in serving: states between calls, packed sequences, padding (V)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ...reference.parameters import Parameters
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import LSTM
from .replaceable_layer import (
    At,
    BeginPart,
    BoundariesPart,
    CarryPart,
    OutputsPart,
    ReadStatePart,
    ReorderPart,
    ReplaceableLayer,
    RunPart,
    StepPart,
    UnrollPart,
)
from .state import starting_where_the_last_call_ended


def rows_of(states: State, rows: Sequence[int]) -> State:
    """Return these rows of the states."""
    return tuple(s[:, list(rows)] for s in states)


def unmoved(states: State, rows: Sequence[int]) -> list[int]:
    """Return as many row numbers, in their present order."""
    return [k % states[0].shape[1] for k in range(len(rows))]


@mutant(
    "V01",
    "The states that a call returns are a buffer that the next call overwrites.",
    ("purity",),
    fix="return new states from every call, or copy what a caller keeps: a state that is taken "
    "up again later must be the one that was kept",
    part="give_outputs",
)
def states_overwritten_by_the_next_call(
    layer: ReplaceableLayer, original: OutputsPart, result: Result
) -> Result:
    buffers = layer.memory.setdefault(result.final[0].shape, list(map(np.zeros_like, result.final)))
    for buffer, s in zip(buffers, result.final, strict=True):
        buffer[...] = s
    return original(replace(result, final=tuple(buffers)))


mutant(
    "V02",
    "A call of one step begins from zeros, whatever states it is given.",
    ("schedule",),
    models="huggingface/transformers#46190",
    fix="read the given states in a call of one step (decoding) as in longer ones (prefill)",
    part="read_state",
    change=lambda layer, original, state, x: original(None if len(x) == 1 else state, x),
)


@mutant(
    "V03",
    "A call of one step returns the states that it was given.",
    ("schedule",),
    models="livekit/agents-js#944",
    fix="return the states after the step from a call of one step (decoding), too",
    part="run",
)
def one_step_not_written(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    result = original(inputs)
    if inputs.x.shape[0] != 1 or inputs.state is None or inputs.rows is not None:
        return result
    return replace(result, final=inputs.state)


mutant(
    "V04",
    "The last step of a call of several steps is left out of the states that it returns.",
    ("schedule", "carry", "forward"),
    fix="return the states after the last step of a call (prefill), not those after the one before",
    part="carry",
    change=lambda layer, original, at, new, old: (
        old if _last(layer, at) else original(at, new, old)
    ),
)


@mutant(
    "V05",
    "The last step of a call of several steps enters the states that it returns twice.",
    ("schedule", "carry", "forward"),
    fix="let the last step of a call (prefill) enter the states once: the next call begins with "
    "the step after it",
)
def last_step_twice_in_the_states(layer: ReplaceableLayer) -> None:
    last: list[tuple[Parameters, Floats]] = []

    def step(original: StepPart, at: At, p: Parameters, x: Floats, state: State) -> State:
        last[:] = [(p, x)]
        return original(at, p, x, state)

    def carry(original: CarryPart, at: At, new: State, old: State) -> State:
        state = original(at, new, old)
        if not _last(layer, at):
            return state
        p, x = last[0]
        return original(at, layer.step(at, p, x, state), state)

    layer.wrap("step", step)
    layer.wrap("carry", carry)


def _last(layer: ReplaceableLayer, at: At) -> bool:
    """Return whether this is the last step of a call of several."""
    return bool(at.t == layer.inputs.x.shape[0] - 1 > 0)


mutant(
    "V06",
    "A call goes on from where the last one ended, whatever states it is given.",
    ("schedule", "repeat"),
    fix="begin from the states that are given: after a step is taken back, those are not the last",
    change=lambda layer: starting_where_the_last_call_ended(
        layer, lambda last, state, x: state is not None and last[0].shape == state[0].shape
    ),
)

mutant(
    "V07",
    "When rows are reordered, the cell states keep their old order.",
    ("schedule",),
    cells=LSTM,
    needs=("reorders",),
    fix="put the rows of every state in the new order, of c as of h",
    part="reorder",
    change=lambda layer, original, states, rows: (
        *rows_of(states[:1], rows),
        *rows_of(states[1:], unmoved(states, rows)),
    ),
)


@mutant(
    "V08",
    "When rows are reordered, row k of the states goes to where it should come from.",
    ("schedule",),
    needs=("reorders",),
    fix="take the states of row rows[k] for the new row k: s[:, rows], not the inverse permutation",
    part="reorder",
)
def rows_go_to_where_they_come_from(
    layer: ReplaceableLayer, original: ReorderPart, states: State, rows: Sequence[int]
) -> State:
    back = np.argsort(rows, kind="stable") % states[0].shape[1]
    return rows_of(states, list(back) if len(set(rows)) > 1 else rows)


@mutant(
    "V09",
    "When rows are reordered, only the first layer's states follow.",
    ("schedule",),
    needs=("reorders", "layers"),
    fix="put the rows of the states of every layer in the new order",
    part="reorder",
)
def only_the_first_layer_is_reordered(
    layer: ReplaceableLayer, original: ReorderPart, states: State, rows: Sequence[int]
) -> State:
    pairs = zip(rows_of(states, rows), rows_of(states, unmoved(states, rows)), strict=True)
    first = layer.case.directions
    return tuple(np.concatenate([m[:first], s[first:]]) for m, s in pairs)


@mutant(
    "V10",
    "Rows beyond those of the first call begin from zeros in every call.",
    ("schedule",),
    fix="hold as many states as there are rows now, not as many as in the first call",
    part="read_state",
)
def rows_of_the_first_call_alone_are_held(
    layer: ReplaceableLayer, original: ReadStatePart, state: State | None, x: Floats
) -> State:
    first = layer.memory.setdefault("rows", x.shape[1])
    has_state = np.arange(x.shape[1])[None, :, None] < first
    return tuple(np.where(has_state, s, 0 * s) for s in original(state, x))


CHUNK = 4
"""Chunk size of programs that check boundaries of sequences only between chunks."""


@mutant(
    "V11",
    "cu_seqlens is ignored: packed sequences run on as one.",
    ("packed", "schedule"),
    models="fla-org/flash-linear-attention#1184",
    needs=("packed",),
    fix="begin anew at every boundary, and return the state at the end of every sequence",
)
def cu_seqlens_ignored(layer: ReplaceableLayer) -> None:
    layer.wrap("begin", _after_the_one_before)
    layer.wrap("ends", lambda original, finals: original([finals[-1]] * len(finals)))


def _after_the_one_before(original: BeginPart, k: int, start: State, before: State | None) -> State:
    return original(k, start, before) if before is None else before


mutant(
    "V12",
    "The state leaks over the boundaries of packed sequences: each begins where the one before "
    "it ended.",
    ("packed", "schedule"),
    models="fla-org/flash-linear-attention#838",
    needs=("packed",),
    fix="begin every sequence from its own initial state, at cu_seqlens[k]",
    part="begin",
    change=lambda layer, *arguments: _after_the_one_before(*arguments),
)

mutant(
    "V13",
    "The boundaries of packed sequences are one step late: each begins with its second step.",
    ("packed", "schedule"),
    needs=("packed",),
    fix="begin sequence k with step cu_seqlens[k], not with the one after it",
    part="boundaries",
    change=lambda layer, original, cu_seqlens: np.array(
        [0, *np.minimum(original(cu_seqlens)[1:-1] + 1, cu_seqlens[-1]), cu_seqlens[-1]]
    ),
)

mutant(
    "V14",
    "The boundaries of packed sequences are one step early: each ends before its last step.",
    ("packed", "schedule"),
    needs=("packed",),
    fix="end sequence k with step cu_seqlens[k + 1] - 1, not with the one before it",
    part="boundaries",
    change=lambda layer, original, cu_seqlens: np.array(
        [0, *np.maximum(original(cu_seqlens)[1:-1] - 1, 0), cu_seqlens[-1]]
    ),
)

mutant(
    "V15",
    "The final states of packed sequences come in the reverse order.",
    ("packed", "schedule"),
    needs=("packed",),
    fix="return the state at the end of sequence k as row k of the final states",
    part="ends",
    change=lambda layer, original, finals: original(finals[::-1]),
)

mutant(
    "V16",
    "All packed sequences begin from the initial state of the first.",
    ("packed", "schedule"),
    needs=("packed",),
    fix="begin sequence k from row k of the initial states, not from the first one",
    part="begin",
    change=lambda layer, original, k, start, before: original(0, start, before),
)

mutant(
    "V17",
    "Packed sequences begin from zeros, whatever states are given.",
    ("packed", "schedule"),
    needs=("packed",),
    fix="give packed sequences the initial states, too: row k is that of sequence k",
    part="begin",
    change=lambda layer, original, *arguments: tuple(0 * s for s in original(*arguments)),
)


@mutant(
    "V18",
    "A boundary of packed sequences within a chunk of 4 steps is not seen: the state runs over it.",
    ("packed", "schedule"),
    models="fla-org/flash-linear-attention#422",
    needs=("packed",),
    fix="cut chunks at the boundaries, so that none has steps of two sequences",
)
def boundary_within_a_chunk(layer: ReplaceableLayer) -> None:
    last_boundaries: list[Floats] = []

    def boundaries(original: BoundariesPart, cu_seqlens: Floats) -> Floats:
        last_boundaries[:] = [original(cu_seqlens)]
        return last_boundaries[0]

    def begin(original: BeginPart, k: int, start: State, before: State | None) -> State:
        runs_over = before is not None and last_boundaries[0][k] % CHUNK
        return _after_the_one_before(original, k, start, before if runs_over else None)

    layer.wrap("boundaries", boundaries)
    layer.wrap("begin", begin)


@mutant(
    "V19",
    "On the way back, gradients run over the boundaries of packed sequences, into the one before.",
    ("packed",),
    needs=("packed",),
    fix="begin the way back anew at every boundary, with the cotangents of that sequence's final "
    "states, and give its initial states their gradients",
    part="begin",
)
def gradients_run_over_boundaries(
    layer: ReplaceableLayer, original: BeginPart, k: int, start: State, before: State | None
) -> State:
    state = original(k, start, before)
    if before is None:
        return state
    return tuple(instead(b, plain(s)) for b, s in zip(before, state, strict=True))


mutant(
    "V20",
    "The mask is ignored: padding in front of a sequence enters its state.",
    ("left-padding", "schedule"),
    models="state-spaces/mamba#70",
    needs=("left_padding",),
    fix="let steps that the mask leaves out change no state",
    part="read_mask",
    change=lambda layer, original, mask: np.ones_like(original(mask)),
)

mutant(
    "V21",
    "What stands in the padding in front of a sequence is set to zero, and enters its state.",
    ("left-padding", "schedule"),
    models="huggingface/transformers#46873",
    needs=("left_padding",),
    fix="a step that reads zeros is a step, too: keep the state where the mask says so",
    part="carry",
    change=lambda layer, original, at, new, old: original(at, new, old) if at.mask is None else new,
)

mutant(
    "V22",
    "The mask of the first row is that of all.",
    ("left-padding", "schedule"),
    needs=("left_padding",),
    fix="mask row b by mask[b]",
    part="read_mask",
    change=lambda layer, original, mask: np.repeat(original(mask)[:, :1], mask.shape[1], axis=1),
)

mutant(
    "V23",
    "The mask is read as if padding stood behind the sequences.",
    ("left-padding", "schedule"),
    needs=("left_padding",),
    fix="take the mask as it is: from the number of its steps nobody knows where they stand",
    part="read_mask",
    change=lambda layer, original, mask: original(mask)[::-1],
)


@mutant(
    "V24",
    "With padding in front, the final states are those of the steps at which rows of the same "
    "lengths would end with padding behind.",
    ("left-padding", "schedule"),
    models="huggingface/transformers#48256",
    needs=("left_padding",),
    fix="return the states after the last step: with padding in front every row ends there",
)
def final_states_before_the_end(layer: ReplaceableLayer) -> None:
    states: list[State] = []

    def carry(original: CarryPart, at: At, new: State, old: State) -> State:
        states.append(original(at, new, old))
        return states[-1]

    def unroll(original: UnrollPart, at: At, p: Parameters, x: Floats) -> tuple[Floats, State]:
        states[:] = [at.start]
        y, final = original(at, p, x)
        if at.mask is None:
            return y, final
        ends = [(states[n], b) for b, n in enumerate(np.sum(at.mask, axis=0))]
        rows = (tuple(s[b : b + 1] for s in state) for state, b in ends)
        return y, tuple(np.concatenate(row) for row in zip(*rows, strict=True))

    layer.wrap("carry", carry)
    layer.wrap("unroll", unroll)


mutant(
    "V25",
    "The first step after the padding in front of a sequence is left out.",
    ("left-padding", "schedule"),
    needs=("left_padding",),
    fix="begin with the first step that the mask has",
    part="read_mask",
    change=lambda layer, original, mask: (
        (shown := original(mask)) & np.concatenate([shown[:1], shown[:-1]])
    ),
)
