"""The simple recurrent unit (SRU): its gates read x, and c unit by unit.

The highway x' is a product of the input; with D = H and the identity for W_s, the input itself.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Input, Rows, Units
from ..cell import VJP, Cell, Gates, Limit, State, input_vjp
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, zeros
from ..parameters import Parameters, Shape, Sizes
from .gru import state_keeps_old, state_keeps_old_vjp

SOURCE = ("Lei et al. 2018, arXiv:1709.02755",)


@equation(
    "X07", "sru.forget_gate",
    latex=r"f_t = \sigma(x_t W_f + v_f \odot c_{t-1} + b_f)", documents=SOURCE,
)  # fmt: skip
def forget_gate(p: Parameters, x: Input, c: Units) -> Units:
    """Return f (B, H): the share of the old cell state in the new, by E23b."""
    return sigmoid(x @ p.W_f + p.v_f * c + p.b_f)


@equation(
    "X07", "sru.reset_gate",
    latex=r"r_t = \sigma(x_t W_r + v_r \odot c_{t-1} + b_r)", documents=SOURCE,
    note="sees the old cell state, not the new",
)  # fmt: skip
def reset_gate(p: Parameters, x: Input, c: Units) -> Units:
    """Return r (B, H): the share of the cell state in the output."""
    return sigmoid(x @ p.W_r + p.v_r * c + p.b_r)


@equation(
    "X08", "sru.candidate", latex=r"\tilde c_t = x_t W_n", documents=SOURCE, note="without a bias"
)
def candidate(p: Parameters, x: Input) -> Units:
    """Return the candidate (B, H)."""
    return x @ p.W_n


@equation(
    "X08", "sru.highway", latex=r"x'_t = x_t W_s", documents=SOURCE,
    note="the paper's x_t where D = H and W_s = 1, or α to keep the variance",
)  # fmt: skip
def highway(p: Parameters, x: Input) -> Units:
    """Return the highway x' (B, H), which passes by the recurrence."""
    return x @ p.W_s


@equation(
    "X09", "sru.output", latex=r"h_t = r_t \odot c_t + (1 - r_t) \odot x'_t", documents=SOURCE,
    note="a first version has tanh(c_t)",
)  # fmt: skip
def output(r: Units, c: Units, passed: Units) -> Units:
    """Return h (B, H), which no later step reads."""
    return r * c + (1 - r) * passed


@vjp_of("sru.output")
def output_vjp(r: Units, c: Units, passed: Units, dh: Units) -> tuple[Units, Units, Units]:
    """Pull dh back to (dr, dc, dx')."""
    return dh * (c - passed), dh * r, dh * (1 - r)


class SRU(Cell):
    """X07-X09 and E23b; W in the order n, f, r, s, and v and b of the gates f and r."""

    name, title = "sru", "Simple recurrent unit (SRU)"
    equations = (
        "sru.candidate", "sru.forget_gate", "sru.reset_gate", "sru.highway",
        "gru.state_keeps_old", "sru.output",
    )  # fmt: skip
    gates, states = ("n", "f", "r", "s"), ("h", "c")
    traits = frozenset()
    limits = (
        Limit("f = 1 keeps the cell state", ("f",), (), "c", "old"),
        Limit("f = 0 forgets it", (), ("f",), "c", "fresh"),
    )

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of W (4, D, H), v and b (2, H)."""
        vector = Shape(("f", "r"), (sizes.H,))
        return {"W": Shape(self.gates, (sizes.D, sizes.H)), "v": vector, "b": vector}

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute X07, X08, E23b, X09."""
        c = state[1]
        f, r = forget_gate(p, x, c), reset_gate(p, x, c)
        n, passed = candidate(p, x), highway(p, x)
        new = state_keeps_old(f, n, c)
        return (output(r, new, passed), new), {"f": f, "r": r, "n": n, "s": passed}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; both gates read the old cell state by v, and nothing reads the old h."""
        (h, c), (dh_new, dc_new), f, r = state, d, gates["f"], gates["r"]
        dr, dc_shown, ds = output_vjp(r, new[1], gates["s"], dh_new)
        df, dn, dc = state_keeps_old_vjp(f, gates["n"], c, dc_new + dc_shown)
        dz = {"n": dn, "f": df * sigmoid_slope(f), "r": dr * sigmoid_slope(r), "s": ds}
        arrays, dx = input_vjp(p, x, dz)
        arrays["v"] = np.stack([(dz[k] * c).sum(axis=0) for k in ("f", "r")])
        return (
            Parameters(p.shapes, arrays),
            dx,
            (zeros(h, h.shape), dc + dz["f"] * p.v_f + dz["r"] * p.v_r),
        )


CELLS = (SRU(),)
