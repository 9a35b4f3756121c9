"""Minimal gated cells: MGU, minGRU and minLSTM.

The MGU has one gate for two. The gates and candidates of minGRU and minLSTM read x alone, so
that h' is linear in h and a scan can compute it; in log-space, if candidates are above 0.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Input, Rows, Same, Units
from ..cell import VJP, Cell, Gates, Limit, State, input_vjp
from ..equation import equation, vjp_of
from ..functions import sigmoid, sigmoid_slope, switch, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .gru import candidate, state_takes_new, state_takes_new_vjp
from .lstm import cell_state, cell_state_vjp, forget_gate

SOURCE = ("Feng et al. 2024, arXiv:2410.01201",)


class MGU(Cell):
    """E13, E22, E23a: the GRU with one gate f for reset and update; gates in the order f, n.

    Zhou, Wu, Zhang & Zhou 2016, arXiv:1603.09420.
    """

    name, title = "mgu", "Minimal gated unit (MGU)"
    equations = ("lstm.forget_gate", "gru.candidate", "gru.state_takes_new")
    gates, states = ("f", "n"), ("h",)
    limits = (Limit("f = 0 keeps the old state", (), ("f",), "h", "old"),)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute E13, E22 with f as the reset gate, E23a with f as the update gate."""
        (h,) = state
        f = forget_gate(p, x, h)
        n = candidate(p, x, h, f)
        return (state_takes_new(f, n, h),), {"f": f, "n": n}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; f gets a cotangent from the blend and from the candidate's product f ⊙ h."""
        (h,), (dh_new,), f, n = state, d, gates["f"], gates["n"]
        df, dn, dh = state_takes_new_vjp(f, n, h, dh_new)
        dz_n = dn * tanh_slope(n)
        d_seen = dz_n @ p.U_n.T
        dz_f = (df + d_seen * h) * sigmoid_slope(f)
        arrays, dx = input_vjp(p, x, {"f": dz_f, "n": dz_n})
        arrays["U"] = np.stack([h.T @ dz_f, (f * h).T @ dz_n])
        return Parameters(p.shapes, arrays), dx, (dh + d_seen * f + dz_f @ p.U_f.T,)


@equation(
    "X01", "mingru.update_gate", latex=r"z_t = \sigma(x_t W_z + b_z)", documents=SOURCE,
    note="sees the input alone",
)  # fmt: skip
def update_gate(p: Parameters, x: Input) -> Units:
    """Return z (B, H): the share of the candidate."""
    return sigmoid(x @ p.W_z + p.b_z)


@equation("X02", "mingru.candidate", latex=r"\tilde h_t = x_t W_n + b_n", documents=SOURCE)
def linear_candidate(p: Parameters, x: Input) -> Units:
    """Return the candidate (B, H), without an activation."""
    return x @ p.W_n + p.b_n


@equation(
    "X03", "mingru.positive",
    latex=r"g(s) = \begin{cases} s + 1/2 & s \ge 0 \\ \sigma(s) & s < 0 \end{cases}",
    documents=SOURCE, note="of the candidate, for programs in log-space: continuous, above 0",
)  # fmt: skip
def positive(s: Same) -> Same:
    """Return g(s), above 0."""
    return switch(s, sigmoid(s), s + 0.5)


@vjp_of("mingru.positive")
def positive_vjp(s: Same, dn: Same) -> tuple[Same]:
    """Pull dn back to s; to the right of the kink at 0."""
    return (dn * switch(s, sigmoid_slope(sigmoid(s)), 1 + 0 * s),)


@equation(
    "X04", "minlstm.forget_gate", latex=r"f_t = \sigma(x_t W_f + b_f)", documents=SOURCE,
)  # fmt: skip
def input_forget_gate(p: Parameters, x: Input) -> Units:
    """Return f (B, H), before its share is taken."""
    return sigmoid(x @ p.W_f + p.b_f)


@equation(
    "X04", "minlstm.input_gate", latex=r"i_t = \sigma(x_t W_i + b_i)", documents=SOURCE,
)  # fmt: skip
def input_gate(p: Parameters, x: Input) -> Units:
    """Return i (B, H), before its share is taken."""
    return sigmoid(x @ p.W_i + p.b_i)


@equation(
    "X05", "minlstm.share",
    latex=r"f'_t = \frac{f_t}{f_t + i_t}, \quad i'_t = \frac{i_t}{f_t + i_t}", documents=SOURCE,
    note="so that the state's scale does not depend on the length; then E17 with f', i'",
)  # fmt: skip
def share(gate: Units, other: Units) -> Units:
    """Return gate / (gate + other), (B, H); NaN where both underflow to 0."""
    with np.errstate(invalid="ignore"):
        return gate / (gate + other)


class MinimalCell(Cell):
    """The base class of minGRU and minLSTM: W (G, D, H) and b (G, H), no U; the candidate."""

    states = ("h",)
    traits: frozenset[str] = frozenset()

    def __init__(self, *, positive: bool) -> None:
        """Set the names; ``positive``: whether candidates, and so states, are above 0."""
        self.positive = positive
        self.equations += ("mingru.positive",) * positive
        self.name += "-positive" * positive
        self.title += ", states above 0" * positive

    def candidate(self, p: Parameters, x: Rows) -> tuple[Units, Units]:
        """Return the candidate's sum and the candidate: X02, and X03 where states are above 0."""
        s = linear_candidate(p, x)
        return s, positive(s) if self.positive else s

    def candidate_vjp(self, s: Units, dn: Units) -> Units:
        """Pull dn back to the candidate's sum."""
        return positive_vjp(s, dn)[0] if self.positive else dn

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the shapes of W (G, D, H) and b (G, H)."""
        return {
            "W": Shape(self.gates, (sizes.D, sizes.H)),
            "b": Shape(self.gates, (sizes.H,)),
        }

    def random_state(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Draw from N(0, 1), or its absolute value where states are above 0."""
        drawn = super().random_state(name, rng, shape)
        return np.abs(drawn) if self.positive else drawn


class MinGRU(MinimalCell):
    """X01, X02, E23a, or with X03; gates in the order z, n."""

    name, title = "mingru", "minGRU"
    equations = ("mingru.update_gate", "mingru.candidate", "gru.state_takes_new")
    gates = ("z", "n")
    limits = (
        Limit("z = 0 keeps the old state", (), ("z",), "h", "old"),
        Limit("z = 1 forgets it", ("z",), (), "h", "fresh"),
    )

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute X01, X02, E23a."""
        (h,) = state
        z, (s, n) = update_gate(p, x), self.candidate(p, x)
        return (state_takes_new(z, n, h),), {"z": z, "n": n, "s": s}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back; the old state's cotangent is (1 - z) dh', without a weight."""
        z, n = gates["z"], gates["n"]
        dz_gate, dn, dh = state_takes_new_vjp(z, n, state[0], d[0])
        dz = {"z": dz_gate * sigmoid_slope(z), "n": self.candidate_vjp(gates["s"], dn)}
        arrays, dx = input_vjp(p, x, dz)
        return Parameters(p.shapes, arrays), dx, (dh,)


class MinLSTM(MinimalCell):
    """X04, X02, X05, E17, or with X03; gates in the order f, i, n."""

    name, title = "minlstm", "minLSTM"
    equations = (
        "minlstm.forget_gate", "minlstm.input_gate", "mingru.candidate", "minlstm.share",
        "lstm.cell_state",
    )  # fmt: skip
    gates = ("f", "i", "n")
    limits = (
        Limit("f = 1 and i = 0 keep the old state", ("f",), ("i",), "h", "old"),
        Limit("f = 0 and i = 1 forget it", ("i",), ("f",), "h", "fresh"),
    )

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Compute X04, X02, X05, and E17 with the shares."""
        f, i, (s, n) = input_forget_gate(p, x), input_gate(p, x), self.candidate(p, x)
        f_share, i_share = share(f, i), share(i, f)
        new = cell_state(f_share, state[0], i_share, n)
        return (new,), {"f": f, "i": i, "n": n, "s": s, "f'": f_share, "i'": i_share}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through E17 and the shares: f' + i' = 1, ∂f'/∂ln f = f' i' = -∂i'/∂ln f."""
        f, i, f_share, i_share = gates["f"], gates["i"], gates["f'"], gates["i'"]
        df_share, dh, di_share, dn = cell_state_vjp(f_share, state[0], i_share, gates["n"], d[0])
        across = (df_share - di_share) * (f_share * i_share)
        dz = {
            "f": across * (1 - f),
            "i": -across * (1 - i),
            "n": self.candidate_vjp(gates["s"], dn),
        }
        arrays, dx = input_vjp(p, x, dz)
        return Parameters(p.shapes, arrays), dx, (dh,)


CELLS = (
    MGU(),
    MinGRU(positive=False),
    MinGRU(positive=True),
    MinLSTM(positive=False),
    MinLSTM(positive=True),
)
