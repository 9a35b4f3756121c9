"""NumPy layers that are other cells than they claim: parts of the equations are replaced.

``step`` takes parameters, input and state and returns the new state; ``LSTM`` and others run it.
"""

from __future__ import annotations

import numpy as np

import plain_numpy


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def norm(z, eps=1e-5, *, centred=True):
    z = z - z.mean(-1, keepdims=True) if centred else z
    return z / np.sqrt((z * z).mean(-1, keepdims=True) + eps)


class Layer:
    """A layer of one direction and level; subclasses are its cells."""

    cell = "lstm"

    def forward(self, p, x, state=None):
        H, B = p["b"].shape[-1], x.shape[1]
        count = 2 if self.cell == "lstm" else 1
        state = (np.zeros((B, H), x.dtype),) * count if state is None else state
        ys = []
        for x_t in x:
            new = self.step(p, x_t, state)
            state, y = self.carry(new, state), self.show(new, state, x_t)
            ys.append(y)
        return np.stack(ys) if ys else np.zeros((0, B, H), x.dtype), state

    def step(self, p, x, state):
        return self.blend(self.pre(p, x, state[0]), state)

    def pre(self, p, x, h):
        return [x @ W + h @ U + b for W, U, b in zip(p["W"], p["U"], p["b"], strict=True)]

    def blend(self, z, state):
        i, f, g, o = z
        c = self.cell_state(sigmoid(i), sigmoid(f), np.tanh(g), state[1])
        return sigmoid(o) * self.squashed(c), c

    def cell_state(self, i, f, g, c):
        return f * c + i * g

    def squashed(self, c):
        return np.tanh(c)

    def carry(self, new, old):
        return new

    def show(self, new, old, x):
        return self.carry(new, old)[0]


class RNN(Layer):
    cell = "rnn"

    def blend(self, z, state):
        return (np.tanh(z[0]),)


class GRU(Layer):
    cell = "gru"

    def step(self, p, x, state):
        (h,) = state
        a, u = ([v @ M for M in p[n]] for v, n in ((x, "W"), (h, "U")))
        a, u = self.a(a), self.u(u)
        r, z = (sigmoid(a[k] + u[k] + p["b"][k]) for k in (0, 1))
        n = np.tanh(a[2] + p["b"][2] + r * (u[2] + p["b_hn"]))
        return (z * h + (1 - z) * n,)

    def a(self, parts):
        return parts

    u = a


def mixed(rate_h, rate_c=0.0, *, output="carried"):
    """Return an LSTM with zoneout in evaluation, whose output is ``carried`` or ``new``."""

    class Zoneout(Layer):
        def carry(self, new, old):
            rates = (rate_h, rate_c)
            return tuple(r * o + (1 - r) * n for r, o, n in zip(rates, old, new, strict=True))

        def show(self, new, old, x):
            return new[0] if output == "new" else self.carry(new, old)[0]

    return Zoneout


class ZoneoutGRU(GRU):
    def carry(self, new, old):
        return (0.05 * old[0] + 0.95 * new[0],)


class ResidualRNN(RNN):
    def show(self, new, old, x):
        return new[0] + x if x.shape == new[0].shape else new[0]


class HalvedGRU(GRU):
    def show(self, new, old, x):
        return new[0] / 2


class NoTanh(Layer):
    def squashed(self, c):
        return c


class Clipped(Layer):
    def cell_state(self, i, f, g, c):
        return np.clip(f * c + i * g, -3, 3)


class ClippedGRU:
    """Its new state is clipped, and carried so."""

    cell = "gru-takes-new"

    def forward(self, params, x, state):
        y = []
        for x_t in x:
            _, (h,) = plain_numpy.ForwardOnly().forward(params, x_t[None], state)
            state = (np.clip(h, -0.5, 0.5),)
            y.append(state[0])
        return np.stack(y), state


class Cooled(Layer):
    def pre(self, p, x, h):
        i, f, g, o = super().pre(p, x, h)
        return i / 2, f / 2, g, o - 2


class NormalisedLSTM(Layer):
    """All gates together, W x and U h in one sum; and the cell state where it is shown."""

    def pre(self, p, x, h):
        a = norm(np.concatenate([x @ W + h @ U for W, U in zip(p["W"], p["U"], strict=True)], -1))
        return [z + b for z, b in zip(np.split(a, 4, -1), p["b"], strict=True)]

    def squashed(self, c):
        return np.tanh(norm(c, 1e-3))


class NormalisedRNN(RNN):
    def pre(self, p, x, h):
        W, U, b = (p[n][0] for n in ("W", "U", "b"))
        return [norm(x @ W + h @ U, 1e-6, centred=False) + b]


class NormalisedGRU(GRU):
    def a(self, parts):
        return [*np.split(norm(np.concatenate(parts[:2], -1)), 2, -1), norm(parts[2])]

    u = a


class GainedLSTM(Layer):
    gain = np.linspace(0.5, 2, 200)

    def pre(self, p, x, h):
        g = self.gain[: h.shape[-1]]
        return [g * norm(x @ W) + g * norm(h @ U) + b
                for W, U, b in zip(p["W"], p["U"], p["b"], strict=True)]  # fmt: skip


class UnscaledLSTM(Layer):
    """Its U is stored in units of its largest entry, and is read without that."""

    def pre(self, p, x, h):
        scale = np.abs(p["U"]).max() or 1
        return [x @ W + h @ (U / scale) + b
                for W, U, b in zip(p["W"], p["U"], p["b"], strict=True)]  # fmt: skip


class TenthLSTM(GainedLSTM):
    gain = np.full(200, 0.1)


class Attentive(Layer):
    def step(self, p, x, state):
        return super().step(p, x + 0.1 * x.mean(axis=0), state)


class TwoBack(Layer):
    def forward(self, p, x, state=None):
        self.before = None
        return super().forward(p, x, state)

    def step(self, p, x, state):
        h, c = state
        seen = h if self.before is None else h + self.before / 2
        self.before = h
        return super().step(p, x, (seen, c))


class Foreseeing(Layer):
    def forward(self, p, x, state=None):
        return super().forward(p, x + 0.3 * np.concatenate([x[1:], 0 * x[:1]]), state)


class DoubledForget(Layer):
    def cell_state(self, i, f, g, c):
        return 2 * f * c + i * g


class Affine(RNN):
    def blend(self, z, state):
        return (z[0],)
