"""Rung 4: every result is written where it is kept; no step makes an array.

The gates stand in the order i, f, o, g, so that one call is the sigmoid of three of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from .one_product import columns, gates_of, gradient

ORDER = (0, 1, 3, 2)
"""i, f, o, g, as places in i, f, g, o."""


@dataclass(frozen=True)
class Kept:
    """Outputs y (T, B, H), final h and c (B, H), the input, and what the way back needs.

    ``states`` and ``cells`` (T + 1, B, H) are h_0 ... h_T and c_0 ... c_T, ``gates`` (T, B, 4 H)
    i, f, o, g, and ``tanh_c`` (T, B, H) is tanh c_1 ... c_T.
    """

    y: Array
    h: Array
    c: Array
    x: Array
    states: Array
    cells: Array
    gates: Array
    tanh_c: Array


def forward(p: Parameters, x: Array, h0: Array, c0: Array) -> Kept:
    """Run over x (T, B, D) from h0 and c0 (B, H)."""
    (T, B, D), H = x.shape, h0.shape[1]
    W, U, b = columns(p["W"], ORDER), columns(p["U"], ORDER), p["b"][list(ORDER)].ravel()
    states, cells = np.empty((T + 1, B, H), x.dtype), np.empty((T + 1, B, H), x.dtype)
    tanh_c, gates = np.empty((T, B, H), x.dtype), np.empty((T, B, 4 * H), x.dtype)
    recurrent, written = np.empty((B, 4 * H), x.dtype), np.empty((B, H), x.dtype)
    states[0], cells[0] = h0, c0
    np.matmul(x.reshape(T * B, D), W, out=gates.reshape(T * B, 4 * H))
    gates += b
    for t in range(T):
        gates[t] += np.matmul(states[t], U, out=recurrent)
        _activate(gates[t])
        i, f, o, g = gates_of(gates[t])
        np.multiply(f, cells[t], out=cells[t + 1])
        cells[t + 1] += np.multiply(i, g, out=written)
        np.tanh(cells[t + 1], out=tanh_c[t])
        np.multiply(o, tanh_c[t], out=states[t + 1])
    return Kept(states[1:], states[T], cells[T], x, states, cells, gates, tanh_c)


def backward(
    p: Parameters, run: Kept, dy: Array, dh: Array, dc: Array
) -> tuple[Parameters, Array, Array, Array]:
    """Pull dy (T, B, H), dh and dc (B, H) back to the parameters, x, h0 and c0."""
    (T, B, D), H = run.x.shape, dh.shape[1]
    W, U = columns(p["W"], ORDER), columns(p["U"], ORDER)
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(p["b"].ravel())
    more_W, more_U, more_b = np.empty_like(W), np.empty_like(U), np.empty_like(db)
    dz, dh, dc = np.empty_like(run.gates), dh.copy(), dc.copy()
    scratch = np.empty((B, H), run.x.dtype)
    for t in reversed(range(T)):
        dh += dy[t]
        step_vjp(run, t, dz[t], dh, dc, scratch)
        np.matmul(dz[t], U.T, out=dh)
        dW += np.matmul(run.x[t].T, dz[t], out=more_W)
        dU += np.matmul(run.states[t].T, dz[t], out=more_U)
        db += dz[t].sum(axis=0, out=more_b)
    dx = (dz.reshape(T * B, 4 * H) @ W.T).reshape(T, B, D)
    return gradient(p, dW, dU, db, ORDER), dx, dh, dc


def _activate(z: Array) -> None:
    """Turn pre-activations (B, 4 H) of i, f, o, g into gates."""
    H = z.shape[1] // 4
    sigmoids, g = z[:, : 3 * H], z[:, 3 * H :]
    np.negative(sigmoids, out=sigmoids)
    np.exp(sigmoids, out=sigmoids)
    sigmoids += 1
    np.divide(1, sigmoids, out=sigmoids)
    np.tanh(g, out=g)


def step_vjp(run: Kept, t: int, dz: Array, dh: Array, dc: Array, scratch: Array) -> None:
    """Write step t's cotangents of pre-activations to dz (B, 4 H), and turn dc' into dc.

    ``dh`` (B, H) is that of h'. What each gate's cotangent is multiplied by is its slope, and what
    it was multiplied with.
    """
    i, f, o, g = gates_of(run.gates[t])
    di, df, do, dg = gates_of(dz)
    np.multiply(run.tanh_c[t], run.tanh_c[t], out=scratch)
    np.subtract(1, scratch, out=scratch)
    scratch *= o
    scratch *= dh
    dc += scratch
    np.subtract(1, run.gates[t], out=dz)
    dz *= run.gates[t]
    np.multiply(g, g, out=dg)
    np.subtract(1, dg, out=dg)
    for gate, factor, cotangent in (
        (di, g, dc), (df, run.cells[t], dc), (do, run.tanh_c[t], dh), (dg, i, dc)
    ):  # fmt: skip
        np.multiply(gate, factor, out=gate)
        np.multiply(gate, cotangent, out=gate)
    dc *= f
