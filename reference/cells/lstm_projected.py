"""The LSTM with a projected hidden state (LSTMP; ``proj_size`` in PyTorch)."""

from __future__ import annotations

from ..arrays import Array, Hidden, Rows, Units
from ..cell import Gates, State
from ..equation import equation
from ..parameters import Parameters, Shape, Sizes
from .lstm import REST, LSTMFamily


@equation(
    "E18",
    "lstm.projection",
    latex=r"r_t = h_t\, R",
    documents=("Sak, Senior & Beaufays 2014",),
    note="the recurrence and the output see r_t (B, P) in the place of h_t (B, H)",
)
def projection(p: Parameters, h: Units) -> Hidden:
    """Return the projected hidden state (B, P)."""
    return h @ p.R


class ProjectedLSTM(LSTMFamily):
    """The LSTM whose output and recurrence go through R (H, P)."""

    name = "lstm-projected"
    title = "LSTM with projection"
    equations = ("lstm.forget_gate", "lstm.input_gate", "lstm.candidate", *REST, "lstm.projection")
    traits = frozenset({"projected"})

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the LSTM's shapes, with U (4, P, H), and R (H, P)."""
        return super().shapes(sizes) | {
            "U": Shape(self.gates, (sizes.projected, sizes.H)),
            "R": Shape((), (sizes.H, sizes.projected)),
        }

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return P and H: the hidden state is projected, the cell state is not."""
        return sizes.projected, sizes.H

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute E13-E18, then the projection."""
        (h_new, c_new), gates = super().step(p, x, state)
        return (projection(p, h_new), c_new), {**gates, "h": h_new}

    def arrays_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[dict[str, Array], Rows, State]:
        """Pull back through R, then as the LSTM."""
        (_, c_new), (dr_new, dc_new), h_new = new, cotangent, gates["h"]
        dR, unprojected = h_new.T @ dr_new, (dr_new @ p.R.T, dc_new)
        arrays, dx, d_old = super().arrays_vjp(p, x, state, gates, (h_new, c_new), unprojected)
        return arrays | {"R": dR}, dx, d_old


CELLS = (ProjectedLSTM(),)
