"""The mistakes of published code and of first drafts, each as ``Methods`` with one thing wrong.

The validations must catch every one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gatewise.bench.decay.adjoint import Scaled, carried, pulled
from gatewise.bench.decay.measurement import RIGHT, Methods
from gatewise.bench.decay.trajectory import Bound, Trajectory, Transition, state_jacobian
from gatewise.reference.cell import Cell, Gates, State
from gatewise.reference.cells import cell_named
from gatewise.reference.cells.lstm import LSTM, candidate, hidden_state_vjp
from gatewise.reference.cells.lstm_phased import LEAK, PhasedLSTM
from gatewise.reference.cells.rnn import RNN, state
from gatewise.reference.cells.skip import Skip
from gatewise.reference.functions import Array, sigmoid_slope, tanh_slope
from gatewise.reference.parameters import Parameters, Sizes


@dataclass(frozen=True)
class Planted:
    """A wrong way of measuring, what is wrong with it, and the validations that must see it."""

    id: str
    mistake: str
    methods: Methods
    seen_by: set[str]


def hidden_block(transition: Transition, x: Array, old: State, gates: Gates, new: State) -> Array:
    """Return the block of h alone, as if an LSTM's c were constant."""
    width = transition.widths[0]
    return state_jacobian(transition, x, old, gates, new)[:width, :width]


def transposed(transition: Transition, x: Array, old: State, gates: Gates, new: State) -> Array:
    """Return Jᵀ."""
    return state_jacobian(transition, x, old, gates, new).T


def in_forward_order(trajectory: Trajectory, cotangent: State) -> Iterator[Scaled]:
    """Pull back through the first step first."""
    return pulled(trajectory.transition, trajectory.forwards(), cotangent, scaled=True)


def scaled_by_norm(trajectory: Trajectory, cotangent: State) -> Iterator[Scaled]:
    """Scale to norm 1 at every step, and forget by how much."""
    yield Scaled(cotangent, 0)
    for step in trajectory.backwards():
        cotangent = trajectory.transition.pull(*step, cotangent)
        norm = np.sqrt(sum(float(np.vdot(d, d)) for d in cotangent))
        cotangent = tuple(d / norm for d in cotangent)
        yield Scaled(cotangent, 0)


def unscaled(trajectory: Trajectory, cotangent: State) -> Iterator[Scaled]:
    """Do not scale, so that the vector underflows."""
    return carried(trajectory, cotangent, scaled=False)


class _ForgetSlope(LSTM):
    """Takes f in the place of f (1 - f) in its VJP."""

    def vjp(
        self, p: Parameters, x: Array, old: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Parameters, Array, State]:
        dp, dx, (dh, dc) = super().vjp(p, x, old, gates, new, cotangent)
        _, dc_through_h = hidden_state_vjp(gates["o"], new[1], cotangent[0])
        df = (cotangent[1] + dc_through_h) * old[1]
        return dp, dx, (dh + (df * gates["f"] ** 2) @ p.U_f.T, dc)


class _NeverSkips(Skip):
    """Updates its state where ũ < 1/2 as well."""

    def step(self, p: Parameters, x: Array, old: State) -> tuple[State, Gates]:
        return super().step(p, x, (*old[:-1], 0 * old[-1] + 1))


_SIGMOID_SLOPE_FOR_TANH = LSTM("lstm", "LSTM", "lstm.candidate", candidate, sigmoid_slope)
_FORGET_SLOPE = _ForgetSlope("lstm", "LSTM", "lstm.candidate", candidate, tanh_slope)
_SLOPE_SIGN = RNN("rnn", "RNN", ("rnn.state",), frozenset({"bounded"}), state, lambda y: 1 + y * y)


def _with(wrong: Cell, name: str = "") -> Methods:
    """Bind ``wrong`` wherever the cell ``name``, or the one of its own name, is asked for."""

    def bind(cell: Cell, p: Parameters, sizes: Sizes) -> Transition:
        return Bound(wrong if cell.name == (name or wrong.name) else cell, p, sizes)

    return replace(RIGHT, bind=bind)


P = Planted
PLANTED = (
    P("hidden-block",
      "Of an LSTM's Jacobian only the block of h in h is taken; c is held constant.",
      replace(RIGHT, jacobian=hidden_block), {"jacobian", "lstm-at-rest", "first-exponent"}),
    P("transposed", "The Jacobian is transposed.",
      replace(RIGHT, jacobian=transposed), {"jacobian", "gru-at-rest"}),
    P("forward-order", "Transposed Jacobians are multiplied in the order of time.",
      replace(RIGHT, carried=in_forward_order), {"tangent-adjoint", "bit-by-bit"}),
    P("rare-qr", "The frame is made orthonormal again only every 200 steps.",
      replace(RIGHT, qr_every=200), {"sum-rule", "symmetric", "stack"}),
    P("norm-forgotten", "The adjoint is scaled by its norm, and the norm is forgotten.",
      replace(RIGHT, carried=scaled_by_norm),
      {"half-life b=2", "half-life b=5", "e-fold b=ln(T-1)", "first-exponent", "tangent-adjoint",
       "bit-by-bit"}),
    P("unscaled", "The adjoint is not scaled, and underflows.",
      replace(RIGHT, carried=unscaled), {"half-life b=0", "half-life b=1"}),
    P("candidate-slope", "The candidate of the LSTM has the slope of a sigmoid in the gradient.",
      _with(_SIGMOID_SLOPE_FOR_TANH), {"jacobian", "lstm-at-rest", "tangent-adjoint"}),
    P("forget-slope",
      "The slope of the forget gate is f in the place of f (1 - f) in the gradient.",
      _with(_FORGET_SLOPE), {"jacobian", "tangent-adjoint"}),
    P("slope-sign", "The slope of the RNN's tanh is 1 + a² in the place of 1 - a² in the gradient.",
      _with(_SLOPE_SIGN), {"jacobian", "pascanu-bound", "eigenvalue-counterexample", "mean-field"}),
    P("polarity", "The update gate that takes the new is read as the one that keeps the old.",
      _with(cell_named("gru-keeps-old"), "gru-takes-new"), {"gru-at-rest"}),
    P("leak", "The closed phase of the Phased LSTM leaks a hundred times as much.",
      _with(PhasedLSTM(100 * LEAK)), {"phased-path"}),
    P("never-skips", "The Skip RNN updates its state in every step.",
      _with(_NeverSkips("skip-rnn", "Skip RNN", cell_named("rnn"))), {"skipped-step"}),
)  # fmt: skip
