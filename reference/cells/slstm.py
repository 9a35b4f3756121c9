"""The sLSTM of xLSTM: exponential gates, a normaliser and a stabiliser, and a recurrent weight.

The input holds W x + b, and each head adds R h: R is block-diagonal. The stabiliser is no part of
the mathematical value (see ``mlstm``): h = σ(o) c / n is the same with any m. Where n is 0, before
the first step, any m will do; programs that start with m = ĩ differ from those that start with
max(log σ(f̃) + 0, ĩ) in c, n and m, and not in h.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import numpy as np

from ..arrays import Array, Floats, Same
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope, zeros
from ..gated_by_input import GATE, Arrays, Cotangents, GatedByInput, InputArray, Values
from ..parameters import Parameters, Shape
from .mlstm import (
    XLSTM,
    forget_gate,
    forget_gate_vjp,
    input_gate,
    input_gate_vjp,
    stabiliser,
    stabiliser_vjp,
)

Weights: TypeAlias = Annotated[Array, "N V V"]


@equation(
    "X57",
    "slstm.pre_activation",
    latex=r"\tilde a_t = W_a x_t + R_a h_{t-1}, \quad a \in \{i, f, z, o\}",
    documents=(XLSTM,),
    note="W x and the bias are given; R is block-diagonal, a block a head",
)
def pre_activation(Wx: Values, h: Values, R: Weights) -> Values:
    """Return the sum of a gate (B, N, V); ``Wx`` holds W x and the bias."""
    return Wx + (h[..., None, :] @ R)[..., 0, :]


@vjp_of("slstm.pre_activation")
def pre_activation_vjp(
    Wx: Values, h: Values, R: Weights, d: Values
) -> tuple[Values, Values, Weights]:
    """Pull back to (dWx, dh, dR)."""
    dR = (h[..., None] * d[..., None, :]).sum(axis=0)
    return d, (R @ d[..., None])[..., 0], dR


@equation(
    "X58",
    "slstm.cell_state",
    latex=r"c_t = f_t c_{t-1} + i_t \tanh(\tilde z_t)",
    documents=(XLSTM,),
)
def cell_state(f: Same, c: Same, i: Same, z: Same) -> Same:
    """Return the new cell state; z is the candidate after its tanh."""
    return f * c + i * z


@vjp_of("slstm.cell_state")
def cell_state_vjp(f: Same, c: Same, i: Same, z: Same, d: Same) -> tuple[Same, Same, Same, Same]:
    """Pull back to (df, dc, di, dz)."""
    return d * c, d * f, d * z, d * i


@equation(
    "X59",
    "slstm.normaliser",
    latex=r"n_t = f_t n_{t-1} + i_t",
    documents=(XLSTM,),
)
def normaliser(f: Same, n: Same, i: Same) -> Same:
    """Return the new normaliser."""
    return f * n + i


@vjp_of("slstm.normaliser")
def normaliser_vjp(f: Same, n: Same, i: Same, d: Same) -> tuple[Same, Same, Same]:
    """Pull back to (df, dn, di)."""
    return d * n, d * f, d


@equation(
    "X60",
    "slstm.hidden_state",
    latex=r"h_t = \sigma(\tilde o_t) \frac{c_t}{n_t}",
    documents=(XLSTM,),
)
def hidden_state(o: Same, c: Same, n: Same) -> Same:
    """Return the new hidden state; o is the gate after its sigmoid."""
    return o * (c / n)


@vjp_of("slstm.hidden_state")
def hidden_state_vjp(o: Same, c: Same, n: Same, d: Same) -> tuple[Same, Same, Same]:
    """Pull back to (do, dc, dn)."""
    dc = d * o / n
    return d * (c / n), dc, -dc * (c / n)


class ScalarLSTM(GatedByInput):
    """X51-X53 and X57-X60; R is (gate, N, V, V), its gates in the order i f z o."""

    name, title = "slstm", "sLSTM (xLSTM)"
    equations = (
        "slstm.pre_activation",
        "xlstm.stabiliser",
        "xlstm.input_gate",
        "xlstm.forget_gate",
        "slstm.cell_state",
        "slstm.normaliser",
        "slstm.hidden_state",
    )
    letters = "ifzo"
    state_axes = {"h": "N V", "c": "N V", "n": "N V", "m": "N V"}  # noqa: RUF012 - of a class
    parameter_axes = {"R": "4 N V V"}  # noqa: RUF012
    inputs = tuple(InputArray(letter, "N V", keeps=GATE * (letter == "f")) for letter in letters)

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Floats:
        """Draw blocks from N(0, 1/fan-in)."""
        drawn: Floats = rng.standard_normal(shape.full) / np.sqrt(shape.axes[-1])
        return drawn

    def random_state(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Draw from N(0, 1), but positive normalisers, as sums of exponentials are."""
        drawn = rng.standard_normal(shape)
        return 0.5 + np.abs(drawn) if name == "n" else drawn

    def update(self, p: Parameters, inputs: Arrays, state: State) -> tuple[State, Gates]:
        """Compute X57, X51-X53, X58-X60."""
        h, c, n, m = state
        a = {g: pre_activation(inputs[g], h, p["R"][k]) for k, g in enumerate(self.letters)}
        m_new = stabiliser(a["f"], m, a["i"])
        i, f = input_gate(a["i"], m_new), forget_gate(a["f"], m, m_new)
        z, o = tanh(a["z"]), sigmoid(a["o"])
        c_new, n_new = cell_state(f, c, i, z), normaliser(f, n, i)
        gates = {"i": i, "f": f, "z": z, "o": o, "raw i": a["i"], "raw f": a["f"]}
        return (hidden_state(o, c_new, n_new), c_new, n_new, m_new), gates

    def update_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, d_new: State
    ) -> tuple[Arrays, State]:
        """Pull back: from h' to c' and n', to the gates, and to the h that they read."""
        (h, c, n, m), (dh_new, dc_new, dn_new, dm_new) = state, d_new
        i, f, z, o = (gates[g] for g in self.letters)
        do, dc_h, dn_h = hidden_state_vjp(o, new[1], new[2], dh_new)
        df, dc, di, dz = cell_state_vjp(f, c, i, z, dc_new + dc_h)
        df_n, dn, di_n = normaliser_vjp(f, n, i, dn_new + dn_h)
        d_i, dm_i = input_gate_vjp(gates["raw i"], new[3], di + di_n)
        d_f, dm, dm_f = forget_gate_vjp(gates["raw f"], m, new[3], df + df_n)
        total = dm_new + dm_i + dm_f
        df_m, dm_m, di_m = stabiliser_vjp(gates["raw f"], m, gates["raw i"], total)
        d = {"i": d_i + di_m, "f": d_f + df_m, "z": dz * tanh_slope(z), "o": do * sigmoid_slope(o)}
        dh, blocks = zeros(h, h.shape), []
        for k, g in enumerate(self.letters):
            _, dh_g, dR = pre_activation_vjp(inputs[g], h, p["R"][k], d[g])
            dh = dh + dh_g
            blocks.append(dR)
        return {**d, "R": np.stack(blocks)}, (dh, dc, dn, dm + dm_m)

    def read(self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State) -> Array:
        """Return h."""
        return new[0]

    def read_vjp(
        self, p: Parameters, inputs: Arrays, state: State, gates: Gates, new: State, dy: Array
    ) -> tuple[Arrays, Cotangents, Cotangents]:
        """Pull back: the output is the first of the new states."""
        return {}, (None,) * 4, (dy, None, None, None)


CELLS = (ScalarLSTM(),)
