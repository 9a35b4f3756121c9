"""The four topologies (E32), which differ in the steps that read inputs and return outputs.

Every function returns its output and a *pullback*, which takes the output's cotangent to the
gradients of the arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Lengths, Rows, Sequences
from .cell import Cell, State
from .equation import equation
from .functions import zeros
from .parameters import Parameters, Sizes
from .sequence import Step, backpropagate, unroll

Weight: TypeAlias = Annotated[Array, "H D"]
Pullback: TypeAlias = Callable[[Array], tuple[Parameters, Array, State]]
GeneratorPullback: TypeAlias = Callable[[Sequences], tuple[Parameters, Weight, Rows, State]]


@equation(
    "E32",
    "topology.many_to_many",
    latex=r"x_1, \dots, x_T \mapsto h_1, \dots, h_T",
    documents=("D1", "D2"),
    note="same length; T = 1 is one-to-one",
)
def many_to_many(
    cell: Cell, p: Parameters, x: Sequences, state: State, lengths: Lengths | None = None
) -> tuple[Sequences, Pullback]:
    """Return every output."""
    run = unroll(cell, p, x, state, lengths)

    def pull(dy: Sequences) -> tuple[Parameters, Sequences, State]:
        return backpropagate(cell, p, run, dy, _zeros_like(run.final))

    return run.y, pull


@equation(
    "E32",
    "topology.one_to_one",
    latex=r"x \mapsto h",
    documents=("D2",),
    note="“like a traditional neural network”",
)
def one_to_one(cell: Cell, p: Parameters, x: Rows, state: State) -> tuple[Rows, Pullback]:
    """Return one output from one input."""
    y, pull_all = many_to_many(cell, p, x[None], state)

    def pull(dy: Rows) -> tuple[Parameters, Rows, State]:
        dp, dx, dstate = pull_all(dy[None])
        return dp, dx[0], dstate

    return y[0], pull


@equation(
    "E32",
    "topology.many_to_one",
    latex=r"x_1, \dots, x_T \mapsto h_T",
    documents=("D1", "D2"),
    note="with lengths, each row's last own step",
)
def many_to_one(
    cell: Cell, p: Parameters, x: Sequences, state: State, lengths: Lengths | None = None
) -> tuple[Rows, Pullback]:
    """Return the last output."""
    run = unroll(cell, p, x, state, lengths)

    def pull(dy: Rows) -> tuple[Parameters, Sequences, State]:
        dfinal = (dy, *_zeros_like(run.final)[1:])
        return backpropagate(cell, p, run, zeros(run.y, run.y.shape), dfinal)

    return run.final[0], pull


@equation(
    "E32",
    "topology.one_to_many",
    latex=r"y_t = h_t V, \quad x_{t+1} = y_t",
    documents=("D1", "D2"),
    note="one input; every later step reads the output before it",
)
def one_to_many(
    cell: Cell, p: Parameters, V: Weight, x: Rows, state: State, steps: int
) -> tuple[Sequences, GeneratorPullback]:
    """Return outputs from one input x and the read-out V."""
    tape: list[Step] = []
    outputs = [zeros(x, (0, *x.shape))]
    for _ in range(steps):
        new, gates = cell.step(p, x, state)
        tape.append(Step(x, state, gates, new, None))
        state, x = new, new[0] @ V
        outputs.append(x[None])

    def pull(dy: Sequences) -> tuple[Parameters, Weight, Rows, State]:
        dp, dV = p.map(lambda a: zeros(a, a.shape)), zeros(V, V.shape)
        dstate, dx = _zeros_like(state), zeros(x, x.shape)
        for t in reversed(range(steps)):
            step = tape[t]
            d_out = dy[t] + dx
            dV = dV + step.new[0].T @ d_out
            dstate = (dstate[0] + d_out @ V.T, *dstate[1:])
            dp_t, dx, dstate = cell.vjp(p, step.x, step.state, step.gates, step.new, dstate)
            dp = dp + dp_t
        return dp, dV, dx, dstate

    return np.concatenate(outputs), pull


@equation(
    "E32",
    "topology.encoder_decoder",
    latex=r"s_0^{\mathrm{dec}} = s_T^{\mathrm{enc}}, \quad y_t = h_t^{\mathrm{dec}} V,"
    r" \quad x_{t+1}^{\mathrm{dec}} = y_t",
    documents=("D1", "D2"),
    note="many-to-many of different lengths: translation, music",
)
def encoder_decoder(
    encoder: tuple[Cell, Parameters],
    decoder: tuple[Cell, Parameters],
    V: Weight,
    x: Sequences,
    start: Rows,
    steps: int,
    lengths: Lengths | None = None,
) -> tuple[Array, Callable[[Array], tuple[Parameters, Parameters, Array, Array, Array]]]:
    """Return outputs (steps, B, D_out): the decoder starts in the encoder's final state.

    ``x`` (T, B, D_in) is read by the encoder, ``start`` (B, D_out) is the decoder's first input.
    Both cells carry the same states. The pullback gives the gradients of the encoder's and the
    decoder's parameters, of V (H, D_out), of x and of start.
    """
    (cell_in, p_in), (cell_out, p_out) = encoder, decoder
    sizes = Sizes(x.shape[2], p_in["U"].shape[-1])
    initial = cell_in.initial_state(x, x.shape[1], sizes)
    read = unroll(cell_in, p_in, x, initial, lengths)
    y, pull_out = one_to_many(cell_out, p_out, V, start, read.final, steps)

    def pull(dy: Array) -> tuple[Parameters, Parameters, Array, Array, Array]:
        dp_out, dV, dstart, dfinal = pull_out(dy)
        no_dy = zeros(read.y, read.y.shape)
        dp_in, dx, _ = backpropagate(cell_in, p_in, read, no_dy, dfinal)
        return dp_in, dp_out, dV, dx, dstart

    return y, pull


def _zeros_like(state: State) -> State:
    return tuple(zeros(s, s.shape) for s in state)
