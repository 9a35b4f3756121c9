"""The peephole LSTM (E25), whose gates read the cell state, in both readings of the documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np

from ..arrays import Array, Hidden, Input, Rows, Units
from ..cell import Gates, State, affine_vjp
from ..equation import equation
from ..functions import sigmoid, sigmoid_slope, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .lstm import REST, LSTMFamily, cell_state_vjp, hidden_state_vjp


@equation(
    "E25",
    "lstm.peephole_forget_gate",
    latex=r"f_t = \sigma(W_f [h_{t-1}, x_t] + p_f \odot c_{t-1} + b_f)",
    documents=("D3", "D4", "Gers & Schmidhuber 2000"),
)
def forget_gate(p: Parameters, x: Input, h: Hidden, c: Units) -> Units:
    """Return f (B, H), which reads the old cell state."""
    return sigmoid(x @ p.W_f + h @ p.U_f + p.p_f * c + p.b_f)


@equation(
    "E25",
    "lstm.peephole_input_gate",
    latex=r"i_t = \sigma(W_i [h_{t-1}, x_t] + p_i \odot c_{t-1} + b_i)",
    documents=("D3", "D4", "Gers & Schmidhuber 2000"),
)
def input_gate(p: Parameters, x: Input, h: Hidden, c: Units) -> Units:
    """Return i (B, H), which reads the old cell state."""
    return sigmoid(x @ p.W_i + h @ p.U_i + p.p_i * c + p.b_i)


@equation(
    "E25",
    "lstm.peephole_output_gate",
    latex=r"o_t = \sigma(W_o [h_{t-1}, x_t] + p_o \odot c_t + b_o)",
    documents=("D3", "Gers & Schmidhuber 2000"),
    note="the usual reading: o sees the new cell state; D4 prints c_{t-1} for all gates",
)
def output_gate(p: Parameters, x: Input, h: Hidden, c: Units) -> Units:
    """Return o (B, H); ``c`` is the new cell state, or in D4's reading the old one."""
    return sigmoid(x @ p.W_o + h @ p.U_o + p.p_o * c + p.b_o)


def peephole_gradient(
    dz: Mapping[str, Units], c: Units, c_seen_by_o: Units
) -> Annotated[Array, "3 H"]:
    """Return the gradient (3, H) of the peepholes p_i, p_f, p_o, summed over the batch."""
    cells = {"i": c, "f": c, "o": c_seen_by_o}
    return np.stack([(dz[gate] * cells[gate]).sum(axis=0) for gate in ("i", "f", "o")])


class PeepholeLSTM(LSTMFamily):
    """E25; parameters W, U, b (4, ...) and p (3, H) for the gates i, f, o."""

    equations: tuple[str, ...] = (
        "lstm.peephole_forget_gate",
        "lstm.peephole_input_gate",
        "lstm.candidate",
        "lstm.peephole_output_gate",
        *REST[1:],
    )

    def __init__(self, name: str, title: str, *, output_sees_new: bool) -> None:
        """Set the names, and whether o reads c_t (as usual) or c_{t-1} (as D4 prints)."""
        self.name, self.title, self._output_sees_new = name, title, output_sees_new

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the LSTM's shapes, and p (3, H)."""
        return super().shapes(sizes) | {"p": Shape(("i", "f", "o"), (sizes.H,))}

    def input_and_forget(self, p: Parameters, x: Input, h: Hidden, c: Units) -> tuple[Units, Units]:
        """Return the gates i and f (E25), which read the old cell state."""
        return input_gate(p, x, h, c), forget_gate(p, x, h, c)

    def output(self, p: Parameters, x: Input, h: Hidden, c: Units, c_new: Units) -> Units:
        """Return the gate o (E25), which reads the new cell state, or in D4 the old one."""
        return output_gate(p, x, h, c_new if self._output_sees_new else c)

    def arrays_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[dict[str, Array], Rows, State]:
        """Pull back as the LSTM; the peephole of o adds to dc' (or dc), those of i and f to dc."""
        (h, c), (_, c_new), (dh_new, dc_new) = state, new, cotangent
        i, f, g, o = gates["i"], gates["f"], gates["g"], gates["o"]
        do, dc_through_h = hidden_state_vjp(o, c_new, dh_new)
        dz_o = do * sigmoid_slope(o)
        dc_new = dc_new + dc_through_h
        if self._output_sees_new:
            dc_new = dc_new + dz_o * p.p_o
        df, dc, di, dg = cell_state_vjp(f, c, i, g, dc_new)
        dz = {**self.input_and_forget_vjp(i, f, di, df), "g": dg * tanh_slope(g), "o": dz_o}
        dc = dc + dz["i"] * p.p_i + dz["f"] * p.p_f
        if not self._output_sees_new:
            dc = dc + dz_o * p.p_o
        arrays, dx, dh = affine_vjp(p, x, h, dz)
        arrays["p"] = peephole_gradient(dz, c, c_new if self._output_sees_new else c)
        return arrays, dx, (dh, dc)


CELLS = (
    PeepholeLSTM("lstm-peephole", "LSTM, peepholes (o sees c_t)", output_sees_new=True),
    PeepholeLSTM("lstm-peephole-old", "LSTM, peepholes (o sees c_{t-1})", output_sees_new=False),
)
