"""Material for claims: cells with random parameters, gates held open or shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...reference.cell import Cell, Gates, State
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.numbers.complex_step import derivative
from ..decay.adjoint import log_norms
from ..decay.problem import Problem
from ..decay.rates import slope
from ..decay.trajectory import Bound, Inputs, random_unit_cotangent

FAR = 1000.0
"""A bias that holds a gate: σ(FAR) is 1 and σ(-FAR) is 0, exactly, in every arithmetic here."""

GRUS = ("gru-takes-new", "gru-keeps-old", "gru")


@dataclass(frozen=True)
class Sample:
    """A cell, its parameters, one input (B, D), and a state before it."""

    cell: Cell
    p: Parameters
    x: Array
    state: tuple[Array, ...]

    def step(self) -> tuple[State, Gates]:
        """Take the step."""
        return self.cell.step(self.p, self.x, self.state)

    def with_state(self, *state: Array) -> Sample:
        """Return the same sample before another state."""
        return Sample(self.cell, self.p, self.x, state)

    def pulled_back(self, *cotangent: Array) -> State:
        """Pull a cotangent on the new state back to the old one."""
        new, gates = self.step()
        return self.cell.vjp(self.p, self.x, self.state, gates, new, cotangent)[2]

    def rnn(self) -> Array:
        """Return a' of the vanilla RNN with the weights of the gate in place 2, the candidate."""
        rnn, weights = cell_named("rnn"), {name: self.p[name][2:3] for name in ("W", "U", "b")}
        shapes = rnn.shapes(Sizes(self.x.shape[1], self.state[0].shape[1]))
        return rnn.step(Parameters(shapes, weights), self.x, self.state[:1])[0][0]

    def slope(self, k: int, direction: Array) -> State:
        """Return the derivative of the new states in old state ``k``, by a complex step."""

        def step(z: Array) -> tuple[Array, ...]:
            state = [s.astype(complex) for s in self.state]
            state[k] = z
            return self.cell.step(self.p, self.x, tuple(state))[0]

        return derivative(step, self.state[k], direction)


def draw(
    name: str,
    rng: np.random.Generator,
    *,
    D: int = 5,
    H: int = 7,
    B: int = 4,
    scale: float = 1.0,
    biases: Mapping[str, float] | None = None,
) -> Sample:
    """Draw a cell with N(0, scale²/fan-in) weights, and N(0, 1) input and states.

    ``biases`` replaces the biases of some gates.
    """
    cell = cell_named(name)
    p = cell.random_parameters(rng, Sizes(D, H)).map(lambda a: a * scale)
    state = tuple(rng.standard_normal((B, H)) for _ in cell.states)
    return Sample(cell, with_gates(p, b=biases or {}), rng.standard_normal((B, D)), state)


def logit(share: float) -> float:
    """Return the bias at which σ is ``share``, which may be 0 or 1."""
    if share in (0.0, 1.0):
        return FAR * (2 * share - 1)
    return float(np.log(share / (1 - share)))


def with_gates(p: Parameters, **arrays: Mapping[str, Array | float]) -> Parameters:
    """Return the parameters with W, U or b of some gates replaced, by an array or a number each."""
    changed = {name: np.array(p[name]) for name in arrays}
    for name, values in arrays.items():
        for gate, value in values.items():
            changed[name][p.shapes[name].gates.index(gate)] = value
    return Parameters(p.shapes, {**p, **changed})


def adjoint_error(sample: Sample, rng: np.random.Generator) -> float:
    """Return the relative error of the VJP: |⟨v, J u⟩ - ⟨Jᵀ v, u⟩|.

    J u comes from a complex step, so it shares only the step with the VJP.
    """
    new, _ = sample.step()
    v = [rng.standard_normal(s.shape) for s in new]
    u = [rng.standard_normal(s.shape) for s in sample.state]
    pushed = [sum(d) for d in zip(*(sample.slope(k, d) for k, d in enumerate(u)), strict=True)]
    forward = sum(float(np.sum(a * b)) for a, b in zip(v, pushed, strict=True))
    backward = sum(float(np.sum(a * b)) for a, b in zip(sample.pulled_back(*v), u, strict=True))
    size = sum(float(np.sum(np.abs(a * b))) for a, b in zip(v, pushed, strict=True))
    return abs(forward - backward) / size


def apart(a: Array, b: Array) -> float:
    """Return the largest difference of two arrays."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0.0))


# Gradients against lag. ``bench.decay`` measures them; here are problems with given weights,
# and the terms of claims on curves: rate, half-life,
# horizon.


def problem(
    name: str,
    p: Parameters,
    rng: np.random.Generator,
    *,
    inputs: float = 1.0,
    start: State | None = None,
) -> Problem:
    """Return a problem with weights ``p``, N(0, inputs²) input, and a start (1, width) or zeros."""
    cell, (D, H) = cell_named(name), p["W"].shape[1:]
    sizes = Sizes(D, H)
    transition = Bound(cell, p, sizes)
    start = cell.initial_state(np.zeros(()), 1, sizes) if start is None else start
    drawn = Inputs(cell, sizes, (int(rng.integers(2**32)),), inputs)
    cotangent = random_unit_cotangent(transition, rng)
    return Problem(cell, sizes, p, transition, drawn, start, cotangent)


def log_gradients(
    name: str,
    p: Parameters,
    rng: np.random.Generator,
    steps: int,
    *,
    inputs: float = 1.0,
    rows: int = 1,
    start: State | None = None,
) -> Array:
    """Return ln ‖∂L/∂(all states)‖₂ (steps + 1, rows) at lags 0 to ``steps``.

    L is a random unit projection of the last output; each row has its own inputs. -inf where a
    gradient is exactly 0, and for all lags where the states themselves overflow.
    """
    curves = np.full((rows, steps + 1), -np.inf)
    for curve in curves:
        instance = problem(name, p, rng, inputs=inputs, start=start)
        trajectory = instance.follow(steps, 0)
        if not trajectory.overflowed:
            curve[:] = log_norms(trajectory, instance.cotangent, range(steps + 1))[:, -1]
    return curves.T


def rate(logs: Array, transient: int) -> float:
    """Return the growth per step of the median log gradient after a transient; -inf if it is 0."""
    median = np.median(logs, axis=1)[transient:]
    growth = slope(np.arange(len(median)), median)
    return -np.inf if np.isnan(growth) else growth


def half_life(rate: float) -> float:
    """Return the steps in which a gradient halves; infinite where it does not decay."""
    return float(np.log(2) / -rate) if rate < 0 else np.inf


def horizon(logs: Array, share: float) -> float:
    """Return the lag from which the median gradient stays below a share of that at lag 0."""
    median = np.median(logs, axis=1)
    above = np.flatnonzero(median >= median[0] + np.log(share))
    return np.inf if above[-1] == len(median) - 1 else float(above[-1] + 1)
