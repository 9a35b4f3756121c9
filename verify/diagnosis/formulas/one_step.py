"""One step's backward pass under an edit, with only the influenced statements computed anew."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ....reference.arrays import Floats
from .edits import Edit
from .measurement import Measurement
from .program import Program, Statement, Values, right_program

RAISED = (ValueError, NameError, IndexError, TypeError)
"""Exceptions of edits that combine arrays of different shapes, or read missing values."""


@dataclass(frozen=True)
class OneStep:
    """A run of one step, and a program's backward pass through it that can be edited."""

    program: Program
    m: Measurement
    _numbers: dict[frozenset[int], list[int]] = field(default_factory=dict)

    @cached_property
    def is_applicable(self) -> bool:
        """Whether the program visits the one step, and starts and ends as the right one does."""
        program, right = self.program, right_program(self.program.cell)
        same_ends = all(s.value is r.value for s, r in zip(
            (*program.start, *program.end), (*right.start, *right.end), strict=True
        ))  # fmt: skip
        return same_ends and list(program.order(1)) == [0] and program.x_at(0, 1) == 0

    @cached_property
    def values(self) -> Values:
        """All values of the backward pass without a further edit."""
        values = self.m.right.values_back(self.m.dy, self.m.dfinal, self.program)
        states = self.m.cell.states
        values.update({f"d{s}_next": d for s, d in zip(states, self.m.dfinal, strict=True)})
        return values

    @cached_property
    def wrong(self) -> frozenset[str]:
        """The names of gradients that differ from the measured ones."""
        gradients = self.m.right.pull(self.m.dy, self.m.dfinal, self.program)
        return self.m.differing(gradients, self.m.gradients)

    @np.errstate(all="ignore")
    def is_explained_by(self, edit: Edit) -> bool:
        """Whether an edit computes all measured gradients; stop at the first difference."""
        touched: set[str] = set()
        try:
            for name, value in self._changed_gradients(edit):
                if not self.m.same(name, value):
                    return False
                touched.add(name)
        except RAISED:
            return False
        return self.wrong <= touched

    @np.errstate(all="ignore")
    def still_wrong(self, edit: Edit) -> frozenset[str] | None:
        """Return the names of gradients that are wrong without an edit and with it.

        None if it makes another gradient wrong, or raises.
        """
        wrong = set(self.wrong)
        try:
            for name, value in self._changed_gradients(edit):
                if self.m.same(name, value):
                    wrong.discard(name)
                elif name not in wrong:
                    return None
        except RAISED:
            return None
        return frozenset(wrong)

    def _changed_gradients(self, edit: Edit) -> Iterator[tuple[str, Floats]]:
        """Yield the gradients that an edit of the backward step influences."""
        m, values = self.m, Values(self.values, self.m.right, 0, None, self.m.dy)
        new = {place[1]: s for place, s in edit.changed if place[0] == "back"}
        for k in self._influenced(frozenset(new)):
            statement = new.get(k, self.program.back[k])
            value = statement.evaluated(values)
            name = statement.target if statement.slot else self._results.get(statement.target, "")
            if name in m.gradients:
                yield name, value[None] if name == "dx" else value
            values[statement.target] = value

    @cached_property
    def _results(self) -> dict[str, str]:
        """The names of gradients of a call, by the statements that compute them."""
        return {"dx": "dx"} | {f"d{s}_old": f"d0_{s}" for s in self.m.cell.states}

    def _influenced(self, changed: frozenset[int]) -> list[int]:
        """Return the numbers of some statements, and of those that their values influence."""
        if changed not in self._numbers:
            self._numbers[changed] = influenced(self.program.back, changed)
        return self._numbers[changed]


def influenced(statements: Sequence[Statement], changed: Collection[int]) -> list[int]:
    """Return the numbers of some statements, and of those that their values influence."""
    touched, numbers = set[str](), []
    for k, statement in enumerate(statements):
        if k in changed or not touched.isdisjoint(statement.names):
            numbers.append(k)
            touched.add(statement.target)
    return numbers
