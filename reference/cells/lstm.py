"""The LSTM of the documents (E13-E18), and the variant with a sigmoid candidate, as in D3."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..arrays import Array, Hidden, Input, Rows, Units
from ..cell import VJP, Cell, Gates, Limit, State, affine_vjp
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope
from ..parameters import Parameters


@equation(
    "E13",
    "lstm.forget_gate",
    latex=r"f_t = \sigma(W_f [a_{t-1}, x_t] + b_f)",
    documents=("D0", "D1", "D2", "D3", "D4"),
    note="D2 and D3 print it without bias",
)
def forget_gate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return f (B, H): the share of the old cell state that stays."""
    return sigmoid(x @ p.W_f + h @ p.U_f + p.b_f)


@equation(
    "E14",
    "lstm.input_gate",
    latex=r"i_t = \sigma(W_i [a_{t-1}, x_t] + b_i)",
    documents=("D0", "D1", "D2", "D3", "D4"),
)
def input_gate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return i (B, H): the share of the candidate that is written."""
    return sigmoid(x @ p.W_i + h @ p.U_i + p.b_i)


@equation(
    "E15",
    "lstm.candidate",
    latex=r"g_t = \tanh(W_g [a_{t-1}, x_t] + b_g)",
    documents=("D0", "D1", "D2", "D4"),
    note="also called C̃, N or u",
)
def candidate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return g (B, H): the candidate, which is the vanilla RNN's update (C04)."""
    return tanh(x @ p.W_g + h @ p.U_g + p.b_g)


@equation(
    "E15",
    "lstm.candidate_sigmoid",
    latex=r"u_t = \sigma(W_h h_{t-1} + W_x x_t)",
    documents=("D3",),
    note="D3 prints σ where the others have tanh: the candidate is then one-signed",
)
def candidate_sigmoid(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return the candidate (B, H) as D3 prints it."""
    return sigmoid(x @ p.W_g + h @ p.U_g + p.b_g)


@equation(
    "E16",
    "lstm.output_gate",
    latex=r"o_t = \sigma(W_o [a_{t-1}, x_t] + b_o)",
    documents=("D0", "D1", "D2", "D3", "D4"),
    note="in D3 the picture is lost",
)
def output_gate(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return o (B, H): the share of tanh(c) that the output shows."""
    return sigmoid(x @ p.W_o + h @ p.U_o + p.b_o)


@equation(
    "E17",
    "lstm.cell_state",
    latex=r"c_t = f_t \odot c_{t-1} + i_t \odot g_t",
    documents=("D0", "D1", "D2", "D3", "D4"),
)
def cell_state(f: Units, c: Units, i: Units, g: Units) -> Units:
    """Return the new cell state (B, H)."""
    return f * c + i * g


@vjp_of("lstm.cell_state")
def cell_state_vjp(
    f: Units, c: Units, i: Units, g: Units, dc_new: Units
) -> tuple[Units, Units, Units, Units]:
    """Pull dc' back to (df, dc, di, dg)."""
    return dc_new * c, dc_new * f, dc_new * g, dc_new * i


@equation(
    "E18",
    "lstm.hidden_state",
    latex=r"h_t = o_t \odot \tanh(c_t)",
    documents=("D0", "D1", "D2", "D3", "D4"),
    note="m_t in D4; in D3 the picture is lost",
)
def hidden_state(o: Units, c: Units) -> Units:
    """Return the new hidden state (B, H)."""
    return o * tanh(c)


@vjp_of("lstm.hidden_state")
def hidden_state_vjp(o: Units, c: Units, dh_new: Units) -> tuple[Units, Units]:
    """Pull dh' back to (do, dc)."""
    tanh_c = tanh(c)
    return dh_new * tanh_c, dh_new * o * tanh_slope(tanh_c)


LIMITS = (
    Limit("f = 1 and i = 0 keep the cell state", ("f",), ("i",), "c", "old"),
    Limit("f = 0 and i = 0 clear the cell state", (), ("f", "i"), "c", "zero"),
    Limit("o = 0 shows nothing", (), ("o",), "h", "zero"),
)
"""Claims C01 and C13."""

REST = ("lstm.output_gate", "lstm.cell_state", "lstm.hidden_state")
"""The equations after the candidate's."""


class LSTMFamily(Cell):
    """E13-E18; gates in the order i, f, g, o. Variants override a method."""

    gates: tuple[str, ...] = ("i", "f", "g", "o")
    states = ("h", "c")
    limits: tuple[Limit, ...] = LIMITS
    _candidate: Callable[[Parameters, Input, Hidden], Units] = staticmethod(candidate)
    _candidate_slope: Callable[[Units], Units] = staticmethod(tanh_slope)

    def input_and_forget(self, p: Parameters, x: Input, h: Hidden, c: Units) -> tuple[Units, Units]:
        """Return the gates i and f (E14, E13); ``c`` is the old cell state."""
        return input_gate(p, x, h), forget_gate(p, x, h)

    def output(self, p: Parameters, x: Input, h: Hidden, c: Units, c_new: Units) -> Units:
        """Return the gate o (E16); ``c`` and ``c_new`` are the old and the new cell state."""
        return output_gate(p, x, h)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute E13-E18."""
        h, c = state
        i, f = self.input_and_forget(p, x, h, c)
        g = self._candidate(p, x, h)
        c_new = cell_state(f, c, i, g)
        o = self.output(p, x, h, c, c_new)
        h_new = hidden_state(o, c_new)
        return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back as ``arrays_vjp`` does."""
        arrays, dx, d_old = self.arrays_vjp(p, x, state, gates, new, d)
        return Parameters(p.shapes, arrays), dx, d_old

    def arrays_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[dict[str, Array], Rows, State]:
        """Return the gradients of p by name, dx and the old state's; dc' also comes through h'."""
        (h, c), (_, c_new), (dh_new, dc_new) = state, new, cotangent
        i, f, g, o = gates["i"], gates["f"], gates["g"], gates["o"]
        do, dc_through_h = hidden_state_vjp(o, c_new, dh_new)
        df, dc, di, dg = cell_state_vjp(f, c, i, g, dc_new + dc_through_h)
        dz = {
            **self.input_and_forget_vjp(i, f, di, df),
            "g": dg * self._candidate_slope(g),
            "o": do * sigmoid_slope(o),
        }
        arrays, dx, dh = affine_vjp(p, x, h, dz)
        return arrays, dx, (dh, dc)

    def input_and_forget_vjp(self, i: Units, f: Units, di: Units, df: Units) -> dict[str, Units]:
        """Pull di and df back to the pre-activations of i and f."""
        return {"i": di * sigmoid_slope(i), "f": df * sigmoid_slope(f)}


class LSTM(LSTMFamily):
    """The LSTM whose four gates read x and h alone, each with its own weights."""

    def __init__(
        self,
        name: str,
        title: str,
        candidate_equation: str,
        candidate: Callable[[Parameters, Input, Hidden], Units],
        candidate_slope: Callable[[Units], Units],
    ) -> None:
        """Set the candidate's equation and the slope of its activation."""
        self.name, self.title = name, title
        self.equations = ("lstm.forget_gate", "lstm.input_gate", candidate_equation, *REST)
        self._candidate, self._candidate_slope = candidate, candidate_slope

    def state_from_outputs(self, p: Parameters, x: Rows, before: Rows, h: Rows) -> State:
        """Return h and c = artanh(h / o): E18 solved for the cell state."""
        return h, np.arctanh(h / output_gate(p, x, before))


CELLS = (
    LSTM("lstm", "LSTM", "lstm.candidate", candidate, tanh_slope),
    LSTM(
        "lstm-sigmoid-candidate",
        "LSTM, σ candidate (D3)",
        "lstm.candidate_sigmoid",
        candidate_sigmoid,
        sigmoid_slope,
    ),
)
