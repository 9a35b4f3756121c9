"""Lengths, padding, directions, and rows sorted by length (Q)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import choose, only
from ..numbers.tape import instead, plain
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import masked
from .replaceable_layer import At, Part, ReplaceableLayer, RunPart, UnrollPart

mutant(
    "Q01",
    "The lengths are ignored: every row runs through its padding to the end.",
    ("padding", "batch-single", "forward"),
    models="jax-ml/jax#15183",
    needs=("lengths",),
    fix="hold the state and write zeros to y where t >= length",
    part="read_lengths",
    change=lambda layer, original, lengths: None,
)


@mutant(
    "Q02",
    "The backward direction reads a row's padding before the row itself.",
    ("padding", "forward"),
    models="keras-team/keras#4192",
    needs=("bidirectional", "lengths"),
    fix="reverse each row within its length: step k reads x[length - 1 - k], and the padding stays "
    "last",
)
def backward_direction_starts_in_the_padding(layer: ReplaceableLayer) -> None:
    turn = layer.turn

    layer.turn = lambda direction, x, lengths: turn(direction, x, None)
    layer.turn_back = lambda direction, y, lengths: masked(turn(direction, y, None), lengths)
    layer.wrap(
        "unroll",
        lambda original, at, *args: original(
            at._replace(lengths=None) if at.direction else at, *args
        ),
    )


mutant(
    "Q03",
    "The outputs of the backward direction are returned in the order of computation instead of the "
    "order of the input.",
    ("direction", "final", "forward"),
    models="d2l-ai/d2l-en#2306",
    needs=("bidirectional",),
    fix="put the backward outputs back in input order: y[length - 1 - k] is the output of step k",
    part="turn_back",
    change=lambda layer, original, direction, y, lengths: y,
)

mutant(
    "Q04",
    "The outputs of the whole layer are returned in reverse order of time.",
    ("causality", "forward"),
    models="microsoft/onnxruntime#4187",
    fix="return outputs in the order of the input, y[t] for x[t]: remove a flip along time",
    part="write",
    change=lambda layer, original, y, final, lengths: original(
        layer.turn(1, y, lengths), final, lengths
    ),
)


@mutant(
    "Q05",
    "The backward direction reverses the batch instead of time.",
    ("direction", "batch-single", "forward"),
    models="tensorflow/tensorflow#39635",
    needs=("bidirectional",),
    fix="reverse time, not the batch, for the backward direction: axis 0 of (T, B, D)",
)
def batch_axis_reversed(layer: ReplaceableLayer) -> None:
    def turn(direction: int, x: Array, lengths: Array | None) -> Array:
        return x[:, ::-1] if direction else x

    layer.turn = layer.turn_back = turn


def ends_in(
    layer: ReplaceableLayer, direction: int, read: Callable[[Array, Array | None], Array]
) -> None:
    """Replace one direction's final h by a function of its outputs in input order."""

    def unroll(original: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        y, final = original(at, p, x)
        if at.direction != direction or not len(y):
            return y, final
        return y, (read(layer.turn_back(direction, y, at.lengths), at.lengths), *final[1:])

    layer.wrap("unroll", unroll)


mutant(
    "Q06",
    "The final hidden state of the forward direction is taken from the last step of the batch, "
    "even where a row ends earlier.",
    ("final", "forward"),
    models="pytorch/pytorch#3587",
    needs=("lengths",),
    fix="take each row's final h from its last valid step, length - 1, not from T - 1",
    change=lambda layer: ends_in(layer, 0, lambda y, lengths: y[-1]),
)


def at_the_end(y: Array, lengths: Array | None) -> Array:
    """Return each row's output at its last step."""
    T, B = y.shape[:2]
    ends = np.full(B, T) if lengths is None else lengths
    return y[np.maximum(ends - 1, 0), np.arange(B)]


mutant(
    "Q07",
    "The final hidden state of the backward direction is taken from its output at the last step "
    "instead of the first.",
    ("final", "direction", "forward"),
    models="pytorch/pytorch#3587",
    needs=("bidirectional",),
    fix="take the backward direction's final h from after it has read x[0]: its output at t = 0",
    change=lambda layer: ends_in(layer, 1, at_the_end),
)


@mutant(
    "Q10",
    "Rows sorted by length are put back with the permutation itself instead of its inverse.",
    ("batch-permutation", "batch-single", "forward"),
    models="mead-ml/mead-baseline#677",
    needs=("lengths",),
    fix="put sorted rows back with the inverse permutation: argsort(order), not order",
    part="run",
)
def sorted_twice(layer: ReplaceableLayer, original: RunPart, inputs: Inputs) -> Result:
    if inputs.lengths is None:
        return original(inputs)
    order = np.argsort(-inputs.lengths, kind="stable")
    state = inputs.state and tuple(s[:, order] for s in inputs.state)
    result = original(Inputs(inputs.parameters, inputs.x[:, order], state, inputs.lengths[order]))
    return Result(result.y[:, order], tuple(s[:, order] for s in result.final))


mutant(
    "Q11",
    "A row of length 0 ends in zeros instead of its initial state.",
    ("zero-length",),
    models="onnx/onnx#1674",
    needs=("lengths", "zero_length"),
    fix="return the initial state as the final state of a row of length 0, not zeros",
    part="write",
    change=lambda layer, original, y, final, lengths: original(
        y,
        final if lengths is None else tuple(only((lengths > 0)[None, :, None], s) for s in final),
        lengths,
    ),
)


@mutant(
    "Q15",
    "Each step's input contains a thousandth of the next step's input.",
    ("causality", "forward"),
    fix="read x[t] alone at step t: look for an index or a window that reaches x[t + 1]",
    part="unroll",
)
def sees_the_next_input(
    layer: ReplaceableLayer, original: UnrollPart, at: At, p: Parameters, x: Array
) -> tuple[Array, State]:
    if x.shape[0] > 1 and at.lengths is None:
        x = np.concatenate([x[:-1] + x[1:] / 1000, x[-1:]])
    return original(at, p, x)


mutant(
    "Q16",
    "A sequence of no steps ends in zeros instead of its initial state.",
    ("no-steps",),
    fix="return the initial state as the final state when T = 0, not zeros",
    part="write",
    change=lambda layer, original, y, final, lengths: original(
        y, final if len(y) else tuple(0 * s for s in final), lengths
    ),
)


# Padding: its inputs, outputs and gradients (Q).


mutant(
    "Q08",
    "Beyond the end of a row, the outputs repeat the row's last output instead of being 0.",
    ("padding", "forward"),
    models="microsoft/onnxruntime#12492",
    needs=("lengths",),
    fix="write zeros to y beyond the end of a row; hold only the state there",
    part="show",
    change=lambda layer, original, at, new, old: choose(at.active, new[0], old[0]),
)


@mutant(
    "Q09",
    "Beyond the end of a row, the outputs hold uninitialised memory instead of zeros.",
    ("padding", "repeat", "forward"),
    models="microsoft/onnxruntime#1193",
    needs=("lengths",),
    fix="fill y with zeros before the loop, or beyond each row's end: look for an empty() buffer",
    part="show",
)
def padding_not_written(
    layer: ReplaceableLayer, original: Part, at: At, new: State, old: State
) -> Array:
    rng = layer.memory.setdefault("rng", np.random.default_rng())
    garbage = rng.standard_normal(new[0].shape).astype(new[0].dtype)
    return choose(at.active, new[0], garbage)


@mutant(
    "Q12",
    "The outputs stop at the end of a row, but its state goes on through the padding.",
    ("padding", "final", "forward"),
    models="keras-team/keras#17596",
    needs=("lengths",),
    fix="hold h (and c) where t >= length, not y alone: h = where(t < length, h_new, h_old)",
)
def state_runs_on_in_the_padding(layer: ReplaceableLayer) -> None:
    layer.see = lambda at, x: x
    layer.carry = lambda at, new, old: new


@mutant(
    "Q13",
    "The padding is multiplied by 0, so a NaN in the padding reaches the state.",
    ("padding",),
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


mutant(
    "Q14",
    "Gradients that arrive at outputs in the padding reach the row's last state.",
    ("padding", "gradient"),
    needs=("lengths",),
    fix="ignore cotangents on y where t >= length: set dy to 0 there before the way back",
    part="show",
    change=lambda layer, original, at, new, old: instead(
        choose(at.active, new[0], old[0]), plain(only(at.active, new[0]))
    ),
)

mutant(
    "Q17",
    "A NaN in the padding reaches the gradients, although the outputs are right.",
    ("padding",),
    needs=("lengths",),
    fix="set x to 0 in the padding, x = where(t < length, x, 0): on the way back a where() around "
    "a step's results multiplies its NaN with 0, which is NaN",
    part="see",
    change=lambda layer, original, at, x: x,
)
