"""Pieces that mutants put in the place of right ones: parameters read otherwise, open steps.

The steps are the reference's, line by line, with a place for another gate, candidate or state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ...reference.cell import State
from ...reference.cells.gru import candidate as gru_candidate
from ...reference.cells.gru import state_keeps_old, state_takes_new
from ...reference.cells.gru_reset_after import candidate_reset_after
from ...reference.cells.lstm import candidate as lstm_candidate
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, sigmoid
from ...reference.parameters import Parameters
from .replaceable_layer import ReplaceableLayer

Gate: TypeAlias = Callable[[Parameters, str, Array, Array, Array], Array]
"""(parameters, letter, x, h, c) to the activated gate; c is 0 where there is none."""

RNN = ("rnn", "rnn-relu")
LSTM = ("lstm", "lstm-peephole")
GRU = ("gru", "gru-takes-new", "gru-keeps-old")
SKIP = ("skip-rnn", "skip-lstm", "skip-gru")
RECURRENT = ("rnn", *LSTM, *GRU)
PLAIN = ("rnn", "lstm", "gru")
"""One cell of each family, for faults that have nothing to do with the cell."""


def reads(layer: ReplaceableLayer, function: Callable[[Parameters], Parameters]) -> None:
    """Let the layer understand the parameters of every pass otherwise."""
    right = layer.read_parameters
    layer.read_parameters = lambda named: [function(p) for p in right(named)]


def changed(p: Parameters, /, **arrays: Array) -> Parameters:
    """Return the parameters with some arrays replaced."""
    return Parameters(p.shapes, {**p, **arrays})


def with_gates(p: Parameters, /, **gates: Array) -> Parameters:
    """Return the parameters with slices (``W_f``, ``b_r``, ...) replaced."""
    arrays = dict(p)
    for name, value in gates.items():
        array, _, gate = name.partition("_")
        where = p.shapes[array].gates.index(gate)
        stacked = [value if k == where else arrays[array][k] for k in range(len(arrays[array]))]
        arrays[array] = np.stack(stacked)
    return Parameters(p.shapes, arrays)


def gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate, with its peephole if the cell has them."""
    return sigmoid(pre_activation(p, letter, x, h, c))


def pre_activation(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return what a gate's sigmoid is applied to."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    peephole = getattr(p, f"p_{letter}") * c if "p" in p else 0.0
    return x @ W + h @ U + peephole + b


def lstm_step(
    p: Parameters,
    x: Array,
    state: State,
    *,
    gate: Gate = gate,
    blend: Callable[[Array, Array, Array, Array], Array] = cell_state,
) -> State:
    """Step an LSTM, with peepholes if the parameters have them; o sees the new cell state."""
    h, c = state
    f, i = gate(p, "f", x, h, c), gate(p, "i", x, h, c)
    c_new = blend(f, c, i, lstm_candidate(p, x, h))
    return hidden_state(gate(p, "o", x, h, c_new), c_new), c_new


def gru_step(
    cell: str,
    p: Parameters,
    x: Array,
    state: State,
    *,
    gate: Gate = gate,
    candidate: Callable[[Parameters, Array, Array, Array], Array] | None = None,
) -> State:
    """Step a GRU of the three; the candidate is that of the cell unless one is given."""
    (h,) = state
    r, z = gate(p, "r", x, h, h), gate(p, "z", x, h, h)
    own = candidate_reset_after if "b_hn" in p else gru_candidate
    n = (candidate or own)(p, x, h, r)
    return (state_takes_new(z, n, h) if cell == "gru-takes-new" else state_keeps_old(z, n, h),)


def any_step(cell: str, p: Parameters, x: Array, state: State, gate: Gate) -> State:
    """Step an LSTM or a GRU with another gate."""
    if cell in GRU:
        return gru_step(cell, p, x, state, gate=gate)
    return lstm_step(p, x, state, gate=gate)
