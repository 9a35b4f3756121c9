"""Rung 5: the gradients of W, U and b wait until every step is known: one product each."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from .in_place import ORDER, Kept, forward, step_vjp
from .one_product import columns, gradient

__all__ = ["backward", "forward"]


def backward(
    p: Parameters, run: Kept, dy: Array, dh: Array, dc: Array
) -> tuple[Parameters, Array, Array, Array]:
    """Pull dy (T, B, H), dh and dc (B, H) back to the parameters, x, h0 and c0."""
    (T, B, D), H = run.x.shape, dh.shape[1]
    W, U = columns(p["W"], ORDER), columns(p["U"], ORDER)
    dz, dh, dc = np.empty_like(run.gates), dh.copy(), dc.copy()
    scratch = np.empty((B, H), run.x.dtype)
    for t in reversed(range(T)):
        dh += dy[t]
        step_vjp(run, t, dz[t], dh, dc, scratch)
        np.matmul(dz[t], U.T, out=dh)
    flat = dz.reshape(T * B, 4 * H)
    dW = run.x.reshape(T * B, D).T @ flat
    dU = run.states[:T].reshape(T * B, H).T @ flat
    dx = (flat @ W.T).reshape(T, B, D)
    return gradient(p, dW, dU, flat.sum(axis=0), ORDER), dx, dh, dc
