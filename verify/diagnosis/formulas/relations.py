"""The edits that compute what was measured: one alone, or two together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ....reference.functions import Array
from ...mutants import Change
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis
from .edits import Edit, backward_edits, forward_edits
from .measurement import Measurement, measurements, outputs_of
from .program import Program, Run, program_of
from .replacement import differentiated_step, step, way_back

MOST = 6
"""Edits that compute what was measured, beyond which no more are handed on."""


@cache
def edits_back(cell: str) -> tuple[Edit, ...]:
    """Return every single edit of a cell's way back, the simplest first."""
    program = program_of(cell)
    return () if program is None else _sorted(backward_edits(program))


@cache
def edits_ahead(cell: str) -> tuple[Edit, ...]:
    """Return every single edit of a cell's step, the simplest first."""
    program = program_of(cell)
    return () if program is None else _sorted(forward_edits(program))


def _sorted(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    return tuple(sorted(edits, key=lambda e: (e.rank, len(e.changed))))


def relations(subject: Subject, dtype: str) -> Iterator[Hypothesis]:
    """Yield the edits that compute what small runs of a layer measured."""
    seen = measurements(subject, dtype)
    program = program_of(seen[0].cell.name)
    if program is None:
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
    """Yield the edits of a way back that compute all gradients that were measured."""
    off = frozenset().union(*(m.wrong_gradients for m in seen))
    reached = reach(program)
    for edit in edits_back(program.cell):
        if edit.targets and not off <= frozenset().union(*(reached[t] for t in edit.targets)):
            continue
        edited = edit.of(program)
        if all(explained(m, m.right, edited) for m in seen):
            yield edit


def explained(m: Measurement, run: Run, program: Program) -> bool:
    """Whether a program's way back gives all gradients that were measured."""
    found = pulled(m, run, program)
    return found is not None and not m.differing(found, m.gradients)


def pulled(m: Measurement, run: Run, program: Program) -> Mapping[str, Array] | None:
    """Return the gradients of a program, None if it raises."""
    try:
        with np.errstate(all="ignore"):
            return run.pull(m.dy, m.dfinal, program)
    except (ValueError, NameError, IndexError, TypeError):
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
    id = f"formula {is_so}" if is_so else f"loop: {edit.words}"
    return Hypothesis(
        (id,), (edit.statement(program),), (change,), (edit.fix(program),), (check,)
    )


def _ahead(program: Program, seen: Sequence[Measurement]) -> Iterator[Hypothesis]:
    count = 0
    for edit in edits_ahead(program.cell):
        edited = edit.of(program)
        if all(_computes(m, edited) for m in seen):
            for change in (differentiated_step(edit), step(edit, apart=False), step(edit, apart=True)):
                yield hypothesis(program, edit, change, "forward")
            count += 1
            if count >= MOST:
                return


def _computes(m: Measurement, program: Program) -> bool:
    """Whether a program's step gives all outputs that were measured."""
    try:
        with np.errstate(all="ignore"):
            run = m.run(program)
    except (ValueError, NameError, TypeError):
        return False
    return not m.differing(outputs_of(run, m.cell), m.outputs)
