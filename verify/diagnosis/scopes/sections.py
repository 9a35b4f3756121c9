"""One pass of a deep layer, or the end of a sequence, measured like a small run.

What comes before, the passes below it or the earlier steps, is computed by the right equations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....reference.arrays import Floats
from ....reference.cell import State
from ....reference.cells import cell_named
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...checks.oracle import state_names
from ...numbers.ledger import Mismatch
from ...subjects.called import NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_cotangents, draw_inputs
from ...subjects.protocol import Pulled, Subject
from ..formulas.measurement import Measurement, numbered_parameters
from ..formulas.program import Program, named, program_of


@dataclass(frozen=True)
class Section:
    """A pass of the uppermost layer, by its direction, from the step ``first`` on."""

    case: Case
    direction: int = 0
    first: int = 0


def sections_measured(subject: Subject, sections: Iterable[Section]) -> list[Measurement]:
    """Run a layer once for each section; [] if its cell has no program, or it raises."""
    if program_of(subject.cells[0]) is None:
        return []
    try:
        return [_measured(subject, section) for section in sections]
    except (SubjectCrashed, NotOffered, Mismatch, ValueError, IndexError):
        return []


def _measured(subject: Subject, section: Section) -> Measurement:
    case, direction, first = section.case, section.direction, section.first
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    if inputs.lengths is not None:  # with lengths, and yet without padding
        inputs = replace(inputs, lengths=np.full_like(inputs.lengths, case.T))
    layer = under_test(subject).build(case)
    offered = subject.options.gradient
    result = layer.gradient(inputs, (dy, dfinal)) if offered else layer.forward(inputs)
    cell = cell_named(subject.cell(case))
    program = program_of(cell.name)
    assert program  # noqa: S101 - measured cells have one
    passes = subject.parameter_map(case).to_reference(inputs.parameters)
    alone = cell.initial_state(inputs.x, case.B, case.sizes)
    starts = [
        alone if inputs.state is None else tuple(s[k] for s in inputs.state)
        for k in range(len(passes))
    ]
    k = len(passes) - case.directions + direction
    turn = -1 if direction else 1
    x = _entered(case, program, passes, inputs.x, starts)[::turn]
    width = starts[k][0].shape[-1]
    own = slice(direction * width, (direction + 1) * width)
    outputs = {"y": result.y[::turn, :, own][first:]}
    judged = zip(state_names(subject, case), result.final, strict=False)
    outputs |= {f"final {s}": a[k] for s, a in judged}
    gradients: Mapping[str, Floats] = {}
    if isinstance(result, Pulled) and not first:
        gradients = _gradients(subject, case, result, passes, k)
    return Measurement(
        replace(case, T=case.T - first), cell.name, passes[k], x[first:],
        program.run(named(passes[k]), x[:first], starts[k]).final, dy[::turn, :, own][first:],
        tuple(d[k] for d in dfinal), outputs, gradients,
    )  # fmt: skip


def _entered(
    case: Case, program: Program, passes: Sequence[Parameters], x: Floats, starts: Sequence[State]
) -> Floats:
    """Return what the uppermost layer reads."""
    for level in range(case.layers - 1):
        outputs = []
        for direction in range(case.directions):
            k, turn = level * case.directions + direction, -1 if direction else 1
            outputs.append(program.run(named(passes[k]), x[::turn], starts[k]).y[::turn])
        x = np.concatenate(outputs, axis=-1)
    return x


def _gradients(
    subject: Subject, case: Case, pulled: Pulled, passes: Sequence[Parameters], k: int
) -> Mapping[str, Floats]:
    """Return the gradients of one pass by the program's names, without that of its input."""
    places = numbered_parameters(passes[k])
    numbers = subject.parameter_map(case).from_reference([
        Parameters(p.shapes, places if number == k else {n: 0 * a for n, a in p.items()})
        for number, p in enumerate(passes)
    ])  # fmt: skip
    flat = np.full(sum(a.size for a in places.values()) + 1, np.nan)
    for name, at in numbers.items():
        if name in pulled.parameters and np.shape(at) == np.shape(pulled.parameters[name]):
            flat[np.abs(at).astype(int)] = np.sign(at) * pulled.parameters[name]
    of_pass = Parameters(passes[k].shapes, {n: flat[a.astype(int)] for n, a in places.items()})
    gradients = {f"d{name}": getattr(of_pass, name) for name in of_pass.names()}
    states = cell_named(subject.cell(case)).states
    initial = zip(states, pulled.initial, strict=False)
    return gradients | {f"d0_{s}": np.asarray(a[k]) for s, a in initial}
