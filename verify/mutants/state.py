"""Initial and final states: ignored, mixed up, kept, overwritten (S)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import choose
from ..numbers.tape import plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import PLAIN, changed
from .replaceable_layer import At, ReplaceableLayer


def given_states(layer: ReplaceableLayer, function: Callable[[State], State]) -> None:
    """Let the layer start from a function of the state that it is given."""
    right = layer.read_state

    def read(state: State | None, x: Array) -> State:
        return right(state, x) if state is None else function(state)

    layer.read_state = read


@mutant(
    "S01",
    statement="The initial hidden state is ignored.",
    cells=PLAIN,
    models="opencv/opencv#23475",
    killed_by=("carry", "forward"),
    fix="start h from the initial state that was given, not from zeros",
)
def initial_hidden_state_ignored(layer: ReplaceableLayer) -> None:
    given_states(layer, lambda state: (0 * state[0], *state[1:]))


@mutant(
    "S01b",
    statement="The initial cell state is ignored.",
    cells=("lstm", "lstm-peephole"),
    killed_by=("carry", "forward"),
    fix="start c from the initial cell state that was given, not from zeros",
)
def initial_cell_state_ignored(layer: ReplaceableLayer) -> None:
    given_states(layer, lambda state: (state[0], 0 * state[1]))


@mutant(
    "S02",
    statement="Every step reads the initial hidden state instead of the previous one.",
    cells=PLAIN,
    models="tracel-ai/burn#2701",
    killed_by=("carry", "forward"),
    fix="read h_{t-1} at step t, not h_0: assign the new h at the end of every step",
)
def initial_hidden_state_at_every_step(layer: ReplaceableLayer) -> None:
    right = layer.step
    layer.step = lambda at, p, x, state: right(at, p, x, (at.start[0], *state[1:]))


@mutant(
    "S03",
    statement="Without an initial state, the first step leaves out the recurrent bias together "
    "with the recurrent product.",
    cells=("gru",),
    models="ml-explore/mlx#3249",
    killed_by=("default-state",),
    fix="add b_hn in the first step without an initial state, too: r ⊙ (0 U_n + b_hn) is not 0",
)
def no_recurrent_bias_without_a_state(layer: ReplaceableLayer) -> None:
    right = layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        first = at.t == 0 and layer.given.state is None
        return right(at, changed(p, b_hn=0 * p.b_hn) if first else p, x, state)

    layer.step = step


@mutant(
    "S04",
    statement="The backward direction starts from the forward direction's initial state.",
    cells=PLAIN,
    models="PaddlePaddle/Paddle#27644",
    killed_by=("direction", "forward"),
    needs=("bidirectional",),
    fix="start the backward direction from its own state: entry 2 * layer + 1 of h_0 (and c_0)",
)
def one_state_for_both_directions(layer: ReplaceableLayer) -> None:
    directions = layer.case.directions
    index = [k - k % directions for k in range(layer.case.layers * directions)]
    given_states(layer, lambda state: tuple(s[index] for s in state))


@mutant(
    "S05",
    statement="Every layer starts from the initial state of the lowest layer.",
    cells=PLAIN,
    models="pytorch/pytorch#95137",
    killed_by=("forward",),
    needs=("layers",),
    fix="start every layer from its own state: entry layer * directions + direction of h_0 "
    "(and c_0)",
)
def one_state_for_all_levels(layer: ReplaceableLayer) -> None:
    directions = layer.case.directions
    index = [k % directions for k in range(layer.case.layers * directions)]
    given_states(layer, lambda state: tuple(s[index] for s in state))


@mutant(
    "S06",
    statement="Every row starts from the initial state of row 0.",
    cells=PLAIN,
    models="llvm/torch-mlir#4741",
    killed_by=("batch-permutation", "batch-single", "forward"),
    fix="start every row from its own state: h_0[:, b] for row b, not h_0[:, 0] for all",
)
def one_state_for_all_rows(layer: ReplaceableLayer) -> None:
    given_states(layer, lambda state: tuple(s[:, [0] * s.shape[1]] for s in state))


@mutant(
    "S07",
    statement="Each row starts from the final state of the row before it.",
    cells=PLAIN,
    models="alibaba/MNN#1573",
    killed_by=("batch-single", "batch-permutation", "forward"),
    fix="start row b from its own initial state, not from where row b - 1 ended: reset it for "
    "every row",
)
def row_starts_where_the_one_before_ended(layer: ReplaceableLayer) -> None:
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        outputs, finals, start = [], [], tuple(s[:1] for s in at.start)
        for b in range(x.shape[1]):
            lengths = None if at.lengths is None else at.lengths[b : b + 1]
            y, start = right(replace(at, start=start, lengths=lengths), p, x[:, b : b + 1])
            outputs.append(y)
            finals.append(start)
        together = (np.concatenate(parts) for parts in zip(*finals, strict=True))
        return np.concatenate(outputs, axis=1), tuple(together)

    layer.unroll = unroll


@mutant(
    "S08",
    statement="Without an initial state, a call starts from the final state of the previous call.",
    cells=PLAIN,
    models="tensorflow/tensorflow#46620",
    killed_by=("repeat",),
    fix="start from zeros when no initial state is given: keep nothing of the call before",
)
def state_kept_between_calls(layer: ReplaceableLayer) -> None:
    read, write = layer.read_state, layer.write
    last: list[State] = []

    def read_last(state: State | None, x: Array) -> State:
        fits = state is None and last and last[0][0].shape[1] == x.shape[1]
        return last[0] if fits else read(state, x)

    def keep(y: Array, final: State, lengths: Array | None) -> tuple[Array, State]:
        last[:] = [tuple(np.array(plain(s)) for s in final)]
        return write(y, final, lengths)

    layer.read_state, layer.write = read_last, keep


@mutant(
    "S09",
    statement="The final state overwrites the caller's initial state; without an initial state, "
    "x is changed in place.",
    cells=PLAIN,
    models="keras-team/keras#23464",
    killed_by=("purity",),
    fix="copy the caller's arrays (initial state, x) before writing into them",
)
def writes_into_the_callers_arrays(layer: ReplaceableLayer) -> None:
    right = layer.give_outputs

    def give(result: Result) -> Result:
        given = layer.given
        for s, final in zip(given.state or (), result.final, strict=False):
            _write(s, final)
        if given.state is None:
            _write(given.x, 2 * given.x)
        return right(result)

    layer.give_outputs = give


def _write(target: Array, numbers: Array) -> None:
    if target.flags.writeable:
        target[...] = numbers


@mutant(
    "S10",
    statement="The final states are returned as (c, h) instead of (h, c).",
    cells=("lstm", "lstm-peephole"),
    models="microsoft/nni#2842",
    killed_by=("final", "carry", "forward"),
    fix="return the final states as (h, c), not (c, h)",
)
def cell_state_returned_first(layer: ReplaceableLayer) -> None:
    layer.write = lambda y, final, lengths: (y, final[::-1])


@mutant(
    "S11",
    statement="The forward direction's final state is also returned as that of the backward "
    "direction.",
    cells=PLAIN,
    models="tflearn/tflearn#522",
    killed_by=("final", "forward"),
    needs=("bidirectional",),
    fix="return the backward direction's own final state as entry 2 * layer + 1, not the "
    "forward one's",
)
def forward_state_returned_twice(layer: ReplaceableLayer) -> None:
    directions = layer.case.directions
    index = [k - k % directions for k in range(layer.case.layers * directions)]
    layer.write = lambda y, final, lengths: (y, tuple(s[index] for s in final))


@mutant(
    "S12",
    statement="A row's state takes one step more than its outputs before it stops.",
    cells=PLAIN,
    models="apache/mxnet#18669",
    killed_by=("final", "forward"),
    needs=("lengths",),
    fix="stop the state with its row: update it where t < length, not where t <= length",
)
def state_masked_one_step_late(layer: ReplaceableLayer) -> None:
    def carry(at: At, new: State, old: State) -> State:
        active = None if at.lengths is None else (at.t < at.lengths + 1)[:, None]
        return tuple(choose(active, n, o) for n, o in zip(new, old, strict=True))

    layer.carry = carry


@mutant(
    "S13",
    statement="Input with as many steps as rows is taken for batch-first, and the outputs are "
    "returned so.",
    cells=PLAIN,
    models="pytorch/pytorch#19675",
    killed_by=("shapes",),
    fix="take the layout from the option (batch_first), not from the sizes: look for T == B",
)
def time_and_batch_swapped_where_equal(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        T, B, _ = inputs.x.shape
        if T != B:
            return right(inputs)
        result = right(replace(inputs, x=swapped(inputs.x)))
        return replace(result, y=swapped(result.y))

    layer.run = run


def swapped(x: Array) -> Array:
    """Return x with its first two axes exchanged."""
    return np.stack([x[:, k] for k in range(x.shape[1])])


@mutant(
    "S15",
    statement="Without an initial state, a call starts from random numbers instead of zeros.",
    cells=PLAIN,
    killed_by=("default-state", "repeat"),
    fix="start from zeros when no initial state is given: look for random or uninitialised memory",
)
def default_state_drawn_at_random(layer: ReplaceableLayer) -> None:
    right, rng = layer.read_state, np.random.default_rng()

    def read(state: State | None, x: Array) -> State:
        start = right(state, x)
        if state is not None:
            return start
        return tuple(rng.standard_normal(s.shape).astype(s.dtype) for s in start)

    layer.read_state = read
