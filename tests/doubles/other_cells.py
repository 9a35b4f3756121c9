"""NumPy layers that are other cells than they claim: parts of the equations are replaced.

``step`` takes parameters, input and state and returns the new state; ``LSTM`` and others run it.
"""

from __future__ import annotations

import numpy as np


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def norm(z, eps=1e-5, *, centred=True):
    z = z - z.mean(-1, keepdims=True) if centred else z
    return z / np.sqrt((z * z).mean(-1, keepdims=True) + eps)


class Layer:
    """A layer of one direction and level; subclasses are its cells."""

    cell = "lstm"

    def forward(self, p, x, state=None):
        H, B = p["b"].shape[-1], x.shape[1]
        count = 2 if self.cell == "lstm" else 1
        state = (np.zeros((B, H), x.dtype),) * count if state is None else state
        ys = []
        for x_t in x:
            new = self.step(p, x_t, state)
            state, y = self.carry(new, state), self.show(new, state, x_t)
            ys.append(y)
        return np.stack(ys) if ys else np.zeros((0, B, H), x.dtype), state

    def step(self, p, x, state):
        return self.blend(self.pre(p, x, state[0]), state)

    def pre(self, p, x, h):
        return [x @ W + h @ U + b for W, U, b in zip(p["W"], p["U"], p["b"], strict=True)]

    def blend(self, z, state):
        i, f, g, o = z
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    def carry(self, new, old):
        return new

    def show(self, new, old, x):
        return self.carry(new, old)[0]


class RNN(Layer):
    cell = "rnn"

    def blend(self, z, state):
        return (np.tanh(z[0]),)


class GRU(Layer):
    cell = "gru"

    def step(self, p, x, state):
        (h,) = state
        a, u = ([v @ M for M in p[n]] for v, n in ((x, "W"), (h, "U")))
        a, u = self.a(a), self.u(u)
        r, z = (sigmoid(a[k] + u[k] + p["b"][k]) for k in (0, 1))
        n = np.tanh(a[2] + p["b"][2] + r * (u[2] + p["b_hn"]))
        return (z * h + (1 - z) * n,)

    def a(self, parts):
        return parts

    u = a
