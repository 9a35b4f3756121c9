"""Two edits of a step that compute a measured step, or one edit with another order of gates.

All edits of a statement are run at once: their values stand along an axis before the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import permutations

import numpy as np

from ....reference.arrays import Floats
from ...mutants.layout import reordered as gates_reordered
from .edits import Edit, combined_edits, statement_edits
from .groups import grouped_forward_edits
from .measurement import Measurement
from .one_step import RAISED, influenced
from .program import Program, Statement, Values, named

Late = Callable[[], bool]


@dataclass(frozen=True)
class Stack:
    """Edits of one statement and their values, (edits, B, width), without duplicates."""

    number: int
    target: str
    edits: tuple[Edit, ...]
    values: Floats


@dataclass(frozen=True)
class Trial:
    """One measured step, and a program whose edits are compared with it.

    ``before`` is the trial of a program that computes most values alike.
    """

    m: Measurement
    program: Program
    before: Trial | None = None
    _known: dict[int, Floats | None] = field(default_factory=dict)
    _numbers: dict[frozenset[int], list[int]] = field(default_factory=dict)

    @cached_property
    def values(self) -> Values:
        """The values of the step without edits."""
        with np.errstate(all="ignore"):
            return self.program.step(named(self.m.p), self.m.x[0], self.m.state)[1]

    @cached_property
    def measured(self) -> dict[str, Floats]:
        """The states after the step that are measured, by the names of their statements.

        After the first of several steps, this is the output alone.
        """
        m, states = self.m, self.m.cell.states
        known = {s: m.outputs.get(f"final {s}") for s in states} if len(m.x) == 1 else {}
        measured = {s: a for s, a in known.items() if a is not None and not np.isnan(a).any()}
        if (y := m.outputs["y"][0]).shape == m.state[0].shape:
            measured.setdefault(states[0], y)
        return {f"{s}_new": array for s, array in measured.items()}

    @cached_property
    def limits(self) -> dict[str, tuple[Floats | None, float]]:
        """By name of a measured state: its known entries, None for all, and the equality limit."""
        known = {n: ~np.isnan(array) for n, array in self.measured.items()}
        return {
            n: (None if known[n].all() else known[n], self.m.limit(array[known[n]]))
            for n, array in self.measured.items()
        }

    @cached_property
    def changed(self) -> frozenset[str]:
        """The names whose values are not those of the trial before; all if there is none."""
        targets = frozenset(s.target for s in self.program.forward)
        if self.before is None:
            return targets
        old, new = self.before.values, self.values
        return frozenset(n for n in targets if not np.array_equal(old[n], new[n], equal_nan=True))

    @cached_property
    def repairable(self) -> list[int]:
        """The numbers of the statements of which an edit may compute the step.

        With the measured states in the place of computed ones, a state that is wrong must read the
        statement, directly or by way of names other than states.
        """
        values, wrong = Values({**self.values, **self.measured}), set()
        reached: dict[str, set[str]] = {n: {n} for n in self.measured}
        with np.errstate(all="ignore"):
            for s in self.program.ordered:
                value = s.evaluated(values)
                if s.target not in self.measured:
                    values[s.target] = value
                elif not self._near(s.target, value, 1).all():
                    wrong.add(s.target)
        for s in reversed(self.program.ordered):
            for n in s.names - self.measured.keys():
                reached.setdefault(n, set()).update(reached.get(s.target, ()))
        statements = enumerate(self.program.forward)
        return [k for k, s in statements if wrong <= reached.get(s.target, set())]

    @np.errstate(all="ignore")
    def may_compute(self, edit: Edit) -> bool:
        """Whether an edit computes the step, or reads what is computed after it."""
        new, statements = {place[1]: s for place, s in edit.changed}, self.program.forward
        if not all(n.names.isdisjoint(self._later[k]) for k, n in new.items()):
            return True
        values, untouched = {**self.values}, {*self.measured}
        for k in self._influenced(frozenset(new)):
            statement = new.get(k, statements[k])
            value = _evaluated(statement, values)
            if value is None or not self._is_near(statement.target, value):
                return False
            values[statement.target] = value
            untouched.discard(statement.target)
        return all(self._is_near(name, values[name]) for name in untouched)

    @cached_property
    def _later(self) -> list[frozenset[str]]:
        """The names that each statement and those after it compute."""
        targets = [s.target for s in self.program.forward]
        return [frozenset(targets[k:]) for k in range(len(targets))]

    def _influenced(self, changed: frozenset[int]) -> list[int]:
        """Return the numbers of some statements, and of those that their values influence."""
        if changed not in self._numbers:
            self._numbers[changed] = influenced(self.program.forward, changed)
        return self._numbers[changed]

    def _is_near(self, name: str, value: Floats) -> bool:
        """Whether a value of a name is the measured one, if that is known."""
        return name not in self.measured or bool(self._near(name, value, 1).all())

    @np.errstate(all="ignore")
    def stack(self, number: int, edits: Sequence[Edit]) -> Stack | None:
        """Return the edits of a statement that change its value, with their values."""
        statement = self.program.forward[number]
        right = self.values[statement.target]
        contents, distinct, values = {right.tobytes()}, [], []
        for edit in edits:
            ((_, new),) = edit.changed
            value = self._value(new)
            if value is None or value.shape != right.shape or statement.target != new.target:
                continue
            content = value.tobytes()
            if content not in contents:
                contents.add(content)
                distinct.append(edit)
                values.append(value)
        if not distinct:
            return None
        return Stack(number, statement.target, tuple(distinct), np.stack(values))

    def _value(self, edited: Statement) -> Floats | None:
        """Return the value of an edited statement, which is computed once for what it reads."""
        if self.before is not None and self.changed.isdisjoint(edited.names):
            return self.before._value(edited)
        key = id(edited)  # edits are kept
        if key not in self._known:
            self._known[key] = _evaluated(edited, self.values)
        return self._known[key]

    @np.errstate(all="ignore")
    def after(self, stack: Stack) -> dict[str, Floats]:
        """Return the values of the step for all edits in a stack, as far as it can be computed."""
        values, touched = {**self.values, stack.target: stack.values}, {stack.target}
        for statement in self.program.forward[stack.number + 1 :]:
            if not touched.isdisjoint(statement.names):
                value = _evaluated(statement, values)
                if value is None:
                    break
                values[statement.target] = value
                touched.add(statement.target)
        return values

    @np.errstate(all="ignore")
    def fitting(
        self, stack: Stack, values: Mapping[str, Floats], second: Edit | None = None
    ) -> list[int]:
        """Return the indices of edits in a stack that compute the step, with a second edit.

        ``values`` are those before the second edit; without one, those before the first.
        """
        new = {place[1]: s for place, s in second.changed} if second else {}
        values, touched = {**values, stack.target: stack.values}, set[str]()
        if not second:
            touched.add(stack.target)
        good, count = np.ones(len(stack.edits), bool), len(stack.edits)
        for k in range(stack.number + 1, len(self.program.forward)):
            statement = new.get(k, self.program.forward[k])
            if k not in new and touched.isdisjoint(statement.names):
                continue
            value = _evaluated(statement, values) if good.any() else None
            if value is None:
                return []
            values[statement.target] = value
            touched.add(statement.target)
            good &= self._near(statement.target, value, count)
        for name in self.measured if good.any() else ():
            good &= self._near(name, values[name], count)
        return [*np.flatnonzero(good)]

    def alone(self, number: int, edits: Sequence[Edit]) -> Iterator[Edit]:
        """Yield the edits of a statement that compute the step."""
        stack = self.stack(number, edits)
        if stack:
            yield from (stack.edits[k] for k in self.fitting(stack, self.values))

    def _near(self, name: str, value: Floats, count: int) -> Floats:
        """Return which of several values of a name are the measured one; all of another name."""
        if name not in self.measured:
            return np.ones(count, bool)
        array, (known, limit) = self.measured[name], self.limits[name]
        try:
            off = np.broadcast_to(np.abs(value - array), (count, *array.shape))
        except ValueError:  # of another shape
            return np.zeros(count, bool)
        off = off if known is None else np.where(known, off, 0.0)
        return np.asarray(off.reshape(count, -1).max(axis=1) <= limit)


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
    count = len(program.forward)
    single_edits = [statement_edits(program.cell, "forward", k) for k in range(count)]
    stacks = [trial.stack(k, edits) for k, edits in enumerate(single_edits)]
    for stack in filter(None, stacks):
        after = trial.after(stack)
        for second in (e for edits in single_edits[stack.number + 1 :] for e in edits):
            if late():
                return
            for k in trial.fitting(stack, after, second):
                yield stack.edits[k], second
    for number in trial.repairable:
        both = [e for e in combined_edits(program.cell, number) if not late()]
        for edit in trial.alone(number, both):
            yield (edit,)
    for first in _grouped(program.cell, program):
        if late():
            return
        edited = Trial(m, first.applied_to(program), trial)
        for edit in _one_more(edited, {place[1] for place, _ in first.changed}):
            yield first, edit


def _one_more(trial: Trial, without: set[int]) -> Iterator[Edit]:
    """Yield single edits of a trial's program that compute the step."""
    try:
        numbers = [k for k in trial.repairable if k not in without]
    except RAISED:
        return
    for number in numbers:
        yield from trial.alone(number, statement_edits(trial.program.cell, "forward", number))


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
