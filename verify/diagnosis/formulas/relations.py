"""The edits that compute the measured numbers: one alone, or two together."""

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
from .pairs import Trial, in_other_orders, reordered, two_edits
from .phrases import sentence
from .program import Program, program_of, right_program
from .replacement import edit_backward_pass, edit_differentiated_step, edit_step

MOST = 3
"""The most edits that become hypotheses, of those that compute the measured numbers."""


@cache
def backward_groups(cell: str) -> tuple[Edit, ...]:
    """Return the edits of a cell's backward pass that change several statements."""
    return _sorted(grouped_backward_edits(right_program(cell)))


@cache
def step_edits(cell: str) -> tuple[Edit, ...]:
    """Return the edits of a cell's step: those of single statements, then those of several."""
    program = right_program(cell)
    return (*_sorted(forward_edits(program)), *_sorted(grouped_forward_edits(program)))


def _sorted(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    return tuple(sorted(edits, key=lambda e: (e.rank, len(e.changed))))


def backward_passes(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the backward pass, if outputs are right, until some fit."""
    if not explainer.outputs_deviate:
        yield from _bounded(explainer, search)


def steps(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the step, if outputs are wrong, until some fit."""
    if explainer.outputs_deviate:
        yield from _bounded(explainer, search)


def _bounded(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    deadline, count = explainer.deadline, 0
    edits = _candidates(explainer.subject, explainer.dtype, lambda: deadline.passed)
    for hypothesis in explainer.once("edits", edits):
        if hypothesis is None:
            if search.fits:
                return
            continue
        yield hypothesis
        enough = count >= MOST or len(hypothesis.ids) > 1
        if (search.fits and enough) or deadline.passed:
            return
        count += 1


def candidates(
    subject: Subject, dtype: str, late: Callable[[], bool] = lambda: False
) -> Iterator[Hypothesis]:
    """Yield the edits that compute the results of a layer's small runs.

    If these are right, the runs have a projection, then large weights.
    """
    return filter(None, _candidates(subject, dtype, late))


def _candidates(
    subject: Subject, dtype: str, late: Callable[[], bool]
) -> Iterator[Hypothesis | None]:
    for P, scale in ((0, "unit"), (3 * subject.options.projection, "unit"), (0, "large")):
        runs = measurements(subject, dtype, P, scale)
        if any(m.wrong_outputs | m.wrong_gradients for m in runs):
            break
    yield from _computing(runs, late)


def computing(
    runs: Sequence[Measurement],
    late: Callable[[], bool] = lambda: False,
    *,
    together: bool = True,
    orders: bool = True,
) -> Iterator[Hypothesis]:
    """Yield the edits that compute the measured results of a layer, also two ``together``.

    With ``orders``, also one edit of a step that reads the gates in another order.
    """
    return filter(None, _computing(runs, late, together=together, orders=orders))


def _computing(
    runs: Sequence[Measurement],
    late: Callable[[], bool],
    *,
    together: bool = True,
    orders: bool = True,
) -> Iterator[Hypothesis | None]:
    """Yield the same, and None before edits that say more than those before them.

    If one of those fits, an edit that consists of it and another is no explanation.
    """
    program = program_of(runs[0].cell_name) if runs else None
    if program is None:
        return
    if any(m.wrong_outputs for m in runs):
        yield from _forward_hypotheses(program, runs, late, together=together, orders=orders)
    elif any(m.wrong_gradients for m in runs):
        yield from _backward_hypotheses(program, runs, late, together=together)


def _backward_hypotheses(
    program: Program,
    runs: Sequence[Measurement],
    late: Callable[[], bool],
    *,
    together: bool = True,
) -> Iterator[Hypothesis]:
    alone = _distinct(program, fitting(program, runs))
    for edit in alone[:MOST]:
        yield _backward_hypothesis(program, edit)
    if together and not alone:
        for first, second in two_together(program, runs, late):
            yield _backward_hypothesis(program, first) + _backward_hypothesis(program, second)


def _distinct(program: Program, edits: Iterable[Edit]) -> list[Edit]:
    """Return edits without those with the same formula as a simpler one."""
    first: dict[object, Edit] = {}
    for edit in edits:
        first.setdefault(edit.formulas(program)[0] or edit.words, edit)
    return list(first.values())


def _backward_hypothesis(program: Program, edit: Edit) -> Hypothesis:
    return hypothesis(program, edit, partial(edit_backward_pass, edit), "gradient")


def fitting(program: Program, runs: Sequence[Measurement]) -> Iterator[Edit]:
    """Yield the edits of a backward pass that compute all measured gradients.

    Edits of several statements are tried only if none of a single statement does. The program may
    be an edited one.
    """
    step = OneStep(program, runs[0])
    off = frozenset().union(*(m.differing(pulled(m, program) or {}, m.gradients) for m in runs))
    reached = reach(program)

    def fits(edits: Iterable[Edit]) -> list[Edit]:
        return [
            e for e in edits
            if not e.targets or off <= frozenset().union(*(reached[t] for t in e.targets))
            if explains(e, step, runs)
        ]  # fmt: skip

    statements = {t for t, names in reached.items() if off <= names}
    single = fits(backward_edits(program, statements))
    yield from _sorted(single or fits(backward_groups(program.cell)))


def explains(edit: Edit, step: OneStep, runs: Sequence[Measurement]) -> bool:
    """Whether an edited backward pass computes all measured gradients in every run."""
    if step.is_applicable and _changes_one_step(edit) and not step.is_explained_by(edit):
        return False
    edited = edit.applied_to(step.program)
    return all(explained(m, edited) for m in runs)


def _changes_one_step(edit: Edit) -> bool:
    return bool(edit.changed) and all(place[0] == "back" for place, _ in edit.changed)


def two_together(
    program: Program, runs: Sequence[Measurement], late: Callable[[], bool]
) -> Iterator[tuple[Edit, Edit]]:
    """Yield two edits that compute the measured gradients; the first alone explains a part.

    That is, it leaves a proper subset of the wrong gradients wrong, and no other ones.
    """
    for first in _parts(program, runs):
        if late():
            return
        changed = {place for place, _ in first.changed}
        for second in fitting(first.applied_to(program), runs):
            if changed.isdisjoint(place for place, _ in second.changed):
                yield first, second
                break


def _parts(program: Program, runs: Sequence[Measurement]) -> list[Edit]:
    """Return edits that explain a part, those that explain most first, a few of each effect."""
    first = next(m for m in runs if m.wrong_gradients)
    step, all_wrong = OneStep(program, runs[0]), first.wrong_gradients
    effects: dict[frozenset[str], list[Edit]] = {}
    targets = {s.target for s in (*program.start, *program.back, *program.end)}
    for edit in backward_edits(program, targets):
        if first is runs[0] and step.is_applicable and _changes_one_step(edit):
            unexplained = step.still_wrong(edit)
        else:
            gradients = pulled(first, edit.applied_to(program))
            unexplained = None if gradients is None else first.differing(gradients, first.gradients)
        if unexplained is not None and unexplained < all_wrong:
            effects.setdefault(unexplained, []).append(edit)
    ranked = sorted(effects, key=len)
    return [e for unexplained in ranked for e in _sorted(effects[unexplained])[:ALIKE]][:PARTS]


ALIKE, PARTS = 2, 6
"""The most first edits of pairs: with the same effect, and in all."""


def explained(m: Measurement, program: Program) -> bool:
    """Whether a program's backward pass computes all measured gradients."""
    gradients = pulled(m, program)
    return gradients is not None and m.agrees(gradients)


def pulled(m: Measurement, program: Program) -> Mapping[str, Floats] | None:
    """Return the gradients of a program, None if it raises."""
    try:
        with np.errstate(all="ignore"):
            return m.right.pull(m.dy, m.dfinal, program)
    except RAISED:
        return None


def reach(program: Program) -> dict[str, frozenset[str]]:
    """Return the gradients that each name of the backward pass influences."""
    statements = [*program.start, *program.back, *program.end]
    carry = {f"{s.target[:-5]}_old": s.target for s in program.start}  # dh_old to dh_next
    users: dict[str, set[str]] = {s.target: set() for s in statements}
    for s in statements:
        for n in s.names & users.keys():
            users[n].add(s.target)
    for old, new in carry.items():
        users[old].add(new)
    ends = {s.target for s in program.end} | {s.target for s in program.back if s.slot} | {"dx"}
    reached = {n: {n} & ends for n in users}
    for _ in users:
        for n, read in users.items():
            reached[n] |= set().union(*(reached[m] for m in read))
    return {n: frozenset(r) for n, r in reached.items()}


def hypothesis(program: Program, edit: Edit, change: Change, check: str) -> Hypothesis:
    """Return an edit as a hypothesis."""
    is_so, _ = edit.formulas(program)
    id = f"formula {is_so}" if is_so else f"loop: {sentence(edit.words)}"
    edited = partial(_in_a_projection, change) if program.cell == "lstm-projected" else change
    return Hypothesis((id,), (edit.statement(program),), (edited,), (edit.fix(program),), (check,))


def _in_a_projection(change: Change, layer: ReplaceableLayer) -> None:
    """Change a layer with a projection alone: one without it has other statements."""
    if layer.cell.name == "lstm-projected":
        change(layer)


def _forward_hypotheses(
    program: Program,
    runs: Sequence[Measurement],
    late: Callable[[], bool],
    *,
    together: bool,
    orders: bool,
) -> Iterator[Hypothesis | None]:
    """Yield edits of the step: one, two together, or one with another order of the gates."""
    step = Trial(runs[0], program)
    fits = (
        edit for edit in step_edits(program.cell)
        if step.may_compute(edit) and all(_computes(m, edit.applied_to(program)) for m in runs)
    )  # fmt: skip
    alone = [(edit,) for edit in _distinct(program, fits)[:PAIRS]]
    yield from _with_backward_passes(program, runs, alone, late)
    if alone or not together:
        return
    first = runs[0].at_once
    for order, edit in in_other_orders(program, first, late) if orders else ():
        reordered_runs = [reordered(m, order) for m in runs]
        if all(_computes(m, edit.applied_to(program)) for m in reordered_runs):
            base = order_of_gates(program.cell, order)
            hypotheses = _with_backward_passes(program, reordered_runs, [(edit,)], late)
            yield from (hypothesis and base + hypothesis for hypothesis in hypotheses)
    both = [
        pair for pair in two_edits(program, first, late)
        if all(_computes(m, _edited(program, pair)) for m in runs)
    ]  # fmt: skip
    both.sort(key=lambda pair: sum(e.rank + len(e.changed) for e in pair))
    yield from _with_backward_passes(program, runs, both[:PAIRS], late)


PAIRS = 8
"""The most edits of the step, and pairs of them, whose gradients are compared."""


def _edited(program: Program, edits: Sequence[Edit]) -> Program:
    for edit in edits:
        program = edit.applied_to(program)
    return program


def _with_backward_passes(
    program: Program,
    runs: Sequence[Measurement],
    alone: Sequence[Sequence[Edit]],
    late: Callable[[], bool],
) -> Iterator[Hypothesis | None]:
    """Yield edits of the step, differentiated, or with right or wrong backward formulas.

    A backward pass written by hand may read the values of its own step, or of the right one.
    """
    for edits in alone:
        yield _combined(program, edits, edit_differentiated_step)
        for right_values in (False, True):
            yield _combined(program, edits, partial(edit_step, right_values=right_values))
    if alone:
        yield None
    for edits in alone[:MOST]:
        for right_values in (False, True):
            edited = _edited(program, edits)
            after = runs if right_values else [replace(m, forward_program=edited) for m in runs]
            if not any(m.wrong_gradients for m in after):
                continue  # no gradient is wrong beside the step
            forward = _combined(program, edits, partial(edit_step, right_values=right_values))
            for back in _backward_hypotheses(program, after, late):
                yield forward + back


def _combined(
    program: Program, edits: Sequence[Edit], change: Callable[[Edit, ReplaceableLayer], None]
) -> Hypothesis:
    parts = [hypothesis(program, edit, partial(change, edit), "forward") for edit in edits]
    return sum(parts[1:], parts[0])


def _computes(m: Measurement, program: Program) -> bool:
    """Whether a program's step computes all measured outputs."""
    try:
        with np.errstate(all="ignore"):
            if len(m.x) > 1 and not m.begins_with(program):
                return False
            run = m.run(program)
    except RAISED:
        return False
    return not m.differing(outputs_of(run, m.cell), m.outputs)
