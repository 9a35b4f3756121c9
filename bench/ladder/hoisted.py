"""Rung 3: x with W does not depend on h, so that one product serves all steps; likewise for dx."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from .one_product import columns, gates_of, gradient
from .pointwise import Run, backward_step, forward_step


def forward(p: Parameters, x: Array, h0: Array, c0: Array) -> Run:
    """Run over x (T, B, D) from h0 and c0 (B, H)."""
    (T, B, D), H = x.shape, h0.shape[1]
    y, h, c, steps = np.empty((T, B, H), x.dtype), h0, c0, []
    W, U, b = columns(p["W"]), columns(p["U"]), p["b"].ravel()
    inputs = (x.reshape(T * B, D) @ W + b).reshape(T, B, 4 * H)
    for t in range(T):
        z = inputs[t] + h @ U
        step, h, c = forward_step(gates_of(z), h, c)
        steps.append(step)
        y[t] = h
    return Run(y, h, c, x, steps)


def backward(
    p: Parameters, run: Run, dy: Array, dh: Array, dc: Array
) -> tuple[Parameters, Array, Array, Array]:
    """Pull dy (T, B, H), dh and dc (B, H) back to the parameters, x, h0 and c0."""
    (T, B, D), H = run.x.shape, dh.shape[1]
    W, U = columns(p["W"]), columns(p["U"])
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(p["b"].ravel())
    dz = np.empty((T, B, 4 * H), run.x.dtype)
    for t in reversed(range(T)):
        step = run.steps[t]
        split, dc = backward_step(step, dh + dy[t], dc)
        dz[t] = np.concatenate(split, axis=1)
        dh = dz[t] @ U.T
        dW += run.x[t].T @ dz[t]
        dU += step.h.T @ dz[t]
        db += dz[t].sum(axis=0)
    dx = (dz.reshape(T * B, 4 * H) @ W.T).reshape(T, B, D)
    return gradient(p, dW, dU, db), dx, dh, dc
