"""How much of a gradient arrives, lag by lag: its logarithm, which neither under- nor overflows."""

from __future__ import annotations

import numpy as np

from ...reference.cell import Cell, State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import unroll


def log_gradients(
    cell: Cell, p: Parameters, x: Array, state: State, cotangent: State | None = None
) -> Array:
    """Return log ‖∂L/∂(all states)‖₂ (T + 1, B) at lags 0 ... T behind the end of x (T, B, D).

    ``cotangent`` is that on the final states, by default random on the output alone and of length 1
    in every row. Rows are rescaled by powers of two, which rounds nothing.
    """
    steps = unroll(cell, p, x, state).steps
    if cotangent is None:
        first = np.random.default_rng(0).standard_normal(state[0].shape)
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        cotangent = (first, *(np.zeros(s.shape) for s in state[1:]))
    exponent = np.zeros((x.shape[1], 1), dtype=int)
    logs = [_log_norm(cotangent, exponent)]
    for step in reversed(steps):
        cotangent = cell.vjp(p, step.x, step.state, step.gates, step.new, cotangent)[2]
        cotangent, exponent = _rescaled(cotangent, exponent)
        logs.append(_log_norm(cotangent, exponent))
    return np.array(logs)


def _rescaled(cotangent: State, exponent: Array) -> tuple[State, Array]:
    largest = np.max([np.abs(d).max(axis=1, keepdims=True) for d in cotangent], axis=0)
    shift = np.where(largest > 0, np.frexp(largest)[1], 0)
    return tuple(np.ldexp(d, -shift) for d in cotangent), exponent + shift


def _log_norm(cotangent: State, exponent: Array) -> Array:
    squares = sum((d * d).sum(axis=1) for d in cotangent)
    with np.errstate(divide="ignore"):  # a gradient of 0 has the logarithm -inf
        return np.log(squares) / 2 + exponent[:, 0] * np.log(2)


def rate(logs: Array, transient: int) -> float:
    """Return the growth of the median log gradient a step, by least squares beyond a transient.

    ``logs`` is (T + 1, B); -inf where a gradient has become exactly 0.
    """
    median = np.median(logs, axis=1)[transient:]
    if not np.isfinite(median).all():
        return -np.inf
    return float(np.polyfit(np.arange(len(median)), median, 1)[0])


def half_life(rate: float) -> float:
    """Return ln 2 / |rate| where the gradient decays, else infinity."""
    return float(np.log(2) / -rate) if rate < 0 else np.inf


def horizon(logs: Array, share: float) -> float:
    """Return the lag from which the median gradient stays below a share of that at lag 0."""
    median = np.median(logs, axis=1)
    above = np.flatnonzero(median >= median[0] + np.log(share))
    return np.inf if above[-1] == len(median) - 1 else float(above[-1] + 1)
