"""NumPy layers whose weights, states or all numbers are rounded; some are wrong beside that."""

from __future__ import annotations

import numpy as np

from other_cells import GRU, RNN, Layer, sigmoid


def scaled(w, levels, axis=None):
    """Round to multiples of the largest magnitude by ``levels``."""
    step = np.maximum(np.abs(w).max(axis=axis, keepdims=True), 1e-30) / levels
    return np.round(w / step) * step


def in_range(w, levels):
    """Round to so many levels from the smallest to the largest."""
    step = (w.max() - w.min()) / levels
    zero = np.round(-w.min() / step)
    return (np.clip(np.round(w / step) + zero, 0, levels) - zero) * step


def half(w):
    return w.astype(np.float16).astype(w.dtype)


def rounding(base, function):
    """Return a cell whose matrices are rounded by a function."""

    class Rounded(base):
        def step(self, p, x, state):
            q = {**p, "W": function(p["W"]), "U": function(p["U"])}
            return super().step(q, x, state)

    return Rounded


def shared(base):
    """Return a cell whose two matrices have one scale."""

    class Rounded(base):
        def step(self, p, x, state):
            step = max(np.abs(p["W"]).max(), np.abs(p["U"]).max()) / 127
            q = {**p, **{n: np.round(p[n] / step) * step for n in ("W", "U")}}
            return super().step(q, x, state)

    return Rounded


class ForgetForOutput(Layer):
    def blend(self, z, state):
        i, f, g, o = z
        return super().blend((i, o, g, f), state)


def storing(base, *, state=False):
    """Return a cell whose outputs, or whose states, too, are kept in float16."""

    class Stored(base):
        def carry(self, new, old):
            return tuple(map(half, new)) if state else new

        def show(self, new, old, x):
            return half(new[0])

    return Stored


def fixed(bits, rule=np.round):
    """Return the rounding of fixed point with so many fractional bits, and four before."""
    return lambda v: np.clip(rule(v * 2.0**bits) / 2.0**bits, -16, 16 - 2.0**-bits)


def fixed_gru(bits, rule=np.round, *, polarity=False):
    """Return a GRU in fixed point; with the update gate's other polarity it is wrong."""
    q = fixed(bits, rule)

    class Fixed(GRU):
        def step(self, p, x, state):
            W, U, b, b_hn = (q(p[n]) for n in ("W", "U", "b", "b_hn"))
            x, h = q(x), q(state[0])
            r, z = (q(sigmoid(q(x @ W[k] + h @ U[k] + b[k]))) for k in (0, 1))
            n = q(np.tanh(q(q(x @ W[2] + b[2]) + q(r * q(h @ U[2] + b_hn)))))
            keep = q(1 - z) if polarity else z
            return (q(q(keep * h) + q(q(1 - keep) * n)),)

    return Fixed


def fixed_rnn(bits, *, bias=True):
    """Return an RNN in fixed point; without its bias it is wrong."""
    q = fixed(bits)

    class Fixed(RNN):
        def step(self, p, x, state):
            z = q(x) @ q(p["W"][0]) + q(state[0]) @ q(p["U"][0])
            return (q(np.tanh(q(z + q(p["b"][0]) if bias else z))),)

    return Fixed
