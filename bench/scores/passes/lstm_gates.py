"""An LSTM with variables of its own for every gate."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Layer:
    cell = "lstm"

    def run(self, p, x, state):
        T, B, _ = x.shape
        H = p["b"].shape[-1]
        h, c = (np.zeros((B, H), x.dtype),) * 2 if state is None else state
        steps = []
        for t in range(T):
            i = sigmoid(x[t] @ p.W_i + h @ p.U_i + p.b_i)
            f = sigmoid(x[t] @ p.W_f + h @ p.U_f + p.b_f)
            g = np.tanh(x[t] @ p.W_g + h @ p.U_g + p.b_g)
            o = sigmoid(x[t] @ p.W_o + h @ p.U_o + p.b_o)
            c_new = f * c + i * g
            h_new = o * np.tanh(c_new)
            steps.append((x[t], h, c, i, f, g, o, h_new, c_new))
            h, c = h_new, c_new
        return steps, h, c

    def forward(self, p, x, state):
        steps, h, c = self.run(p, x, state)
        y = [step[7] for step in steps]
        return np.stack(y) if steps else np.zeros((0, *h.shape), x.dtype), (h, c)

    def vjp(self, p, x, state, dy, dstate):
        steps, _, _ = self.run(p, x, state)
        dx = np.zeros_like(x)
        dW_i, dW_f, dW_g, dW_o = np.zeros_like(p["W"])
        dU_i, dU_f, dU_g, dU_o = np.zeros_like(p["U"])
        db_i, db_f, db_g, db_o = np.zeros_like(p["b"])
        dh, dc = dstate  # at: path h, path c
        for t in reversed(range(len(steps))):  # at: time
            xt, h_prev, c_prev, i, f, g, o, h_new, c_new = steps[t]  # at: time
            dh = dh + dy[t]  # at: path h
            do = dh * np.tanh(c_new)  # at: gate o
            dc = dc + dh * o * (1 - np.tanh(c_new) ** 2)  # at: path c
            di = dc * g  # at: gate i
            df = dc * c_prev  # at: gate f
            dg = dc * i  # at: gate g
            dz_i = di * i * (1 - i)  # at: gate i
            dz_f = df * f * (1 - f)  # at: gate f
            dz_g = dg * (1 - g**2)  # at: gate g
            dz_o = do * o * (1 - o)  # at: gate o
            dW_i += xt.T @ dz_i  # at: gate i, W
            dW_f += xt.T @ dz_f  # at: gate f, W
            dW_g += xt.T @ dz_g  # at: gate g, W
            dW_o += xt.T @ dz_o  # at: gate o, W
            dU_i += h_prev.T @ dz_i  # at: gate i, U
            dU_f += h_prev.T @ dz_f  # at: gate f, U
            dU_g += h_prev.T @ dz_g  # at: gate g, U
            dU_o += h_prev.T @ dz_o  # at: gate o, U
            db_i += dz_i.sum(axis=0)  # at: gate i, b
            db_f += dz_f.sum(axis=0)  # at: gate f, b
            db_g += dz_g.sum(axis=0)  # at: gate g, b
            db_o += dz_o.sum(axis=0)  # at: gate o, b
            dx[t] = dz_i @ p.W_i.T + dz_f @ p.W_f.T + dz_g @ p.W_g.T + dz_o @ p.W_o.T  # at: x
            dh = dz_i @ p.U_i.T + dz_f @ p.U_f.T + dz_g @ p.U_g.T + dz_o @ p.U_o.T  # at: path h
            dc = dc * f  # at: path c
        dW = np.stack([dW_i, dW_f, dW_g, dW_o])
        dU = np.stack([dU_i, dU_f, dU_g, dU_o])
        db = np.stack([db_i, db_f, db_g, db_o])
        return {"W": dW, "U": dU, "b": db}, dx, (dh, dc)
