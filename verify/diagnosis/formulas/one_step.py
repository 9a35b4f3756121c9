"""One step back under an edit, computed no further than the edit reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....reference.arrays import Floats
from .edits import Edit
from .measurement import Measurement
from .program import Program, Values, program_of

RAISED = (ValueError, NameError, IndexError, TypeError)
"""What edits raise that combine arrays of different shapes, or read what is not there yet."""


@dataclass(frozen=True)
class OneStep:
    """A run of one step, and a program's way back through it that is to be edited."""

    program: Program
    m: Measurement

    @cached_property
    def can_be_apart(self) -> bool:
        """Whether the step is visited, and starts and ends as the right one does."""
        program, right = self.program, program_of(self.program.cell)
        assert right  # noqa: S101 - who edits a program has one
        kept = all(s.value is r.value for s, r in zip(
            (*program.start, *program.end), (*right.start, *right.end), strict=True
        ))  # fmt: skip
        return kept and list(program.order(1)) == [0] and program.x_at(0, 1) == 0

    @cached_property
    def values(self) -> Values:
        """All values of the way back without a further edit."""
        here = self.m.right.values_back(self.m.dy, self.m.dfinal, self.program)
        states = self.m.cell.states
        here.update({f"d{s}_next": d for s, d in zip(states, self.m.dfinal, strict=True)})
        return here

    @cached_property
    def wrong(self) -> frozenset[str]:
        """The gradients that are not as measured."""
        found = self.m.right.pull(self.m.dy, self.m.dfinal, self.program)
        return self.m.differing(found, self.m.gradients)

    @np.errstate(all="ignore")
    def explained(self, edit: Edit) -> bool:
        """Whether an edit makes all gradients as measured; stops at the first that is not."""
        touched: set[str] = set()
        try:
            for name, value in self._changed(edit):
                if not self.m.same(name, value):
                    return False
                touched.add(name)
        except RAISED:
            return False
        return self.wrong <= touched

    @np.errstate(all="ignore")
    def unexplained(self, edit: Edit) -> frozenset[str] | None:
        """Return the gradients that an edit leaves, or makes, wrong; None if it raises."""
        wrong = set(self.wrong)
        try:
            for name, value in self._changed(edit):
                (wrong.discard if self.m.same(name, value) else wrong.add)(name)
        except RAISED:
            return None
        return frozenset(wrong)

    def _changed(self, edit: Edit) -> Iterator[tuple[str, Floats]]:
        """Yield the gradients that an edit of the step back has a part in."""
        m, here = self.m, Values(self.values, self.m.right, 0, None, self.m.dy)
        new = {place[1]: s for place, s in edit.changed if place[0] == "back"}
        results = {"dx": "dx"} | {f"d{s}_old": f"d0_{s}" for s in m.cell.states}
        touched: set[str] = set()
        for k, before in enumerate(self.program.back):
            statement = new.get(k, before)
            if k not in new and touched.isdisjoint(statement.names):
                continue
            value = statement.evaluated(here)
            name = statement.target if statement.slot else results.get(statement.target, "")
            if name in m.gradients:
                yield name, value[None] if name == "dx" else value
            here[statement.target] = value
            touched.add(statement.target)
