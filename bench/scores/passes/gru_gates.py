"""A GRU that resets after the product, with variables of its own for every gate."""

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Layer:
    cell = "gru"

    def run(self, p, x, state):
        T, B, _ = x.shape
        h = np.zeros((B, p["b"].shape[-1]), x.dtype) if state is None else state[0]
        steps = []
        for t in range(T):
            r = sigmoid(x[t] @ p.W_r + h @ p.U_r + p.b_r)
            z = sigmoid(x[t] @ p.W_z + h @ p.U_z + p.b_z)
            s = h @ p.U_n + p["b_hn"]
            n = np.tanh(x[t] @ p.W_n + p.b_n + r * s)
            h_new = z * h + (1 - z) * n
            steps.append((x[t], h, r, z, n, s, h_new))
            h = h_new
        return steps, h

    def forward(self, p, x, state):
        steps, h = self.run(p, x, state)
        return np.stack([s[6] for s in steps]) if steps else np.zeros((0, *h.shape), x.dtype), (h,)

    def backward(self, p, x, steps, dy, dh):
        dx = np.zeros_like(x)
        dW_r, dW_z, dW_n = np.zeros_like(p["W"])
        dU_r, dU_z, dU_n = np.zeros_like(p["U"])
        db_r, db_z, db_n = np.zeros_like(p["b"])
        db_hn = np.zeros_like(p["b_hn"])
        for t in reversed(range(len(steps))):  # at: time
            xt, h, r, z, n, s, h_new = steps[t]  # at: time
            dh = dh + dy[t]  # at: path h
            dz = dh * (h - n)  # at: gate z
            dn = dh * (1 - z)  # at: gate n
            dan = dn * (1 - n**2)  # at: gate n
            dr = dan * s  # at: gate r
            ds = dan * r  # at: U, b_hn, gate n
            dar = dr * r * (1 - r)  # at: gate r
            daz = dz * z * (1 - z)  # at: gate z
            dW_r += xt.T @ dar  # at: gate r, W
            dW_z += xt.T @ daz  # at: gate z, W
            dW_n += xt.T @ dan  # at: gate n, W
            dU_r += h.T @ dar  # at: gate r, U
            dU_z += h.T @ daz  # at: gate z, U
            dU_n += h.T @ ds  # at: gate n, U
            db_r += dar.sum(0)  # at: gate r, b
            db_z += daz.sum(0)  # at: gate z, b
            db_n += dan.sum(0)  # at: gate n, b
            db_hn += ds.sum(0)  # at: b_hn
            dx[t] = dar @ p.W_r.T + daz @ p.W_z.T + dan @ p.W_n.T  # at: x
            dh = dh * z + dar @ p.U_r.T + daz @ p.U_z.T + ds @ p.U_n.T  # at: path h
        dW, dU = np.stack([dW_r, dW_z, dW_n]), np.stack([dU_r, dU_z, dU_n])
        return {"W": dW, "U": dU, "b": np.stack([db_r, db_z, db_n]), "b_hn": db_hn}, dx, (dh,)

    def vjp(self, p, x, state, dy, dstate):
        steps, _ = self.run(p, x, state)
        return self.backward(p, x, steps, dy, dstate[0])
