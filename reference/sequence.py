"""A cell over a sequence, and backpropagation through time.

With ``lengths`` (B,), row ``b`` ends after ``lengths[b]`` steps: its state stays what it was, its
outputs beyond are 0, and whatever stands in its padding, NaN included, has no influence. A row of
length 0, like a sequence of T = 0 steps, ends in its initial state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cell import Cell, Gates, State
from .equation import equation
from .functions import Array, zeros
from .parameters import Parameters


@dataclass(frozen=True)
class Step:
    """What one step read and computed, kept for the way back."""

    x: Array
    state: State
    gates: Gates
    new: State
    active: Array | None


@dataclass(frozen=True)
class Unrolled:
    """The input x (T, B, D), outputs y (T, B, width), the final state, and the steps."""

    x: Array
    y: Array
    final: State
    steps: tuple[Step, ...]


def unroll(
    cell: Cell, p: Parameters, x: Array, state: State, lengths: Array | None = None
) -> Unrolled:
    """Run ``cell`` over x (T, B, D) from ``state``."""
    steps, outputs = [], [zeros(state[0], (0, *state[0].shape))]
    for t in range(x.shape[0]):
        active = None if lengths is None else (t < np.asarray(lengths))[:, None]
        x_t = only(active, x[t])
        new, gates = cell.step(p, x_t, state)
        steps.append(Step(x_t, state, gates, new, active))
        state = tuple(choose(active, n, old) for n, old in zip(new, state, strict=True))
        outputs.append(only(active, new[0])[None])
    return Unrolled(x, np.concatenate(outputs), state, tuple(steps))


@equation(
    "E10",
    "bptt.backpropagate",
    latex=r"\frac{\partial E}{\partial W} = \sum_t \frac{\partial E_t}{\partial W}",
    documents=("D3",),
    note="one reverse pass; every use of the shared weights adds its own share",
)
def backpropagate(
    cell: Cell, p: Parameters, run: Unrolled, dy: Array, dfinal: State
) -> tuple[Parameters, Array, State]:
    """Pull cotangents on y (T, B, width) and on the final state back through time.

    Returns the gradients of the parameters, of x (T, B, D) and of the initial state.
    """
    dp = p.map(lambda array: zeros(array, array.shape))
    dx, dstate = [zeros(run.x, (0, *run.x.shape[1:]))], dfinal
    for t in reversed(range(len(run.steps))):
        step = run.steps[t]
        arriving = tuple(only(step.active, d) for d in dstate)
        skipping = tuple(d - a for d, a in zip(dstate, arriving, strict=True))
        arriving = (arriving[0] + only(step.active, dy[t]), *arriving[1:])
        dp_t, dx_t, dstate = cell.vjp(p, step.x, step.state, step.gates, step.new, arriving)
        if step.active is not None:
            dstate = tuple(d + s for d, s in zip(dstate, skipping, strict=True))
        dp = dp + dp_t
        dx.append(only(step.active, dx_t)[None])
    return dp, np.concatenate(dx[::-1]), dstate


@equation(
    "E26",
    "sequence.reversed",
    latex=r"\overleftarrow{x}_t = x_{\ell + 1 - t}, \quad t \le \ell",
    documents=("D4",),
    note="each sequence by its own length ℓ, not the padding; its own inverse",
)
def reverse(x: Array, lengths: Array | None = None) -> Array:
    """Return x (T, B, ...) with every row reversed within its length; padding stays in place."""
    if lengths is None:
        return x[::-1]
    steps, batch = x.shape[:2]
    t = np.arange(steps)[:, None]
    ends = np.asarray(lengths)[None, :]
    return x[np.where(t < ends, ends - 1 - t, t), np.arange(batch)[None, :]]


def choose(active: Array | None, new: Array, old: Array) -> Array:
    """Return ``new`` for active rows and ``old`` for rows that have ended."""
    return new if active is None else np.where(active, new, old)


def only(active: Array | None, x: Array) -> Array:
    """Return ``x`` with the rows that have ended replaced by 0, NaN included."""
    return x if active is None else np.where(active, x, zeros(x, x.shape))
