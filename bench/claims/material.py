"""What claims are measured on: cells with random parameters, gates held open or shut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...reference.cell import Cell, Gates, State
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.numbers.complex_step import derivative

FAR = 1000.0
"""A bias that holds a gate: σ(FAR) is 1 and σ(-FAR) is 0, exactly, in every arithmetic here."""

GRUS = ("gru-takes-new", "gru-keeps-old", "gru")


@dataclass(frozen=True)
class Drawn:
    """A cell, its parameters, one input (B, D), and a state before it."""

    cell: Cell
    p: Parameters
    x: Array
    state: tuple[Array, ...]

    def step(self) -> tuple[State, Gates]:
        """Take the step."""
        return self.cell.step(self.p, self.x, self.state)

    def with_state(self, *state: Array) -> Drawn:
        """Return the same before another state."""
        return Drawn(self.cell, self.p, self.x, state)

    def pulled_back(self, *cotangent: Array) -> State:
        """Return a cotangent on the new state, carried to the old one."""
        new, gates = self.step()
        return self.cell.vjp(self.p, self.x, self.state, gates, new, cotangent)[2]

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
    held: Mapping[str, float] | None = None,
) -> Drawn:
    """Draw a cell with N(0, scale²/fan-in) weights, and N(0, 1) input and states.

    ``held`` maps gates to a bias that is put in the place of theirs.
    """
    cell, sizes = cell_named(name), Sizes(D, H)
    p = cell.random_parameters(rng, sizes).map(lambda a: a * scale)
    state = tuple(rng.standard_normal((B, H)) for _ in cell.states)
    drawn = Drawn(cell, p, rng.standard_normal((B, D)), state)
    return Drawn(cell, with_biases(p, held or {}), drawn.x, drawn.state)


def with_biases(p: Parameters, biases: Mapping[str, float]) -> Parameters:
    """Return the parameters with the biases of some gates replaced by a number each."""
    return _with("b", p, biases)


def logit(share: float) -> float:
    """Return the bias at which σ is ``share``, which may be 0 or 1."""
    if share in (0.0, 1.0):
        return FAR * (2 * share - 1)
    return float(np.log(share / (1 - share)))


def with_recurrent(p: Parameters, matrices: Mapping[str, Array]) -> Parameters:
    """Return the parameters with U of some gates replaced by matrices (H, H)."""
    return _with("U", p, matrices)


def with_inputs(p: Parameters, matrices: Mapping[str, Array | float]) -> Parameters:
    """Return the parameters with W of some gates replaced by matrices (D, H), or by a number."""
    return _with("W", p, matrices)


def _with(name: str, p: Parameters, values: Mapping[str, Array | float]) -> Parameters:
    array = np.array(p[name])
    for gate, value in values.items():
        array[p.shapes[name].gates.index(gate)] = value
    return Parameters(p.shapes, {**p, name: array})


def adjoint_error(one: Drawn, rng: np.random.Generator) -> float:
    """Return how far the VJP is from the derivative: |⟨v, J u⟩ - ⟨Jᵀ v, u⟩|, relative.

    J u is a complex step's, so this shares nothing with the VJP but the step.
    """
    new, _ = one.step()
    v = [rng.standard_normal(s.shape) for s in new]
    u = [rng.standard_normal(s.shape) for s in one.state]
    pushed = [sum(d) for d in zip(*(one.slope(k, d) for k, d in enumerate(u)), strict=True)]
    forward = sum(float(np.sum(a * b)) for a, b in zip(v, pushed, strict=True))
    back = sum(float(np.sum(a * b)) for a, b in zip(one.pulled_back(*v), u, strict=True))
    size = sum(float(np.sum(np.abs(a * b))) for a, b in zip(v, pushed, strict=True))
    return abs(forward - back) / size


def apart(a: Array, b: Array) -> float:
    """Return the largest difference of two arrays."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b)), initial=0.0))
