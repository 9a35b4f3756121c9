"""Programs that are written differently and correct (R): no check may fail them.

Two equal programs are left out, because the explicit layout does not show the difference: two
biases exchanged where only their sum counts, and dropout in evaluation. Two others are equal only
for special parameters: reset before and after the product with a diagonal U_n, and peepholes of
weight 0.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ...reference.cell import State
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, minimum, sigmoid, tanh, zeros
from ...reference.parameters import Parameters, Sizes
from .catalogue import mutant
from .dtype import computed_in
from .parts import (
    GRU,
    LSTM,
    candidate,
    gate,
    gru_step,
    peephole,
    pre_activation,
    row_after_row,
    steps,
    with_gates,
)
from .replaceable_layer import At, ReplaceableLayer, StepPart, UnrollPart

equivalence = partial(mutant, dtypes=("float64", "float32"))


@equivalence(
    "R01",
    "The units are computed in another order, and states and outputs are put back into the "
    "caller's order.",
    cells=("rnn", *LSTM, *GRU),
)
def units_in_another_order(layer: ReplaceableLayer) -> None:
    H = layer.case.H
    order = layer.case.generator("order of units").permutation(H)
    back = np.argsort(order)

    def unroll(original: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        arrays = {name: array[..., order] for name, array in p.items()}
        arrays["U"] = arrays["U"][:, order]
        start = tuple(s[:, order] for s in at.start)
        y, final = original(at._replace(start=start), Parameters(p.shapes, arrays), x)
        return y[:, :, back], tuple(s[:, back] for s in final)

    layer.wrap("unroll", unroll)


@equivalence(
    "R02",
    "The update gate has the other polarity, and its parameters are negated to match.",
    cells=GRU,
    part="step",
)
def update_gate_negated_twice(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    opposite = "gru-keeps-old" if layer.cell.name == "gru-takes-new" else "gru-takes-new"
    return gru_step(opposite, with_gates(p, W_z=-p.W_z, U_z=-p.U_z, b_z=-p.b_z), x, state)


@equivalence(
    "R03",
    "One product of [x, h] with all weights together computes every gate.",
    cells=("lstm",),
    part="step",
)
def all_gates_in_one_product(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    h, c = state
    H = h.shape[1]
    columns = [np.concatenate([p.W[k], p.U[k]]) for k in range(4)]
    z = np.concatenate([x, h], axis=1) @ np.concatenate(columns, axis=1) + p.b.reshape(-1)
    i, f, g, o = (z[:, k * H : (k + 1) * H] for k in range(4))
    c_new = cell_state(sigmoid(f), c, sigmoid(i), tanh(g))
    return hidden_state(sigmoid(o), c_new), c_new


equivalence(
    "R04",
    "The sigmoid is computed as (1 + tanh(s / 2)) / 2.",
    cells=(*LSTM, *GRU),
    change=lambda layer: steps(
        layer, gate=lambda p, k, x, h, c: (1 + tanh(pre_activation(p, k, x, h, c) / 2)) / 2
    ),
)


@equivalence(
    "R05",
    "The new state is computed as h + (1 − z)(n − h).",
    cells=("gru", "gru-keeps-old"),
    part="step",
)
def state_by_its_difference(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    (h,) = state
    n, z = candidate(p, x, h, gate(p, "r", x, h, h)), gate(p, "z", x, h, h)
    return (h + (1 - z) * (n - h),)


def peephole_first(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate whose terms are added in another order."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return sigmoid(((b + peephole(p, letter, c)) + h @ U) + x @ W)


equivalence(
    "R06",
    "The terms of a gate are added in the order bias, peephole, recurrence, input.",
    cells=("lstm-peephole",),
    change=lambda layer: steps(layer, gate=peephole_first),
)


def backwards(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate whose products are summed from the last term to the first."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return sigmoid(x[:, ::-1] @ W[::-1] + h[:, ::-1] @ U[::-1] + b + peephole(p, letter, c))


equivalence(
    "R07",
    "The sums over inputs and units run from the last term to the first.",
    cells=(*LSTM, *GRU),
    change=lambda layer: steps(layer, gate=backwards),
)


def in_two_parts(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate with a part of the bias added to each of its two products."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return sigmoid((x @ W + b / 4) + (h @ U + 0.75 * b) + peephole(p, letter, c))


equivalence(
    "R08",
    "A quarter of each gate's bias is added to the input's product and the rest to the recurrent "
    "product.",
    cells=(*LSTM, *GRU),
    change=lambda layer: steps(layer, gate=in_two_parts),
)


def with_an_offset(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate; the forget gate's bias is smaller by 1, which is added to the sum."""
    if letter != "f":
        return gate(p, letter, x, h, c)
    return sigmoid(pre_activation(with_gates(p, b_f=p.b_f - 1), "f", x, h, c) + 1)


equivalence(
    "R09",
    "The forget gate's bias is stored without its offset of 1, which is added before the sigmoid.",
    cells=LSTM,
    change=lambda layer: steps(layer, gate=with_an_offset),
)


def clipped(f: Array, c: Array, i: Array, g: Array) -> Array:
    """Return the new cell state, clipped."""
    limit = 1e6 + zeros(c, c.shape)
    return -minimum(-minimum(cell_state(f, c, i, g), limit), limit)


equivalence(
    "R10",
    "The cell state is clipped at a million, which it never reaches.",
    cells=LSTM,
    change=lambda layer: steps(layer, blend=clipped),
)

equivalence(
    "R11",
    "Each row of the batch is computed on its own.",
    part="unroll",
    change=lambda layer, original, at, p, x: row_after_row(
        original, at, p, x, lambda b, before: tuple(s[b : b + 1] for s in at.start)
    ),
)

mutant(
    "R12",
    "The layer accepts and returns float32 but computes in float64.",
    dtypes=("float32",),
    change=partial(computed_in, "float64"),
)


@equivalence(
    "R13",
    "The bias is stored as the weight of an additional input that is always 1.",
    part="step",
)
def bias_as_a_row_of_the_weights(
    layer: ReplaceableLayer, original: StepPart, at: At, p: Parameters, x: Array, state: State
) -> State:
    shapes = layer.cell.shapes(Sizes(x.shape[1] + 1, layer.case.H))
    W = np.concatenate([p.W, p.b[:, None]], axis=1)
    q = Parameters(shapes, {**p, "W": W, "b": 0 * p.b})
    ones = np.ones((x.shape[0], 1), x.dtype)
    return original(at, q, np.concatenate([x, ones], axis=1), state)


@equivalence(
    "R14",
    "The sequence is computed in chunks of four steps, each starting from the state in which the "
    "previous one ended.",
    part="unroll",
)
def in_chunks_of_four(
    layer: ReplaceableLayer, original: UnrollPart, at: At, p: Parameters, x: Array
) -> tuple[Array, State]:
    outputs, state = [], at.start
    for first in range(0, max(len(x), 1), 4):
        remaining = None if at.lengths is None else np.maximum(at.lengths - first, 0)
        chunk_at = at._replace(start=state, lengths=remaining)
        y, state = original(chunk_at, p, x[first : first + 4])
        outputs.append(y)
    return np.concatenate(outputs), state
