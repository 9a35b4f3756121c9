"""Rung 1: as the equations are written. Every gate has a product with W and one with U."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from .pointwise import Run, backward_step, forward_step


def forward(p: Parameters, x: Array, h0: Array, c0: Array) -> Run:
    """Run over x (T, B, D) from h0 and c0 (B, H)."""
    y, h, c, steps = np.empty((*x.shape[:2], h0.shape[1]), x.dtype), h0, c0, []
    for t in range(len(x)):
        z = [x[t] @ W + h @ U + b for W, U, b in zip(p["W"], p["U"], p["b"], strict=True)]
        step, h, c = forward_step(z, h, c)
        steps.append(step)
        y[t] = h
    return Run(y, h, c, x, steps)


def backward(
    p: Parameters, run: Run, dy: Array, dh: Array, dc: Array
) -> tuple[Parameters, Array, Array, Array]:
    """Pull dy (T, B, H), dh and dc (B, H) back to the parameters, x, h0 and c0."""
    dp, dx = p.map(np.zeros_like), np.empty_like(run.x)
    for t in reversed(range(len(run.x))):
        step = run.steps[t]
        dz, dc = backward_step(step, dh + dy[t], dc)
        dx[t] = sum(d @ W.T for d, W in zip(dz, p["W"], strict=True))
        dh = sum(d @ U.T for d, U in zip(dz, p["U"], strict=True))
        for k, d in enumerate(dz):
            dp["W"][k] += run.x[t].T @ d
            dp["U"][k] += step.h.T @ d
            dp["b"][k] += d.sum(axis=0)
    return dp, dx, dh, dc
