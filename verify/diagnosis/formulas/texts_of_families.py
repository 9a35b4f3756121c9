"""The programs of the cells beyond RNN, LSTM and GRU, in the notation of ``texts``."""

from __future__ import annotations

from .texts import TEXTS as PLAIN
from .texts import Text

OF_INPUTS = "a_k = x @ W_k + b_k"

SLOTS = """
dW_k += x.T @ da_k
db_k += rows(da_k)
"""


def _mgu() -> Text:
    forward = """
    f: a_k = x @ W_k + h_old @ U_k + b_k
    f = sigmoid(a_f)
    a_n = x @ W_n + (f * h_old) @ U_n + b_n
    n = tanh(a_n)
    h_new = (1 - f) * h_old + f * n
    """
    back = f"""
    dh = dy + dh_next
    da_n = dh * f * (1 - n ** 2)
    drh = da_n @ U_n.T
    da_f = (dh * (n - h_old) + drh * h_old) * f * (1 - f)
    dx = da_f @ W_f.T + da_n @ W_n.T
    dh_old = dh * (1 - f) + drh * f + da_f @ U_f.T
    {SLOTS}
    f: dU_k += h_old.T @ da_k
    dU_n += (f * h_old).T @ da_n
    """
    return Text(forward, back, ("f",), ("n",))


def _mingru(candidate: str = "identity(a_n)", slope: str = "") -> Text:
    forward = f"""
    {OF_INPUTS}
    z = sigmoid(a_z)
    n = {candidate}
    h_new = (1 - z) * h_old + z * n
    """
    back = f"""
    dh = dy + dh_next
    da_z = dh * (n - h_old) * z * (1 - z)
    da_n = dh * z{slope}
    dx = da_z @ W_z.T + da_n @ W_n.T
    dh_old = dh * (1 - z)
    {SLOTS}
    """
    return Text(forward, back, ("z",))


def _minlstm(candidate: str = "identity(a_n)", slope: str = "") -> Text:
    forward = f"""
    {OF_INPUTS}
    f = sigmoid(a_f)
    i = sigmoid(a_i)
    n = {candidate}
    h_new = (f * h_old + i * n) / (f + i)
    """
    back = f"""
    dh = dy + dh_next
    da_f = dh * (h_old - h_new) / (f + i) * f * (1 - f)
    da_i = dh * (n - h_new) / (f + i) * i * (1 - i)
    da_n = dh * i / (f + i){slope}
    dx = da_f @ W_f.T + da_i @ W_i.T + da_n @ W_n.T
    dh_old = dh * f / (f + i)
    {SLOTS}
    """
    return Text(forward, back, ("f", "i"))


def _indrnn(value: str, slope: str) -> Text:
    back = f"""
    dh = dy + dh_next
    da_a = dh * {slope}
    dx = da_a @ W_a.T
    dh_old = da_a * u_a
    {SLOTS}
    du_a += rows(da_a * h_old)
    """
    return Text(f"a_a = x @ W_a + u_a * h_old + b_a\nh_new = {value}", back, (), ("h_new",))


def _sru() -> Text:
    forward = """
    n = x @ W_n
    s = x @ W_s
    f, r: a_k = x @ W_k + v_k * c_old + b_k
    f = sigmoid(a_f)
    r = sigmoid(a_r)
    c_new = f * c_old + (1 - f) * n
    h_new = r * identity(c_new) + (1 - r) * s
    """
    back = """
    dh = dy + dh_next
    dc = dc_next + dh * r
    da_r = dh * (c_new - s) * r * (1 - r)
    da_s = dh * (1 - r)
    da_f = dc * (c_old - n) * f * (1 - f)
    da_n = dc * (1 - f)
    dx = da_n @ W_n.T + da_f @ W_f.T + da_r @ W_r.T + da_s @ W_s.T
    dh_old = 0 * dh
    dc_old = dc * f + da_f * v_f + da_r * v_r
    dW_k += x.T @ da_k
    f, r: dv_k += rows(da_k * c_old)
    f, r: db_k += rows(da_k)
    """
    return Text(forward, back, ("f", "r"))


def _qrnn(gates: str) -> Text:
    state = "c" if "o" in gates else "h"
    new = "i * z" if "i" in gates else "(1 - f) * z"
    of_gates = "\n".join(f"{g} = sigmoid(a_{g})" for g in gates)
    forward = f"""
    {OF_INPUTS}
    z = tanh(a_z)
    {of_gates}
    {state}_new = f * {state}_old + {new}
    {"h_new = o * identity(c_new)" if "o" in gates else ""}
    """
    arriving = "dc = dc_next + dh * o\nda_o = dh * c_new * o * (1 - o)" if "o" in gates else ""
    share = "i" if "i" in gates else "(1 - f)"
    of_f = f"{state}_old" if "i" in gates else f"({state}_old - z)"
    back = f"""
    dh = dy + dh_next
    {arriving}
    da_f = d{state} * {of_f} * f * (1 - f)
    {f"da_i = d{state} * z * i * (1 - i)" if "i" in gates else ""}
    da_z = d{state} * {share} * (1 - z ** 2)
    dx = {" + ".join(f"da_{g} @ W_{g}.T" for g in ("z", *gates))}
    {"dh_old = 0 * dh" if "o" in gates else ""}
    d{state}_old = d{state} * f
    {SLOTS}
    """
    return Text(forward, back, tuple(gates), ("z",))


def _qrnn_of_two() -> Text:
    """Return the program of a QRNN of width 2, which carries the last input's part of the sums."""
    forward = """
    a_z = x @ W_z + z1_old + b_z
    a_f = x @ W_f + f1_old + b_f
    a_o = x @ W_o + o1_old + b_o
    z = tanh(a_z)
    f = sigmoid(a_f)
    o = sigmoid(a_o)
    c_new = f * c_old + (1 - f) * z
    h_new = o * identity(c_new)
    z1_new = x @ W_z1
    f1_new = x @ W_f1
    o1_new = x @ W_o1
    """
    earlier = "".join(f" + d{g}1_next @ W_{g}1.T" for g in "zfo")
    back = f"""
    dh = dy + dh_next
    dc = dc_next + dh * o
    da_o = dh * c_new * o * (1 - o)
    da_f = dc * (c_old - z) * f * (1 - f)
    da_z = dc * (1 - f) * (1 - z ** 2)
    dx = da_z @ W_z.T + da_f @ W_f.T + da_o @ W_o.T{earlier}
    {SLOTS}
    dW_z1 += x.T @ dz1_next
    dW_f1 += x.T @ df1_next
    dW_o1 += x.T @ do1_next
    dh_old = 0 * dh
    dc_old = dc * f
    dz1_old = 1 * da_z
    df1_old = 1 * da_f
    do1_old = 1 * da_o
    """
    return Text(forward, back, ("f", "o"), ("z",))


def _rg_lru() -> Text:
    forward = f"""
    {OF_INPUTS}
    r = sigmoid(a_r)
    i = sigmoid(a_i)
    decay = exp(-8 * r * softplus(Lambda))
    h_new = decay * h_old + (1 - decay ** 2) ** 0.5 * i * a_u
    """
    back = f"""
    dh = dy + dh_next
    ddecay = dh * (h_old - decay / (1 - decay ** 2) ** 0.5 * i * a_u)
    da_r = -8 * ddecay * decay * softplus(Lambda) * r * (1 - r)
    da_i = dh * (1 - decay ** 2) ** 0.5 * a_u * i * (1 - i)
    da_u = dh * (1 - decay ** 2) ** 0.5 * i
    dx = da_r @ W_r.T + da_i @ W_i.T + da_u @ W_u.T
    dh_old = dh * decay
    {SLOTS}
    dLambda += rows(-8 * ddecay * decay * r * sigmoid(Lambda))
    """
    return Text(forward, back, ("r", "i"))


def _cfc() -> Text:
    """Return the program of a CfC; a gate is named k, so lines of it alone begin with ``k:``."""
    forward = """
    a_k = x @ W_k + h_old @ U_k + b_k
    g = tanh(a_g)
    k: k = tanh(a_k)
    tau = sigmoid(a_a + a_b)
    h_new = (1 - tau) * g + tau * k
    """
    back = f"""
    dh = dy + dh_next
    da_g = dh * (1 - tau) * (1 - g ** 2)
    k: da_k = dh * tau * (1 - k ** 2)
    da_a = dh * (k - g) * tau * (1 - tau)
    da_b = dh * (k - g) * tau * (1 - tau)
    k: dx = da_g @ W_g.T + da_k @ W_k.T + da_a @ W_a.T + da_b @ W_b.T
    k: dh_old = da_g @ U_g.T + da_k @ U_k.T + da_a @ U_a.T + da_b @ U_b.T
    {SLOTS}
    dU_k += h_old.T @ da_k
    """
    return Text(forward, back, ("tau",), ("g", "k"))


def _zoneout(cell: str, shares: dict[str, float]) -> Text:
    """Return the program of another cell with new states mixed with the old ones."""
    plain = PLAIN[cell]
    forward = plain.forward
    back = plain.backward.replace("dc_next", f"{1 - shares.get('c', 0)} * dc_next")
    for state, share in shares.items():
        forward = forward.replace(f"{state}_new", f"{state}_raw")
        back = back.replace(f"{state}_new", f"{state}_raw")
        forward += f"\n{state}_new = {share} * {state}_old + {1 - share} * {state}_raw"
        back = back.replace(f"d{state}_old = ", f"d{state}_old = {share} * d{state}_out + ")
    outer = f"dh_out = dy + dh_next\ndh = {1 - shares['h']} * dh_out"
    outer += "\ndc_out = dc_next" * ("c" in shares)
    back = back.replace("dh = dy + dh_next", outer)
    return Text(
        forward, back, plain.sigmoids, tuple(t.replace("_new", "_raw") for t in plain.tangents)
    )


ABOVE = ("above_0(a_n)", " * slope_above_0(a_n)")


def _layer_norm(*, carried: bool) -> Text:
    def normed(name: str, rest: str) -> str:
        """Return the lines that normalise the products of all gates together."""
        products = ", ".join(f"p{name}_{gate}" for gate in "ifgo")
        return f"""
        p{name}_k = {rest}_k
        mean_{name} = mean_of({products})
        dev_{name} = deviation_of({products})
        n{name}_k = (p{name}_k - mean_{name}) / dev_{name}
        """

    def back(name: str) -> str:
        gradients = [f"dn{name}_{gate}" for gate in "ifgo"]
        along = ", ".join(f"{d} * {d[1:]}" for d in gradients)
        return f"""
        dn{name}_k = da_k * g{name}_k
        dmean_{name} = mean_of({", ".join(gradients)})
        dalong_{name} = mean_of({along})
        dp{name}_k = (dn{name}_k - dmean_{name} - n{name}_k * dalong_{name}) / dev_{name}
        """

    forward = f"""
    {normed("x", "x @ W")}
    {normed("h", "h_old @ U")}
    a_k = gx_k * nx_k + gh_k * nh_k + b_k
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    c_raw = f * c_old + i * g
    mean_c = mean_of(c_raw)
    dev_c = deviation_of(c_raw)
    n_c = (c_raw - mean_c) / dev_c
    c_shown = gain_c * n_c + shift_c
    h_new = o * tanh(c_shown)
    c_new = {"c_shown" if carried else "c_raw"}
    """
    shown, raw = (" + dc_next", "") if carried else ("", "dc_next + ")
    backward = f"""
    dh = dy + dh_next
    da_o = dh * tanh(c_shown) * o * (1 - o)
    d_shown = dh * o * (1 - tanh(c_shown) ** 2){shown}
    dn_c = d_shown * gain_c
    dmean_c = mean_of(dn_c)
    dalong_c = mean_of(dn_c * n_c)
    dc = {raw}(dn_c - dmean_c - n_c * dalong_c) / dev_c
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_old * f * (1 - f)
    da_g = dc * i * (1 - g ** 2)
    {back("x")}
    {back("h")}
    dx = dpx_i @ W_i.T + dpx_f @ W_f.T + dpx_g @ W_g.T + dpx_o @ W_o.T
    dh_old = dph_i @ U_i.T + dph_f @ U_f.T + dph_g @ U_g.T + dph_o @ U_o.T
    dc_old = dc * f
    dW_k += x.T @ dpx_k
    dU_k += h_old.T @ dph_k
    db_k += rows(da_k)
    dgx_k += rows(da_k * nx_k)
    dgh_k += rows(da_k * nh_k)
    dgain_c += rows(d_shown * n_c)
    dshift_c += rows(d_shown)
    """
    return Text(forward, backward, ("i", "f", "o"), ("g",))


TEXTS = {
    "lstm-layer-norm": _layer_norm(carried=False),
    "lstm-layer-norm-carried": _layer_norm(carried=True),
    "mgu": _mgu(),
    "mingru": _mingru(),
    "mingru-positive": _mingru(*ABOVE),
    "minlstm": _minlstm(),
    "minlstm-positive": _minlstm(*ABOVE),
    "indrnn": _indrnn("relu(a_a)", "positive(h_new)"),
    "indrnn-tanh": _indrnn("tanh(a_a)", "(1 - h_new ** 2)"),
    "sru": _sru(),
    "qrnn-f": _qrnn("f"),
    "qrnn-fo": _qrnn("fo"),
    "qrnn-ifo": _qrnn("ifo"),
    "qrnn-fo-2": _qrnn_of_two(),
    "rg-lru": _rg_lru(),
    "cfc": _cfc(),
    "zoneout-lstm": _zoneout("lstm", {"h": 1 / 16, "c": 1 / 2}),
    "zoneout-gru": _zoneout("gru", {"h": 1 / 8}),
}


ALL = PLAIN | TEXTS
"""The texts of all cells that have a program."""
