"""A GRU that resets before the product and whose z takes the new, with lists by step."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Layer:
    cell = "gru-takes-new"

    def run(self, p, x, state):
        hs = {-1: np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype) if state is None else state[0]}
        z, r, hh = {}, {}, {}
        for t in range(len(x)):
            z[t] = sigmoid(x[t] @ p.W_z + hs[t - 1] @ p.U_z + p.b_z)
            r[t] = sigmoid(x[t] @ p.W_r + hs[t - 1] @ p.U_r + p.b_r)
            hh[t] = np.tanh(x[t] @ p.W_n + (r[t] * hs[t - 1]) @ p.U_n + p.b_n)
            hs[t] = (1 - z[t]) * hs[t - 1] + z[t] * hh[t]
        return hs, z, r, hh

    def forward(self, p, x, state):
        hs, *_ = self.run(p, x, state)
        T = len(x)
        y = np.stack([hs[t] for t in range(T)]) if T else np.zeros((0, *hs[-1].shape), x.dtype)
        return y, (hs[T - 1],)

    def backward(self, p, x, kept, dy, dhlast):
        hs, z, r, hh = kept
        dx = np.zeros_like(x)
        dWz, dWr, dWn = [np.zeros_like(w) for w in (p.W_z, p.W_r, p.W_n)]
        dUz, dUr, dUn = [np.zeros_like(u) for u in (p.U_z, p.U_r, p.U_n)]
        dbz, dbr, dbn = [np.zeros_like(b) for b in (p.b_z, p.b_r, p.b_n)]
        dhnext = dhlast  # at: path h
        for t in reversed(range(len(x))):  # at: time
            dh = dy[t] + dhnext  # at: path h
            dhh = dh * z[t] * (1 - hh[t] ** 2)  # at: gate n
            drh = dhh @ p.U_n.T  # at: path h, gate r
            dr = drh * hs[t - 1] * r[t] * (1 - r[t])  # at: gate r
            dz = dh * (hh[t] - hs[t - 1]) * z[t] * (1 - z[t])  # at: gate z
            dWn += x[t].T @ dhh  # at: gate n, W
            dWr += x[t].T @ dr  # at: gate r, W
            dWz += x[t].T @ dz  # at: gate z, W
            dUn += (r[t] * hs[t - 1]).T @ dhh  # at: gate n, U
            dUr += hs[t - 1].T @ dr  # at: gate r, U
            dUz += hs[t - 1].T @ dz  # at: gate z, U
            dbn += dhh.sum(axis=0)  # at: gate n, b
            dbr += dr.sum(axis=0)  # at: gate r, b
            dbz += dz.sum(axis=0)  # at: gate z, b
            dx[t] = dhh @ p.W_n.T + dr @ p.W_r.T + dz @ p.W_z.T  # at: x
            dhnext = dh * (1 - z[t]) + drh * r[t] + dr @ p.U_r.T + dz @ p.U_z.T  # at: path h
        arrays = {"W": (dWr, dWz, dWn), "U": (dUr, dUz, dUn), "b": (dbr, dbz, dbn)}
        return {name: np.stack(a) for name, a in arrays.items()}, dx, (dhnext,)

    def vjp(self, p, x, state, dy, dstate):
        return self.backward(p, x, self.run(p, x, state), dy, *dstate)
