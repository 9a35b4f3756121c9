"""Problems: a cell with random weights of a given gain, its inputs, and its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.gated_by_input import GatedByInput
from ...reference.parameters import Parameters, Sizes
from ..run import UnsupportedError
from .biased import BiasedCell
from .trajectory import (
    Binding,
    Bound,
    Inputs,
    Step,
    Trajectory,
    Transition,
    follow,
    random_unit_cotangent,
    state_jacobians,
    wander,
)

INPUT_WIDTH = 8


@dataclass(frozen=True)
class Setting:
    """A cell, H, and the distribution of its weights; ``forget_bias`` is None without such a gate.

    U ~ N(0, gain²/fan-in) and W ~ N(0, 1/D), all biases 0 but that of the gate that keeps the
    state, which is +b where the open gate keeps it and -b where the shut one does: so σ(b) of the
    old state stays in an LSTM and in both polarities of the GRU. Inputs are N(0, input_scale²);
    with ``at_rest`` they are 0, and the start is the cell's initial state.
    """

    cell: str
    hidden: int
    gain: float = 1.0
    forget_bias: float | None = None
    input_scale: float = 1.0
    at_rest: bool = False

    def __str__(self) -> str:
        """Return lstm/H32/g1/b1, without the bias if it is None."""
        bias = "" if self.forget_bias is None else f"/b{self.forget_bias:g}"
        return f"{self.cell}/H{self.hidden}/g{self.gain:g}{bias}"

    @property
    def sizes(self) -> Sizes:
        """D = 8, H, and half of H for a projected state."""
        halved = max(1, self.hidden // 2)
        projected = "projected" in measured_cell(self.cell).traits
        return Sizes(INPUT_WIDTH, self.hidden, halved if projected else None)


@dataclass(frozen=True)
class Problem:
    """A cell bound to its parameters, its inputs, its first state, and a cotangent on its last."""

    cell: Cell
    sizes: Sizes
    p: Parameters
    transition: Transition
    inputs: Inputs
    start: tuple[Array, ...]
    cotangent: tuple[Array, ...]

    def follow(self, steps: int, warm_up: int) -> Trajectory:
        """Follow the cell over ``steps`` steps after the warm-up."""
        return follow(self.transition, self.inputs, self.start, steps, warm_up)

    def wander(self, warm_up: int = 0) -> Iterator[Step]:
        """Yield steps without end, after the first ``warm_up``."""
        return islice(wander(self.transition, self.inputs, self.start), warm_up, None)

    def jacobians(self, warm_up: int = 0) -> Iterator[Array]:
        """Yield the Jacobians of these steps."""
        return state_jacobians(self.transition, self.wander(warm_up))


def draw(setting: Setting, seed: int, bind: Binding = Bound) -> Problem:
    """Draw a problem.

    The same seed draws the same matrices and inputs for every gain, bias and number of steps, so
    that these can be compared.
    """
    cell, sizes = measured_cell(setting.cell), setting.sizes
    rng = np.random.default_rng((seed, 0))
    p = parameters(setting, rng)
    transition = bind(cell, p, sizes)
    start = cell.initial_state(np.zeros(()), 1, sizes)
    if not setting.at_rest:
        start = tuple(
            cell.random_state(name, rng, state.shape)
            for name, state in zip(cell.states, start, strict=True)
        )
    scale = 0.0 if setting.at_rest else setting.input_scale
    inputs = Inputs(cell, sizes, (seed, 1), scale)
    cotangent = random_unit_cotangent(transition, rng)
    return Problem(cell, sizes, p, transition, inputs, start, cotangent)


def parameters(setting: Setting, rng: np.random.Generator) -> Parameters:
    """Draw a setting's parameters; raise UnsupportedError if its cell has no gain or no bias."""
    cell = measured_cell(setting.cell)
    drawn = dict(cell.random_parameters(rng, setting.sizes))
    shapes = cell.shapes(setting.sizes)
    if setting.gain != 1:
        if not has_gain(cell):
            raise UnsupportedError(f"{cell.name}: it has no recurrent weights U, hence no gain")
        drawn["U"] = drawn["U"] * setting.gain
    for name in drawn:
        if name.startswith("b"):
            drawn[name] = np.zeros(shapes[name].full)
    if setting.forget_bias is not None:
        keeping = keeping_gate(cell)
        if keeping is None:
            raise UnsupportedError(f"{cell.name}: no gate keeps its state, hence no forget bias")
        gate, sign = keeping
        drawn["b"][shapes["b"].gates.index(gate)] = sign * setting.forget_bias
    return Parameters(shapes, drawn)


def measured_cell(name: str) -> Cell:
    """Return the cell of this name; cells gated by their input become ``BiasedCell``."""
    cell = cell_named(name)
    return BiasedCell(cell, INPUT_WIDTH) if isinstance(cell, GatedByInput) else cell


def has_gain(cell: Cell) -> bool:
    """Return whether the cell has recurrent weights U."""
    return "U" in cell.shapes(Sizes(1, 1))


def keeping_gate(cell: Cell) -> tuple[str, int] | None:
    """Return the gate that keeps the state, and +1 if open or -1 if shut; None without one.

    It follows from the cell's limits; a cell around a plain one has the plain one's gate.
    """
    plain = getattr(cell, "plain", cell)
    for limit in plain.limits:
        if limit.becomes == "old":
            return (limit.opened[0], 1) if limit.opened else (limit.shut[0], -1)
    return None
