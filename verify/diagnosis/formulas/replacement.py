"""Changes that run an edited program in the place of a layer's pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....reference.arrays import Array
from ....reference.cell import State
from ....reference.parameters import Parameters
from ...mutants import Change
from ...mutants.replaceable_layer import At, ReplaceableLayer
from ...numbers.tape import Pull, custom
from .edits import Edit
from .program import Program, gradient, named, program_of


class NoProgram(RuntimeError):
    """The cell has no program to edit."""


@dataclass(frozen=True)
class ProgrammedPass:
    """One pass as a single operation, forward by one program and backward by another.

    With ``right_values`` the backward pass reads the values of the right equations, else those of
    ``forward``.
    """

    forward: Program
    backward: Program
    right_values: bool = False

    @classmethod
    def of(cls, layer: ReplaceableLayer) -> ProgrammedPass:
        """Return a layer's pass: the programs that it runs, or the cell's own."""
        if isinstance(layer.unroll, cls):
            return layer.unroll
        program = program_of(layer.cell.name)
        if program is None:
            raise NoProgram(f"there is no program of {layer.cell.name}")
        return cls(program, program)

    def __call__(self, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        """Return the outputs and the final state of a pass."""

        def rule(*arrays: Array) -> tuple[Sequence[Array], Pull]:
            q = Parameters(p.shapes, dict(zip(p, arrays[: len(p)], strict=True)))
            x, start = arrays[len(p)], arrays[len(p) + 1 :]
            run = self.forward.run(named(q), x, start, at.lengths)
            saved = self.backward.run(named(q), x, start, at.lengths) if self.right_values else run

            def pull(dy: Array, *dfinal: Array) -> Sequence[Array]:
                gradients = saved.pull(dy, dfinal, self.backward)
                ends = [gradients[f"d0_{s}"] for s in states]
                return [*gradient(q, gradients).values(), gradients["dx"], *ends]

            return [run.y, *run.final], pull

        states = [s.target.removeprefix("d0_") for s in self.backward.end]
        y, *final = custom(rule, *p.values(), x, *at.start)
        return y, tuple(final)


def backward_change(edit: Edit) -> Change:
    """Return the change that edits a layer's backward pass."""

    def change(layer: ReplaceableLayer) -> None:
        current = ProgrammedPass.of(layer)
        layer.unroll = ProgrammedPass(
            current.forward, edit.applied_to(current.backward), current.right_values
        )

    return change


def step_change(edit: Edit, *, right_values: bool) -> Change:
    """Return the change that edits a layer's step and leaves its backward formulas right."""

    def change(layer: ReplaceableLayer) -> None:
        current = ProgrammedPass.of(layer)
        layer.unroll = ProgrammedPass(
            edit.applied_to(current.forward), current.backward, right_values
        )

    return change


def differentiated_step_change(edit: Edit) -> Change:
    """Return the change that edits a layer's step, and differentiates the edited step."""

    def change(layer: ReplaceableLayer) -> None:
        program = program_of(layer.cell.name)
        if program is None:
            raise NoProgram(f"there is no program of {layer.cell.name}")
        edited = edit.applied_to(getattr(layer.step, "program", program))
        layer.step = _Step(edited)

    return change


@dataclass(frozen=True)
class _Step:
    program: Program

    def __call__(self, at: At, p: Parameters, x: Array, state: State) -> State:
        return self.program.step(named(p), x, state)[0]
