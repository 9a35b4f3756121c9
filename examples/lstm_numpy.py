"""An LSTM in NumPy with gradients by hand: rows first, weights as torch packs them. It is right."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class LSTM:
    # How gatewise is to read it: no array has to be transposed or renamed.
    cell, weights, axes, gradient = "lstm", "torch", "BTD", "vjp"

    def forward(self, x, state, weight_ih, weight_hh, bias_ih, bias_hh):
        """Take x (B, T, D) and (h, c), each (B, H); return y (B, T, H) and the last (h, c)."""
        rows, steps, _ = x.shape
        units = weight_hh.shape[1]
        h, c = state or (np.zeros((rows, units), x.dtype), np.zeros((rows, units), x.dtype))
        self.cache, y = [], []
        for t in range(steps):
            a = x[:, t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh
            i, f, g, o = np.split(a, 4, axis=-1)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            self.cache.append((x[:, t], h, c, i, f, g, o))
            c = f * c + i * g
            h = o * np.tanh(c)
            y.append(h)
        return np.stack(y, axis=1), (h, c)

    def vjp(self, weights, x, state, dy, dstate):
        """Return the gradients of the weights, of x and of the first state."""
        self.forward(x, state, **weights)
        sums = {name: np.zeros_like(array) for name, array in weights.items()}
        dx, (dh, dc) = np.zeros_like(x), dstate
        for t, (x_t, h, c, i, f, g, o) in reversed(list(enumerate(self.cache))):
            dh = dh + dy[:, t]
            squashed = np.tanh(f * c + i * g)
            dc = dc + dh * o * (1 - squashed**2)
            di, df = dc * g * i * (1 - i), dc * c * f * (1 - f)
            dg, do = dc * i * (1 - g**2), dh * squashed * o * (1 - o)
            da = np.concatenate([di, df, dg, do], axis=-1)
            sums["weight_ih"] += da.T @ x_t
            sums["weight_hh"] += da.T @ h
            sums["bias_ih"] += da.sum(axis=0)
            sums["bias_hh"] += da.sum(axis=0)
            dx[:, t] = da @ weights["weight_ih"]
            dh, dc = da @ weights["weight_hh"], dc * f
        return sums, dx, (dh, dc)
