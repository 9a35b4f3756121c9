"""Layers in plain NumPy, as a user might hand them in: ``cell``, ``forward``, ``vjp``.

They import nothing of gatewise, so that they are subjects in a process of their own, and in
programs without gatewise.
"""

import numpy as np


def sigmoid(v):
    """σ by tanh: it neither overflows nor loses its small values' absolute accuracy."""
    return (np.tanh(v / 2) + 1) / 2


def active(lengths, t):
    """Whether each row (B, 1) still runs at step t."""
    return True if lengths is None else (t < np.asarray(lengths))[:, None]


def zeros_like(params):
    return {name: np.zeros_like(array) for name, array in params.items()}


class LSTM:
    """Everything an explicit layer can offer: lengths and gradients."""

    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        ys, _, state = self.unrolled(params, x, state, lengths)
        return ys, state

    def unrolled(self, params, x, state, lengths):
        B, H = x.shape[1], params["U"].shape[1]
        h, c = (np.zeros((B, H), x.dtype),) * 2 if state is None else state
        ys, steps = np.zeros((len(x), B, H), x.dtype), []
        for t in range(len(x)):
            on = active(lengths, t)
            x_t = np.where(on, x[t], 0)
            i, f, o = (
                sigmoid(x_t @ params["W"][k] + h @ params["U"][k] + params["b"][k])
                for k in (0, 1, 3)
            )
            g = np.tanh(x_t @ params["W"][2] + h @ params["U"][2] + params["b"][2])
            new = f * c + i * g
            steps.append((on, x_t, h, c, i, f, g, o, np.tanh(new)))
            ys[t] = np.where(on, o * np.tanh(new), 0)
            h, c = np.where(on, o * np.tanh(new), h), np.where(on, new, c)
        return ys, steps, (h, c)

    def vjp(self, params, x, state, dy, dstate, lengths=None):
        _, steps, _ = self.unrolled(params, x, state, lengths)
        dp, dx, (dh, dc) = zeros_like(params), np.zeros_like(x), dstate
        for t in reversed(range(len(x))):
            on, x_t, h, c, i, f, g, o, tanh_c = steps[t]
            total = np.where(on, dh + dy[t], 0)
            inner = np.where(on, dc, 0) + total * o * (1 - tanh_c**2)
            v = (
                inner * g * i * (1 - i), inner * c * f * (1 - f), inner * i * (1 - g**2),
                total * tanh_c * o * (1 - o),
            )  # fmt: skip
            for k in range(4):
                dp["W"][k] += x_t.T @ v[k]
                dp["U"][k] += h.T @ v[k]
                dp["b"][k] += v[k].sum(axis=0)
            dx[t] = np.where(on, sum(v[k] @ params["W"][k].T for k in range(4)), 0)
            back = sum(v[k] @ params["U"][k].T for k in range(4))
            dh, dc = np.where(on, back, dh), np.where(on, inner * f, dc)
        return dp, dx, (dh, dc)


class KeepsItsState(LSTM):
    """A call without a state goes on where the last one ended; one state alone may be given."""

    stateful, partial_state = True, True
    kept = None

    def reset(self):
        self.kept = None

    def start(self, params, x, state):
        if state is None:
            return self.kept
        zeros = np.zeros((x.shape[1], params["U"].shape[1]), x.dtype)
        return tuple(zeros if s is None else s for s in state)

    def forward(self, params, x, state, lengths=None):
        ys, self.kept = super().forward(params, x, self.start(params, x, state), lengths)
        return ys, self.kept


class ForwardOnly:
    """The least that a layer can offer: a GRU without lengths and without gradients."""

    cell = "gru-takes-new"

    def forward(self, params, x, state):
        (h,) = (np.zeros((x.shape[1], params["U"].shape[1]), x.dtype),) if state is None else state
        ys = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(x):
            r = sigmoid(x_t @ params.W_r + h @ params.U_r + params.b_r)
            z = sigmoid(x_t @ params.W_z + h @ params.U_z + params.b_z)
            n = np.tanh(x_t @ params.W_n + (r * h) @ params.U_n + params.b_n)
            ys[t] = h = z * n + (1 - z) * h
        return ys, (h,)


class GRU(ForwardOnly):
    """The same with gradients, and still without lengths."""

    def vjp(self, params, x, state, dy, dstate):
        h = np.zeros((x.shape[1], params["U"].shape[1]), x.dtype) if state is None else state[0]
        ys, _ = self.forward(params, x, state)
        before = [h, *ys[:-1]]
        dp, dx, (dh,) = zeros_like(params), np.zeros_like(x), dstate
        for t in reversed(range(len(x))):
            h, total = before[t], dh + dy[t]
            r = sigmoid(x[t] @ params.W_r + h @ params.U_r + params.b_r)
            z = sigmoid(x[t] @ params.W_z + h @ params.U_z + params.b_z)
            n = np.tanh(x[t] @ params.W_n + (r * h) @ params.U_n + params.b_n)
            vn = total * z * (1 - n**2)
            reset = vn @ params.U_n.T
            v = reset * h * r * (1 - r), total * (n - h) * z * (1 - z), vn
            for k, seen in enumerate((h, h, r * h)):
                dp["W"][k] += x[t].T @ v[k]
                dp["U"][k] += seen.T @ v[k]
                dp["b"][k] += v[k].sum(axis=0)
            dx[t] = sum(v[k] @ params["W"][k].T for k in range(3))
            gates = v[0] @ params.U_r.T + v[1] @ params.U_z.T
            dh = total * (1 - z) + reset * r + gates
        return dp, dx, (dh,)


class RNN:
    """One direction and level; ``after`` is what becomes of each new state."""

    cell = "rnn"

    def forward(self, params, x, state):
        (h,) = state or (np.zeros((x.shape[1], params["b"].shape[-1]), x.dtype),)
        ys = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(x):
            ys[t] = h = self.after(np.tanh(x_t @ params.W_a + h @ params.U_a + params.b_a), x)
        return ys, (h,)

    def after(self, h, x):
        return h


class StackedRNN:
    """Layers, two directions, and dropout between the layers in training."""

    cell = "rnn"

    def __init__(self, num_layers=1, bidirectional=False, dropout=0.0):
        self.layers, self.directions, self.rate = num_layers, 1 + bidirectional, dropout
        self.training, self.random = True, np.random.default_rng()

    def forward(self, params, x, state):
        B, H = x.shape[1], params[0]["U"].shape[-1]
        (h0,) = state or (np.zeros((len(params), B, H), x.dtype),)
        final, self.seen, self.masks = [], [], []
        for layer in range(self.layers):
            outputs = []
            for direction in range(self.directions):
                k, turn = layer * self.directions + direction, slice(None, None, 1 - 2 * direction)
                h, ys = h0[k], np.zeros((len(x), B, H), x.dtype)
                for t in range(len(x))[turn]:
                    ys[t] = h = np.tanh(x[t] @ params[k].W_a + h @ params[k].U_a + params[k].b_a)
                self.seen.append((x, h0[k], ys))
                final.append(h)
                outputs.append(ys)
            x = np.concatenate(outputs, axis=-1)
            self.masks.append(self.mask(x) if layer < self.layers - 1 else np.ones_like(x))
            x = x * self.masks[-1]
        return x, (np.stack(final),)

    def mask(self, y):
        kept = 1 - self.rate if self.training else 1
        return ((self.random.random(y.shape) < kept) / (kept or 1)).astype(y.dtype)

    def vjp(self, params, x, state, dy, dstate):
        """Pull back through the last call of forward, whose masks were drawn then."""
        d, dh0 = [zeros_like(p) for p in params], np.zeros_like(dstate[0])
        H = params[0]["U"].shape[-1]
        for layer in reversed(range(self.layers)):
            dy, dx = dy * self.masks[layer], 0
            for direction in range(self.directions):
                k, turn = layer * self.directions + direction, 1 - 2 * direction
                x, h0, ys = self.seen[k]
                dh, dx_k = dstate[0][k], np.zeros_like(x)
                for t in range(len(x))[::-turn]:
                    da = (dy[t, :, direction * H : (direction + 1) * H] + dh) * (1 - ys[t] ** 2)
                    before = ys[t - turn] if 0 <= t - turn < len(x) else h0
                    d[k]["W"][0] += x[t].T @ da
                    d[k]["U"][0] += before.T @ da
                    d[k]["b"][0] += da.sum(axis=0)
                    dx_k[t], dh = da @ params[k].W_a.T, da @ params[k].U_a.T
                dx, dh0[k] = dx + dx_k, dh
            dy = dx
        return d, dy, (dh0,)
