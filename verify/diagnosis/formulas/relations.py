"""The edits that compute what was measured: one alone, or two together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import numpy as np

from ....reference.arrays import Floats
from ...mutants import Change
from ...mutants.replaceable_layer import ReplaceableLayer
from ...subjects.protocol import Subject
from ..hypotheses import Hypothesis, order_of_gates
from ..search import Explainer, Search
from .edits import Edit, forward_edits
from .groups import backward_edits, grouped_backward_edits, grouped_forward_edits
from .measurement import Measurement, measurements, outputs_of
from .one_step import RAISED, OneStep
from .pairs import in_other_orders, reordered, two_edits
from .phrases import said
from .program import Program, program_of
from .replacement import differentiated_step, step, way_back

MOST = 3
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


def ways_back(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the way back, where outputs are right, until some fit."""
    if not explainer.outputs_deviate:
        yield from _until(explainer, search)


def steps(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the step, where outputs are wrong, until some fit."""
    if explainer.outputs_deviate:
        yield from _until(explainer, search)


def _until(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    deadline = explainer.deadline
    found = candidates(explainer.subject, explainer.dtype, lambda: deadline.passed)
    for count, one in enumerate(found):
        yield one
        enough = count >= MOST or len(one.ids) > 1
        if (search.fits and enough) or deadline.passed:
            return


def candidates(
    subject: Subject, dtype: str, late: Callable[[], bool] = lambda: False
) -> Iterator[Hypothesis]:
    """Yield the edits that compute what small runs of a layer measured, with a projection last."""
    seen = measurements(subject, dtype)
    if subject.options.projection and not any(m.wrong_outputs | m.wrong_gradients for m in seen):
        seen = measurements(subject, dtype, P=3)
    yield from computing(seen, late)


def computing(
    seen: Sequence[Measurement], late: Callable[[], bool] = lambda: False
) -> Iterator[Hypothesis]:
    """Yield the edits that compute what runs of a layer measured."""
    program = program_of(seen[0].cell_name) if seen else None
    if program is None:
        return
    if any(m.wrong_outputs for m in seen):
        yield from _ahead(program, seen, late)
    elif any(m.wrong_gradients for m in seen):
        yield from _back(program, seen, late)


def _back(
    program: Program, seen: Sequence[Measurement], late: Callable[[], bool]
) -> Iterator[Hypothesis]:
    alone = _distinct(program, fitting(program, seen))
    for edit in alone[:MOST]:
        yield _of_the_way_back(program, edit)
    if not alone:
        for one, other in two_together(program, seen, late):
            yield _of_the_way_back(program, one) + _of_the_way_back(program, other)


def _distinct(program: Program, edits: Iterable[Edit]) -> list[Edit]:
    """Return edits without those that write what a simpler one wrote."""
    first: dict[object, Edit] = {}
    for edit in edits:
        first.setdefault(edit.formulas(program)[0] or edit.words, edit)
    return list(first.values())


def _of_the_way_back(program: Program, edit: Edit) -> Hypothesis:
    return hypothesis(program, edit, way_back(edit), "gradient")


def fitting(program: Program, seen: Sequence[Measurement]) -> Iterator[Edit]:
    """Yield the edits of a way back that compute all gradients that were measured.

    Edits of several statements are tried only where none of a single one does. The program may
    have been edited before.
    """
    step = OneStep(program, seen[0])
    off = frozenset().union(*(_wrong(m, program) for m in seen))
    reached = reach(program)

    def fits(edits: Iterable[Edit]) -> list[Edit]:
        return [
            e for e in edits
            if not e.targets or off <= frozenset().union(*(reached[t] for t in e.targets))
            if explains(e, step, seen)
        ]  # fmt: skip

    statements = {t for t, names in reached.items() if off <= names}
    one = fits(backward_edits(program, statements))
    yield from _sorted(one or fits(back_in_groups(program.cell)))


def _wrong(m: Measurement, program: Program) -> frozenset[str]:
    return m.differing(pulled(m, program) or {}, m.gradients)


def explains(edit: Edit, step: OneStep, seen: Sequence[Measurement]) -> bool:
    """Whether an edited way back gives all gradients that were measured, in every run."""
    if step.can_be_apart and _of_the_step(edit) and not step.explained(edit):
        return False
    edited = edit.of(step.program)
    return all(explained(m, edited) for m in seen)


def _of_the_step(edit: Edit) -> bool:
    return bool(edit.changed) and all(place[0] == "back" for place, _ in edit.changed)


def two_together(
    program: Program, seen: Sequence[Measurement], late: Callable[[], bool]
) -> Iterator[tuple[Edit, Edit]]:
    """Yield two edits that compute what was measured: the first alone explains a part of it.

    It leaves fewer gradients wrong than there are, and no other ones.
    """
    for one in _parts(program, seen):
        if late():
            return
        changed = {place for place, _ in one.changed}
        for other in fitting(one.of(program), seen):
            if changed.isdisjoint(place for place, _ in other.changed):
                yield one, other
                break


def _parts(program: Program, seen: Sequence[Measurement]) -> list[Edit]:
    """Return edits that explain a part, those that explain the most first, one of each effect."""
    first = next(m for m in seen if m.wrong_gradients)
    step, all_wrong = OneStep(program, seen[0]), first.wrong_gradients
    effects: dict[frozenset[str], list[Edit]] = {}
    targets = {s.target for s in (*program.start, *program.back, *program.end)}
    for edit in backward_edits(program, targets):
        if first is seen[0] and step.can_be_apart and _of_the_step(edit):
            left = step.unexplained(edit)
        else:
            found = pulled(first, edit.of(program))
            left = None if found is None else first.differing(found, first.gradients)
        if left is not None and left < all_wrong:
            effects.setdefault(left, []).append(edit)
    ranked = sorted(effects, key=len)
    return [e for left in ranked for e in _sorted(effects[left])[:ALIKE]][:PARTS]


ALIKE, PARTS = 2, 6
"""First edits of two that are tried: of those with one effect, and of all."""


def explained(m: Measurement, program: Program) -> bool:
    """Whether a program's way back gives all gradients that were measured."""
    found = pulled(m, program)
    return found is not None and m.agrees(found)


def pulled(m: Measurement, program: Program) -> Mapping[str, Floats] | None:
    """Return the gradients of a program, None if it raises."""
    try:
        with np.errstate(all="ignore"):
            return m.right.pull(m.dy, m.dfinal, program)
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
    there = partial(_in_a_projection, change) if program.cell == "lstm-projected" else change
    return Hypothesis((id,), (edit.statement(program),), (there,), (edit.fix(program),), (check,))


def _in_a_projection(change: Change, layer: ReplaceableLayer) -> None:
    """Change a layer with a projection alone: one without it has other statements."""
    if layer.cell.name == "lstm-projected":
        change(layer)


def _ahead(
    program: Program, seen: Sequence[Measurement], late: Callable[[], bool]
) -> Iterator[Hypothesis]:
    """Yield edits of the step: one, or two together, or one under another order of the gates."""
    edits = (*_sorted(forward_edits(program)), *ahead_in_groups(program.cell))
    fits = (edit for edit in edits if all(_computes(m, edit.of(program)) for m in seen))
    alone = [(edit,) for edit in _distinct(program, fits)[:PAIRS]]
    yield from _with_ways_back(program, seen, alone, late)
    if alone:
        return
    for order, edit in in_other_orders(program, seen[0], late):
        again = [reordered(m, order) for m in seen]
        if all(_computes(m, edit.of(program)) for m in again):
            base = order_of_gates(program.cell, order)
            found = _with_ways_back(program, again, [(edit,)], late)
            yield from (base + hypothesis for hypothesis in found)
    both = [
        pair for pair in two_edits(program, seen[0], late)
        if all(_computes(m, _edited(program, pair)) for m in seen)
    ]  # fmt: skip
    both.sort(key=lambda pair: sum(e.rank + len(e.changed) for e in pair))
    yield from _with_ways_back(program, seen, both[:PAIRS], late)


PAIRS = 8
"""Edits of the step, and pairs of these, that are handed on; the gradients tell them apart."""


def _edited(program: Program, edits: Sequence[Edit]) -> Program:
    for edit in edits:
        program = edit.of(program)
    return program


def _with_ways_back(
    program: Program,
    seen: Sequence[Measurement],
    alone: Sequence[Sequence[Edit]],
    late: Callable[[], bool],
) -> Iterator[Hypothesis]:
    """Yield edits of the step: differentiated, with right formulas for the way back, or wrong ones.

    A way back by hand runs on what its own step computed, or on what the right one does.
    """
    for edits in alone:
        for change in (differentiated_step, partial(step, apart=False), partial(step, apart=True)):
            yield _together(program, edits, change)
    for edits in alone[:MOST]:
        for apart in (False, True):
            edited = _edited(program, edits)
            after = seen if apart else [replace(m, ahead=edited) for m in seen]
            if not any(m.wrong_gradients for m in after):
                continue  # nothing is left to explain
            forward = _together(program, edits, partial(step, apart=apart))
            for back in _back(program, after, late):
                yield forward + back


def _together(
    program: Program, edits: Sequence[Edit], change: Callable[[Edit], Change]
) -> Hypothesis:
    parts = [hypothesis(program, edit, change(edit), "forward") for edit in edits]
    return sum(parts[1:], parts[0])


def _computes(m: Measurement, program: Program) -> bool:
    """Whether a program's step gives all outputs that were measured."""
    try:
        with np.errstate(all="ignore"):
            run = m.run(program)
    except RAISED:
        return False
    return not m.differing(outputs_of(run, m.cell), m.outputs)
