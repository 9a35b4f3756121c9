"""Serving: what goes wrong with states between calls, where sequences are fed in pieces (V)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import LSTM
from .replaceable_layer import (
    At,
    CarryPart,
    OutputsPart,
    ReadStatePart,
    ReorderPart,
    ReplaceableLayer,
    RunPart,
    StepPart,
)
from .state import starting_where_the_last_call_ended


def taken(states: State, rows: Sequence[int]) -> State:
    """Return these rows of the states."""
    return tuple(s[:, list(rows)] for s in states)


@mutant(
    "V01",
    "The states that a call returns are a buffer that the next call overwrites.",
    ("purity",),
    fix="return new states from every call, or copy what a caller keeps: a state that is taken "
    "up again later must be the one that was kept",
    part="give_outputs",
)
def states_overwritten_by_the_next_call(
    layer: ReplaceableLayer, right: OutputsPart, result: Result
) -> Result:
    buffers: dict[tuple[int, ...], list[Array]] = vars(layer).setdefault("_held", {})
    held = buffers.setdefault(result.final[0].shape, [np.zeros_like(s) for s in result.final])
    for buffer, s in zip(held, result.final, strict=True):
        buffer[...] = s
    return right(replace(result, final=tuple(held)))


@mutant(
    "V02",
    "A call of one step begins from zeros, whatever states it is given.",
    ("schedule",),
    models="huggingface/transformers#46190",
    fix="read the given states in a call of one step (decoding) as in longer ones (prefill)",
)
def one_step_from_zeros(layer: ReplaceableLayer) -> None:
    def read(right: ReadStatePart, state: State | None, x: Array) -> State:
        return right(None if x.shape[0] == 1 else state, x)

    layer.wrap("read_state", read)


@mutant(
    "V03",
    "A call of one step returns the states that it was given.",
    ("schedule",),
    models="livekit/agents-js#944",
    fix="return the states after the step from a call of one step (decoding), too",
    part="run",
)
def one_step_not_written(layer: ReplaceableLayer, right: RunPart, inputs: Inputs) -> Result:
    result = right(inputs)
    if inputs.x.shape[0] != 1 or inputs.state is None or inputs.rows is not None:
        return result
    return replace(result, final=inputs.state)


@mutant(
    "V04",
    "The last step of a call of several steps is left out of the states that it returns.",
    ("schedule", "carry", "forward"),
    fix="return the states after the last step of a call (prefill), not those after the one before",
)
def last_step_left_out_of_the_states(layer: ReplaceableLayer) -> None:
    layer.wrap(
        "carry",
        lambda right, at, new, old: old if _last(layer, at) else right(at, new, old),
    )


@mutant(
    "V05",
    "The last step of a call of several steps enters the states that it returns twice.",
    ("schedule", "carry", "forward"),
    fix="let the last step of a call (prefill) enter the states once: the next call begins with "
    "the step after it",
)
def last_step_twice_in_the_states(layer: ReplaceableLayer) -> None:
    seen: list[tuple[Parameters, Array]] = []

    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        seen[:] = [(p, x)]
        return right(at, p, x, state)

    def carry(right: CarryPart, at: At, new: State, old: State) -> State:
        state = right(at, new, old)
        if not _last(layer, at):
            return state
        p, x = seen[0]
        return right(at, layer.step(at, p, x, state), state)

    layer.wrap("step", step)
    layer.wrap("carry", carry)


def _last(layer: ReplaceableLayer, at: At) -> bool:
    """Whether this is the last step of a call of several."""
    return bool(at.t == layer.given.x.shape[0] - 1 > 0)


@mutant(
    "V06",
    "A call goes on from where the last one ended, whatever states it is given.",
    ("schedule", "repeat"),
    fix="begin from the states that are given: after a step is taken back, those are not the last",
)
def given_states_replaced_by_the_last(layer: ReplaceableLayer) -> None:
    starting_where_the_last_call_ended(
        layer, lambda last, state, x: state is not None and last[0].shape == state[0].shape
    )


@mutant(
    "V07",
    "When rows are reordered, the cell states keep their old order.",
    ("schedule",),
    cells=LSTM,
    needs=("reorders",),
    fix="put the rows of every state in the new order, of c as of h",
    part="reorder",
)
def only_h_is_reordered(
    layer: ReplaceableLayer, right: ReorderPart, states: State, rows: Sequence[int]
) -> State:
    stay = [k % states[0].shape[1] for k in range(len(rows))]
    return (*taken(states[:1], rows), *taken(states[1:], stay))


@mutant(
    "V08",
    "When rows are reordered, row k of the states goes to where it should come from.",
    ("schedule",),
    needs=("reorders",),
    fix="take the states of row rows[k] for the new row k: s[:, rows], not the inverse permutation",
    part="reorder",
)
def rows_go_to_where_they_come_from(
    layer: ReplaceableLayer, right: ReorderPart, states: State, rows: Sequence[int]
) -> State:
    return taken(states, list(np.argsort(rows, kind="stable")) if len(set(rows)) > 1 else rows)


@mutant(
    "V09",
    "When rows are reordered, only the first layer's states follow.",
    ("schedule",),
    needs=("reorders", "layers"),
    fix="put the rows of the states of every layer in the new order",
    part="reorder",
)
def only_the_first_layer_is_reordered(
    layer: ReplaceableLayer, right: ReorderPart, states: State, rows: Sequence[int]
) -> State:
    stay = [k % states[0].shape[1] for k in range(len(rows))]
    first, pairs = layer.case.directions, zip(taken(states, rows), taken(states, stay), strict=True)
    return tuple(np.concatenate([m[:first], s[first:]]) for m, s in pairs)


@mutant(
    "V10",
    "Rows beyond those of the first call begin from zeros in every call.",
    ("schedule",),
    fix="hold as many states as there are rows now, not as many as in the first call",
)
def rows_of_the_first_call_alone_are_held(layer: ReplaceableLayer) -> None:
    first: list[int] = []

    def read(right: ReadStatePart, state: State | None, x: Array) -> State:
        start = right(state, x)
        first[:] = first or [x.shape[1]]
        held = np.arange(x.shape[1])[None, :, None] < first[0]
        return tuple(np.where(held, s, 0 * s) for s in start)

    layer.wrap("read_state", read)
