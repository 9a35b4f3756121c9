"""An LSTM in the style of a course: columns are examples, a cache for every step."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_cell_forward(xt, a_prev, c_prev, parameters):
    concat = np.concatenate([a_prev, xt], axis=0)
    ft = sigmoid(np.dot(parameters["Wf"], concat) + parameters["bf"])
    it = sigmoid(np.dot(parameters["Wi"], concat) + parameters["bi"])
    cct = np.tanh(np.dot(parameters["Wc"], concat) + parameters["bc"])
    ot = sigmoid(np.dot(parameters["Wo"], concat) + parameters["bo"])
    c_next = ft * c_prev + it * cct
    a_next = ot * np.tanh(c_next)
    return a_next, c_next, (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters)


def lstm_cell_backward(da_next, dc_next, cache):
    a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters = cache
    n_a = a_next.shape[0]
    Wf, Wi = parameters["Wf"], parameters["Wi"]
    Wc, Wo = parameters["Wc"], parameters["Wo"]
    concat = np.concatenate([a_prev, xt], axis=0)  # at: U, W
    dot = da_next * np.tanh(c_next) * ot * (1 - ot)  # at: gate o
    dcct = (dc_next * it + ot * (1 - np.tanh(c_next) ** 2) * it * da_next) * (
        1 - cct**2
    )  # at: gate g
    dit = (
        (dc_next * cct + ot * (1 - np.tanh(c_next) ** 2) * cct * da_next) * it * (1 - it)
    )  # at: gate i
    dft = (
        (dc_next * c_prev + ot * (1 - np.tanh(c_next) ** 2) * c_prev * da_next) * ft * (1 - ft)
    )  # at: gate f
    dWf = np.dot(dft, concat.T)  # at: gate f, W, U
    dWi = np.dot(dit, concat.T)  # at: gate i, W, U
    dWc = np.dot(dcct, concat.T)  # at: gate g, W, U
    dWo = np.dot(dot, concat.T)  # at: gate o, W, U
    dbf = np.sum(dft, axis=1, keepdims=True)  # at: gate f, b
    dbi = np.sum(dit, axis=1, keepdims=True)  # at: gate i, b
    dbc = np.sum(dcct, axis=1, keepdims=True)  # at: gate g, b
    dbo = np.sum(dot, axis=1, keepdims=True)  # at: gate o, b
    da_prev = (
        np.dot(Wf[:, :n_a].T, dft)
        + np.dot(Wi[:, :n_a].T, dit)
        + np.dot(Wc[:, :n_a].T, dcct)
        + np.dot(Wo[:, :n_a].T, dot)
    )  # at: path h
    dc_prev = dc_next * ft + ot * (1 - np.tanh(c_next) ** 2) * ft * da_next  # at: path c
    dxt = (
        np.dot(Wf[:, n_a:].T, dft)
        + np.dot(Wi[:, n_a:].T, dit)
        + np.dot(Wc[:, n_a:].T, dcct)
        + np.dot(Wo[:, n_a:].T, dot)
    )  # at: x
    return {
        "dxt": dxt, "da_prev": da_prev, "dc_prev": dc_prev, "dWf": dWf, "dbf": dbf, "dWi": dWi,
        "dbi": dbi, "dWc": dWc, "dbc": dbc, "dWo": dWo, "dbo": dbo,
    }  # fmt: skip


def lstm_backward(da, da_last, dc_last, caches, n_x, parameters):
    n_a, m, T_x = da.shape
    dx = np.zeros((n_x, m, T_x), da.dtype)
    da_prevt, dc_prevt = da_last, dc_last  # at: path h | path c
    grads = {"d" + name: np.zeros_like(value) for name, value in parameters.items()}
    for t in reversed(range(T_x)):  # at: time
        gradients = lstm_cell_backward(
            da[:, :, t] + da_prevt, dc_prevt, caches[t]
        )  # at: path h, time, path c
        da_prevt = gradients["da_prev"]  # at: path h
        dc_prevt = gradients["dc_prev"]  # at: path c
        dx[:, :, t] = gradients["dxt"]  # at: x
        grads["dWf"] += gradients["dWf"]  # at: gate f, W, U
        grads["dWi"] += gradients["dWi"]  # at: gate i, W, U
        grads["dWc"] += gradients["dWc"]  # at: gate g, W, U
        grads["dWo"] += gradients["dWo"]  # at: gate o, W, U
        grads["dbf"] += gradients["dbf"]  # at: gate f, b
        grads["dbi"] += gradients["dbi"]  # at: gate i, b
        grads["dbc"] += gradients["dbc"]  # at: gate g, b
        grads["dbo"] += gradients["dbo"]  # at: gate o, b
    return dx, da_prevt, dc_prevt, grads


class Layer:
    cell = "lstm"

    def parameters(self, p):
        named = {}
        for k, gate in enumerate("ifco"):
            named["W" + gate] = np.concatenate([p["U"][k], p["W"][k]], axis=0).T
            named["b" + gate] = p["b"][k][:, None]
        return named

    def run(self, p, x, state):
        T, B, _ = x.shape
        H = p["b"].shape[-1]
        a, c = (np.zeros((H, B), x.dtype),) * 2 if state is None else (s.T for s in state)
        parameters, caches, outputs = self.parameters(p), [], np.zeros((H, B, T), x.dtype)
        for t in range(T):
            a, c, cache = lstm_cell_forward(x[t].T, a, c, parameters)
            caches.append(cache)
            outputs[:, :, t] = a
        return outputs, a, c, caches

    def forward(self, p, x, state):
        outputs, a, c, _ = self.run(p, x, state)
        return outputs.transpose(2, 1, 0), (a.T, c.T)

    def vjp(self, p, x, state, dy, dstate):
        *_, caches = self.run(p, x, state)
        H, D = p["b"].shape[-1], x.shape[-1]
        da = dy.transpose(2, 1, 0)
        da_last, dc_last = (d.T for d in dstate)
        dx, da0, dc0, grads = lstm_backward(da, da_last, dc_last, caches, D, self.parameters(p))
        dW = np.stack([grads["dW" + gate].T[H:] for gate in "ifco"])
        dU = np.stack([grads["dW" + gate].T[:H] for gate in "ifco"])
        db = np.stack([grads["db" + gate][:, 0] for gate in "ifco"])
        return {"W": dW, "U": dU, "b": db}, dx.transpose(2, 1, 0), (da0.T, dc0.T)
