"""The mLSTM of xLSTM: a matrix memory with exponential gates, a normaliser and a stabiliser.

The stabiliser m is no part of the mathematical value: C e^m and n e^m follow from the gates alone,
and h is the same with any m. It is a state nevertheless, since programs carry it, and
their C and n are meaningless without it. The output gate is no part of the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array, Same
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..forms import Form
from ..functions import log_sigmoid, sigmoid, switch, zeros
from ..gated_by_input import (
    GATE,
    Arrays,
    Cotangents,
    GatedByInput,
    Heads,
    InputArray,
    Keys,
    Memory,
    Values,
    matrix_times,
    outer,
    rows_times,
    scaled,
)
from ..parameters import Parameters

XLSTM = "Beck et al. 2024, arXiv:2405.04517"


@equation(
    "X51",
    "xlstm.stabiliser",
    latex=r"m_t = \max(\log \sigma(\tilde f_t) + m_{t-1}, \tilde\imath_t)",
    documents=(XLSTM,),
    note="keeps the exponentials below 1; no part of the mathematical value",
)
def stabiliser(f: Same, m: Same, i: Same) -> Same:
    """Return the new stabiliser: the logarithm of the largest weight so far."""
    old = log_sigmoid(f) + m
    return switch(old - i, i, old)


@vjp_of("xlstm.stabiliser")
def stabiliser_vjp(f: Same, m: Same, i: Same, d: Same) -> tuple[Same, Same, Same]:
    """Pull back to (df, dm, di)."""
    ahead, nothing = log_sigmoid(f) + m - i, zeros(d, d.shape)
    dm = switch(ahead, nothing, d)
    return dm * sigmoid(-f), dm, switch(ahead, d, nothing)


@equation(
    "X52",
    "xlstm.input_gate",
    latex=r"i_t = \exp(\tilde\imath_t - m_t)",
    documents=(XLSTM,),
)
def input_gate(i: Same, m_new: Same) -> Same:
    """Return the stabilised input gate."""
    return np.exp(i - m_new)


@vjp_of("xlstm.input_gate")
def input_gate_vjp(i: Same, m_new: Same, d: Same) -> tuple[Same, Same]:
    """Pull back to (di, dm_new)."""
    di = d * np.exp(i - m_new)
    return di, -di


@equation(
    "X53",
    "xlstm.forget_gate",
    latex=r"f_t = \exp(\log \sigma(\tilde f_t) + m_{t-1} - m_t)",
    documents=(XLSTM,),
    note="the sigmoid's form; the paper allows an exponential forget gate as well",
)
def forget_gate(f: Same, m: Same, m_new: Same) -> Same:
    """Return the stabilised forget gate."""
    return np.exp(log_sigmoid(f) + m - m_new)


@vjp_of("xlstm.forget_gate")
def forget_gate_vjp(f: Same, m: Same, m_new: Same, d: Same) -> tuple[Same, Same, Same]:
    """Pull back to (df, dm, dm_new)."""
    dm = d * np.exp(log_sigmoid(f) + m - m_new)
    return dm * sigmoid(-f), dm, -dm


@equation(
    "X54",
    "mlstm.memory",
    latex=r"C_t = f_t C_{t-1} + i_t k_t^\top v_t",
    documents=(XLSTM,),
)
def memory(f: Heads, C: Memory, i: Heads, k: Keys, v: Values) -> Memory:
    """Return the new memory (B, N, K, V)."""
    return f[..., None, None] * C + i[..., None, None] * outer(k, v)


@vjp_of("mlstm.memory")
def memory_vjp(
    f: Heads, C: Memory, i: Heads, k: Keys, v: Values, d: Memory
) -> tuple[Heads, Memory, Heads, Keys, Values]:
    """Pull back to (df, dC, di, dk, dv)."""
    df, di = ((d * a).sum(axis=-1).sum(axis=-1) for a in (C, outer(k, v)))
    weighted = i[..., None, None] * d
    return df, f[..., None, None] * d, di, matrix_times(weighted, v), rows_times(k, weighted)


@equation(
    "X55",
    "mlstm.normaliser",
    latex=r"n_t = f_t n_{t-1} + i_t k_t",
    documents=(XLSTM,),
)
def normaliser(f: Heads, n: Keys, i: Heads, k: Keys) -> Keys:
    """Return the new normaliser (B, N, K)."""
    return f[..., None] * n + i[..., None] * k


@vjp_of("mlstm.normaliser")
def normaliser_vjp(
    f: Heads, n: Keys, i: Heads, k: Keys, d: Keys
) -> tuple[Heads, Keys, Heads, Keys]:
    """Pull back to (df, dn, di, dk)."""
    df, di = ((d * a).sum(axis=-1) for a in (n, k))
    return df, f[..., None] * d, di, i[..., None] * d


@equation(
    "X56",
    "mlstm.output",
    latex=r"h_t = \frac{q_t C_t}{\max(|q_t n_t^\top|, e^{-m_t})}",
    documents=(XLSTM, "Beck et al. 2025, arXiv:2503.14376"),
    note="q is scaled by d_k^(-1/2); 1 in the place of e^(-m) is another function of m",
)
def output(q: Keys, C: Memory, n: Keys, m: Heads) -> Values:
    """Return the output (B, N, V), before the output gate."""
    return rows_times(scaled(q), C) / _denominator(scaled(q), n, m)[..., None]


@vjp_of("mlstm.output")
def output_vjp(
    q: Keys, C: Memory, n: Keys, m: Heads, dh: Values
) -> tuple[Keys, Memory, Keys, Heads]:
    """Pull back to (dq, dC, dn, dm)."""
    s, floor = scaled(q), np.exp(-m)
    read = (s * n).sum(axis=-1)
    size, below = switch(read, -read, read), _denominator(s, n, m)
    d_read = dh / below[..., None]
    d_below = -(d_read * (rows_times(s, C) / below[..., None])).sum(axis=-1)
    nothing = zeros(d_below, d_below.shape)
    d_size = switch(size - floor, nothing, d_below)
    dm = -floor * switch(size - floor, d_below, nothing)
    d_inner = switch(read, -d_size, d_size)[..., None]
    dq = scaled(matrix_times(C, d_read) + d_inner * n)
    return dq, outer(s, d_read), d_inner * s, dm


def _denominator(s: Keys, n: Keys, m: Heads) -> Heads:
    read, floor = (s * n).sum(axis=-1), np.exp(-m)
    size = switch(read, -read, read)
    return switch(size - floor, floor, size)


def _chunk(inputs: Arrays, state: State) -> tuple[Any, State]:
    """Return h of all steps and the states behind them: X51-X56 with sums of log f.

    The weight of step j at step t is e^(c_t - c_j + i_j - m_t), that of the old memory
    e^(c_t + m - m_t), and m_t is the largest of these exponents (Beck et al. 2025, app. A).
    """
    (C, n, m), q, k, v, i = state, scaled(inputs["q"]), inputs["k"], inputs["v"], inputs["i"]
    f = -np.logaddexp(0.0, -inputs["f"])  # log σ
    c, outputs = [f[0]], []
    for t in range(1, len(f)):
        c.append(c[-1] + f[t])
    for t, c_t in enumerate(c):
        exponents = [c_t - c[j] + i[j] for j in range(t + 1)]
        old = m_t = c_t + m
        for exponent in exponents:
            m_t = np.maximum(m_t, exponent)
        decay = np.exp(old - m_t)[..., None]
        weights = [np.exp(exponent - m_t)[..., None] for exponent in exponents]
        scores = [(q[t] * k[j]).sum(axis=-1)[..., None] * w for j, w in enumerate(weights)]
        above, below = decay * rows_times(q[t], C), decay[..., 0] * (q[t] * n).sum(axis=-1)
        for j, w in enumerate(scores):
            above, below = above + w * v[j], below + w[..., 0]
        outputs.append(above / np.maximum(np.abs(below), np.exp(-m_t))[..., None])
    C, n = decay[..., None] * C, decay * n
    for j, w in enumerate(weights):
        C, n = C + outer(w * k[j], v[j]), n + w * k[j]
    return np.stack(outputs), (C, n, m_t)


class MatrixLSTM(GatedByInput):
    """X51-X56."""

    name, title = "mlstm", "mLSTM (xLSTM)"
    equations = (
        "xlstm.stabiliser",
        "xlstm.input_gate",
        "xlstm.forget_gate",
        "mlstm.memory",
        "mlstm.normaliser",
        "mlstm.output",
    )
    state_axes = {"C": "N K V", "n": "N K", "m": "N"}  # noqa: RUF012 - constants of a class
    inputs = (
        InputArray("q", "N K"),
        InputArray("k", "N K"),
        InputArray("v", "N V"),
        InputArray("i", "N"),
        InputArray("f", "N", keeps=GATE),
    )

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Compute X51-X55."""
        (C, n, m), k, v = state, inputs["k"], inputs["v"]
        m_new = stabiliser(inputs["f"], m, inputs["i"])
        i, f = input_gate(inputs["i"], m_new), forget_gate(inputs["f"], m, m_new)
        new = memory(f, C, i, k, v), normaliser(f, n, i, k), m_new
        return new, {"i": i, "f": f}

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back; every gate acts on the memory, on the normaliser and on m."""
        (C, n, m), (dC, dn, dm_new) = state, d_new
        i, f, k, v = gates["i"], gates["f"], inputs["k"], inputs["v"]
        df, dC, di, dk, dv = memory_vjp(f, C, i, k, v, dC)
        df_n, dn, di_n, dk_n = normaliser_vjp(f, n, i, k, dn)
        di_gate, dm_i = input_gate_vjp(inputs["i"], new[2], di + di_n)
        df_gate, dm, dm_f = forget_gate_vjp(inputs["f"], m, new[2], df + df_n)
        dm_new = dm_new + dm_i + dm_f
        df_m, dm_m, di_m = stabiliser_vjp(inputs["f"], m, inputs["i"], dm_new)
        d = {"k": dk + dk_n, "v": dv, "i": di_gate + di_m, "f": df_gate + df_m}
        return d, (dC, dn, dm + dm_m)

    form_kinds = ("chunk", "parallel")

    def formed(
        self, p: Parameters, inputs: Arrays, state: State, form: Form
    ) -> tuple[Any, tuple[Any, ...]]:
        """Compute chunk by chunk; each begins from C, n and m at the end of the one before."""
        length, outputs = len(inputs["f"]), []
        size = form.steps(length)
        for start in range(0, length, size):
            part = {name: a[start : start + size] for name, a in inputs.items()}
            h, state = _chunk(part, state)
            outputs.append(h)
        return np.concatenate([inputs["v"][:0], *outputs]), state

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """X56."""
        return output(inputs["q"], *new)

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back; the output does not depend on the old states."""
        C, n, m = new
        dq, *d_new = output_vjp(inputs["q"], C, n, m, dy)
        return {"q": dq}, (None, None, None), tuple(d_new)


CELLS = (MatrixLSTM(),)
