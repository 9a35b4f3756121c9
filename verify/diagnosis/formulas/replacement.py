"""Changes that run an edited program in the place of a layer's pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....reference.arrays import Array
from ....reference.cell import State
from ....reference.parameters import Parameters
from ...mutants.replaceable_layer import At, ReplaceableLayer, taken_apart
from ...numbers.tape import Pull, custom
from .edits import Edit
from .program import Program, gradient, named, right_program


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
        program = right_program(layer.cell.name)
        return cls(program, program)

    def __call__(self, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        """Return the outputs and the final state of a pass."""

        def rule(*arrays: Array) -> tuple[Sequence[Array], Pull]:
            q, x, start = taken_apart(p, arrays)
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


def edit_backward_pass(edit: Edit, layer: ReplaceableLayer) -> None:
    """Edit a layer's backward pass."""
    current = ProgrammedPass.of(layer)
    layer.unroll = replace(current, backward=edit.applied_to(current.backward))


def edit_step(edit: Edit, layer: ReplaceableLayer, *, right_values: bool) -> None:
    """Edit a layer's step, and leave its backward formulas right."""
    current = ProgrammedPass.of(layer)
    edited = edit.applied_to(current.forward)
    layer.unroll = replace(current, forward=edited, right_values=right_values)


def edit_differentiated_step(edit: Edit, layer: ReplaceableLayer) -> None:
    """Edit a layer's step, and differentiate the edited step."""
    right = right_program(layer.cell.name)
    layer.step = _Step(edit.applied_to(getattr(layer.step, "program", right)))


@dataclass(frozen=True)
class _Step:
    program: Program

    def __call__(self, at: At, p: Parameters, x: Array, state: State) -> State:
        return self.program.step(named(p), x, state)[0]
