"""Lengths, padding, directions, and rows sorted by length (Q)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import choose, only
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import PLAIN
from .replaceable_layer import At, ReplaceableLayer


@mutant(
    "Q01",
    statement="The lengths are ignored: every row runs through its padding to the end.",
    cells=PLAIN,
    models="jax-ml/jax#15183",
    killed_by=("padding", "batch-single", "forward"),
    needs=("lengths",),
    fix="hold the state and write zeros to y where t >= length",
)
def lengths_ignored(layer: ReplaceableLayer) -> None:
    layer.read_lengths = lambda lengths: None


@mutant(
    "Q02",
    statement="The backward direction reads a row's padding before the row itself.",
    cells=PLAIN,
    models="keras-team/keras#4192",
    killed_by=("padding", "forward"),
    needs=("bidirectional", "lengths"),
    fix="reverse each row within its length: step k reads x[length - 1 - k], and the padding "
    "stays last",
)
def backward_direction_starts_in_the_padding(layer: ReplaceableLayer) -> None:
    turn, unroll = layer.turn, layer.unroll
    layer.turn = lambda direction, x, lengths: turn(direction, x, None)

    def without_lengths(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        return unroll(replace(at, lengths=None) if at.direction else at, p, x)

    def turn_back(direction: int, y: Array, lengths: Array | None) -> Array:
        return masked(turn(direction, y, None), lengths)

    layer.unroll, layer.turn_back = without_lengths, turn_back


def masked(y: Array, lengths: Array | None) -> Array:
    """Return y (T, B, ...) with zeros beyond the end of every row."""
    if lengths is None:
        return y
    return only((np.arange(y.shape[0])[:, None] < lengths)[:, :, None], y)


@mutant(
    "Q03",
    statement="The outputs of the backward direction are returned in the order of computation "
    "instead of the order of the input.",
    cells=PLAIN,
    models="d2l-ai/d2l-en#2306",
    killed_by=("direction", "final", "forward"),
    needs=("bidirectional",),
    fix="put the backward outputs back in input order: y[length - 1 - k] is the output of step k",
)
def backward_outputs_not_turned_back(layer: ReplaceableLayer) -> None:
    layer.turn_back = lambda direction, y, lengths: y


@mutant(
    "Q04",
    statement="The outputs of the whole layer are returned in reverse order of time.",
    cells=PLAIN,
    models="microsoft/onnxruntime#4187",
    killed_by=("causality", "forward"),
    fix="return outputs in the order of the input, y[t] for x[t]: remove a flip along time",
)
def outputs_reversed(layer: ReplaceableLayer) -> None:
    write = layer.write

    def reversed_in_time(y: Array, final: State, lengths: Array | None) -> tuple[Array, State]:
        return write(layer.turn(1, y, lengths), final, lengths)

    layer.write = reversed_in_time


@mutant(
    "Q05",
    statement="The backward direction reverses the batch instead of time.",
    cells=PLAIN,
    models="tensorflow/tensorflow#39635",
    killed_by=("direction", "batch-single", "forward"),
    needs=("bidirectional",),
    fix="reverse time, not the batch, for the backward direction: axis 0 of (T, B, D)",
)
def batch_axis_reversed(layer: ReplaceableLayer) -> None:
    def turn(direction: int, x: Array, lengths: Array | None) -> Array:
        return x[:, ::-1] if direction else x

    layer.turn = layer.turn_back = turn


@mutant(
    "Q06",
    statement="The final hidden state of the forward direction is taken from the last step of "
    "the batch, even where a row ends earlier.",
    cells=PLAIN,
    models="pytorch/pytorch#3587",
    killed_by=("final", "forward"),
    needs=("lengths",),
    fix="take each row's final h from its last valid step, length - 1, not from T - 1",
)
def final_state_from_the_last_step(layer: ReplaceableLayer) -> None:
    _final_from(layer, 0, lambda y, lengths: y[-1])


@mutant(
    "Q07",
    statement="The final hidden state of the backward direction is taken from its output at the "
    "last step instead of the first.",
    cells=PLAIN,
    models="pytorch/pytorch#3587",
    killed_by=("final", "direction", "forward"),
    needs=("bidirectional",),
    fix="take the backward direction's final h from after it has read x[0]: its output at t = 0",
)
def backward_final_state_from_the_last_step(layer: ReplaceableLayer) -> None:
    def at_the_end(y: Array, lengths: Array | None) -> Array:
        T, B = y.shape[:2]
        ends = np.full(B, T) if lengths is None else lengths
        return y[np.maximum(ends - 1, 0), np.arange(B)]

    _final_from(layer, 1, at_the_end)


def _final_from(
    layer: ReplaceableLayer, direction: int, read: Callable[[Array, Array | None], Array]
) -> None:
    """Let the final h of one direction be read from that pass's outputs in input order."""
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = right(at, p, x)
        if at.direction != direction or not len(y):
            return y, final
        return y, (read(layer.turn_back(direction, y, at.lengths), at.lengths), *final[1:])

    layer.unroll = unroll


@mutant(
    "Q10",
    statement="Rows sorted by length are put back with the permutation itself instead of its "
    "inverse.",
    cells=PLAIN,
    models="mead-ml/mead-baseline#677",
    killed_by=("batch-permutation", "batch-single", "forward"),
    needs=("lengths",),
    fix="put sorted rows back with the inverse permutation: argsort(order), not order",
)
def sorted_twice(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        if inputs.lengths is None:
            return right(inputs)
        order = np.argsort(-inputs.lengths, kind="stable")
        state = None if inputs.state is None else tuple(s[:, order] for s in inputs.state)
        result = right(Inputs(inputs.parameters, inputs.x[:, order], state, inputs.lengths[order]))
        return Result(result.y[:, order], tuple(s[:, order] for s in result.final))

    layer.run = run


@mutant(
    "Q11",
    statement="A row of length 0 ends in zeros instead of its initial state.",
    cells=PLAIN,
    models="onnx/onnx#1674",
    killed_by=("zero-length",),
    needs=("lengths", "zero_length"),
    fix="return the initial state as the final state of a row of length 0, not zeros",
)
def empty_row_ends_in_zero(layer: ReplaceableLayer) -> None:
    write = layer.write

    def cleared(y: Array, final: State, lengths: Array | None) -> tuple[Array, State]:
        if lengths is not None:
            final = tuple(only((lengths > 0)[None, :, None], s) for s in final)
        return write(y, final, lengths)

    layer.write = cleared


@mutant(
    "Q15",
    statement="Each step's input contains a thousandth of the next step's input.",
    cells=PLAIN,
    killed_by=("causality", "forward"),
    fix="read x[t] alone at step t: look for an index or a window that reaches x[t + 1]",
)
def sees_the_next_input(layer: ReplaceableLayer) -> None:
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        if x.shape[0] > 1 and at.lengths is None:
            x = np.concatenate([x[:-1] + x[1:] / 1000, x[-1:]])
        return right(at, p, x)

    layer.unroll = unroll


@mutant(
    "Q16",
    statement="A sequence of no steps ends in zeros instead of its initial state.",
    cells=PLAIN,
    killed_by=("no-steps",),
    fix="return the initial state as the final state when T = 0, not zeros",
)
def no_steps_end_in_zero(layer: ReplaceableLayer) -> None:
    write = layer.write

    def cleared(y: Array, final: State, lengths: Array | None) -> tuple[Array, State]:
        return write(y, final if len(y) else tuple(0 * s for s in final), lengths)

    layer.write = cleared


# What stands beyond a row's length, and what becomes of it (Q).


@mutant(
    "Q08",
    statement="Beyond the end of a row, the outputs repeat the row's last output instead of "
    "being 0.",
    cells=PLAIN,
    models="microsoft/onnxruntime#12492",
    killed_by=("padding", "forward"),
    needs=("lengths",),
    fix="write zeros to y beyond the end of a row; hold only the state there",
)
def last_output_repeated_in_the_padding(layer: ReplaceableLayer) -> None:
    layer.show = lambda at, new, old: choose(at.active, new[0], old[0])


@mutant(
    "Q09",
    statement="Beyond the end of a row, the outputs hold uninitialised memory instead of zeros.",
    cells=PLAIN,
    models="microsoft/onnxruntime#1193",
    killed_by=("padding", "repeat", "forward"),
    needs=("lengths",),
    fix="fill y with zeros before the loop, or beyond each row's end: look for an empty() buffer",
)
def padding_not_written(layer: ReplaceableLayer) -> None:
    rng = np.random.default_rng()

    def show(at: At, new: State, old: State) -> Array:
        leftovers = rng.standard_normal(new[0].shape).astype(new[0].dtype)
        return choose(at.active, new[0], leftovers)

    layer.show = show


@mutant(
    "Q12",
    statement="The outputs stop at the end of a row, but its state goes on through the padding.",
    cells=PLAIN,
    models="keras-team/keras#17596",
    killed_by=("padding", "final", "forward"),
    needs=("lengths",),
    fix="hold h (and c) where t >= length, not y alone: h = where(t < length, h_new, h_old)",
)
def state_runs_on_in_the_padding(layer: ReplaceableLayer) -> None:
    layer.see = lambda at, x: x
    layer.carry = lambda at, new, old: new


@mutant(
    "Q13",
    statement="The padding is multiplied by 0, so a NaN in the padding reaches the state.",
    cells=PLAIN,
    killed_by=("padding",),
    needs=("lengths",),
    fix="select with where(t < length, new, old), not by multiplying with a mask: 0 * NaN is NaN",
)
def padding_multiplied_by_zero(layer: ReplaceableLayer) -> None:
    def see(at: At, x: Array) -> Array:
        return x if at.active is None else x * at.active.astype(x.dtype)

    def carry(at: At, new: State, old: State) -> State:
        if at.active is None:
            return new
        on = at.active.astype(new[0].dtype)
        return tuple(on * n + (1 - on) * o for n, o in zip(new, old, strict=True))

    layer.see, layer.carry = see, carry


@mutant(
    "Q14",
    statement="Gradients that arrive at outputs in the padding reach the row's last state.",
    cells=PLAIN,
    killed_by=("padding", "gradient"),
    needs=("lengths",),
    fix="ignore cotangents on y where t >= length: set dy to 0 there before the way back",
)
def cotangents_of_the_padding_count(layer: ReplaceableLayer) -> None:
    def show(at: At, new: State, old: State) -> Array:
        shown = choose(at.active, new[0], old[0])
        return instead(shown, plain(only(at.active, new[0])))

    layer.show = show
