"""The correct layer that all mutants change: its parts can be replaced one by one.

The parts are attributes, so that a mutant is an assignment. They run on plain arrays to compute
outputs, and on traced ones to compute gradients; see ``tape``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ...reference.cell import Cell, State
from ...reference.functions import Array, zeros
from ...reference.layer import concatenated, in_direction
from ...reference.parameters import Parameters
from ...reference.sequence import Step, choose, only
from ..cases.case import Case
from ..cases.layouts import LEFT_PADDED, PACKED
from ..conventions.parameter_map import ExplicitMap
from ..numbers.complex_step import STEP
from ..numbers.tape import Pull, Tape, Traced, custom, plain, rows
from ..subjects.protocol import Cotangents, Inputs, Pulled, Result
from ..subjects.ragged import Ragged

Part: TypeAlias = Callable[..., Any]
"""One of the layer's parts, or its replacement."""

StepGradients: TypeAlias = tuple[Parameters, Array, State]
"""The gradients of a step's parameters, input and old state."""

RunPart: TypeAlias = Callable[[Inputs], Result]
ReadPart: TypeAlias = Callable[[Mapping[str, Array]], Sequence[Parameters]]
ReorderPart: TypeAlias = Callable[[State, Sequence[int]], State]
ReadStatePart: TypeAlias = Callable[["State | None", Array], State]
BoundariesPart: TypeAlias = Callable[[Array], Array]
BeginPart: TypeAlias = Callable[[int, State, "State | None"], State]
TurnPart: TypeAlias = Callable[[int, Array, "Array | None"], Array]
UnrollPart: TypeAlias = "Callable[[At, Parameters, Array], tuple[Array, State]]"
StepPart: TypeAlias = "Callable[[At, Parameters, Array, State], State]"
OutputPart: TypeAlias = "Callable[[At, Parameters, Array, State, State], Array]"
CarryPart: TypeAlias = "Callable[[At, State, State], State]"
MaskPart: TypeAlias = Callable[[tuple[int, ...]], Array]
WritePart: TypeAlias = Callable[[Array, State, "Array | None"], tuple[Array, State]]
OutputsPart: TypeAlias = Callable[[Result], Result]
StepVjpPart: TypeAlias = "Callable[[At, Parameters, Step, State], StepGradients]"
GradientsPart: TypeAlias = Callable[[Pulled, Cotangents], Pulled]


class At(NamedTuple):
    """The position of a step: level and direction of its pass, and its time ``t`` in that pass.

    ``start`` is the initial state of the pass, ``lengths`` those of the rows, if they differ;
    ``mask`` (T, B) marks the steps of rows that are padded in front; the pass has ``steps`` steps.
    """

    level: int
    direction: int
    start: State
    lengths: Array | None
    t: int = 0
    mask: Array | None = None
    steps: int = 0

    @property
    def active(self) -> Array | None:
        """The rows that make a step, (B, 1); None if all do."""
        if self.mask is not None:
            return np.asarray(self.mask[self.t][:, None])
        return None if self.lengths is None else (self.t < self.lengths)[:, None]


class ReplaceableLayer:
    """One layer for one case; ``Built`` of the protocol.

    The parts follow the order of a call: reading of the inputs, one pass, one step, the connection
    of levels, writing of the outputs; then the backward pass.
    """

    def __init__(self, case: Case, cell: Cell) -> None:
        self.case, self.cell = case, cell
        self.training = True
        self.memory: dict[Any, Any] = {}  # values that mutants keep from call to call
        self.inputs = Inputs({}, np.zeros(0), None, None)
        self.run: RunPart = self._run
        self.read_parameters: ReadPart = ExplicitMap(cell.name, case).to_reference
        self.reorder: ReorderPart = lambda state, rows: tuple(s[:, list(rows)] for s in state)
        self.read_state: ReadStatePart = self._read_state
        self.read_lengths: Callable[[Array | None], Array | None] = lambda lengths: lengths
        self.boundaries: BoundariesPart = lambda cu_seqlens: cu_seqlens
        self.begin: BeginPart = lambda k, start, before: tuple(s[k : k + 1] for s in start)
        self.ends: Callable[[Sequence[State]], Sequence[State]] = lambda finals: finals
        self.read_mask: Callable[[Array], Array] = lambda mask: mask
        self.turn: TurnPart = in_direction
        self.turn_back: TurnPart = in_direction
        self.unroll: UnrollPart = self._unroll
        self.see: Callable[[At, Array], Array] = lambda at, x: only(at.active, x)
        self.step: StepPart = self._step
        self.output: OutputPart = self._output
        self.show: Callable[[At, State, State], Array] = lambda at, new, old: only(
            at.active, new[0]
        )
        self.carry: CarryPart = carried
        self.drop: Callable[[Array], Array] = self._drop
        self.mask: MaskPart = self._mask
        self.write: WritePart = lambda y, final, lengths: (y, final)
        self.give_outputs: OutputsPart = lambda result: result
        self.read_cotangents: Callable[[Cotangents], Cotangents] = lambda cotangents: cotangents
        self.step_vjp: StepVjpPart = self._step_vjp
        self.read_tangents: Callable[[Inputs], Inputs] = lambda tangents: tangents
        self.give_gradients: GradientsPart = lambda pulled, cotangents: pulled

    @cached_property
    def rng(self) -> np.random.Generator:
        """The generator of masks, made on first use because seeding is slow."""
        return self.case.generator("masks of the subject")

    def wrap(self, part: str, function: Part) -> None:
        """Replace a part by ``function``, whose first argument is the original part."""
        setattr(self, part, partial(function, getattr(self, part)))

    def forward(self, inputs: Inputs) -> Result:
        self.inputs = inputs
        with np.errstate(all="ignore"):
            return self.give_outputs(self.run(inputs))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        """Run the layer once, and pull each pair of cotangents back through that one run."""
        recorded = self.record(inputs)
        return [recorded.pull(pair) for pair in cotangents]

    def record(self, inputs: Inputs) -> Recorded:
        """Run the layer so that cotangents can be pulled back through that run."""
        self.inputs = inputs
        with np.errstate(all="ignore"):
            tape = Tape()
            leaves = inputs.map(tape.leaf)
            traced = self.run(leaves)
            outputs = self.give_outputs(Result(plain(traced.y), _plain(traced.final)))
        return Recorded(self, tape, leaves, traced, outputs)

    def train(self, training: bool) -> None:
        self.training = training

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward, by a step into the complex plane."""
        self.inputs = inputs
        shifted = complex_inputs(inputs, self.read_tangents(tangents))
        with np.errstate(all="ignore"):
            result = self.run(shifted)

        def tangent(output: Array) -> Array:
            return (output.imag / STEP).astype(self.case.dtype)

        return Result(tangent(result.y), tuple(tangent(s) for s in result.final))

    def _run(self, inputs: Inputs) -> Result:
        """Run the layer, level by level (E27), direction by direction (E26)."""
        parameters = self.read_parameters(inputs.parameters)
        lengths = self.read_lengths(inputs.lengths)
        state = inputs.state
        if state is not None and inputs.rows is not None:
            state = self.reorder(state, inputs.rows)
        start = self.read_state(state, inputs.x)
        ragged, mask = Ragged.of(inputs), None
        unroll = partial(self._unroll_packed, ragged) if ragged.layout == PACKED else self.unroll
        x, finals = inputs.x, []
        if ragged.layout == LEFT_PADDED:
            x, mask, lengths = ragged.to_layout(x), self.read_mask(ragged.mask), None
        for level in range(self.case.layers):
            outputs = []
            for direction in range(self.case.directions):
                k = level * self.case.directions + direction
                at = At(level, direction, tuple(s[k] for s in start), lengths, mask=mask)
                y, final = unroll(at, parameters[k], self.turn(direction, x, lengths))
                outputs.append(self.turn_back(direction, y, lengths))
                finals.append(final)
            y = concatenated(outputs)
            if level + 1 < self.case.layers:
                x = self._input_above(x, self.drop(y))
        final = tuple(np.stack(arrays) for arrays in zip(*finals, strict=True))
        if ragged.layout == LEFT_PADDED:
            inside = ragged.inside[:, :, None]
            y = np.where(inside, ragged.from_layout(y), zeros(y, y.shape))
        return Result(*self.write(y, final, lengths))

    def _read_state(self, state: State | None, x: Array) -> State:
        """Return the initial state, or the cell's own for every level and direction."""
        if state is not None:
            return state
        of_a_pass = self.cell.initial_state(x, x.shape[1], self.case.sizes)
        return tuple(np.stack([s] * (self.case.layers * self.case.directions)) for s in of_a_pass)

    def _unroll(self, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        """Return outputs (T, B, width) and the final state of one pass over x as it reads it."""
        none = self.cell.no_output(_plain(at.start))
        state, outputs = at.start, [zeros(at.start[0], (0, *none.shape))]
        for t, x_t in enumerate(rows(x)):
            at = at._replace(t=t, steps=len(x))
            input_t = self.see(at, x_t)
            new = self.step(at, p, input_t, state)
            new_output = (self.output(at, p, input_t, state, new), *new[1:])
            outputs.append(self.show(at, new_output, state)[None])
            state = self.carry(at, new, state)
        return np.concatenate(outputs), state

    def _unroll_packed(
        self, ragged: Ragged, at: At, p: Parameters, x: Array
    ) -> tuple[Array, State]:
        """Return the same for packed rows, from boundary to boundary."""
        flat, outputs, finals = ragged.to_layout(x), [], list[State]()
        for k, (first, last) in enumerate(pairwise(self.boundaries(ragged.cu_seqlens))):
            start = self.begin(k, at.start, finals[-1] if finals else None)
            y, final = self.unroll(at._replace(start=start, lengths=None), p, flat[first:last])
            outputs.append(y)
            finals.append(final)
        y = ragged.from_layout(np.concatenate(outputs))
        y = np.where(ragged.inside[:, :, None], y, zeros(y, y.shape))
        return y, tuple(np.concatenate(rows) for rows in zip(*self.ends(finals), strict=True))

    def _step(self, at: At, p: Parameters, x: Array, state: State) -> State:
        """The cell's step, as one operation whose rule is ``step_vjp``."""
        if Traced not in map(type, (*p.values(), x, *state)):
            return self.cell.step(p, x, state)[0]

        def rule(*arrays: Array) -> tuple[State, Pull]:
            q, x, state = taken_apart(p, arrays)
            new, gates = self.cell.step(q, x, state)

            def pull(*cotangent: Array) -> Sequence[Array]:
                step = Step(x, state, gates, new, at.active)
                dp, dx, d_old = self.step_vjp(at, q, step, cotangent)
                return [*(dp[name] for name in p), dx, *d_old]

            return new, pull

        return custom(rule, *p.values(), x, *state)

    def _output(self, at: At, p: Parameters, x: Array, state: State, new: State) -> Array:
        """Return the first state, or the cell's readout, as one operation with its own rule."""
        if "readout" not in self.cell.traits:
            return new[0]
        count = len(state)

        def rule(*arrays: Array) -> tuple[Sequence[Array], Pull]:
            q, x, states = taken_apart(p, arrays)
            old, now = states[:count], states[count:]
            _, gates = self.cell.step(q, x, old)

            def pull(dy: Array) -> Sequence[Array]:
                dp, dx, d_old, d_new = self.cell.readout_vjp(q, x, old, gates, now, dy)
                return [*(dp[name] for name in p), dx, *d_old, *d_new]

            return [self.cell.readout(q, x, old, gates, now)], pull

        return custom(rule, *p.values(), x, *state, *new)[0]

    def _step_vjp(self, at: At, p: Parameters, step: Step, d: State) -> StepGradients:
        return self.cell.vjp(p, step.x, step.state, step.gates, step.new, d)

    def _input_above(self, x: Array, y: Array) -> Array:
        """Return the outputs below, after the columns (a time stamp) that every level reads."""
        timed = "timed" in self.cell.traits
        stamps = self.cell.input_width(self.case.sizes) - self.case.D if timed else 0
        return np.concatenate([x[:, :, :stamps], y], axis=-1) if stamps else y

    def _drop(self, y: Array) -> Array:
        """Apply dropout between levels, in training."""
        if not self.training or self.case.dropout == 0:
            return y
        return y * self.mask(y.shape)

    def _mask(self, shape: tuple[int, ...]) -> Array:
        """Draw 0 with the rate p, else 1 / (1 - p)."""
        rate = self.case.dropout
        mask = (self.rng.random(shape) >= rate).astype(self.case.dtype)
        return mask if rate == 1 else mask / (1 - rate)


@dataclass(frozen=True)
class Recorded:
    """One run of a layer: its outputs, and its backward pass, which can be repeated."""

    layer: ReplaceableLayer
    tape: Tape
    leaves: Inputs
    traced: Result
    outputs: Result

    def pull(self, cotangents: Cotangents) -> Pulled:
        """Pull a pair of cotangents back through the run."""
        leaves, outputs = self.leaves, self.outputs
        with np.errstate(all="ignore"):
            dy, dfinal = self.layer.read_cotangents(cotangents)
            initial = () if leaves.state is None else leaves.state
            targets = [*leaves.parameters.values(), leaves.x, *initial]
            pulled = self.tape.pull([self.traced.y, *self.traced.final], [dy, *dfinal], targets)
            named = dict(zip(leaves.parameters, pulled, strict=False))
            dx, *dinitial = pulled[len(named) :]
            gradients = Pulled(outputs.y, outputs.final, named, dx, tuple(dinitial))
            return self.layer.give_gradients(gradients, cotangents)


def complex_inputs(inputs: Inputs, along: Inputs) -> Inputs:
    """Return inputs + i STEP along."""

    def complex_step(a: Array, t: Array) -> Array:
        return a + 1j * STEP * t.astype(np.float64)

    state = inputs.state and tuple(map(complex_step, inputs.state, along.state or ()))
    named = {name: complex_step(a, along.parameters[name]) for name, a in inputs.parameters.items()}
    return replace(inputs, parameters=named, x=complex_step(inputs.x, along.x), state=state)


def _plain(state: State) -> State:
    return tuple(plain(s) for s in state)


def carried(at: At, new: State, old: State) -> State:
    """Return the new state of the rows that have not ended, and the old one of the others."""
    return tuple(choose(at.active, n, o) for n, o in zip(new, old, strict=True))


def taken_apart(p: Parameters, arrays: Sequence[Array]) -> tuple[Parameters, Array, State]:
    """Return parameters, input and states from one sequence of arrays."""
    q = Parameters(p.shapes, dict(zip(p, arrays[: len(p)], strict=True)))
    return q, arrays[len(p)], tuple(arrays[len(p) + 1 :])
