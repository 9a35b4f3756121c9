"""The Phased LSTM (E28; Neil, Pfeiffer & Liu 2016): a peephole LSTM behind a rhythmic time gate."""

from __future__ import annotations

import numpy as np

from ..cell import Cell, Gates, State, affine_vjp
from ..equation import equation, vjp_of
from ..functions import Array, floor, sigmoid_slope, switch, tanh_slope
from ..parameters import Parameters, Shape, Sizes
from .lstm import LIMITS, candidate, cell_state, cell_state_vjp, hidden_state, hidden_state_vjp
from .lstm_peephole import forget_gate, input_gate, output_gate, peephole_gradient

LEAK = 0.001
"""The slope α of the closed phase; the paper trains with 0.001 and tests with 0."""


@equation(
    "E28",
    "phased.phase",
    latex=r"\phi_t = \frac{(t - s) \bmod \tau}{\tau}",
    documents=("D4", "Neil, Pfeiffer & Liu 2016"),
)
def phase(p: Parameters, time: Array) -> Array:
    """Return where in its cycle each unit is, (B, H) in [0, 1); ``time`` is (B, 1)."""
    cycles = (time - p.s) / p.tau
    return cycles - floor(cycles)


@equation(
    "E28",
    "phased.time_gate",
    latex=r"k_t = \begin{cases} 2\phi_t / r_{\mathrm{on}} & \phi_t < r_{\mathrm{on}}/2 \\"
    r" 2 - 2\phi_t / r_{\mathrm{on}} & r_{\mathrm{on}}/2 \le \phi_t < r_{\mathrm{on}} \\"
    r" \alpha \phi_t & r_{\mathrm{on}} \le \phi_t \end{cases}",
    documents=("D4", "Neil, Pfeiffer & Liu 2016"),
    note="opens over r_on/2, closes over r_on/2, leaks with slope α while closed",
)
def time_gate(p: Parameters, phi: Array, leak: float) -> Array:
    """Return the openness k (B, H)."""
    return _by_phase(p, phi, 2 * phi / p.r_on, 2 - 2 * phi / p.r_on, leak * phi)


def time_gate_vjp(
    p: Parameters, time: Array, phi: Array, leak: float, dk: Array
) -> tuple[dict[str, Array], Array]:
    """Pull dk back to the timing parameters tau, s, r_on, and to the time stamp (B, 1)."""
    dphi = dk * _by_phase(p, phi, 2 / p.r_on, -2 / p.r_on, leak + 0 * phi)
    per_ratio = 2 * phi / (p.r_on * p.r_on)
    dr_on = dk * _by_phase(p, phi, -per_ratio, per_ratio, 0 * phi)
    dtime = dphi / p.tau
    arrays = {
        "tau": -(dtime * (time - p.s) / p.tau).sum(axis=0),
        "s": -dtime.sum(axis=0),
        "r_on": dr_on.sum(axis=0),
    }
    return arrays, dtime.sum(axis=1)[:, None]


def _by_phase(p: Parameters, phi: Array, rising: Array, falling: Array, closed: Array) -> Array:
    return switch(phi - p.r_on / 2, rising, switch(phi - p.r_on, falling, closed))


@equation(
    "E28",
    "phased.gated_state",
    latex=r"c_t = k_t \odot \tilde c_t + (1 - k_t) \odot c_{t-1}, \quad"
    r" h_t = k_t \odot \tilde h_t + (1 - k_t) \odot h_{t-1}",
    documents=("D4", "Neil, Pfeiffer & Liu 2016"),
    note="k = 1 gives the peephole LSTM; h̃ is taken from c̃, not from the gated c",
)
def gated_state(k: Array, proposed: Array, old: Array) -> Array:
    """Return the state (B, H): the proposal where the gate is open, the old one where closed."""
    return k * proposed + (1 - k) * old


@vjp_of("phased.gated_state")
def gated_state_vjp(
    k: Array, proposed: Array, old: Array, d_new: Array
) -> tuple[Array, Array, Array]:
    """Pull the cotangent back to (dk, dproposed, dold)."""
    return d_new * (proposed - old), d_new * k, d_new * (1 - k)


class PhasedLSTM(Cell):
    """E28. Input column 0 is the time stamp; the peephole LSTM's parameters, and tau, s, r_on."""

    name = "lstm-phased"
    title = "Phased LSTM"
    equations = (
        "phased.phase",
        "phased.time_gate",
        "lstm.peephole_forget_gate",
        "lstm.peephole_input_gate",
        "lstm.candidate",
        "lstm.peephole_output_gate",
        "lstm.cell_state",
        "lstm.hidden_state",
        "phased.gated_state",
    )
    gates = ("i", "f", "g", "o")
    states = ("h", "c")
    limits = LIMITS[:1]
    traits = frozenset({"bounded", "timed"})

    def __init__(self, leak: float = LEAK) -> None:
        """``leak`` is α, the slope of the closed phase."""
        self.leak = leak

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """W, U, b (4, ...), p (3, H), and tau, s, r_on (H,)."""
        vector = Shape((), (sizes.H,))
        peepholes = Shape(("i", "f", "o"), (sizes.H,))
        return super().shapes(sizes) | {
            "p": peepholes, "tau": vector, "s": vector, "r_on": vector
        }  # fmt: skip

    def input_width(self, sizes: Sizes) -> int:
        """One more than D, for the time stamp."""
        return sizes.D + 1

    def random_parameter(self, name: str, rng: np.random.Generator, shape: Shape) -> Array:
        """As for any cell; periods in (2, 8), shifts in (0, 2) and open ratios in (.3, .9)."""
        spans = {"tau": (2, 8), "s": (0, 2), "r_on": (0.3, 0.9)}
        if name in spans:
            return rng.uniform(*spans[name], shape.full)
        return super().random_parameter(name, rng, shape)

    def random_input(self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes) -> Array:
        """Draw N(0, 1) features behind irregular, increasing time stamps."""
        x = super().random_input(rng, steps, batch, sizes)
        x[:, :, 0] = np.cumsum(rng.uniform(0.1, 1.5, (steps, batch)), axis=0)
        return x

    def step(self, p: Parameters, x: Array, state: State) -> tuple[State, Gates]:
        """A peephole step to (h̃, c̃), then the time gate."""
        h, c = state
        time, x = x[:, :1], x[:, 1:]
        phi = phase(p, time)
        k = time_gate(p, phi, self.leak)
        f = forget_gate(p, x, h, c)
        i = input_gate(p, x, h, c)
        g = candidate(p, x, h)
        c_proposed = cell_state(f, c, i, g)
        o = output_gate(p, x, h, c_proposed)
        h_proposed = hidden_state(o, c_proposed)
        new = gated_state(k, h_proposed, h), gated_state(k, c_proposed, c)
        gates = {"i": i, "f": f, "g": g, "o": o, "k": k, "phi": phi}
        return new, gates | {"h": h_proposed, "c": c_proposed}

    def vjp(
        self, p: Parameters, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        """Back through the time gate, then through the peephole step."""
        (h, c), (dh_new, dc_new) = state, cotangent
        time, x = x[:, :1], x[:, 1:]
        i, f, g, o, k = gates["i"], gates["f"], gates["g"], gates["o"], gates["k"]
        dk_h, dh_proposed, dh_kept = gated_state_vjp(k, gates["h"], h, dh_new)
        dk_c, dc_proposed, dc_kept = gated_state_vjp(k, gates["c"], c, dc_new)
        timing, dtime = time_gate_vjp(p, time, gates["phi"], self.leak, dk_h + dk_c)

        do, dc_through_h = hidden_state_vjp(o, gates["c"], dh_proposed)
        dz = {"o": do * sigmoid_slope(o)}
        dc_proposed = dc_proposed + dc_through_h + dz["o"] * p.p_o
        df, dc, di, dg = cell_state_vjp(f, c, i, g, dc_proposed)
        dz["i"] = di * sigmoid_slope(i)
        dz["f"] = df * sigmoid_slope(f)
        dz["g"] = dg * tanh_slope(g)
        dc = dc + dc_kept + dz["i"] * p.p_i + dz["f"] * p.p_f
        arrays, dx, dh = affine_vjp(p, x, h, dz)
        arrays["p"] = peephole_gradient(dz, c, gates["c"])
        dx = np.concatenate([dtime, dx], axis=1)
        return Parameters(p.shapes, arrays | timing), dx, (dh + dh_kept, dc)


CELLS = (PhasedLSTM(),)
