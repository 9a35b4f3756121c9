"""An LSTM with one matrix for [x h 1], and different lengths by masks."""

import numpy as np


class Layer:
    cell = "lstm"

    def matrix(self, p):
        WUb = np.concatenate([p["W"], p["U"], p["b"][:, None]], 1)
        return np.concatenate(list(WUb), 1)

    def run(self, p, x, state, lengths):
        T, B, _ = x.shape
        H = p["b"].shape[-1]
        M = self.matrix(p)
        h, c = (np.zeros((B, H), x.dtype),) * 2 if state is None else state
        live = np.ones((T, B, 1), bool)
        if lengths is not None:
            live = (np.arange(T)[:, None] < np.asarray(lengths))[..., None]
        kept, ys = [], []
        for t in range(T):
            z = np.concatenate([np.where(live[t], x[t], 0), h, np.ones((B, 1), x.dtype)], 1)
            a = z @ M
            s = 1 / (1 + np.exp(-a))
            i, f, o = s[:, :H], s[:, H : 2 * H], s[:, 3 * H :]
            g = np.tanh(a[:, 2 * H : 3 * H])
            new = f * c + i * g
            kept.append((z, c, i, f, g, o, np.tanh(new)))
            ys.append(np.where(live[t], o * np.tanh(new), 0))
            h = np.where(live[t], o * np.tanh(new), h)
            c = np.where(live[t], new, c)
        return np.stack(ys) if T else np.zeros((0, B, H), x.dtype), h, c, kept, live, M

    def forward(self, p, x, state, lengths=None):
        y, h, c, *_ = self.run(p, x, state, lengths)
        return y, (h, c)

    def backward(self, kept, live, M, dy, dh, dc, D):
        T, B, H = dy.shape
        dM = np.zeros_like(M)
        dx = np.zeros((T, B, D), dy.dtype)
        for t in range(T)[::-1]:  # at: time
            z, c, i, f, g, o, tc = kept[t]  # at: time
            m = live[t]
            d = np.where(m, dh + dy[t], 0)  # at: path h
            e = np.where(m, dc, 0) + d * o * (1 - tc * tc)  # at: path c
            a = np.concatenate(
                [
                    e * g * i * (1 - i),
                    e * c * f * (1 - f),
                    e * i * (1 - g * g),
                    d * tc * o * (1 - o),
                ],
                1,
            )  # at: gate i | gate f | gate g | gate o
            dM += z.T @ a  # at: W, U, b
            dz = a @ M.T  # at: x, path h
            dx[t] = dz[:, :D]  # at: x
            dh = np.where(m, dz[:, D : D + H], dh)  # at: path h
            dc = np.where(m, e * f, dc)  # at: path c
        return dM, dx, dh, dc

    def vjp(self, p, x, state, dy, dstate, lengths=None):
        D, H = x.shape[-1], p["b"].shape[-1]
        *_, kept, live, M = self.run(p, x, state, lengths)
        dM, dx, dh, dc = self.backward(kept, live, M, dy, *dstate, D)
        G = np.stack(np.split(dM, 4, 1))
        return {"W": G[:, :D], "U": G[:, D : D + H], "b": G[:, -1]}, dx, (dh, dc)
