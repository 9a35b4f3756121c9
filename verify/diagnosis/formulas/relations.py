"""The edits that compute what was measured: one alone, or two together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

import numpy as np

from ....reference.functions import Array
from ...mutants import Change
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis
from ..search import Explainer, Search
from .edits import (
    Edit,
    backward_edits,
    forward_edits,
    grouped_backward_edits,
    grouped_forward_edits,
)
from .measurement import Measurement, measurements, outputs_of
from .program import Program, Run, Values, program_of
from .replacement import differentiated_step, step, way_back
from .wording import said

MOST = 6
"""Edits that compute what was measured, beyond which no more are handed on."""


@cache
def back_in_groups(cell: str) -> tuple[Edit, ...]:
    """Return the edits of a cell's way back that change several statements."""
    program = program_of(cell)
    return () if program is None else _sorted(grouped_backward_edits(program))


@cache
def ahead_in_groups(cell: str) -> tuple[Edit, ...]:
    """Return the edits of a cell's step that change several statements."""
    program = program_of(cell)
    return () if program is None else _sorted(grouped_forward_edits(program))


def _sorted(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    return tuple(sorted(edits, key=lambda e: (e.rank, len(e.changed))))


def relations(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield the edits that compute what small runs of a layer measured, until some fit."""
    for count, found in enumerate(candidates(explainer.subject, explainer.dtype)):
        yield found
        if (search.fits and count >= MOST) or explainer.deadline.passed:
            return


def candidates(subject: Subject, dtype: str) -> Iterator[Hypothesis]:
    """Yield the edits that compute what small runs of a layer measured."""
    program, seen = program_of(subject.cells[0]), measurements(subject, dtype)
    if program is None or not seen:
        return
    if any(m.wrong_outputs for m in seen):
        yield from _ahead(program, seen)
    elif any(m.wrong_gradients for m in seen):
        yield from _back(program, seen)


def _back(program: Program, seen: Sequence[Measurement]) -> Iterator[Hypothesis]:
    fits = list(fitting(program, seen))
    for edit in fits[:MOST]:
        yield hypothesis(program, edit, way_back(edit), "gradient")


def fitting(program: Program, seen: Sequence[Measurement]) -> Iterator[Edit]:
    """Yield the edits of a way back that compute all gradients that were measured.

    Edits of several statements are tried only where none of a single one does.
    """
    off = frozenset().union(*(m.wrong_gradients for m in seen))
    reached = reach(program)

    def fits(edits: Iterable[Edit]) -> list[Edit]:
        return [
            e for e in edits
            if not e.targets or off <= frozenset().union(*(reached[t] for t in e.targets))
            if explains(e, program, seen)
        ]  # fmt: skip

    statements = {t for t, names in reached.items() if off <= names}
    one = fits(backward_edits(program, statements)) or fits(back_in_groups(program.cell))
    yield from _sorted(one)


def explains(edit: Edit, program: Program, seen: Sequence[Measurement]) -> bool:
    """Whether an edited way back gives all gradients that were measured, in every run."""
    step = all(place[0] == "back" for place, _ in edit.changed) and edit.changed
    if step and not explains_one_step(edit, program, seen[0]):
        return False
    edited = edit.of(program)
    return all(explained(m, m.right, edited) for m in seen)


def explains_one_step(edit: Edit, program: Program, m: Measurement) -> bool:
    """Whether an edit of the step back explains a run of one step: what it does not touch is right.

    Nothing is computed beyond the first number that is off.
    """
    here, states = Values(m.values_back, m.right, 0, None, m.dy), m.cell.states
    here.update({f"d{s}_next": d for s, d in zip(states, m.dfinal, strict=True)})
    new = {place[1]: s for place, s in edit.changed}
    results = {"dx": "dx"} | {f"d{s}_old": f"d0_{s}" for s in states}
    touched: set[str] = set()
    for k, right in enumerate(program.back):
        statement = new.get(k, right)
        if k not in new and touched.isdisjoint(statement.names):
            continue
        try:
            with np.errstate(all="ignore"):
                value = eval(statement.code, {}, here)  # noqa: S307
        except RAISED:
            return False
        name = statement.target if statement.slot else results.get(statement.target, "")
        if name in m.gradients and not m.same(name, value[None] if name == "dx" else value):
            return False
        here[statement.target] = value
        touched |= {statement.target, name}
    return m.wrong_gradients <= touched


RAISED = (ValueError, NameError, IndexError, TypeError)
"""What edits raise that combine arrays of different shapes, or read what is not there yet."""


def explained(m: Measurement, run: Run, program: Program) -> bool:
    """Whether a program's way back gives all gradients that were measured."""
    found = pulled(m, run, program)
    return found is not None and m.agrees(found)


def pulled(m: Measurement, run: Run, program: Program) -> Mapping[str, Array] | None:
    """Return the gradients of a program, None if it raises."""
    try:
        with np.errstate(all="ignore"):
            return run.pull(m.dy, m.dfinal, program)
    except RAISED:
        return None


def reach(program: Program) -> dict[str, frozenset[str]]:
    """Return which gradients each name of the way back has a part in."""
    statements = [*program.start, *program.back, *program.end]
    carry = {f"{s.target[:-5]}_old": s.target for s in program.start}  # dh_old to dh_next
    users: dict[str, set[str]] = {s.target: set() for s in statements}
    for s in statements:
        for n in s.names & users.keys():
            users[n].add(s.target)
    for old, new in carry.items():
        users[old].add(new)
    ends = {s.target for s in program.end} | {s.target for s in program.back if s.slot} | {"dx"}
    found = {n: {n} & ends for n in users}
    for _ in users:
        for n, read in users.items():
            found[n] |= set().union(*(found[m] for m in read))
    return {n: frozenset(r) for n, r in found.items()}


def hypothesis(program: Program, edit: Edit, change: Change, check: str) -> Hypothesis:
    """Return the explanation that an edit is."""
    is_so, _ = edit.formulas(program)
    id = f"formula {is_so}" if is_so else f"loop: {said(edit.words)}"
    return Hypothesis((id,), (edit.statement(program),), (change,), (edit.fix(program),), (check,))


def _ahead(program: Program, seen: Sequence[Measurement]) -> Iterator[Hypothesis]:
    count = 0
    for edit in (*_sorted(forward_edits(program)), *ahead_in_groups(program.cell)):
        edited = edit.of(program)
        if all(_computes(m, edited) for m in seen):
            for change in (
                differentiated_step(edit),
                step(edit, apart=False),
                step(edit, apart=True),
            ):
                yield hypothesis(program, edit, change, "forward")
            count += 1
            if count >= MOST:
                return


def _computes(m: Measurement, program: Program) -> bool:
    """Whether a program's step gives all outputs that were measured."""
    try:
        with np.errstate(all="ignore"):
            run = m.run(program)
    except RAISED:
        return False
    return not m.differing(outputs_of(run, m.cell), m.outputs)
