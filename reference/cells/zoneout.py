"""Zoneout in evaluation: each new state keeps a constant share of the old one.

In training a random mask keeps every unit with a probability; this is its expectation.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..arrays import Rows, Units
from ..cell import VJP, Cell, Gates, State
from ..equation import equation
from ..parameters import Parameters, Shape, Sizes
from .gru_reset_after import CELLS as GRU_CELLS
from .lstm import CELLS as LSTM_CELLS


@equation(
    "X14", "zoneout.state",
    latex=r"s_t = \zeta_s \odot s_{t-1} + (1 - \zeta_s) \odot S(s_{t-1}, x_t)",
    documents=("Krueger et al. 2017, arXiv:1606.01305",),
    note="for every state s; the plain cell's h is taken from its own c, before c is mixed",
)  # fmt: skip
def zoned_out(rate: float, proposed: Units, old: Units) -> Units:
    """Return the state (B, width): a share ``rate`` of the old one is kept."""
    return rate * old + (1 - rate) * proposed


class Zoneout(Cell):
    """X14 around a plain cell, whose parameters and gates it has."""

    def __init__(self, name: str, title: str, plain: Cell, rates: Mapping[str, float]) -> None:
        """Set the plain cell, and ζ of every state."""
        self.name, self.title, self.plain = name, title, plain
        self.rates = tuple(rates[s] for s in plain.states)
        self.equations = (*plain.equations, "zoneout.state")
        self.gates, self.states, self.traits = plain.gates, plain.states, plain.traits

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the plain cell's shapes."""
        return self.plain.shapes(sizes)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Take a plain step, and mix each state with its old value."""
        proposed, gates = self.plain.step(p, x, state)
        new = tuple(map(zoned_out, self.rates, proposed, state))
        return new, {**gates, **{f"proposed {k}": s for k, s in enumerate(proposed)}}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through the plain step, and to the old state's share."""
        proposed = tuple(gates[f"proposed {k}"] for k in range(len(state)))
        written = tuple((1 - r) * ds for r, ds in zip(self.rates, d, strict=True))
        dp, dx, d_old = self.plain.vjp(p, x, state, gates, proposed, written)
        shares = zip(d_old, self.rates, d, strict=True)
        return dp, dx, tuple(d + r * d_new for d, r, d_new in shares)


CELLS = (
    Zoneout(
        "zoneout-lstm", "LSTM, zoneout (evaluation, ζ_c = 1/2, ζ_h = 1/16)",
        LSTM_CELLS[0], {"c": 0.5, "h": 0.0625},
    ),
    Zoneout("zoneout-gru", "GRU, zoneout (evaluation, ζ = 1/8)", GRU_CELLS[0], {"h": 0.125}),
)  # fmt: skip
