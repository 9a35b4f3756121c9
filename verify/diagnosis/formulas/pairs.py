"""Two edits of a step that compute a measured step, or one edit with another order of gates.

All edits of a statement are run at once: their values stand along an axis before the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations

import numpy as np

from ....reference.arrays import Floats
from ...mutants.layout import reordered as gates_reordered
from .edits import Edit, combined_edits, statement_edits
from .groups import grouped_forward_edits
from .measurement import Measurement
from .one_step import RAISED
from .program import Program, Statement, Values, named

Late = Callable[[], bool]


@dataclass(frozen=True)
class Stack:
    """Edits of one statement and their values, (edits, B, width), without duplicates."""

    number: int
    edits: tuple[Edit, ...]
    values: Floats


@dataclass(frozen=True)
class Trial:
    """One measured step, and a program whose edits are compared with it."""

    m: Measurement
    program: Program

    def values(self) -> Values:
        """Return the values of the step without edits."""
        state, x = self.m.state, self.m.x[0]
        return self.program.step(named(self.m.p), x, state)[1]

    @np.errstate(all="ignore")
    def stack(
        self, number: int, values_of_step: Mapping[str, Floats], edits: Sequence[Edit]
    ) -> Stack | None:
        """Return the edits of a statement that change its value, with their values."""
        statement = self.program.forward[number]
        right = values_of_step[statement.target]
        contents, distinct, values = {right.tobytes()}, [], []
        for edit in edits:
            ((_, new),) = edit.changed
            value = _evaluated(new, values_of_step)
            if value is None or np.shape(value) != right.shape or statement.target != new.target:
                continue
            if value.tobytes() not in contents:
                contents.add(value.tobytes())
                distinct.append(edit)
                values.append(value)
        return Stack(number, tuple(distinct), np.stack(values)) if distinct else None

    @np.errstate(all="ignore")
    def fitting(
        self, stack: Stack, values_of_step: Mapping[str, Floats], second: Edit | None
    ) -> list[int]:
        """Return the indices of edits in a stack that compute the step, with a second edit."""
        new = {place[1]: s for place, s in second.changed} if second else {}
        values = dict(values_of_step)
        values[self.program.forward[stack.number].target] = stack.values
        touched = {self.program.forward[stack.number].target}
        for k in range(stack.number + 1, len(self.program.forward)):
            statement = new.get(k, self.program.forward[k])
            if k not in new and touched.isdisjoint(statement.names):
                continue
            value = _evaluated(statement, values)
            if value is None:
                return []
            values[statement.target] = value
            touched.add(statement.target)
        return [*np.flatnonzero(self._agrees(values, len(stack.edits)))]

    def alone(
        self, number: int, values_of_step: Mapping[str, Floats], edits: Sequence[Edit]
    ) -> Iterator[Edit]:
        """Yield the edits of a statement that compute the step."""
        stack = self.stack(number, values_of_step, edits)
        if stack:
            yield from (stack.edits[k] for k in self.fitting(stack, values_of_step, None))

    def _agrees(self, values: Mapping[str, Floats], count: int) -> Floats:
        m, good = self.m, np.ones(count, bool)
        measured = {f"{m.cell.states[0]}_new": m.outputs["y"][0]}
        finals = {f"{s}_new": f"final {s}" for s in m.cell.states}
        measured |= {new: m.outputs[n] for new, n in finals.items() if n in m.outputs}
        for name, array in measured.items():
            off = np.abs(values[name] - array)
            off = np.broadcast_to(off, (count, *array.shape)).reshape(count, -1).max(axis=1)
            good &= off <= m.limit(array)
        return good


def _evaluated(statement: Statement, values: Mapping[str, Floats]) -> Floats | None:
    try:
        value = statement.evaluated(values)
    except RAISED:
        return None
    return value if isinstance(value, np.ndarray) else None


@cache
def _grouped(cell: str, program: Program) -> tuple[Edit, ...]:
    return tuple(grouped_forward_edits(program))


def two_edits(program: Program, m: Measurement, late: Late) -> Iterator[tuple[Edit, ...]]:
    """Yield pairs of edits that compute one step, those of two statements first."""
    trial = Trial(m, program)
    values, count = trial.values(), len(program.forward)
    single_edits = [statement_edits(program.cell, "forward", k) for k in range(count)]
    stacks = [trial.stack(k, values, edits) for k, edits in enumerate(single_edits)]
    for stack in filter(None, stacks):
        for second in (e for edits in single_edits[stack.number + 1 :] for e in edits):
            if late():
                return
            for k in trial.fitting(stack, values, second):
                yield stack.edits[k], second
    for number in range(count):
        both = [e for e in combined_edits(program.cell, number) if not late()]
        for edit in trial.alone(number, values, both):
            yield (edit,)
    for first in _grouped(program.cell, program):
        if late():
            return
        edited = Trial(m, first.applied_to(program))
        for edit in _one_more(edited, {place[1] for place, _ in first.changed}):
            yield first, edit


def _one_more(trial: Trial, without: set[int]) -> Iterator[Edit]:
    """Yield single edits of a trial's program that compute the step."""
    try:
        with np.errstate(all="ignore"):
            values = trial.values()
    except RAISED:
        return
    for number in range(len(trial.program.forward)):
        if number in without:
            continue
        edits = statement_edits(trial.program.cell, "forward", number)
        yield from trial.alone(number, values, edits)


def in_other_orders(
    program: Program, m: Measurement, late: Late
) -> Iterator[tuple[tuple[str, ...], Edit]]:
    """Yield orders of the gates, each with an edit that then computes one step."""
    letters = m.cell.gates
    for order in permutations(letters):
        if order == letters:
            continue
        if late():
            return
        for edit in _one_more(Trial(reordered(m, order), program), set()):
            yield order, edit


def reordered(m: Measurement, order: Sequence[str]) -> Measurement:
    """Return a measurement with parameters and gradients in another order of the gates."""
    letters = m.cell.gates
    p = gates_reordered(m.p, "".join(order))
    gradients = dict(m.gradients)
    for array in ("W", "U", "b"):
        for mine, read in zip(letters, order, strict=True):
            if f"d{array}_{read}" in m.gradients:
                gradients[f"d{array}_{mine}"] = m.gradients[f"d{array}_{read}"]
    return replace(m, p=p, gradients=gradients)
