"""Rung 2: the gates side by side, [x, h] with [W; U]: one product a step instead of eight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from .pointwise import Run, backward_step, forward_step


def forward(p: Parameters, x: Array, h0: Array, c0: Array) -> Run:
    """Run over x (T, B, D) from h0 and c0 (B, H)."""
    y, h, c, steps = np.empty((*x.shape[:2], h0.shape[1]), x.dtype), h0, c0, []
    WU, b = np.concatenate([columns(p["W"]), columns(p["U"])]), p["b"].ravel()
    for t in range(len(x)):
        z = np.concatenate([x[t], h], axis=1) @ WU + b
        step, h, c = forward_step(gates_of(z), h, c)
        steps.append(step)
        y[t] = h
    return Run(y, h, c, x, steps)


def backward(
    p: Parameters, run: Run, dy: Array, dh: Array, dc: Array
) -> tuple[Parameters, Array, Array, Array]:
    """Pull dy (T, B, H), dh and dc (B, H) back to the parameters, x, h0 and c0."""
    WU, D = np.concatenate([columns(p["W"]), columns(p["U"])]), run.x.shape[2]
    dWU, db, dx = np.zeros_like(WU), np.zeros_like(p["b"].ravel()), np.empty_like(run.x)
    for t in reversed(range(len(run.x))):
        step = run.steps[t]
        split, dc = backward_step(step, dh + dy[t], dc)
        dz = np.concatenate(split, axis=1)
        dx[t], dh = np.split(dz @ WU.T, [D], axis=1)
        dWU += np.concatenate([run.x[t], step.h], axis=1).T @ dz
        db += dz.sum(axis=0)
    return gradient(p, dWU[:D], dWU[D:], db), dx, dh, dc


def columns(array: Array, order: Sequence[int] = (0, 1, 2, 3)) -> Array:
    """Return W (4, n, H) as columns (n, 4 H), gate after gate."""
    return array[list(order)].transpose(1, 0, 2).reshape(array.shape[1], -1)


def gates_of(columns: Array) -> Array:
    """Return a view (4, B, H) of columns (B, 4 H): one matrix for each gate."""
    return columns.reshape(len(columns), 4, -1).swapaxes(0, 1)


def gradient(
    p: Parameters, dW: Array, dU: Array, db: Array, order: Sequence[int] = (0, 1, 2, 3)
) -> Parameters:
    """Return the gradients of columns (n, 4 H) and of b (4 H) in the form of ``p``."""
    back, H = np.argsort(order), p["b"].shape[1]
    gates = {
        name: d.reshape(-1, 4, H).transpose(1, 0, 2)[back] for name, d in (("W", dW), ("U", dU))
    }
    return Parameters(p.shapes, {**gates, "b": db.reshape(4, H)[back]})
