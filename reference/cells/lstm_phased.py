"""The Phased LSTM (E28; Neil, Pfeiffer & Liu 2016): a peephole LSTM behind a rhythmic time gate."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from ..arrays import Array, Column, Floats, Rows, Units
from ..cell import Gates, State
from ..equation import equation, vjp_of
from ..functions import floor, switch
from ..parameters import Parameters, Shape, Sizes
from .gru import state_takes_new_vjp
from .lstm import LIMITS
from .lstm_peephole import PeepholeLSTM

LEAK = 0.001
"""The slope α of the closed phase; the paper trains with 0.001 and tests with 0."""


@equation(
    "E28",
    "phased.phase",
    latex=r"\phi_t = \frac{(t - s) \bmod \tau}{\tau}",
    documents=("D4", "Neil, Pfeiffer & Liu 2016"),
)
def phase(p: Parameters, time: Column) -> Units:
    """Return the phase of each unit's cycle, (B, H) in [0, 1); ``time`` is (B, 1)."""
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
def time_gate(p: Parameters, phi: Units, leak: float) -> Units:
    """Return the openness k (B, H)."""
    return _by_phase(p, phi, 2 * phi / p.r_on, 2 - 2 * phi / p.r_on, leak * phi)


def time_gate_vjp(
    p: Parameters, time: Column, phi: Units, leak: float, dk: Units
) -> tuple[dict[str, Annotated[Array, "H"]], Column]:
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


def _by_phase(p: Parameters, phi: Units, rising: Array, falling: Array, closed: Array) -> Units:
    return switch(phi - p.r_on / 2, rising, switch(phi - p.r_on, falling, closed))


@equation(
    "E28",
    "phased.gated_state",
    latex=r"c_t = k_t \odot \tilde c_t + (1 - k_t) \odot c_{t-1}, \quad"
    r" h_t = k_t \odot \tilde h_t + (1 - k_t) \odot h_{t-1}",
    documents=("D4", "Neil, Pfeiffer & Liu 2016"),
    note="k = 1 gives the peephole LSTM; h̃ is taken from c̃, not from the gated c",
)
def gated_state(k: Units, proposed: Units, old: Units) -> Units:
    """Return the state (B, H): the proposal where the gate is open, the old one where closed."""
    return k * proposed + (1 - k) * old


gated_state_vjp = vjp_of("phased.gated_state")(state_takes_new_vjp)  # the same function


class PhasedLSTM(PeepholeLSTM):
    """E28. Input column 0 is the time stamp; the peephole LSTM's parameters, and tau, s, r_on."""

    name = "lstm-phased"
    title = "Phased LSTM"
    equations = ("phased.phase", "phased.time_gate", *PeepholeLSTM.equations, "phased.gated_state")
    limits = LIMITS[:1]
    traits = frozenset({"bounded", "timed"})
    spans = {"tau": (2, 8), "s": (0, 2), "r_on": (0.3, 0.9)}  # noqa: RUF012 - constants of a class

    def __init__(self, leak: float = LEAK) -> None:
        """Set α, the slope of the closed phase."""
        super().__init__(self.name, self.title, output_sees_new=True)
        self.leak = leak

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return those of W, U, b (4, ...), p (3, H), and tau, s, r_on (H,)."""
        return super().shapes(sizes) | dict.fromkeys(("tau", "s", "r_on"), Shape((), (sizes.H,)))

    def input_width(self, sizes: Sizes) -> int:
        """Return D + 1: column 0 is the time stamp."""
        return sizes.D + 1

    def random_input(
        self, rng: np.random.Generator, steps: int, batch: int, sizes: Sizes
    ) -> Floats:
        """Draw N(0, 1) features behind irregular, increasing time stamps."""
        x = super().random_input(rng, steps, batch, sizes)
        x[:, :, 0] = np.cumsum(rng.uniform(0.1, 1.5, (steps, batch)), axis=0)
        return x

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Take a peephole step to (h̃, c̃), then apply the time gate."""
        phi = phase(p, x[:, :1])
        k = time_gate(p, phi, self.leak)
        proposed, gates = super().step(p, x[:, 1:], state)
        h, c = (gated_state(k, s, old) for s, old in zip(proposed, state, strict=True))
        return (h, c), {**gates, "k": k, "phi": phi, "h": proposed[0], "c": proposed[1]}

    def arrays_vjp(
        self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[dict[str, Array], Rows, State]:
        """Pull back through the time gate, then through the peephole step."""
        proposed, k = (gates["h"], gates["c"]), gates["k"]
        pulled = [
            gated_state_vjp(k, *args) for args in zip(proposed, state, cotangent, strict=True)
        ]
        (dk_h, dh_proposed, dh_kept), (dk_c, dc_proposed, dc_kept) = pulled
        timing, dtime = time_gate_vjp(p, x[:, :1], gates["phi"], self.leak, dk_h + dk_c)
        arrays, dx, (dh, dc) = super().arrays_vjp(
            p, x[:, 1:], state, gates, proposed, (dh_proposed, dc_proposed)
        )
        dx = np.concatenate([dtime, dx], axis=1)
        return arrays | timing, dx, (dh + dh_kept, dc + dc_kept)


CELLS = (PhasedLSTM(),)
