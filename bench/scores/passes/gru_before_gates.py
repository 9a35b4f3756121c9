"""A GRU that resets before the product and whose z keeps the old, step by step in functions."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def step(p, x, h):
    z = sigmoid(x @ p.W_z + h @ p.U_z + p.b_z)
    r = sigmoid(x @ p.W_r + h @ p.U_r + p.b_r)
    n = np.tanh(x @ p.W_n + (r * h) @ p.U_n + p.b_n)
    return z * h + (1 - z) * n, (x, h, z, r, n)


def step_backward(p, dh_next, cache):
    x, h, z, r, n = cache
    d_n = dh_next * (1 - z) * (1 - n * n)  # at: gate n
    d_rh = d_n @ p.U_n.T  # at: path h, gate r
    d_r = d_rh * h * r * (1 - r)  # at: gate r
    d_z = dh_next * (h - n) * z * (1 - z)  # at: gate z
    dh = dh_next * z + d_rh * r + d_r @ p.U_r.T + d_z @ p.U_z.T  # at: path h
    dx = d_n @ p.W_n.T + d_r @ p.W_r.T + d_z @ p.W_z.T  # at: x
    dW = np.stack([x.T @ d_r, x.T @ d_z, x.T @ d_n])  # at: W, gate r | W, gate z | W, gate n
    dU = np.stack([h.T @ d_r, h.T @ d_z, (r * h).T @ d_n])  # at: U, gate r | U, gate z | U, gate n
    db = np.stack([d_r.sum(0), d_z.sum(0), d_n.sum(0)])  # at: b, gate r | b, gate z | b, gate n
    return dx, dh, dW, dU, db


def sequence_backward(p, caches, dy, dh):
    dx = []
    dW, dU, db = np.zeros_like(p["W"]), np.zeros_like(p["U"]), np.zeros_like(p["b"])
    for t in reversed(range(len(caches))):  # at: time
        dxt, dh, dWt, dUt, dbt = step_backward(p, dh + dy[t], caches[t])  # at: path h, time
        dx.insert(0, dxt)
        dW += dWt  # at: W
        dU += dUt  # at: U
        db += dbt  # at: b
    return dx, dh, dW, dU, db


class Layer:
    cell = "gru-keeps-old"

    def run(self, p, x, state):
        h = np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype) if state is None else state[0]
        ys, caches = [], []
        for xt in x:
            h, cache = step(p, xt, h)
            ys.append(h)
            caches.append(cache)
        return ys, h, caches

    def forward(self, p, x, state):
        ys, h, _ = self.run(p, x, state)
        return np.stack(ys) if ys else np.zeros((0, *h.shape), x.dtype), (h,)

    def vjp(self, p, x, state, dy, dstate):
        *_, caches = self.run(p, x, state)
        dx, dh, dW, dU, db = sequence_backward(p, caches, dy, dstate[0])
        return {"W": dW, "U": dU, "b": db}, np.stack(dx) if dx else np.zeros_like(x), (dh,)
