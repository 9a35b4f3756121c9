"""Building blocks of mutants: changed parameters and results, steps with replaceable gates.

The steps are the reference's, line by line, with arguments for another gate, candidate or state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ...reference.cells.gru import candidate as gru_candidate
from ...reference.cells.gru import state_keeps_old, state_takes_new
from ...reference.cells.gru_reset_after import candidate_reset_after
from ...reference.cells.lstm import cell_state, hidden_state
from ...reference.functions import Array, sigmoid, tanh
from ...reference.parameters import Parameters
from ...reference.sequence import only
from ..subjects.protocol import Cotangents, Inputs, Result
from .replaceable_layer import At, ReplaceableLayer, UnrollPart

Gate: TypeAlias = Callable[[Parameters, str, Array, Array, Array], Array]
"""A function of (parameters, letter, x, h, c) that returns the gate; c is 0 without a state c."""

LSTM = ("lstm", "lstm-peephole")
GRU = ("gru", "gru-takes-new", "gru-keeps-old")
SKIP = ("skip-rnn", "skip-lstm", "skip-gru")
RECURRENT = ("rnn", *LSTM, *GRU)
PLAIN = ("rnn", "lstm", "gru")
"""One cell of each family, for mistakes that do not depend on the cell."""


def reads(layer: ReplaceableLayer, function: Callable[[Parameters], Parameters]) -> None:
    """Replace the parameters of every pass by a function of them."""
    layer.wrap("read_parameters", lambda original, named: [function(p) for p in original(named)])


def some(
    arrays: Sequence[Array | None], which: Sequence[int], function: Callable[[Array], Array]
) -> tuple[Array, ...]:
    """Return arrays with a function applied to some of them, except to None."""
    return tuple(
        function(a) if a is not None and k in which else a for k, a in enumerate(arrays)
    )  # fmt: skip


def masked(a: Array, lengths: Floats | None) -> Array:
    """Return an array (T, B, width) with 0 past each row's end."""
    active = None if lengths is None else np.arange(len(a))[:, None] < np.asarray(lengths)
    return only(active, a)


def one_step_late(a: Array) -> Array:
    """Return the arrays of all steps, shifted by one step, with zeros in the first."""
    return np.concatenate([0 * a[:1], a[:-1]])


def takes(layer: ReplaceableLayer, function: Callable[[Inputs], Inputs]) -> None:
    """Replace the layer's inputs by a function of them."""
    layer.wrap("run", lambda original, inputs: original(function(inputs)))


def takes_states(
    layer: ReplaceableLayer, which: Sequence[int], function: Callable[[Array], Array]
) -> None:
    """Replace some initial states, if there are any, by a function of them."""
    takes(layer, lambda i: replace(i, state=i.state and some(i.state, which, function)))


def returns(layer: ReplaceableLayer, function: Callable[[Result], Result]) -> None:
    """Replace the layer's outputs by a function of them."""
    layer.wrap("run", lambda original, inputs: function(original(inputs)))


def pulls(layer: ReplaceableLayer, function: Callable[[Cotangents], Cotangents]) -> None:
    """Replace the cotangents by a function of them."""
    layer.wrap("read_cotangents", lambda original, cotangents: function(original(cotangents)))


def pulls_outputs(layer: ReplaceableLayer, function: Callable[[Array], Array]) -> None:
    """Replace the cotangent of the outputs by a function of it, if there is one."""
    pulls(layer, lambda pair: (some(pair[:1], (0,), function)[0], pair[1]))


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


def affine(p: Parameters, letter: str, x: Array, h: Array) -> Array:
    """Return x W + h U + b of one gate."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return x @ W + h @ U + b


def peephole(p: Parameters, letter: str, c: Array) -> Array:
    """Return the term of a gate's peephole; 0 if the cell has none."""
    return getattr(p, f"p_{letter}") * c if "p" in p else 0.0


def pre_activation(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return the argument of a gate's sigmoid."""
    W, U, b = (getattr(p, f"{array}_{letter}") for array in "WUb")
    return x @ W + h @ U + peephole(p, letter, c) + b


def gate(p: Parameters, letter: str, x: Array, h: Array, c: Array) -> Array:
    """Return a gate, with its peephole if the cell has them."""
    return sigmoid(pre_activation(p, letter, x, h, c))


def candidate(p: Parameters, x: Array, h: Array, r: Array) -> Array:
    """Return the candidate of a GRU, reset before or after the product as in the cell."""
    return (candidate_reset_after if "b_hn" in p else gru_candidate)(p, x, h, r)


def lstm_step(
    p: Parameters,
    x: Array,
    state: State,
    *,
    gate: Gate = gate,
    squash: Callable[[Array], Array] = tanh,
    blend: Callable[[Array, Array, Array, Array], Array] = cell_state,
    show: Callable[[Array, Array], Array] = hidden_state,
) -> State:
    """Step an LSTM, with peepholes if the parameters have them; o sees the new cell state."""
    h, c = state
    f, i = gate(p, "f", x, h, c), gate(p, "i", x, h, c)
    c_new = blend(f, c, i, squash(affine(p, "g", x, h)))
    return show(gate(p, "o", x, h, c_new), c_new), c_new


def gru_step(
    cell: str,
    p: Parameters,
    x: Array,
    state: State,
    *,
    gate: Gate = gate,
    candidate: Callable[[Parameters, Array, Array, Array], Array] = candidate,
) -> State:
    """Step a GRU; ``cell`` decides the polarity of z."""
    (h,) = state
    r, z = gate(p, "r", x, h, h), gate(p, "z", x, h, h)
    n = candidate(p, x, h, r)
    return (state_takes_new(z, n, h) if cell == "gru-takes-new" else state_keeps_old(z, n, h),)


def steps(layer: ReplaceableLayer, **others: Callable[..., Array]) -> None:
    """Replace the ``gate``, ``blend``, ``candidate``, ... in the step of an LSTM or a GRU."""
    cell = layer.cell.name
    step = partial(gru_step, cell) if cell in GRU else lstm_step
    layer.step = lambda at, p, x, state: step(p, x, state, **others)


def row_after_row(
    unroll: UnrollPart,
    at: At,
    p: Parameters,
    x: Array,
    start: Callable[[int, State | None], State],
) -> tuple[Array, State]:
    """Unroll each row alone, from ``start(row number, final state of the row before)``."""
    outputs: list[Array] = []
    finals: list[State] = []
    for b in range(x.shape[1]):
        lengths = None if at.lengths is None else at.lengths[b : b + 1]
        first = start(b, finals[-1] if finals else None)
        y, final = unroll(at._replace(start=first, lengths=lengths), p, x[:, b : b + 1])
        outputs.append(y)
        finals.append(final)
    together = tuple(np.concatenate(parts) for parts in zip(*finals, strict=True))
    return np.concatenate(outputs, axis=1), together
