"""The documents' explicit chain rules: Jacobians and sums over paths, as D0, D3 and D4 print them.

These are the slow, literal forms for one sequence without batch: states ``a`` (H,), inputs ``x``
(D,). ``sequence.backpropagate`` computes the same in one pass; the proofs hold the two together.
Row vectors: a' = tanh(x W_a + a U_a + b_a), so the documents' W_aa is the transpose of U_a.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Vector
from .cell import Cell
from .equation import equation
from .functions import tanh_slope, zeros
from .parameters import Parameters

Matrix: TypeAlias = Annotated[Array, "H H"]


@equation(
    "E07",
    "rnn.jacobian",
    latex=r"\frac{\partial a_t}{\partial a_{t-1}} = \mathrm{diag}(1 - a_t^2)\, W_{aa}",
    documents=("D0", "D3", "D4"),
    note="D0 prints “multiplies by W_aaᵀ”: the factor tanh' belongs to it",
)
def jacobian(p: Parameters, a: Vector) -> Matrix:
    """Return J, J[k, j] = d a_t[k] / d a_{t-1}[j], from the *new* state ``a``."""
    return tanh_slope(a)[:, None] * p.U_a.T


@equation(
    "E08",
    "rnn.chain",
    latex=r"\frac{\partial L}{\partial a_0} = \frac{\partial L}{\partial a_T}"
    r" \prod_{t=T}^{1} \mathrm{diag}(1 - a_t^2)\, W_{aa}",
    documents=("D0",),
    note="D0 prints the tanh factors apart from (W_a)^4, which is right for H = 1 only (N2)",
)
def chain(p: Parameters, states: Sequence[Vector], dL: Vector) -> Vector:
    """Pull dL/da_T back through the states a_1 ... a_T to dL/da_0; the order matters."""
    for a in reversed(states):
        dL = dL @ jacobian(p, a)
    return dL


@equation(
    "E09",
    "bptt.output_weight",
    latex=r"\frac{\partial E_3}{\partial V} = (\hat y_3 - y_3) \otimes s_3",
    documents=("D3",),
    note="V (H, C) acts on row vectors here, so the factors stand the other way round",
)
def output_weight_gradient(
    y_hat: Annotated[Array, "C"], y: Annotated[Array, "C"], s: Vector
) -> Annotated[Array, "H C"]:
    """Return dE/dV from probabilities, target and state."""
    return s[:, None] * (y_hat - y)[None, :]


@equation(
    "E12",
    "bptt.delta",
    latex=r"\delta_k^{(t)} = \frac{\partial E_t}{\partial z_k} = \frac{\partial E_t}{\partial s_t}"
    r" \frac{\partial s_t}{\partial s_k} \frac{\partial s_k}{\partial z_k},"
    r" \quad z_k = U x_k + W s_{k-1}",
    documents=("D3",),
)
def delta(p: Parameters, states: Sequence[Vector], k: int, dE: Vector) -> Vector:
    """Return δ_k: dE/ds_t pulled back to the pre-activation of step k.

    ``states`` are s_1 ... s_t, so that ``states[k - 1]`` is s_k.
    """
    return chain(p, states[k:], dE) * tanh_slope(states[k - 1])


@equation(
    "E11",
    "bptt.sum_over_paths",
    latex=r"\frac{\partial E_t}{\partial W} = \sum_{k=1}^{t} \frac{\partial E_t}{\partial s_t}"
    r" \left( \prod_{j=k+1}^{t} \frac{\partial s_j}{\partial s_{j-1}} \right)"
    r" \frac{\partial^{+} s_k}{\partial W}",
    documents=("D3", "D4"),
    note="∂⁺ is the immediate derivative, s_{k-1} held fixed; the total one would double-count",
)
def sum_over_paths(
    p: Parameters,
    initial: Vector,
    states: Sequence[Vector],
    inputs: Sequence[Annotated[Array, "D"]],
    dE: Vector,
) -> Parameters:
    """Return dE_t/d(W, U, b): one term for every step k at which the weights were used."""
    dp = p.map(lambda array: zeros(array, array.shape))
    before = [initial, *states[:-1]]
    for k in range(1, len(states) + 1):
        dp = dp + immediate_derivative(p, inputs[k - 1], before[k - 1], delta(p, states, k, dE))
    return dp


def immediate_derivative(
    p: Parameters, x: Annotated[Array, "D"], s: Vector, dz: Vector
) -> Parameters:
    """Pull δ_k back to the weights of step k alone, x_k and s_{k-1} held fixed."""
    arrays = {"W": x[:, None] * dz[None, :], "U": s[:, None] * dz[None, :], "b": dz}
    return Parameters(p.shapes, {name: array[None] for name, array in arrays.items()})


@equation(
    "E19",
    "lstm.carousel",
    latex=r"\left. \frac{\partial c_t}{\partial c_{t-1}} \right|_{h_{t-1}} = \mathrm{diag}(f_t)",
    documents=("D0", "D4"),
    note="with h_{t-1} held fixed; the path through h adds further terms (see state_jacobian)",
)
def carousel(f: Vector) -> Matrix:
    """Return dc_t/dc_{t-1} from the forget gate."""
    return f[:, None] * np.eye(len(f))


def state_jacobian(
    cell: Cell, p: Parameters, x: Annotated[Array, "_"], state: tuple[Annotated[Array, "*"], ...]
) -> Annotated[Array, "N N"]:
    """Return the full Jacobian of one step in all states together, for every cell.

    ``x`` (D,), states of one row; rows are the new states in order, columns the old ones. For an
    LSTM the block of (c, c) is the carousel; the other three blocks hold what it leaves out.
    """
    x, state = x[None], tuple(s[None] for s in state)
    new, gates = cell.step(p, x, state)
    rows = []
    for k, s in enumerate(new):
        size = math.prod(s.shape)
        for j in range(size):
            cotangent = [zeros(n, n.shape) for n in new]
            cotangent[k] = cotangent[k] + np.eye(size)[j].reshape(s.shape)
            _, _, d_old = cell.vjp(p, x, state, gates, new, tuple(cotangent))
            rows.append(np.concatenate([d.reshape(1, math.prod(d.shape)) for d in d_old], axis=1))
    return np.concatenate(rows)
