"""A minimal gated unit whose candidate has a recurrent weight for each unit, over (B, T, D)."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Layer:
    cell, axes, state, gradient = None, "BTD", "h", "vjp"
    parameters = {"Wf": "D H", "Uf": "H H", "bf": "H", "Wc": "D H", "u": "H"}

    def forward(self, p, x, state):
        y, _, _ = self.run(p, x, state)
        return y[:, 1:], y[:, -1]

    def run(self, p, x, state):
        B, T, _ = x.shape
        y = np.zeros((B, T + 1, len(p.u)), x.dtype)
        if state is not None:
            y[:, 0] = state
        gates, candidates = [], []
        for t in range(T):
            h = y[:, t]
            f = sigmoid(x[:, t] @ p.Wf + h @ p.Uf + p.bf)
            n = np.tanh(x[:, t] @ p.Wc + p.u * f * h)
            y[:, t + 1] = (1 - f) * h + f * n
            gates.append(f)
            candidates.append(n)
        return y, gates, candidates

    def vjp(self, p, x, state, dy, dstate):
        y, gates, candidates = self.run(p, x, state)
        dp, dx = {name: np.zeros_like(a) for name, a in p.items()}, np.zeros_like(x)
        dh = dstate
        for t in reversed(range(x.shape[1])):
            h, f, n = y[:, t], gates[t], candidates[t]
            dh = dh + dy[:, t]
            dn = dh * f * (1 - n**2)
            df = (dh * (n - h) + dn * p.u * h) * f * (1 - f)
            dp["Wf"] += x[:, t].T @ df
            dp["Uf"] += h.T @ df
            dp["bf"] += df.sum(axis=0)
            dp["Wc"] += x[:, t].T @ dn
            dp["u"] += (dn * f * h).sum(axis=0)
            dx[:, t] = df @ p.Wf.T + dn @ p.Wc.T
            dh = dh * (1 - f) + dn * p.u * f + df @ p.Uf.T
        return dp, dx, dh
