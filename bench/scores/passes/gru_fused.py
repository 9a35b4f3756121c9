"""A GRU that resets after the product, with packed matrices of 3 H columns and lists by step."""

import numpy as np


def packed(a):
    return np.concatenate(list(a), axis=-1)


class Layer:
    cell = "gru"

    def run(self, p, x, state):
        W, U, b = packed(p["W"]), packed(p["U"]), packed(p["b"])
        H = p["b"].shape[-1]
        hs = [np.zeros((x.shape[1], H), x.dtype) if state is None else state[0]]
        rs, zs, ns, us = [], [], [], []
        for t in range(len(x)):
            a, u = x[t] @ W + b, hs[-1] @ U
            rz = 1 / (1 + np.exp(-(a[:, : 2 * H] + u[:, : 2 * H])))
            r, z = rz[:, :H], rz[:, H:]
            us.append(u[:, 2 * H :] + p["b_hn"])
            n = np.tanh(a[:, 2 * H :] + r * us[t])
            rs.append(r)
            zs.append(z)
            ns.append(n)
            hs.append((1 - z) * n + z * hs[t])
        return hs, rs, zs, ns, us

    def forward(self, p, x, state):
        hs = self.run(p, x, state)[0]
        return np.stack(hs[1:]) if len(x) else np.zeros((0, *hs[0].shape), x.dtype), (hs[-1],)

    def vjp(self, p, x, state, dy, dstate):
        hs, rs, zs, ns, us = self.run(p, x, state)
        W, U = packed(p["W"]), packed(p["U"])
        dW, dU, dx = np.zeros_like(W), np.zeros_like(U), np.zeros_like(x)
        db, db_hn = np.zeros(W.shape[1], W.dtype), np.zeros_like(p["b_hn"])
        T = len(x)
        (dh,) = dstate
        for t in range(T - 1, -1, -1):  # at: time
            d = dy[t] + dh  # at: path h
            dn = d * (1 - zs[t]) * (1 - ns[t] * ns[t])  # at: gate n
            da = np.concatenate(
                [
                    dn * us[t] * rs[t] * (1 - rs[t]),
                    d * (hs[t] - ns[t]) * zs[t] * (1 - zs[t]),
                    dn,
                ],
                axis=1,
            )  # at: gate r | gate z | gate n
            H = dn.shape[1]
            du = np.concatenate(
                [da[:, : 2 * H], dn * rs[t]], axis=1
            )  # at: U, path h | gate n, U, b_hn
            dW += x[t].T @ da  # at: W
            dU += hs[t].T @ du  # at: U
            db += da.sum(axis=0)  # at: b
            db_hn += du[:, 2 * H :].sum(axis=0)  # at: b_hn
            dx[t] = da @ W.T  # at: x
            dh = d * zs[t] + du @ U.T  # at: path h
        split = {"W": np.stack(np.split(dW, 3, 1)), "U": np.stack(np.split(dU, 3, 1))}
        return {**split, "b": db.reshape(3, -1), "b_hn": db_hn}, dx, (dh,)
