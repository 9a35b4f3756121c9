"""Programs that are written differently and are right all the same (R): no check may fail them.

Two equal programs are not among them, because the explicit layout does not show the difference:
two biases exchanged where only their sum counts, and dropout in evaluation. Two are equal only
for some parameters, and wrong for those that are drawn: reset before and after the product where
U_n is diagonal, and peepholes of weight 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.cell import State
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, minimum, sigmoid, tanh, zeros
from ...reference.parameters import Parameters, Sizes
from ..subjects.protocol import Inputs, Result
from .catalogue import mutant
from .parts import (
    GRU,
    LSTM,
    PLAIN,
    Gate,
    any_step,
    gate,
    gru_step,
    lstm_step,
    pre_activation,
    with_gates,
)
from .replaceable_layer import At, ReplaceableLayer

BOTH = ("float64", "float32")


@mutant(
    "R01",
    statement="The units are computed in another order, and states and outputs are put back into "
    "the caller's order.",
    cells=("rnn", *LSTM, *GRU),
    dtypes=BOTH,
)
def units_in_another_order(layer: ReplaceableLayer) -> None:
    H = layer.case.H
    order = layer.case.generator("order of units").permutation(H)
    back, right = np.argsort(order), layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        arrays = {name: array[..., order] for name, array in p.items()}
        arrays["U"] = arrays["U"][:, order]
        start = tuple(s[:, order] for s in at.start)
        y, final = right(replace(at, start=start), Parameters(p.shapes, arrays), x)
        return y[:, :, back], tuple(s[:, back] for s in final)

    layer.unroll = unroll


@mutant(
    "R02",
    statement="The update gate has the other polarity, and its parameters are negated to match.",
    cells=GRU,
    dtypes=BOTH,
)
def update_gate_negated_twice(layer: ReplaceableLayer) -> None:
    other = "gru-keeps-old" if layer.cell.name == "gru-takes-new" else "gru-takes-new"

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return gru_step(other, with_gates(p, W_z=-p.W_z, U_z=-p.U_z, b_z=-p.b_z), x, state)

    layer.step = step


@mutant(
    "R03",
    statement="One product of [x, h] with all weights together computes every gate.",
    cells=("lstm",),
    dtypes=BOTH,
)
def all_gates_in_one_product(layer: ReplaceableLayer) -> None:
    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        h, c = state
        H = h.shape[1]
        columns = [np.concatenate([p.W[k], p.U[k]]) for k in range(4)]
        z = np.concatenate([x, h], axis=1) @ np.concatenate(columns, axis=1) + p.b.reshape(-1)
        i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
        c_new = cell_state(sigmoid(f), c, sigmoid(i), tanh(g))
        return hidden_state(sigmoid(o), c_new), c_new

    layer.step = step


def _with_gate(layer: ReplaceableLayer, gate: Gate) -> None:
    layer.step = lambda at, p, x, s: any_step(layer.cell.name, p, x, s, gate)


@mutant(
    "R04",
    statement="The sigmoid is computed as (1 + tanh(s / 2)) / 2.",
    cells=(*LSTM, *GRU),
    dtypes=BOTH,
)
def sigmoid_by_tanh(layer: ReplaceableLayer) -> None:
    def by_tanh(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        return (1 + tanh(pre_activation(p, letter, x, h, c) / 2)) / 2

    _with_gate(layer, by_tanh)


@mutant(
    "R05",
    statement="The new state is computed as h + (1 − z)(n − h).",
    cells=("gru", "gru-keeps-old"),
    dtypes=BOTH,
)
def state_by_its_difference(layer: ReplaceableLayer) -> None:
    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        (h,) = state
        # With its update gate shut, the step returns n.
        (n,) = gru_step(layer.cell.name, p, x, state, gate=_without_update)
        z = gate(p, "z", x, h, h)
        return (h + (1 - z) * (n - h),)

    layer.step = step


def _without_update(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    return zeros(h, h.shape) if letter == "z" else gate(p, letter, x, h, c)


@mutant(
    "R06",
    statement="The terms of a gate are added in the order bias, peephole, recurrence, input.",
    cells=("lstm-peephole",),
    dtypes=BOTH,
)
def peepholes_added_first(layer: ReplaceableLayer) -> None:
    def first(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        W, U, b, peephole = (getattr(p, f"{array}_{letter}") for array in "WUbp")
        return sigmoid(((b + peephole * c) + h @ U) + x @ W)

    _with_gate(layer, first)


@mutant(
    "R07",
    statement="The sums over inputs and units run from the last term to the first.",
    cells=(*LSTM, *GRU),
    dtypes=BOTH,
)
def sums_from_the_other_end(layer: ReplaceableLayer) -> None:
    def backwards(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
        peephole = getattr(p, f"p_{letter}") * c if "p" in p else 0
        return sigmoid(x[:, ::-1] @ W[::-1] + h[:, ::-1] @ U[::-1] + b + peephole)

    _with_gate(layer, backwards)


@mutant(
    "R08",
    statement="A quarter of each gate's bias is added to the input's product and the rest to the "
    "recurrent product.",
    cells=(*LSTM, *GRU),
    dtypes=BOTH,
)
def bias_in_two_parts(layer: ReplaceableLayer) -> None:
    def parts(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
        peephole = getattr(p, f"p_{letter}") * c if "p" in p else 0
        return sigmoid((x @ W + b / 4) + (h @ U + 0.75 * b) + peephole)

    _with_gate(layer, parts)


@mutant(
    "R09",
    statement="The forget gate's bias is stored without its offset of 1, which is added before "
    "the sigmoid.",
    cells=LSTM,
    dtypes=BOTH,
)
def forget_bias_apart(layer: ReplaceableLayer) -> None:
    def apart(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
        if letter != "f":
            return gate(p, letter, x, h, c)
        return sigmoid(pre_activation(with_gates(p, b_f=p.b_f - 1), "f", x, h, c) + 1)

    _with_gate(layer, apart)


@mutant(
    "R10",
    statement="The cell state is clipped at a million, which it never reaches.",
    cells=LSTM,
    dtypes=BOTH,
)
def clip_that_never_clips(layer: ReplaceableLayer) -> None:
    def clipped(f: Array, c: Array, i: Array, g: Array) -> Array:
        limit = 1e6 + zeros(c, c.shape)
        return -minimum(-minimum(cell_state(f, c, i, g), limit), limit)

    layer.step = lambda at, p, x, s: lstm_step(p, x, s, blend=clipped)


@mutant("R11", statement="Each row of the batch is computed on its own.", cells=PLAIN, dtypes=BOTH)
def row_by_row(layer: ReplaceableLayer) -> None:
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        outputs, finals = [], []
        for b in range(x.shape[1]):
            lengths = None if at.lengths is None else at.lengths[b : b + 1]
            start = tuple(s[b : b + 1] for s in at.start)
            y, final = right(replace(at, start=start, lengths=lengths), p, x[:, b : b + 1])
            outputs.append(y)
            finals.append(final)
        together = tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))
        return np.concatenate(outputs, axis=1), together

    layer.unroll = unroll


@mutant(
    "R12",
    statement="The layer accepts and returns float32 but computes in float64.",
    cells=PLAIN,
    dtypes=("float32",),
)
def computes_in_float64(layer: ReplaceableLayer) -> None:
    right = layer.run

    def run(inputs: Inputs) -> Result:
        def double(a: Array) -> Array:
            return a.astype("float64")

        state = None if inputs.state is None else tuple(double(s) for s in inputs.state)
        named = {name: double(a) for name, a in inputs.parameters.items()}
        result = right(Inputs(named, double(inputs.x), state, inputs.lengths))
        back = layer.case.dtype
        return Result(result.y.astype(back), tuple(s.astype(back) for s in result.final))

    layer.run = run


@mutant(
    "R13",
    statement="The bias is stored as the weight of an additional input that is always 1.",
    cells=PLAIN,
    dtypes=BOTH,
)
def bias_as_a_row_of_the_weights(layer: ReplaceableLayer) -> None:
    right = layer.step

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        shapes = layer.cell.shapes(Sizes(x.shape[1] + 1, layer.case.H))
        W = np.concatenate([p.W, p.b[:, None]], axis=1)
        q = Parameters(shapes, {**p, "W": W, "b": 0 * p.b})
        one = np.ones((x.shape[0], 1), x.dtype)
        return right(at, q, np.concatenate([x, one], axis=1), state)

    layer.step = step


@mutant(
    "R14",
    statement="The sequence is computed in chunks of four steps, each starting from the state in "
    "which the previous one ended.",
    cells=PLAIN,
    dtypes=BOTH,
)
def in_chunks_of_four(layer: ReplaceableLayer) -> None:
    right = layer.unroll

    def unroll(at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        outputs, state = [], at.start
        for first in range(0, max(x.shape[0], 1), 4):
            left = None if at.lengths is None else np.maximum(at.lengths - first, 0)
            here = replace(at, start=state, lengths=left)
            y, state = right(here, p, x[first : first + 4])
            outputs.append(y)
        return np.concatenate(outputs), state

    layer.unroll = unroll
