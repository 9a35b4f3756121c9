"""The LSTM with coupled input and forget gate (CIFG): what is forgotten is what is written."""

from __future__ import annotations

from ..cell import Cell, Gates, Limit, State, affine_vjp
from ..equation import equation
from ..functions import Array, sigmoid_slope, tanh_slope
from ..parameters import Parameters
from .lstm import (
    LIMITS,
    candidate,
    cell_state,
    cell_state_vjp,
    hidden_state,
    hidden_state_vjp,
    input_gate,
    output_gate,
)


@equation(
    "E13",
    "lstm.coupled_forget_gate",
    latex=r"f_t = 1 - i_t",
    documents=("Greff et al. 2015",),
    note="takes the place of the forget gate's own weights",
)
def coupled_forget_gate(i: Array) -> Array:
    """Return f (B, H) as the complement of the input gate."""
    return 1 - i


class CoupledLSTM(Cell):
    """The LSTM with f = 1 - i; gates in the order i, g, o."""

    name = "lstm-coupled"
    title = "LSTM, coupled gates"
    equations = (
        "lstm.input_gate",
        "lstm.coupled_forget_gate",
        "lstm.candidate",
        "lstm.output_gate",
        "lstm.cell_state",
        "lstm.hidden_state",
    )
    gates = ("i", "g", "o")
    states = ("h", "c")
    limits = (Limit("i = 0 keeps the cell state", (), ("i",), "c", "old"), LIMITS[2])

    def step(self, p: Parameters, x: Array, state: State) -> tuple[State, Gates]:
        """E14-E18 with f = 1 - i."""
        h, c = state
        i = input_gate(p, x, h)
        f = coupled_forget_gate(i)
        g = candidate(p, x, h)
        o = output_gate(p, x, h)
        c_new = cell_state(f, c, i, g)
        h_new = hidden_state(o, c_new)
        return (h_new, c_new), {"i": i, "f": f, "g": g, "o": o}

    def vjp(
        self, p: Parameters, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        """As the LSTM's, with df flowing into i negated."""
        (h, c), (_, c_new), (dh_new, dc_new) = state, new, cotangent
        i, f, g, o = gates["i"], gates["f"], gates["g"], gates["o"]
        do, dc_through_h = hidden_state_vjp(o, c_new, dh_new)
        df, dc, di, dg = cell_state_vjp(f, c, i, g, dc_new + dc_through_h)
        dz = {
            "i": (di - df) * sigmoid_slope(i),
            "g": dg * tanh_slope(g),
            "o": do * sigmoid_slope(o),
        }
        arrays, dx, dh = affine_vjp(p, x, h, dz)
        return Parameters(p.shapes, arrays), dx, (dh, dc)


CELLS = (CoupledLSTM(),)
