"""One step as a map of the whole state, its pull-back and its Jacobian, for every cell.

All measurements need a step and the pull-back of a cotangent on its new state. A cell
bound to its parameters is one such transition; two layers are another, and so is a cell with
a planted error, as in the tests.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from ...reference.cell import Cell, Gates, State
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes

Step: TypeAlias = tuple[Array, State, Gates, State]
"""The inputs and results of one step: x (1, D), old state, gates, new state."""


class Transition(Protocol):
    """A step of states named ``states``, of the widths ``widths``."""

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the arrays of the state; the first is the output."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of these arrays."""

    def step(self, x: Array, state: State) -> tuple[State, Gates]:
        """Return the new state and the gates. ``x`` (B, D), states (B, width)."""

    def pull(self, x: Array, state: State, gates: Gates, new: State, cotangent: State) -> State:
        """Pull a cotangent on the new state back to the old state alone."""


class Bound:
    """A cell bound to its parameters."""

    def __init__(self, cell: Cell, p: Parameters, sizes: Sizes) -> None:
        self.cell, self.p, self.sizes = cell, _Direct(p), sizes
        self.states, self.widths = cell.states, cell.widths(sizes)

    def step(self, x: Array, state: State) -> tuple[State, Gates]:
        """Take the cell's step."""
        return self.cell.step(self.p, x, state)

    def pull(self, x: Array, state: State, gates: Gates, new: State, cotangent: State) -> State:
        """Pull back by the cell's VJP; return only the cotangent of the old state."""
        return self.pull_to_both(x, state, gates, new, cotangent)[1]

    def pull_to_both(
        self, x: Array, state: State, gates: Gates, new: State, cotangent: State
    ) -> tuple[Array, State]:
        """Pull back to the input and the old state."""
        _, dx, old = self.cell.vjp(self.p, x, state, gates, new, cotangent)
        return dx, old


Binding: TypeAlias = Callable[[Cell, Parameters, Sizes], Transition]
"""A function that makes a transition of a cell, as ``Bound`` does."""


def joined(state: Sequence[Array]) -> Array:
    """Return the arrays of a state side by side, (B, sum of widths)."""
    return np.concatenate(list(state), axis=1)


def parted(array: Array, widths: Sequence[int]) -> State:
    """Return the state whose arrays lie side by side in ``array`` (B, sum of widths)."""
    return tuple(np.split(array, np.cumsum(widths)[:-1], axis=1))


def state_jacobian(
    transition: Transition, x: Array, state: State, gates: Gates, new: State
) -> Array:
    """Return J (n, n), J[k, j] = ∂ new[k] / ∂ old[j], all states side by side, (h, c) of an LSTM.

    All unit cotangents are pulled back at once, as one batch of n copies of the step. For a cell
    with the trait ``surrogate`` this is what backpropagation uses, not a derivative.
    """
    n = sum(transition.widths)

    def copies(array: Array) -> Array:
        return np.broadcast_to(array, (n, *array.shape[1:]))

    pulled = transition.pull(
        copies(x),
        tuple(map(copies, state)),
        {name: copies(gate) for name, gate in gates.items()},
        tuple(map(copies, new)),
        parted(np.eye(n), transition.widths),
    )
    return joined(pulled)


def state_jacobians(transition: Transition, steps: Iterable[Step]) -> Iterator[Array]:
    """Yield the Jacobian of every step, in the order of the steps."""
    for x, state, gates, new in steps:
        yield state_jacobian(transition, x, state, gates, new)


def random_unit_cotangent(transition: Transition, rng: np.random.Generator) -> State:
    """Return the cotangent of a random unit projection of the output: (1, width) each."""
    cotangent = [np.zeros((1, width)) for width in transition.widths]
    direction = rng.standard_normal(cotangent[0].shape)
    cotangent[0] = direction / np.linalg.norm(direction)
    return tuple(cotangent)


class _Direct(Parameters):
    """Parameters whose slices are plain attributes, which is faster."""

    def __init__(self, p: Parameters) -> None:
        super().__init__(p.shapes, p)
        self.__dict__.update({name: getattr(p, name) for name in p.names()})


# Two layers as one transition: the upper one reads the new output of the lower one (E27).


class Stack:
    """A lower and an upper layer; the state is that of the lower one, then that of the upper one.

    The first of ``states`` is the output of the lower layer; the stack's output is the first state
    of the upper half.
    """

    def __init__(self, lower: Bound, upper: Bound) -> None:
        """Set two bound cells; the upper one's D is the width of the lower one's output."""
        self._levels = lower, upper
        self._split = len(lower.states)
        self.states = tuple(f"{name}{k}" for k in (0, 1) for name in self._levels[k].states)
        self.widths = (*lower.widths, *upper.widths)

    def step(self, x: Array, state: State) -> tuple[State, Gates]:
        """Take a step of the lower layer, then one of the upper."""
        lower, upper = self._levels
        new_lower, gates_lower = lower.step(x, state[: self._split])
        new_upper, gates_upper = upper.step(new_lower[0], state[self._split :])
        gates = {f"0.{name}": gate for name, gate in gates_lower.items()}
        gates |= {f"1.{name}": gate for name, gate in gates_upper.items()}
        return (*new_lower, *new_upper), gates

    def pull(self, x: Array, state: State, gates: Gates, new: State, cotangent: State) -> State:
        """Pull back through the upper layer; its input's cotangent reaches the lower one."""
        lower, upper = self._levels
        cut = self._split
        dx, old_upper = upper.pull_to_both(
            new[0], state[cut:], _of_level(1, gates), new[cut:], cotangent[cut:]
        )
        arriving = (cotangent[0] + dx, *cotangent[1:cut])
        old_lower = lower.pull(x, state[:cut], _of_level(0, gates), new[:cut], arriving)
        return (*old_lower, *old_upper)


def _of_level(level: int, gates: Mapping[str, Array]) -> Gates:
    prefix = f"{level}."
    return {k.removeprefix(prefix): gate for k, gate in gates.items() if k.startswith(prefix)}


# A trajectory that stores every √T-th state and computes the states between again.
#
# So T steps need the memory of 2 √T (Griewank & Walther 2008, ch. 12, with one level of
# checkpoints), at the price of running each step twice. Inputs are never all in memory: they
# come in blocks, each drawn from its own seed.


BLOCK = 64
"""The number of steps in a block."""


class Inputs:
    """A random input sequence (T, 1, input width), in blocks of ``BLOCK`` steps.

    The features are the cell's own random input times ``scale``; time stamps are not scaled, and
    continue from block to block. A block always has the same numbers.
    """

    def __init__(self, cell: Cell, sizes: Sizes, seed: tuple[int, ...], scale: float) -> None:
        """Set the cell that draws, and the seed that all blocks share."""
        self._cell, self._sizes, self._seed = cell, sizes, seed
        self._scale = scale
        self._stamps = cell.input_width(sizes) - sizes.D if "timed" in cell.traits else 0
        self._ends = [0.0]  # the clock before every block that has been drawn

    def block(self, k: int) -> Array:
        """Return block ``k``, (BLOCK, 1, input width), float64."""
        while self._stamps and len(self._ends) <= k:
            self._ends.append(self._draw(len(self._ends) - 1, self._ends[-1])[1])
        return self._draw(k, self._ends[k if self._stamps else 0])[0]

    def stream(self) -> Iterator[Array]:
        """Yield every step's input (1, input width), without end and without storing them."""
        end = 0.0
        for k in itertools.count():
            x, end = self._draw(k, end)
            yield from x

    def _draw(self, k: int, time: float) -> tuple[Array, float]:
        """Return block ``k``, whose clock starts at ``time``, and the end of its clock."""
        rng = np.random.default_rng((*self._seed, k))
        x = self._cell.random_input(rng, BLOCK, 1, self._sizes)
        x[..., self._stamps :] *= self._scale
        if not self._stamps:
            return x, 0.0
        x[..., : self._stamps] += time
        return x, float(x[-1, 0, 0])


@dataclass(frozen=True)
class Trajectory:
    """A run of ``steps`` steps from the first of ``checkpoints``, which are ``every`` steps apart.

    ``skipped`` blocks of the ``inputs`` lie before the first step, and ``every`` is a multiple of
    a block. ``overflowed``: the state left float64, and the trajectory ends at a checkpoint before.
    """

    transition: Transition
    inputs: Inputs
    checkpoints: tuple[State, ...]
    steps: int
    every: int
    skipped: int
    overflowed: bool

    def segment(self, k: int) -> list[Step]:
        """Compute the steps from checkpoint ``k`` to the next again."""
        state, steps = self.checkpoints[k], []
        first, last = k * self.every, min((k + 1) * self.every, self.steps)
        for x in _inputs(self.inputs, self.skipped, first, last):
            new, gates = self.transition.step(x, state)
            steps.append((x, state, gates, new))
            state = new
        return steps

    def forwards(self) -> Iterator[Step]:
        """Yield every step."""
        for k in range(len(self.checkpoints)):
            yield from self.segment(k)

    def backwards(self) -> Iterator[Step]:
        """Yield every step, the last first."""
        for k in reversed(range(len(self.checkpoints))):
            yield from reversed(self.segment(k))


def wander(transition: Transition, inputs: Inputs, start: State) -> Iterator[Step]:
    """Yield steps without end and without storing them."""
    state = start
    for x in inputs.stream():
        new, gates = transition.step(x, state)
        yield x, state, gates, new
        state = new


def follow(
    transition: Transition, inputs: Inputs, start: State, steps: int, warm_up: int = 0
) -> Trajectory:
    """Follow ``transition`` over ``steps`` steps, after a warm-up of at least ``warm_up``.

    The warm-up is rounded up to whole blocks of inputs, and so is √T.
    """
    skipped = math.ceil(warm_up / BLOCK)
    every = BLOCK * math.ceil(math.sqrt(steps) / BLOCK)
    checkpoints: list[State] = []
    state = start
    for x in _inputs(inputs, 0, 0, skipped * BLOCK):
        state, _ = transition.step(x, state)
    for first in range(0, steps, every):
        checkpoint = state
        for x in _inputs(inputs, skipped, first, min(first + every, steps)):
            state, _ = transition.step(x, state)
        if not all(np.isfinite(s).all() for s in state):
            return Trajectory(transition, inputs, tuple(checkpoints), first, every, skipped, True)
        checkpoints.append(checkpoint)
    return Trajectory(transition, inputs, tuple(checkpoints), steps, every, skipped, False)


def _inputs(inputs: Inputs, skipped: int, first: int, last: int) -> Iterator[Array]:
    """Yield the inputs of steps ``first`` to ``last``; ``first`` begins a block."""
    for start in range(first, last, BLOCK):
        yield from inputs.block(skipped + start // BLOCK)[: last - start]
