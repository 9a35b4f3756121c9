"""Mistakes from some step on, at one step, or at every k-th step alone.

The first number of steps that is wrong tells which steps they can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...mutants.parts import pulls, some
from ...mutants.replaceable_layer import (
    At,
    CarryPart,
    ReplaceableLayer,
    StepPart,
    UnrollPart,
)
from ...numbers.ledger import Mismatch
from ...numbers.tape import instead, plain
from ...subjects.called import NotOffered, SubjectCrashed
from ...subjects.protocol import Subject
from ..formulas.measurement import measured, small_case
from ..formulas.relations import computing
from ..hypotheses import Hypothesis
from ..location import first_wrong_size, threshold
from ..misplaced.moves import state_groups
from ..observation import VALUES
from ..search import Explainer, Search
from .scope import AtPredicate, Scope, in_passes
from .sections import Section, sections_measured

LONGEST = 70
"""The most steps among which the first wrong number is looked for."""

MOST = 12
"""The most edits of a formula that are tried at some steps alone."""

FIX = "treat all steps alike"


@dataclass(frozen=True)
class Steps:
    """Some steps, by what they have in common."""

    words: str
    selected: AtPredicate

    @property
    def scope(self) -> Scope:
        """All calls: short ones are right because they do not get there."""
        return Scope(self.words, lambda case, inputs: True)


def _steps(first: int) -> Iterator[Steps]:
    """Yield the groups of steps of which ``first`` is the earliest; the first step is step 0."""
    if first == 1:
        yield Steps("At every step but the first", lambda at: at.t > 0)
    else:
        yield Steps(
            f"At every {first}{_ordinal(first)} step (steps {first}, {2 * first}, ...)",
            lambda at: at.t > 0 and at.t % first == 0,
        )
        yield Steps(f"From step {first} on", lambda at: at.t >= first)
    yield Steps(f"At step {first} alone", lambda at: at.t == first)
    yield from _tail(first)
    chunk = first + 1
    yield Steps(
        f"At the last step of every {chunk} (steps {first}, {first + chunk}, ...)",
        lambda at: at.t % chunk == first,
    )


def _tail(chunk: int) -> Iterator[Steps]:
    """Yield the steps that a loop over whole chunks leaves over, in sequences that have both."""
    if chunk > 1:
        yield Steps(
            f"At the steps after the last whole chunk of {chunk} (the last T mod {chunk})",
            lambda at: at.steps > chunk and at.t >= at.steps - at.steps % chunk,
        )


def _ordinal(number: int) -> str:
    teen = number % 100 in (11, 12, 13)
    return "th" if teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def at_some_steps(
    explainer: Explainer,
    search: Search,
    candidates: Callable[[], Iterable[Hypothesis]],
    *,
    at_least: int,
) -> Iterator[Hypothesis]:
    """Yield states and gradients that are lost at some steps, and mistakes made there alone.

    Sequences of fewer than ``at_least`` steps have to be right.
    """
    subject, dtype = explainer.subject, explainer.dtype
    outputs = explainer.outputs_deviate
    if not (outputs or subject.options.gradient):
        return
    state = subject.options.state and (outputs or not subject.options.default_state)
    case = replace(small_case(subject, dtype, 1), state=state)
    size = (
        first_wrong_size(subject, case, VALUES, LONGEST) if outputs
        else threshold(partial(_wrong_from_outputs, subject, case), LONGEST)
    )  # fmt: skip
    if size is None or size < at_least:
        return
    family = subject.cells[0].partition("-")[0]
    if not outputs:
        for final, first in product((False, True), (size - 1, size - 2)):
            for steps in _steps(first) if first > 0 else _from_the_first():
                yield from _scoped(steps, _cuts(family, final=final))
        return
    for steps in _steps(size - 1):
        yield from _scoped(steps, _losses(family))
        yield from _stale(steps, family)
    for steps in _tail(size - 1):
        yield from _scoped(steps, _left_out())
    yield from _windows(size - 1)
    edits = _edited(explainer, case, size - 1)
    for steps in _steps(size - 1):
        yield from _scoped(steps, (*edits, *filter(_of_a_step, candidates())))


def _wrong_from_outputs(subject: Subject, case: Case, steps: int) -> bool:
    """Whether gradients of the outputs alone are wrong, without those of the final states."""
    try:
        m = measured(
            subject, replace(case, T=steps), lambda dy, ends: (dy, tuple(0 * d for d in ends))
        )
    except (SubjectCrashed, NotOffered, Mismatch, ValueError):
        return False
    return bool(m.wrong_gradients)


def _from_the_first() -> Iterator[Steps]:
    yield Steps("At every other step (steps 0, 2, ...)", lambda at: at.t % 2 == 0)
    yield Steps("At the first step alone", lambda at: at.t == 0)


def _scoped(steps: Steps, hypotheses: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
    return (in_passes(steps.scope, steps.selected, h) for h in hypotheses)


def _edited(explainer: Explainer, case: Case, first: int) -> list[Hypothesis]:
    """Return the edits of the step that compute the first wrong step."""
    cases = (replace(case, T=first + 1, seed=seed) for seed in (1, 2))
    runs = sections_measured(explainer.subject, [Section(c, first=first) for c in cases])
    edits = computing(runs, lambda: explainer.deadline.passed, together=False)
    return [*islice(edits, MOST)]


def _of_a_step(hypothesis: Hypothesis) -> bool:
    return bool(hypothesis.changes) and not (
        hypothesis.sources or hypothesis.returns or hypothesis.factors or hypothesis.reading
        or hypothesis.ignored or hypothesis.needs
    )  # fmt: skip


def _named_states(family: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for words, which in state_groups(family).items():
        yield words.replace("states", "hidden and cell state"), which


def _windows(size: int) -> Iterator[Hypothesis]:
    """Yield that a step is reached by the last steps alone, as where a scan stops too early."""
    fixed: dict[str, Callable[[int], int]] = {f"the last {size} steps": lambda T: size}
    if size & (size - 1) == 0:
        fixed["the last half of the steps, rounded up to a power of 2,"] = lambda T: (
            1 << max((T - 1).bit_length() - 1, 0)
        )
    for words, width in fixed.items():
        yield Hypothesis(
            (f"window: {words}",),
            (f"Only {words} reach a step; what came before is as if it were 0.",),
            (partial(_reach, width),),
            ("combine until every step is reached: a scan takes ceil(log2 T) rounds",),
            ("forward", "carry"),
        )  # fmt: skip


def _reach(width: Callable[[int], int], layer: ReplaceableLayer) -> None:
    def unroll(right: UnrollPart, at: At, p: Parameters, x: Array) -> tuple[Array, State]:
        T, B = x.shape[:2]
        size = width(T)
        if at.lengths is not None or T <= size or not size:
            return right(at, p, x)
        y, _ = right(at, p, x[:size])
        count = T - size
        columns = [x[k : k + size] for k in range(1, count + 1)]
        zeros = tuple(np.zeros((count * B, s.shape[1]), plain(s).dtype) for s in at.start)
        late, ends = right(at._replace(start=zeros), p, np.concatenate(columns, axis=1))
        last = [late[size - 1][k * B : (k + 1) * B] for k in range(count)]
        final = tuple(s[(count - 1) * B :] for s in ends)
        return np.concatenate([y, np.stack(last)]), final

    layer.wrap("unroll", unroll)


Lost = Callable[[At, Array, int], Array]
"""From a state that a step reads, and its number, to what is read instead."""

LOSSES: dict[str, tuple[Lost, str]] = {
    "starts again from zeros": (
        lambda at, s, k: 0 * s, "hand the state on from each step, and each chunk, to the next"),
    "starts again from the initial state of the call": (
        lambda at, s, k: at.start[k], "hand the state on from each step to the next"),
}  # fmt: skip
"""What may become of a state between two steps."""


def _losses(family: str) -> Iterator[Hypothesis]:
    """Yield states that are lost before a step, or that a step leaves as they were."""
    for (words, which), (so, (lost, fix)) in product(_named_states(family), LOSSES.items()):
        yield Hypothesis(
            (f"{words} {so}",), (f"The {words} {so}.",), (partial(_lose, which, lost),), (fix,),
            ("forward", "carry"),
        )  # fmt: skip
    for words, which in _named_states(family):
        yield Hypothesis(
            (f"{words} not updated",), (f"The {words} is not updated: the next step reads the old "
                                        "one.",),
            (partial(_keep, which),), (FIX,), ("forward", "carry"),
        )  # fmt: skip


def _stale(steps: Steps, family: str) -> Iterator[Hypothesis]:
    """Yield states that skip a step: a step reads what the one before it read."""
    for words, which in _named_states(family):
        hypothesis = Hypothesis(
            (f"{words} of two steps before",),
            (f"The {words} that is read is the one before the last step, not the one after it.",),
            (), ("hand the state on from each step to the next",), ("forward", "carry"),
        )  # fmt: skip
        yield steps.scope.stated(hypothesis, partial(_read_again, which, steps.selected))


def _read_again(which: tuple[int, ...], selected: AtPredicate, layer: ReplaceableLayer) -> None:
    before: dict[tuple[int, int], State] = {}

    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        last = before.get((at.level, at.direction), state)
        if at.t > 0 and selected(at):
            state = tuple(last[k] if k in which else s for k, s in enumerate(state))
        before[at.level, at.direction] = state
        return right(at, p, x, state)

    layer.wrap("step", step)


def _left_out() -> Iterator[Hypothesis]:
    """Yield parts of a step that are left out: its outputs, all of it, or what it takes of x."""
    fix = "treat the last steps, of an incomplete chunk, like all others"
    for name, statement, changes in (
        ("outputs are 0", "The outputs are 0, and the states go on.", (_shown_as_0,)),
        ("step left out", "The step is left out: its outputs are 0, and the states stay.",
         (_shown_as_0, partial(_keep, (0, 1)))),
    ):  # fmt: skip
        yield Hypothesis((name,), (statement,), changes, (fix,), ("forward", "carry"))
    for words, roles in (("", "W"), (", and so are the biases", "Wb")):
        yield Hypothesis(
            (f"x{words} not read",),
            (f"What the step takes of x is left out{words}.",),
            (partial(_without, roles),), (fix,), ("forward", "carry"),
        )  # fmt: skip


def _shown_as_0(layer: ReplaceableLayer) -> None:
    layer.wrap("show", lambda right, at, new, old: 0 * right(at, new, old))


def _without(roles: str, layer: ReplaceableLayer) -> None:
    """Let steps read 0 for the arrays of some roles."""

    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        arrays = {n: 0 * a if n[0] in roles else a for n, a in p.items()}
        return right(at, Parameters(p.shapes, arrays), x, state)

    layer.wrap("step", step)


def _lose(which: tuple[int, ...], lost: Lost, layer: ReplaceableLayer) -> None:
    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        read = tuple(lost(at, s, k) if k in which else s for k, s in enumerate(state))
        return right(at, p, x, read)

    layer.wrap("step", step)


def _keep(which: tuple[int, ...], layer: ReplaceableLayer) -> None:
    def carry(right: CarryPart, at: At, new: State, old: State) -> State:
        kept = tuple(o if k in which else n for k, (n, o) in enumerate(zip(new, old, strict=True)))
        return right(at, kept, old)

    layer.wrap("carry", carry)


def _cuts(family: str, *, final: bool) -> Iterator[Hypothesis]:
    """Yield states that are detached before or after a step, with its output or without."""
    end = ", and the final one is detached, too" if final else ""
    for (words, which), (when, cut) in product(_named_states(family), CUTS.items()):
        cuts = (partial(cut, which), partial(_cut_final, which))
        yield Hypothesis(
            (f"{words} detached {when}{end}",),
            (f"The {words} is detached {when}, so that no gradient passes{end}.",),
            cuts if final else cuts[:1],
            ("let the gradient through: look for a detach, a stop_gradient, .data or .item()",),
            ("gradient", "gradient-window"),
        )  # fmt: skip


def _cut_final(which: tuple[int, ...], layer: ReplaceableLayer) -> None:
    pulls(layer, lambda pair: (pair[0], some(pair[1], which, lambda d: 0 * d)))


def _cut_on_reading(which: tuple[int, ...], layer: ReplaceableLayer) -> None:
    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        return right(at, p, x, some(state, which, _detached))

    layer.wrap("step", step)


def _cut_after_output(which: tuple[int, ...], layer: ReplaceableLayer) -> None:
    def carry(right: CarryPart, at: At, new: State, old: State) -> State:
        return right(at, some(new, which, _detached), old)

    layer.wrap("carry", carry)


def _cut_before_output(which: tuple[int, ...], layer: ReplaceableLayer) -> None:
    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        return some(right(at, p, x, state), which, _detached)

    layer.wrap("step", step)


CUTS = {
    "before the step reads it": _cut_on_reading,
    "after the output is taken": _cut_after_output,
    "before the output is taken": _cut_before_output,
}
"""Where a state may be detached in a step."""


def _detached(state: Array) -> Array:
    """Return a state without its gradient, and without its tangent in a complex step."""
    value = plain(state)
    return instead(state, value.real.astype(value.dtype), lambda d: 0 * d)
