"""A cell over a sequence, and backpropagation through time.

With ``lengths`` (B,), row ``b`` ends after ``lengths[b]`` steps: its state stays what it was, its
outputs beyond are 0, and the values of its padding, NaN included, have no influence. A row of
length 0, like a sequence of T = 0 steps, ends in its initial state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeAlias

import numpy as np

from .arrays import A, Carried, Floats, Lengths, Over, Rows, Same
from .cell import Cell, Gates, ReadVJP, State
from .equation import equation
from .functions import zeros
from .parameters import Parameters

Active: TypeAlias = Annotated[Floats, "B 1"]
"""For each row, True while it still has steps."""


States: TypeAlias = tuple[Annotated[A, "B *"], ...]


@dataclass(frozen=True)
class Step:
    """The inputs and results of one step, which the backward pass reads."""

    x: Rows
    state: State
    gates: Gates
    new: State
    active: Active | None


@dataclass(frozen=True)
class Unrolled(Generic[A]):
    """The input, the outputs, the final state, and the steps."""

    x: Over[A]
    y: Over[A]
    final: States[A]
    steps: tuple[Step, ...]


def unroll(
    cell: Cell, p: Parameters, x: Over[A], state: States[A], lengths: Lengths | None = None
) -> Unrolled[A]:
    """Run ``cell`` over x (T, B, D) from ``state``."""
    steps: list[Step] = []
    outputs: list[Any] = [zeros(state[0], (0, *cell.no_output(state).shape))]
    now: States[Any] = state
    for t in range(x.shape[0]):
        active = None if lengths is None else (t < np.asarray(lengths))[:, None]
        x_t = only(active, x[t])
        new, gates = cell.step(p, x_t, now)
        steps.append(Step(x_t, now, gates, new, active))
        outputs.append(only(active, cell.readout(p, x_t, now, gates, new))[None])
        now = tuple(choose(active, n, old) for n, old in zip(new, now, strict=True))
    y: Any = np.concatenate(outputs)
    return Unrolled(x, y, now, tuple(steps))


@equation(
    "E10",
    "bptt.backpropagate",
    latex=r"\frac{\partial E}{\partial W} = \sum_t \frac{\partial E_t}{\partial W}",
    documents=("D3",),
    note="one reverse pass; every use of the shared weights adds its own share",
)
def backpropagate(
    cell: Cell, p: Parameters, run: Unrolled[A], dy: Over[A], dfinal: States[A]
) -> tuple[Parameters, Over[A], States[A]]:
    """Pull cotangents on y (T, B, width) and on the final state back through time.

    Returns the gradients of the parameters, of x (T, B, D) and of the initial state.
    """
    dp = p.map(lambda array: zeros(array, array.shape))
    dxs: list[Any] = [zeros(run.x, (0, *run.x.shape[1:]))]
    dstate: States[Any] = dfinal
    for t in reversed(range(len(run.steps))):
        step = run.steps[t]
        arriving = tuple(only(step.active, d) for d in dstate)
        skipping = () if step.active is None else subtracted(dstate, arriving)
        read = _read_vjp(cell, p, step, only(step.active, dy[t]))
        if read is None:
            arriving = (arriving[0] + only(step.active, dy[t]), *arriving[1:])
        else:
            arriving = added(arriving, read[3])
        dp_t, dx_t, dstate = cell.vjp(p, step.x, step.state, step.gates, step.new, arriving)
        if read is not None:
            dp_t, dx_t, dstate = dp_t + read[0], dx_t + read[1], added(dstate, read[2])
        if step.active is not None:
            dstate = added(dstate, skipping)
        dp = dp + dp_t
        dxs.append(only(step.active, dx_t)[None])
    dx: Any = np.concatenate(dxs[::-1])
    return dp, dx, dstate


@equation(
    "E26",
    "sequence.reversed",
    latex=r"\overleftarrow{x}_t = x_{\ell + 1 - t}, \quad t \le \ell",
    documents=("D4",),
    note="each sequence by its own length ℓ, not the padding; its own inverse",
)
def reverse(x: Same, lengths: Lengths | None = None) -> Same:
    """Return x (T, B, ...) with every row reversed within its length; padding stays in place."""
    if lengths is None:
        return x[::-1]
    steps, batch = x.shape[:2]
    t = np.arange(steps)[:, None]
    ends = np.asarray(lengths)[None, :]
    return x[np.where(t < ends, ends - 1 - t, t), np.arange(batch)[None, :]]


def _read_vjp(cell: Cell, p: Parameters, step: Step, dy: Rows) -> ReadVJP | None:
    """Pull dy back through a cell's readout; None where its output is its first state."""
    if "readout" not in cell.traits:
        return None
    return cell.readout_vjp(p, step.x, step.state, step.gates, step.new, dy)


def added(a: State, b: Sequence[Carried | None]) -> State:
    """Return the sum of two cotangents of states; None stands for 0."""
    pairs = zip(a, b, strict=True)
    return tuple(s if d is None else s + d for s, d in pairs)


def subtracted(a: State, b: State) -> State:
    """Return the difference of two cotangents of states."""
    return tuple(s - d for s, d in zip(a, b, strict=True))


def choose(active: Active | None, new: Carried, old: Carried) -> Carried:
    """Return ``new`` for active rows and ``old`` for rows that have ended."""
    return new if active is None else np.where(_beside(active, new), new, old)


def only(active: Active | None, x: Carried) -> Carried:
    """Return ``x`` with the rows that have ended replaced by 0, NaN included."""
    return x if active is None else np.where(_beside(active, x), x, zeros(x, x.shape))


def _beside(active: Active, x: Carried) -> Floats:
    return active.reshape(*active.shape, *[1] * (x.ndim - active.ndim))
