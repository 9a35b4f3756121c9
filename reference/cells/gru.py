"""The GRU of the documents: reset before the product, in both polarities of the update gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..arrays import Hidden, Input, Rows, Units
from ..cell import VJP, Cell, Gates, Limit, State, input_vjp
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope
from ..parameters import Parameters

Blend: TypeAlias = Callable[[Units, Units, Units], Units]
BlendVJP: TypeAlias = Callable[[Units, Units, Units, Units], tuple[Units, Units, Units]]


@equation(
    "E20",
    "gru.update_gate",
    latex=r"z_t = \sigma(W_z [h_{t-1}, x_t] + b_z)",
    documents=("D0", "D2"),
    note="i_t in D0, u_t in D2",
)
def update_gate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return z (B, H): the share of the new, or of the old, state (see gru.state)."""
    return sigmoid(x @ p.W_z + h @ p.U_z + p.b_z)


@equation(
    "E21", "gru.reset_gate", latex=r"r_t = \sigma(W_r [h_{t-1}, x_t] + b_r)", documents=("D0", "D2")
)
def reset_gate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return r (B, H): the share of the old state that the candidate reads."""
    return sigmoid(x @ p.W_r + h @ p.U_r + p.b_r)


@equation(
    "E22",
    "gru.candidate",
    latex=r"n_t = \tanh(W_n [r_t \odot h_{t-1}, x_t] + b_n)",
    documents=("D0", "D2"),
    note="reset before the matrix product; D2 prints U_g, W_g once and U_q, W_q the second time",
)
def candidate(p: Parameters, x: Input, h: Units, r: Units) -> Units:
    """Return n (B, H); the reset acts on h before U_n."""
    return tanh(x @ p.W_n + (r * h) @ p.U_n + p.b_n)


@equation(
    "E23a",
    "gru.state_takes_new",
    latex=r"h_t = z_t \odot n_t + (1 - z_t) \odot h_{t-1}",
    documents=("D0",),
    note="the update gate is the share of the new; opposite polarity to E23b",
)
def state_takes_new(z: Units, n: Units, h: Units) -> Units:
    """Return the new state (B, H): z is the share of the candidate."""
    return z * n + (1 - z) * h


@vjp_of("gru.state_takes_new")
def state_takes_new_vjp(z: Units, n: Units, h: Units, dh_new: Units) -> tuple[Units, Units, Units]:
    """Pull dh' back to (dz, dn, dh)."""
    return dh_new * (n - h), dh_new * z, dh_new * (1 - z)


@equation(
    "E23b",
    "gru.state_keeps_old",
    latex=r"h_t = z_t \odot h_{t-1} + (1 - z_t) \odot n_t",
    documents=("D2",),
    note="the update gate is the share of the old; E23a with (W_z, U_z, b_z) negated",
)
def state_keeps_old(z: Units, n: Units, h: Units) -> Units:
    """Return the new state (B, H): z is the share of the old state."""
    return z * h + (1 - z) * n


@vjp_of("gru.state_keeps_old")
def state_keeps_old_vjp(z: Units, n: Units, h: Units, dh_new: Units) -> tuple[Units, Units, Units]:
    """Pull dh' back to (dz, dn, dh)."""
    return dh_new * (h - n), dh_new * (1 - z), dh_new * z


KEEPS_OLD = (
    Limit("z = 1 keeps the old state", ("z",), (), "h", "old"),
    Limit("z = 0 and r = 0 forget it", (), ("z", "r"), "h", "fresh"),
)
TAKES_NEW = (
    Limit("z = 0 keeps the old state", (), ("z",), "h", "old"),
    Limit("z = 1 and r = 0 forget it", ("z",), ("r",), "h", "fresh"),
)
"""Claims C18 and C19: forgetting takes both gates."""


class GRU(Cell):
    """E20-E23; gates in the order r, z, n."""

    gates = ("r", "z", "n")
    states = ("h",)

    def __init__(
        self,
        name: str,
        title: str,
        state_equation: str,
        blend: Blend,
        blend_vjp: BlendVJP,
        limits: tuple[Limit, ...],
    ) -> None:
        """Set the equation of the state, its VJP, and the limits of its saturated gates."""
        self.limits = limits
        self.name, self.title = name, title
        self.equations = ("gru.update_gate", "gru.reset_gate", "gru.candidate", state_equation)
        self._blend, self._blend_vjp = blend, blend_vjp

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """E20-E23."""
        (h,) = state
        r = reset_gate(p, x, h)
        z = update_gate(p, x, h)
        n = candidate(p, x, h, r)
        return (self._blend(z, n, h),), {"r": r, "z": z, "n": n}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the candidate's product reads r ⊙ h, so its cotangent reaches both r and h."""
        (h,), (dh_new,) = state, d
        r, z, n = gates["r"], gates["z"], gates["n"]
        dz_gate, dn, dh = self._blend_vjp(z, n, h, dh_new)
        dz = {"z": dz_gate * sigmoid_slope(z), "n": dn * tanh_slope(n)}
        d_reset_h = dz["n"] @ p.U_n.T
        dz["r"] = (d_reset_h * h) * sigmoid_slope(r)
        dh = dh + d_reset_h * r + dz["r"] @ p.U_r.T + dz["z"] @ p.U_z.T
        arrays, dx = input_vjp(p, x, dz)
        arrays["U"] = np.stack([h.T @ dz["r"], h.T @ dz["z"], (r * h).T @ dz["n"]])
        return Parameters(p.shapes, arrays), dx, (dh,)


CELLS = (
    GRU(
        "gru-takes-new",
        "GRU, reset before, z takes the new (D0)",
        "gru.state_takes_new",
        state_takes_new,
        state_takes_new_vjp,
        TAKES_NEW,
    ),
    GRU(
        "gru-keeps-old",
        "GRU, reset before, z keeps the old (D2)",
        "gru.state_keeps_old",
        state_keeps_old,
        state_keeps_old_vjp,
        KEEPS_OLD,
    ),
)
