"""A tanh RNN in the style of a course: columns are examples, a cache for every step."""

import numpy as np


def rnn_cell_forward(xt, a_prev, Wax, Waa, ba):
    a_next = np.tanh(np.dot(Wax, xt) + np.dot(Waa, a_prev) + ba)
    return a_next, (a_next, a_prev, xt, Wax, Waa)


def rnn_cell_backward(da_next, cache):
    a_next, a_prev, xt, Wax, Waa = cache
    dtanh = (1 - a_next**2) * da_next  # at: gate a, path h
    dxt = np.dot(Wax.T, dtanh)  # at: x
    dWax = np.dot(dtanh, xt.T)  # at: W
    da_prev = np.dot(Waa.T, dtanh)  # at: path h
    dWaa = np.dot(dtanh, a_prev.T)  # at: U
    dba = np.sum(dtanh, axis=1, keepdims=True)  # at: b
    return dxt, da_prev, dWax, dWaa, dba


def rnn_backward(da, da_last, caches, n_x, Wax, Waa, ba):
    n_a, m, T_x = da.shape
    dx = np.zeros((n_x, m, T_x), da.dtype)
    dWax, dWaa, dba = np.zeros_like(Wax), np.zeros_like(Waa), np.zeros_like(ba)
    da_prevt = da_last  # at: path h
    for t in reversed(range(T_x)):  # at: time
        dxt, da_prevt, dWaxt, dWaat, dbat = rnn_cell_backward(
            da[:, :, t] + da_prevt, caches[t]
        )  # at: path h, time
        dx[:, :, t] = dxt  # at: x
        dWax += dWaxt  # at: W
        dWaa += dWaat  # at: U
        dba += dbat  # at: b
    return dx, da_prevt, dWax, dWaa, dba


class Layer:
    cell = "rnn"

    def run(self, p, x, state):
        T, B, _ = x.shape
        H = p["b"].shape[-1]
        a = np.zeros((H, B), x.dtype) if state is None else state[0].T
        arrays = p["W"][0].T, p["U"][0].T, p["b"][0][:, None]
        caches, outputs = [], np.zeros((H, B, T), x.dtype)
        for t in range(T):
            a, cache = rnn_cell_forward(x[t].T, a, *arrays)
            caches.append(cache)
            outputs[:, :, t] = a
        return outputs, a, caches, arrays

    def forward(self, p, x, state):
        outputs, a, *_ = self.run(p, x, state)
        return outputs.transpose(2, 1, 0), (a.T,)

    def vjp(self, p, x, state, dy, dstate):
        *_, caches, arrays = self.run(p, x, state)
        da = dy.transpose(2, 1, 0)
        dx, da0, dW, dU, db = rnn_backward(da, dstate[0].T, caches, x.shape[-1], *arrays)
        named = {"W": dW.T[None], "U": dU.T[None], "b": db.T}
        return named, dx.transpose(2, 1, 0), (da0.T,)
