"""The programs of the cells, line by line: one step, and its backward step.

Arrays are (B, H): states before and after a step (``h_old``, ``c_new``), pre-activations (``a_i``),
gates by their letters. ``dh_next`` is the gradient that the later step passes back to this step's
h, ``dh_old`` the one that this step passes back; ``rows`` sums over the batch. A line with ``_k``
stands for one line for each gate, or for each gate named before its colon. ``+=`` adds up over
steps. The gradients of gates before their slopes (``di``) are computed for edits that read them.
"""

from __future__ import annotations

from dataclasses import dataclass

AFFINE = "a_k = x @ W_k + h_old @ U_k + b_k"

SLOTS = """
dW_k += x.T @ da_k
dU_k += h_old.T @ da_k
db_k += rows(da_k)
"""

LSTM_FORWARD = f"""
{AFFINE}
i = sigmoid(a_i)
f = sigmoid(a_f)
g = tanh(a_g)
o = sigmoid(a_o)
c_new = f * c_old + i * g
"""

OUTPUT_GATE = """
tanh_c = tanh(c_new)
do = {0} * tanh(c_new)
da_o = {0} * tanh(c_new) * o * (1 - o)
"""

LSTM_GATES = """
di = dc * g
df = dc * c_old
dg = dc * i
da_i = dc * g * i * (1 - i)
da_f = dc * c_old * f * (1 - f)
da_g = dc * i * (1 - g ** 2)
"""

LSTM_BACK = """
dx = da_i @ W_i.T + da_f @ W_f.T + da_g @ W_g.T + da_o @ W_o.T
dh_old = da_i @ U_i.T + da_f @ U_f.T + da_g @ U_g.T + da_o @ U_o.T
"""

PEEPHOLE_FORWARD = """
i, f, g: a_k = x @ W_k + h_old @ U_k + b_k
a_i = a_i + p_i * c_old
a_f = a_f + p_f * c_old
i = sigmoid(a_i)
f = sigmoid(a_f)
g = tanh(a_g)
c_new = f * c_old + i * g
a_o = x @ W_o + h_old @ U_o + p_o * {cell_read} + b_o
o = sigmoid(a_o)
h_new = o * tanh(c_new)
"""

PEEPHOLE_SLOTS = """
dp_i += rows(da_i * c_old)
dp_f += rows(da_f * c_old)
dp_o += rows(da_o * {cell_read})
"""

GRU_BACK = "dx = da_r @ W_r.T + da_z @ W_z.T + da_n @ W_n.T"


@dataclass(frozen=True)
class Text:
    """A step and its backward step; ``sigmoids`` and ``tangents`` are values of activations."""

    forward: str
    backward: str
    sigmoids: tuple[str, ...] = ()
    tangents: tuple[str, ...] = ()


def _rnn(value: str, slope: str) -> Text:
    back = f"""
    dh = dy + dh_next
    da_a = dh * {slope}
    dx = da_a @ W_a.T
    dh_old = da_a @ U_a.T
    {SLOTS}
    """
    return Text(f"{AFFINE}\nh_new = {value}", back, (), ("h_new",))


def _lstm(output: str = "h_new = o * tanh(c_new)", arriving: str = "", slots: str = "") -> Text:
    d = "dm" if arriving else "dh"
    back = f"""
    dh = dy + dh_next
    {arriving}
    {OUTPUT_GATE.format(d)}
    dc = dc_next + {d} * o * (1 - tanh(c_new) ** 2)
    {LSTM_GATES}
    {LSTM_BACK}
    dc_old = dc * f
    {SLOTS}
    {slots}
    """
    return Text(LSTM_FORWARD + output, back, ("i", "f", "o"), ("g", "c_new"))


def _peephole(cell_read: str) -> Text:
    new = cell_read == "c_new"
    back = f"""
    dh = dy + dh_next
    {OUTPUT_GATE.format("dh")}
    dc = dc_next + dh * o * (1 - tanh(c_new) ** 2){" + da_o * p_o" if new else ""}
    {LSTM_GATES}
    {LSTM_BACK}
    dc_old = dc * f + da_i * p_i + da_f * p_f{"" if new else " + da_o * p_o"}
    {SLOTS}
    {PEEPHOLE_SLOTS.format(cell_read=cell_read)}
    """
    return Text(PEEPHOLE_FORWARD.format(cell_read=cell_read), back, ("i", "f", "o"), ("g", "c_new"))


def _coupled() -> Text:
    forward = f"""
    {AFFINE}
    i = sigmoid(a_i)
    g = tanh(a_g)
    o = sigmoid(a_o)
    c_new = (1 - i) * c_old + i * g
    h_new = o * tanh(c_new)
    """
    back = f"""
    dh = dy + dh_next
    {OUTPUT_GATE.format("dh")}
    dc = dc_next + dh * o * (1 - tanh(c_new) ** 2)
    di = dc * (g - c_old)
    dg = dc * i
    da_i = dc * (g - c_old) * i * (1 - i)
    da_g = dc * i * (1 - g ** 2)
    dx = da_i @ W_i.T + da_g @ W_g.T + da_o @ W_o.T
    dh_old = da_i @ U_i.T + da_g @ U_g.T + da_o @ U_o.T
    dc_old = dc * (1 - i)
    {SLOTS}
    """
    return Text(forward, back, ("i", "o"), ("g", "c_new"))


def _gru_reset_after() -> Text:
    forward = """
    r, z: a_k = x @ W_k + h_old @ U_k + b_k
    r = sigmoid(a_r)
    z = sigmoid(a_z)
    q = h_old @ U_n + b_hn
    a_n = x @ W_n + b_n + r * q
    n = tanh(a_n)
    h_new = z * h_old + (1 - z) * n
    """
    back = f"""
    dh = dy + dh_next
    dn = dh * (1 - z)
    dz = dh * (h_old - n)
    da_n = dh * (1 - z) * (1 - n ** 2)
    da_z = dh * (h_old - n) * z * (1 - z)
    dr = da_n * q
    da_r = da_n * q * r * (1 - r)
    dq = da_n * r
    {GRU_BACK}
    dh_old = dh * z + da_r @ U_r.T + da_z @ U_z.T + dq @ U_n.T
    dW_k += x.T @ da_k
    r, z: dU_k += h_old.T @ da_k
    dU_n += h_old.T @ dq
    db_k += rows(da_k)
    db_hn += rows(dq)
    """
    return Text(forward, back, ("r", "z"), ("n",))


def _gru_reset_before(*, keeps_old: bool) -> Text:
    old, new = ("z", "(1 - z)") if keeps_old else ("(1 - z)", "z")
    forward = f"""
    r, z: a_k = x @ W_k + h_old @ U_k + b_k
    r = sigmoid(a_r)
    z = sigmoid(a_z)
    a_n = x @ W_n + (r * h_old) @ U_n + b_n
    n = tanh(a_n)
    h_new = {old} * h_old + {new} * n
    """
    back = f"""
    dh = dy + dh_next
    dn = dh * {new}
    dz = dh * ({"h_old - n" if keeps_old else "n - h_old"})
    da_n = dh * {new} * (1 - n ** 2)
    da_z = dh * ({"h_old - n" if keeps_old else "n - h_old"}) * z * (1 - z)
    drh = da_n @ U_n.T
    dr = drh * h_old
    da_r = drh * h_old * r * (1 - r)
    {GRU_BACK}
    dh_old = dh * {old} + drh * r + da_r @ U_r.T + da_z @ U_z.T
    dW_k += x.T @ da_k
    r, z: dU_k += h_old.T @ da_k
    dU_n += (r * h_old).T @ da_n
    db_k += rows(da_k)
    """
    return Text(forward, back, ("r", "z"), ("n",))


TEXTS = {
    "rnn": _rnn("tanh(a_a)", "(1 - h_new ** 2)"),
    "rnn-relu": _rnn("relu(a_a)", "positive(h_new)"),
    "lstm": _lstm(),
    "lstm-coupled": _coupled(),
    "lstm-peephole": _peephole("c_new"),
    "lstm-peephole-old": _peephole("c_old"),
    "lstm-projected": _lstm(
        "m = o * tanh(c_new)\nh_new = m @ R", "dm = dh @ R.T", "dR += m.T @ dh"
    ),
    "gru": _gru_reset_after(),
    "gru-keeps-old": _gru_reset_before(keeps_old=True),
    "gru-takes-new": _gru_reset_before(keeps_old=False),
}
"""The programs by cell; cells without one have no edits."""
