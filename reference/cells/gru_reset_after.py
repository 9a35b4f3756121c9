"""The GRU whose reset acts after the matrix product: PyTorch's, cuDNN's and Keras' default."""

from __future__ import annotations

from ..arrays import Input, Rows, Units
from ..cell import VJP, Cell, Gates, State, affine_vjp
from ..equation import equation
from ..functions import sigmoid_slope, tanh, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .gru import KEEPS_OLD, reset_gate, state_keeps_old, state_keeps_old_vjp, update_gate


@equation(
    "E24",
    "gru.candidate_reset_after",
    latex=r"n_t = \tanh(x_t W_n + b_n + r_t \odot (h_{t-1} U_n + b_{hn}))",
    documents=("PyTorch, cuDNN, Keras",),
    note="not in the documents; equals E22 when U_n is diagonal and b_hn = 0",
)
def candidate_reset_after(p: Parameters, x: Input, h: Units, r: Units) -> Units:
    """Return n (B, H); the reset acts on the product h U_n + b_hn."""
    return tanh(x @ p.W_n + p.b_n + r * (h @ p.U_n + p.b_hn))


class ResetAfterGRU(Cell):
    """E20, E21, E24, E23b; gates in the order r, z, n, and a recurrent bias b_hn (H,)."""

    name = "gru"
    title = "GRU, reset after (PyTorch)"
    equations = (
        "gru.update_gate",
        "gru.reset_gate",
        "gru.candidate_reset_after",
        "gru.state_keeps_old",
    )
    gates = ("r", "z", "n")
    states = ("h",)
    limits = KEEPS_OLD

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the GRU's shapes, and b_hn (H,)."""
        return super().shapes(sizes) | {"b_hn": Shape((), (sizes.H,))}

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """E20, E21, E24, E23b."""
        (h,) = state
        r = reset_gate(p, x, h)
        z = update_gate(p, x, h)
        n = candidate_reset_after(p, x, h, r)
        return (state_keeps_old(z, n, h),), {"r": r, "z": z, "n": n}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the recurrent product of the candidate gets the cotangent r ⊙ dz_n."""
        (h,), (dh_new,) = state, d
        r, z, n = gates["r"], gates["z"], gates["n"]
        dz_gate, dn, dh = state_keeps_old_vjp(z, n, h, dh_new)
        dz = {"z": dz_gate * sigmoid_slope(z), "n": dn * tanh_slope(n)}
        dz["r"] = dz["n"] * (h @ p.U_n + p.b_hn) * sigmoid_slope(r)
        recurrent = {"r": dz["r"], "z": dz["z"], "n": dz["n"] * r}
        arrays, dx, dh_gates = affine_vjp(p, x, h, dz, recurrent)
        arrays["b_hn"] = recurrent["n"].sum(axis=0)
        return Parameters(p.shapes, arrays), dx, (dh + dh_gates,)


CELLS = (ResetAfterGRU(),)
