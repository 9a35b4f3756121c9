"""Skip RNN, LSTM and GRU (E29; Campos et al. 2017): cells that learn which steps to skip.

The gradient of the binary update gate is the straight-through estimate: rounding is given the
derivative 1. It is *not* the derivative of what the cell computes, which is 0 almost everywhere.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, Column, Floats, Hidden, Rows, Units
from ..cell import VJP, Cell, Gates, State
from ..equation import equation, vjp_of
from ..functions import binarise, minimum, sigmoid, sigmoid_slope, switch, zeros
from ..parameters import Parameters, Shape, Sizes
from .gru import CELLS as GRU_CELLS
from .lstm import CELLS as LSTM_CELLS
from .rnn import CELLS as RNN_CELLS

SOURCE = ("D4", "Campos et al. 2017")


@equation(
    "E29",
    "skip.update_gate",
    latex=r"u_t = \mathrm{round}(\tilde u_t), \quad \partial u_t / \partial \tilde u_t \coloneqq 1",
    documents=SOURCE,
    note="straight-through gradient; 1/2 rounds up",
)
def update_gate(u_tilde: Column) -> Column:
    """Return u (B, 1) in {0, 1}: whether this step updates the state."""
    return binarise(u_tilde)


@equation(
    "E29",
    "skip.state",
    latex=r"s_t = u_t \odot S(s_{t-1}, x_t) + (1 - u_t) \odot s_{t-1}",
    documents=SOURCE,
    note="u = 1 at every step gives the plain cell",
)
def skip_state(u: Column, proposed: Units, old: Units) -> Units:
    """Return the plain cell's new state where u = 1, and a copy of the old one where u = 0."""
    return u * proposed + (1 - u) * old


@equation(
    "E29",
    "skip.increment",
    latex=r"\Delta \tilde u_t = \sigma(h_t w_p + b_p)",
    documents=SOURCE,
    note="the paper's s_t, read as the hidden state; its authors' LSTM code reads c_t instead",
)
def increment(p: Parameters, h: Hidden) -> Column:
    """Return Δũ (B, 1) from the new hidden state."""
    return sigmoid(h @ p.w_p + p.b_p)


@equation(
    "E29",
    "skip.accumulated",
    latex=r"\tilde u_{t+1} = u_t \Delta \tilde u_t + (1 - u_t)"
    r" (\tilde u_t + \min(\Delta \tilde u_t, 1 - \tilde u_t))",
    documents=SOURCE,
    note="accumulates while skipping, restarts after an update",
)
def accumulated(u: Column, u_tilde: Column, delta: Column) -> Column:
    """Return the next ũ (B, 1), at most 1."""
    return u * delta + (1 - u) * (u_tilde + minimum(delta, 1 - u_tilde))


@vjp_of("skip.accumulated")
def accumulated_vjp(
    u: Column, u_tilde: Column, delta: Column, d_next: Column
) -> tuple[Column, Column, Column]:
    """Pull the cotangent on the next ũ back to (du, dũ, dΔ)."""
    uncapped = switch(delta - (1 - u_tilde), 1.0, 0.0)
    du = d_next * (delta - (u_tilde + minimum(delta, 1 - u_tilde)))
    return du, d_next * (1 - u) * uncapped, d_next * (u + (1 - u) * uncapped)


class Skip(Cell):
    """E29 around a plain cell; one more state, ũ (B, 1), and two more parameters, w_p and b_p."""

    def __init__(self, name: str, title: str, plain: Cell) -> None:
        """Set the plain cell, whose steps may be skipped."""
        self.name, self.title, self.plain = name, title, plain
        self.gates, self.states = plain.gates, (*plain.states, "u")
        self.traits = frozenset({"bounded", "surrogate"})
        self.equations = (
            "skip.update_gate",
            *plain.equations,
            "skip.state",
            "skip.increment",
            "skip.accumulated",
        )

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        """Return the plain cell's shapes, and w_p (H, 1), b_p (1,)."""
        gate = {"w_p": Shape((), (sizes.H, 1)), "b_p": Shape((), (1,))}
        return self.plain.shapes(sizes) | gate

    def widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Return the plain cell's widths, and 1 for ũ."""
        return (*self.plain.widths(sizes), 1)

    def initial_state(self, like: Array, batch: int, sizes: Sizes) -> State:
        """Return zeros, and ũ = 1: the first step always updates."""
        return (*self.plain.initial_state(like, batch, sizes), zeros(like, (batch, 1)) + 1)

    def random_state(self, name: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """Draw as the plain cell does, and ũ in (0, 1), where it stays."""
        if name == "u":
            return rng.uniform(0.05, 0.95, shape)
        return self.plain.random_state(name, rng, shape)

    def step(self, p: Parameters, x: Rows, state: State) -> tuple[State, Gates]:
        """Take the plain step or skip it; then compute the next ũ."""
        *old, u_tilde = state
        u = update_gate(u_tilde)
        proposed, gates = self.plain.step(_plain(p), x, tuple(old))
        states = tuple(skip_state(u, s, s_old) for s, s_old in zip(proposed, old, strict=True))
        delta = increment(p, states[0])
        trace = {"u": u, "delta": delta, **{f"proposed {k}": s for k, s in enumerate(proposed)}}
        return (*states, accumulated(u, u_tilde, delta)), {**gates, **trace}

    def vjp(self, p: Parameters, x: Rows, state: State, gates: Gates, new: State, d: State) -> VJP:
        """Pull back through ũ, the skip, and the plain step; du reaches ũ with derivative 1."""
        *old, u_tilde = state
        *d_states, d_next = d
        u, delta = gates["u"], gates["delta"]
        du, du_tilde, ddelta = accumulated_vjp(u, u_tilde, delta, d_next)
        dz = ddelta * sigmoid_slope(delta)
        d_states[0] = d_states[0] + dz @ p.w_p.T
        proposed = tuple(gates[f"proposed {k}"] for k in range(len(old)))
        for s, s_old, ds in zip(proposed, old, d_states, strict=True):
            du = du + (ds * (s - s_old)).sum(axis=1)[:, None]
        dp, dx, d_old = self.plain.vjp(
            _plain(p), x, tuple(old), gates, proposed, tuple(ds * u for ds in d_states)
        )
        d_old = tuple(d + (1 - u) * ds for d, ds in zip(d_old, d_states, strict=True))
        gate = {"w_p": new[0].T @ dz, "b_p": dz.sum(axis=0)}
        return Parameters(p.shapes, {**dp, **gate}), dx, (*d_old, du_tilde + du)


def _plain(p: Parameters) -> Parameters:
    names = [name for name in p if name not in ("w_p", "b_p")]
    return Parameters({n: p.shapes[n] for n in names}, {n: p[n] for n in names})


CELLS = (
    Skip("skip-rnn", "Skip RNN", RNN_CELLS[0]),
    Skip("skip-lstm", "Skip LSTM", LSTM_CELLS[0]),
    Skip("skip-gru", "Skip GRU", GRU_CELLS[1]),
)
