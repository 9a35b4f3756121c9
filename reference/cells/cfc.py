"""The closed-form continuous-time cell (CfC) without a backbone; each step lasts one time unit."""

from __future__ import annotations

from ..arrays import Hidden, Input, Rows, Units
from ..cell import VJP, Cell, Gates, State, affine_vjp
from ..equation import equation
from ..functions import sigmoid, sigmoid_slope, tanh, tanh_slope
from ..parameters import Parameters
from .gru import state_takes_new, state_takes_new_vjp
from .lstm import candidate

SOURCE = ("Hasani et al. 2022, arXiv:2106.13898",)


@equation(
    "X21", "cfc.second", latex=r"k_t = \tanh(W_k [h_{t-1}, x_t] + b_k)", documents=SOURCE,
    note="beside E15, g: what the state is before and after the time constant has passed",
)  # fmt: skip
def second(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return k (B, H)."""
    return tanh(x @ p.W_k + h @ p.U_k + p.b_k)


@equation(
    "X22", "cfc.time",
    latex=r"\tau_t = \sigma(\Delta t \,(W_a [h_{t-1}, x_t] + b_a) + W_b [h_{t-1}, x_t] + b_b),"
    r" \quad \Delta t = 1",
    documents=SOURCE, note="of τ, E23a takes k and leaves g; as in ncps's mode default",
)  # fmt: skip
def elapsed(p: Parameters, x: Input, h: Hidden) -> Units:
    """Return τ (B, H): the share of the way from g to k."""
    return sigmoid(x @ p.W_a + h @ p.U_a + p.b_a + x @ p.W_b + h @ p.U_b + p.b_b)


class CfC(Cell):
    """E15, X21, X22, E23a; gates in the order g, k, a, b."""

    name, title = "cfc", "CfC (no backbone, Δt = 1)"
    equations = ("lstm.candidate", "cfc.second", "cfc.time", "gru.state_takes_new")
    gates, states = ("g", "k", "a", "b"), ("h",)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute E15, X21, X22, and E23a between g and k, not between k and the old state."""
        (h,) = state
        g, k, tau = candidate(p, x, h), second(p, x, h), elapsed(p, x, h)
        return (state_takes_new(tau, k, g),), {"g": g, "k": k, "tau": tau}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; both sums in τ get its cotangent."""
        g, k, tau = gates["g"], gates["k"], gates["tau"]
        dtau, dk, dg = state_takes_new_vjp(tau, k, g, d[0])
        ds = dtau * sigmoid_slope(tau)
        dz = {"g": dg * tanh_slope(g), "k": dk * tanh_slope(k), "a": ds, "b": ds}
        arrays, dx, dh = affine_vjp(p, x, state[0], dz)
        return Parameters(p.shapes, arrays), dx, (dh,)


CELLS = (CfC(),)
