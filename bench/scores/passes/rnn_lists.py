"""A tanh RNN in the style of a well-known gist: dictionaries by step, h at -1."""

import numpy as np


class Layer:
    cell = "rnn"

    def run(self, p, x, state):
        hs = {-1: np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype) if state is None else state[0]}
        for t in range(len(x)):
            hs[t] = np.tanh(x[t] @ p["W"][0] + hs[t - 1] @ p["U"][0] + p["b"][0])
        return hs

    def forward(self, p, x, state):
        hs, T = self.run(p, x, state), len(x)
        y = np.stack([hs[t] for t in range(T)]) if T else np.zeros((0, *hs[-1].shape), x.dtype)
        return y, (hs[T - 1],)

    def vjp(self, p, x, state, dy, dstate):
        hs = self.run(p, x, state)
        Wxh, Whh = p["W"][0], p["U"][0]
        dWxh, dWhh, dbh = np.zeros_like(Wxh), np.zeros_like(Whh), np.zeros_like(p["b"][0])
        dxs = np.zeros_like(x)
        dhnext = dstate[0]  # at: path h
        for t in reversed(range(len(x))):  # at: time
            dh = dy[t] + dhnext  # at: path h
            dhraw = (1 - hs[t] * hs[t]) * dh  # at: gate a, path h
            dbh += dhraw.sum(axis=0)  # at: b
            dWxh += x[t].T @ dhraw  # at: W
            dWhh += hs[t - 1].T @ dhraw  # at: U
            dxs[t] = dhraw @ Wxh.T  # at: x
            dhnext = dhraw @ Whh.T  # at: path h
        return {"W": dWxh[None], "U": dWhh[None], "b": dbh[None]}, dxs, (dhnext,)
