"""Layers in NumPy whose gradients are written by hand, as text, so that a slip can be put in."""

from gatewise.verify.subjects.explicit import Explicit, explicit

LSTM = """
class Layer:
    cell = "lstm"

    def run(self, p, x, state):
        h, c = state or (np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype),) * 2
        kept = []
        for x_t in x:
            i, f, o = (sigmoid(x_t @ p["W"][k] + h @ p["U"][k] + p["b"][k]) for k in (0, 1, 3))
            g = np.tanh(x_t @ p["W"][2] + h @ p["U"][2] + p["b"][2])
            c_old, h_old = c, h
            c = f * c_old + i * g
            h = o * np.tanh(c)
            kept.append((x_t, h_old, c_old, i, f, g, o, c, h))
        return kept, h, c

    def forward(self, p, x, state):
        kept, h, c = self.run(p, x, state)
        return np.stack([k[-1] for k in kept]) if kept else np.zeros((0, *h.shape), x.dtype), (h, c)

    def vjp(self, p, x, state, dy, dfinal):
        kept, _, _ = self.run(p, x, state)
        W, U = p["W"], p["U"]
        dW, dU, db, dx = (np.zeros_like(a) for a in (W, U, p["b"], x))
        dh, dc = dfinal
        for t in reversed(range(len(kept))):
            x_t, h_old, c_old, i, f, g, o, c, h = kept[t]
            dh = dh + dy[t]
            do = dh * np.tanh(c)
            dc = dc + dh * o * (1 - np.tanh(c) ** 2)
            di = dc * g
            df = dc * c_old
            dg = dc * i
            da = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)]
            for k in range(4):
                dW[k] += x_t.T @ da[k]
                dU[k] += h_old.T @ da[k]
                db[k] += da[k].sum(0)
            dx[t] = sum(da[k] @ W[k].T for k in range(4))
            dh = sum(da[k] @ U[k].T for k in range(4))
            dc = dc * f
        return {"W": dW, "U": dU, "b": db}, dx, (dh, dc)
"""

GRU = """
class Layer:
    cell = "gru"

    def run(self, p, x, state):
        (h,) = state or (np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype),)
        hs, kept = [h], []
        for x_t in x:
            r = sigmoid(x_t @ p.W_r + h @ p.U_r + p.b_r)
            z = sigmoid(x_t @ p.W_z + h @ p.U_z + p.b_z)
            q = h @ p.U_n + p["b_hn"]
            n = np.tanh(x_t @ p.W_n + p.b_n + r * q)
            h = n + z * (h - n)
            hs.append(h)
            kept.append((r, z, q, n))
        return hs, kept

    def forward(self, p, x, state):
        hs, _ = self.run(p, x, state)
        return np.stack(hs)[1:], (hs[-1],)

    def vjp(self, p, x, state, dy, dfinal):
        hs, kept = self.run(p, x, state)
        dW, dU, db, db_hn, dx = (np.zeros_like(a) for a in (*(p[n] for n in p), x))
        (d,) = dfinal
        for t in range(len(x) - 1, -1, -1):
            r, z, q, n = kept[t]
            d = d + dy[t]
            an = d * (1 - z) * (1 - n * n)
            az = d * (hs[t] - n) * z * (1 - z)
            ar = an * q * r * (1 - r)
            s = an * r
            dW += np.stack([x[t].T @ a for a in (ar, az, an)])
            dU += np.stack([hs[t].T @ a for a in (ar, az, s)])
            db += np.stack([a.sum(0) for a in (ar, az, an)])
            db_hn += s.sum(0)
            dx[t] = ar @ p.W_r.T + az @ p.W_z.T + an @ p.W_n.T
            d = d * z + ar @ p.U_r.T + az @ p.U_z.T + s @ p.U_n.T
        return {"W": dW, "U": dU, "b": db, "b_hn": db_hn}, dx, (d,)
"""

RNN = """
class Layer:
    cell = "rnn"

    def run(self, p, x, state):
        (h,) = state or (np.zeros((x.shape[1], p["b"].shape[-1]), x.dtype),)
        hs = [h]
        for x_t in x:
            hs.append(np.tanh(x_t @ p.W_a + hs[-1] @ p.U_a + p.b_a))
        return hs

    def forward(self, p, x, state):
        hs = self.run(p, x, state)
        return np.stack(hs)[1:], (hs[-1],)

    def vjp(self, p, x, state, dy, dfinal):
        hs = self.run(p, x, state)
        dW, dU, db, dx = (np.zeros_like(a) for a in (p.W_a, p.U_a, p.b_a, x))
        (carried,) = dfinal
        for t in reversed(range(len(x))):
            dh = dy[t] + carried
            da = dh * (1 - hs[t + 1] ** 2)
            dW += x[t].T @ da
            dU += hs[t].T @ da
            db += da.sum(0)
            dx[t] = da @ p.W_a.T
            carried = da @ p.U_a.T
        return {"W": dW[None], "U": dU[None], "b": db[None]}, dx, (carried,)
"""

HEADER = """
import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))

"""


def layer(text: str, right: str = "", wrong: str = "") -> Explicit:
    """Return the subject that a text is, with a line of it written wrongly."""
    assert text.count(right) == 1 or not right, right
    namespace = {}
    exec(HEADER + (text.replace(right, wrong) if right else text), namespace)
    return explicit(namespace["Layer"], "hand-written")
