"""A zoneout LSTM as in evaluation: a share of the old states stays. Gradients by hand."""

import numpy as np

KEPT = 0.15


def sigmoid(v):
    return 0.5 + 0.5 * np.tanh(0.5 * v)


class Layer:
    cell, states, gradient = None, "h c", "vjp"
    parameters = {"W": "D 4H", "U": "H 4H", "b": "4H"}

    def forward(self, p, x, state):
        y, final, _ = self.run(p, x, state)
        return y, final

    def run(self, p, x, state):
        h, c = state or (np.zeros((x.shape[1], len(p.U)), x.dtype),) * 2
        y, caches = np.zeros((len(x), *h.shape), x.dtype), []
        for t in range(len(x)):
            i, f, g, o = np.split(x[t] @ p.W + h @ p.U + p.b, 4, axis=-1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            new = f * c + i * g
            shown = np.tanh(new)
            caches.append((h, c, i, f, g, o, shown))
            c = KEPT * c + (1 - KEPT) * new
            h = KEPT * h + (1 - KEPT) * o * shown
            y[t] = h
        return y, (h, c), caches

    def vjp(self, p, x, state, dy, dstate):
        _, _, caches = self.run(p, x, state)
        dh, dc = dstate
        dp, dx = {name: np.zeros_like(a) for name, a in p.items()}, np.zeros_like(x)
        for t in reversed(range(len(x))):
            h, c, i, f, g, o, shown = caches[t]
            dh = dh + dy[t]
            dshown = (1 - KEPT) * dh
            dnew = (1 - KEPT) * dc + dshown * o * (1 - shown**2)
            do = dshown * shown * o * (1 - o)
            da = [dnew * g * i * (1 - i), dnew * c * f * (1 - f), dnew * i * (1 - g**2), do]
            da = np.concatenate(da, axis=-1)
            dp["W"] += x[t].T @ da
            dp["U"] += h.T @ da
            dp["b"] += da.sum(axis=0)
            dx[t] = da @ p.W.T
            dh = KEPT * dh + da @ p.U.T
            dc = KEPT * dc + dnew * f
        return dp, dx, (dh, dc)
