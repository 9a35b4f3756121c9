"""Comparison of the documents' chain rules, E07-E12 and E19, with the plain cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reference import bptt
from ...reference.cell import Cell
from ...reference.cells import cell_named, cells
from ...reference.functions import Array
from ...reference.output import cross_entropy_of_logits, softmax
from ...reference.parameters import Parameters
from ...reference.sequence import backpropagate, unroll
from ..cases.case import Case
from ..numbers.arithmetic import FLOAT64
from ..numbers.bounded import Bounded
from ..numbers.complex_step import derivative
from .cell_gradients import COMPLEX_STEP_SHARE
from .material import Material, agree, cell_material, disprove, proof, square_cases

RNN = cell_named("rnn")


def _run(case: Case) -> tuple[Parameters, Array, list[Array], Array]:
    """Return parameters, initial state (H,), states a_1 ... a_T (H,) and inputs (T, D)."""
    m = cell_material(RNN, case)
    run = unroll(RNN, m.p, m.x[:, :1], (m.state[0][:1],))
    return m.p, m.state[0][0], [y[0] for y in np.asarray(run.y)], m.x[:, 0]


def jacobian(case: Case) -> None:
    """E07 is the derivative of one step."""
    p, a, states, x = _run(case)
    columns = []
    for direction in np.eye(case.H):
        (column,) = derivative(lambda z: RNN.step(p, x[:1], (z,))[0], a[None], direction[None])
        columns.append(column[0])
    agree(["rnn.jacobian"], "Jacobian", bptt.jacobian(p, states[0]), np.array(columns).T)


def chain(case: Case) -> None:
    """E08 is the gradient that backpropagation through time carries to the initial state."""
    p, a, states, x = _run(case)
    dL = case.normal("dL", (case.H,))
    run = unroll(RNN, p, x[:, None], (a[None],))
    _, _, (want,) = backpropagate(RNN, p, run, 0 * run.y, (dL[None],))
    agree(["rnn.chain"], "dL/da_0", bptt.chain(p, states, dL), want[0], scale=8.0)


def output_weight(case: Case) -> None:
    """E09 is the derivative of the loss in V."""
    s, V = case.normal("s", (case.H,)), case.normal("V", (case.H, 3))
    y = np.eye(3)[case.seed % 3]
    y_hat = softmax(s @ V)
    direction = case.normal("direction", V.shape)
    (want,) = derivative(lambda z: (cross_entropy_of_logits(s @ z, y),), V, direction)
    got = (bptt.output_weight_gradient(y_hat, y, s) * direction).sum()
    agree(["bptt.output_weight"], "dE/dV", got, want, scale=8.0)


def delta(case: Case) -> None:
    """E12 is the derivative in the pre-activation of step k alone."""
    p, a, states, x = _run(case)
    dE, direction = case.normal("dE", (case.H,)), case.normal("direction", (case.H,))
    k = 1 + case.seed % case.T

    def last(shift: Array) -> tuple[Array, ...]:
        state = a.astype(complex)
        for t in range(1, case.T + 1):
            z = x[t - 1] @ p.W_a + state @ p.U_a + p.b_a
            state = np.tanh(z + shift if t == k else z)
        return (state,)

    (slope,) = derivative(last, np.zeros(case.H), direction)
    got = (bptt.delta(p, states, k, dE) * direction).sum()
    agree(["bptt.delta"], f"delta_{k}", got, (dE * slope).sum(), scale=8.0)


def sum_over_paths(case: Case) -> None:
    """E11, with immediate derivatives, is the gradient of backpropagation through time."""
    p, a, states, x = _run(case)
    dE = case.normal("dE", (case.H,))
    run = unroll(RNN, p, x[:, None], (a[None],))
    want, _, _ = backpropagate(RNN, p, run, 0 * run.y, (dE[None],))
    got = bptt.sum_over_paths(p, a, states, x, dE)
    for name, array in want.items():
        agree(["bptt.sum_over_paths"], f"dE/d{name}", got[name], array, scale=8.0)


def carousel(case: Case) -> None:
    """E19 is the derivative of c' in c with h fixed; the full Jacobian has it as a block."""
    cell = cell_named("lstm")
    m = cell_material(cell, case)
    x, state = m.x[0, 0], tuple(s[0] for s in m.state)
    _, gates = cell.step(m.p, x[None], tuple(s[None] for s in state))
    full = bptt.state_jacobian(cell, m.p, x, state)
    block = full[case.H :, case.H :]
    agree(["lstm.carousel"], "block (c, c)", bptt.carousel(gates["f"][0]), block, scale=8.0)


def full_jacobian(case: Case) -> None:
    """The Jacobian of all states, for every cell, is the derivative of one step."""
    for cell in cells().values():
        m = cell_material(cell, case)
        x, state = m.x[0, 0], tuple(s[0] for s in m.state)
        full = bptt.state_jacobian(cell, m.p, x, state)
        columns = [
            _column(cell, m, k, direction)
            for k, s in enumerate(state)
            for direction in np.eye(s.size).reshape(s.size, *s.shape)
        ]
        b = m.map(lambda array: Bounded.exact(array, FLOAT64))
        bounded: Any = bptt.state_jacobian(cell, b.p, b.x[0, 0], tuple(s[0] for s in b.state))
        error = np.abs(full - np.stack(columns, axis=1))
        if not (error <= COMPLEX_STEP_SHARE * bounded.bound).all():
            disprove(cell.equations, f"{cell.name}: Jacobian: off by {error.max():.3g}")


def _column(cell: Cell, m: Material, k: int, direction: Array) -> Array:
    """Return one step's derivative in all states, along a direction of state k."""

    def step(z: Array) -> tuple[Array, ...]:
        states = [s[:1].astype(complex) for s in m.state]
        states[k] = z
        return cell.step(m.p, m.x[0, :1], tuple(states))[0]

    slopes = derivative(step, m.state[k][:1], direction[None])
    return np.concatenate([slope[0].ravel() for slope in slopes])


PROOFS = (
    proof("chain.jacobian", "∂a_t/∂a_{t-1} = diag(1 - a_t²) W_aa, by complex step.",
          ["rnn.jacobian"], square_cases(), jacobian),
    proof("chain.product", "The ordered product of Jacobians is what BPTT carries back to a_0.",
          ["rnn.chain", "rnn.jacobian"], square_cases(), chain),
    proof("chain.output_weight", "∂E/∂V = (ŷ - y) ⊗ s, by complex step.",
          ["bptt.output_weight"], square_cases(), output_weight),
    proof("chain.delta", "δ_k is the derivative in the pre-activation of step k alone.",
          ["bptt.delta"], square_cases(), delta),
    proof("chain.paths", "The sum over paths of immediate derivatives is the gradient of BPTT.",
          ["bptt.sum_over_paths", "bptt.backpropagate"], square_cases(), sum_over_paths),
    proof("chain.carousel", "∂c_t/∂c_{t-1} = diag(f_t) with h held fixed.",
          ["lstm.carousel"], square_cases(), carousel),
    proof("chain.states", "The Jacobian of a step in all its states, for every cell.",
          sorted({name for cell in cells().values() for name in cell.equations}),
          square_cases(), full_jacobian),
)  # fmt: skip
