"""The LSTM with a projected hidden state (LSTMP; ``proj_size`` in PyTorch)."""

from __future__ import annotations

from ..cell import Cell, Gates, State, affine_vjp
from ..equation import equation
from ..functions import Array, sigmoid_slope, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .lstm import (
    LIMITS,
    candidate,
    cell_state,
    cell_state_vjp,
    forget_gate,
    hidden_state,
    hidden_state_vjp,
    input_gate,
    output_gate,
)


@equation(
    "E18",
    "lstm.projection",
    latex=r"r_t = h_t\, R",
    documents=("Sak, Senior & Beaufays 2014",),
    note="the recurrence and the output see r_t (B, P) in the place of h_t (B, H)",
)
def projection(p: Parameters, h: Array) -> Array:
    """Return the projected hidden state (B, P)."""
    return h @ p.R


class ProjectedLSTM(Cell):
    """The LSTM whose output and recurrence go through R (H, P)."""

    name = "lstm-projected"
    title = "LSTM with projection"
    equations = (
        "lstm.forget_gate",
        "lstm.input_gate",
        "lstm.candidate",
        "lstm.output_gate",
        "lstm.cell_state",
        "lstm.hidden_state",
        "lstm.projection",
    )
    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    limits = LIMITS
    traits = frozenset({"projected"})

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """As the LSTM's, with U (4, P, H), and R (H, P)."""
        return super().shapes(sizes) | {
            "U": Shape(self.gates, (sizes.projected, sizes.H)),
            "R": Shape((), (sizes.H, sizes.projected)),
        }

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """The hidden state is projected, the cell state is not."""
        return sizes.projected, sizes.H

    def step(self, p: Parameters, x: Array, state: State) -> tuple[State, Gates]:
        """E13-E18, then the projection."""
        r, c = state
        f = forget_gate(p, x, r)
        i = input_gate(p, x, r)
        g = candidate(p, x, r)
        o = output_gate(p, x, r)
        c_new = cell_state(f, c, i, g)
        h_new = hidden_state(o, c_new)
        return (projection(p, h_new), c_new), {"i": i, "f": f, "g": g, "o": o, "h": h_new}

    def vjp(
        self, p: Parameters, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        """As the LSTM's, after pulling the cotangent back through R."""
        (r, c), (_, c_new), (dr_new, dc_new) = state, new, cotangent
        i, f, g, o, h_new = gates["i"], gates["f"], gates["g"], gates["o"], gates["h"]
        dR, dh_new = h_new.T @ dr_new, dr_new @ p.R.T
        do, dc_through_h = hidden_state_vjp(o, c_new, dh_new)
        df, dc, di, dg = cell_state_vjp(f, c, i, g, dc_new + dc_through_h)
        dz = {
            "i": di * sigmoid_slope(i),
            "f": df * sigmoid_slope(f),
            "g": dg * tanh_slope(g),
            "o": do * sigmoid_slope(o),
        }
        arrays, dx, dr = affine_vjp(p, x, r, dz)
        return Parameters(p.shapes, arrays | {"R": dR}), dx, (dr, dc)


CELLS = (ProjectedLSTM(),)
