"""An LSTM in the style of a well-known gist: dictionaries by step, h and c at -1, loops."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def forward_pass(inputs, hprev, cprev, Wx, Wh, b):
    xs, hs, cs, acts = {}, {-1: hprev}, {-1: cprev}, {}
    H = hprev.shape[1]
    for t in range(len(inputs)):
        xs[t] = inputs[t]
        z = xs[t] @ Wx + hs[t - 1] @ Wh + b
        i, f = sigmoid(z[:, :H]), sigmoid(z[:, H : 2 * H])
        g, o = np.tanh(z[:, 2 * H : 3 * H]), sigmoid(z[:, 3 * H :])
        cs[t] = f * cs[t - 1] + i * g
        hs[t] = o * np.tanh(cs[t])
        acts[t] = i, f, g, o
    return xs, hs, cs, acts


def backward(xs, hs, cs, acts, dys, dhlast, dclast, Wx, Wh, b):
    T = len(xs)
    dWx, dWh, db = np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)
    dxs = []
    dhnext, dcnext = dhlast, dclast  # at: path h | path c
    for t in reversed(range(T)):  # at: time
        i, f, g, o = acts[t]  # at: time
        dh = dys[t] + dhnext  # at: path h
        dc = dcnext + dh * o * (1 - np.tanh(cs[t]) ** 2)  # at: path c
        draw = np.hstack(
            [
                dc * g * i * (1 - i),
                dc * cs[t - 1] * f * (1 - f),
                dc * i * (1 - g * g),
                dh * np.tanh(cs[t]) * o * (1 - o),
            ]
        )  # at: gate i | gate f | gate g | gate o
        dWx += xs[t].T @ draw  # at: W
        dWh += hs[t - 1].T @ draw  # at: U
        db += draw.sum(axis=0)  # at: b
        dxs.append(draw @ Wx.T)  # at: x
        dhnext = draw @ Wh.T  # at: path h
        dcnext = dc * f  # at: path c
    return dWx, dWh, db, dxs[::-1], dhnext, dcnext


class Layer:
    cell = "lstm"

    def run(self, p, x, state):
        B, H = x.shape[1], p["b"].shape[-1]
        h, c = (np.zeros((B, H), x.dtype),) * 2 if state is None else state
        Wx, Wh, b = np.hstack(list(p["W"])), np.hstack(list(p["U"])), p["b"].reshape(-1)
        return forward_pass(x, h, c, Wx, Wh, b), (Wx, Wh, b)

    def forward(self, p, x, state):
        (_, hs, cs, _), _ = self.run(p, x, state)
        T = len(x)
        y = np.stack([hs[t] for t in range(T)]) if T else np.zeros((0, *hs[-1].shape), x.dtype)
        return y, (hs[T - 1], cs[T - 1])

    def vjp(self, p, x, state, dy, dstate):
        kept, arrays = self.run(p, x, state)
        dWx, dWh, db, dxs, dh, dc = backward(*kept, dy, *dstate, *arrays)
        dW, dU = np.stack(np.split(dWx, 4, 1)), np.stack(np.split(dWh, 4, 1))
        dx = np.stack(dxs) if dxs else np.zeros_like(x)
        return {"W": dW, "U": dU, "b": db.reshape(4, -1)}, dx, (dh, dc)
