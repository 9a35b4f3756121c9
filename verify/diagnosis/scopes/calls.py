"""Mistakes under one condition of a call; often packed input takes a path of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from ...cases.case import Case
from ..formulas.measurement import small_case
from ..formulas.relations import computing
from ..hypotheses import Hypothesis
from ..location import first_wrong_size, wrong
from ..observation import VALUES
from ..search import Explainer, Search
from .scope import CallPredicate, Scope, in_calls
from .sections import Section, sections_measured

MOST = 12
"""The most edits of a formula that are tried under one condition."""


@dataclass(frozen=True)
class Condition:
    """An option of a call: words with it and without it, and what a case has with and without.

    ``needs`` is what a mistake concerns that has no effect without the option.
    """

    holds: CallPredicate
    words: tuple[str, str]
    options: tuple[dict[str, Any], dict[str, Any]]
    needs: str

    def scopes(self) -> Iterator[tuple[Scope, dict[str, Any]]]:
        """Yield the calls with the option, and those without, with the options of a case."""
        yield Scope(self.words[0], self.holds), self.options[0]
        yield Scope(self.words[1], lambda case, inputs: not self.holds(case, inputs)), (
            self.options[1]
        )  # fmt: skip


CONDITIONS = (
    Condition(
        lambda case, inputs: inputs.lengths is not None,
        ("Where lengths are given", "Where no lengths are given"),
        ({"lengths": True}, {"lengths": False}), "lengths",
    ),
    Condition(
        lambda case, inputs: inputs.state is not None,
        ("Where an initial state is given", "Where no initial state is given"),
        ({"state": True}, {"state": False}), "state",
    ),
    Condition(
        lambda case, inputs: case.bias, ("With biases", "Without biases"),
        ({"bias": True}, {"bias": False}), "bias",
    ),
    Condition(
        lambda case, inputs: case.bidirectional, ("With two directions", "With one direction"),
        ({"bidirectional": True}, {"bidirectional": False}), "bidirectional",
    ),
    Condition(
        lambda case, inputs: case.layers > 1, ("With more than one layer", "With one layer"),
        ({"layers": 2}, {"layers": 1}), "layers",
    ),
    Condition(
        lambda case, inputs: case.layout == "batch-first",
        ("With the batch first", "With the steps first"),
        ({"layout": "batch-first"}, {"layout": "time-first"}), "layout",
    ),
    Condition(
        lambda case, inputs: case.B == 1, ("With a single row", "With several rows"),
        ({"B": 1}, {"B": 2}), "",
    ),
    Condition(
        lambda case, inputs: case.T == 1, ("With a single step", "With several steps"),
        ({"T": 1}, {"T": 2}), "",
    ),
)  # fmt: skip
"""The options of calls on which a path through a layer may depend."""


def separating(explainer: Explainer) -> Iterator[tuple[Condition, Scope, dict[str, Any]]]:
    """Yield the conditions under which all wrong calls are made, and not all right ones."""
    for condition in CONDITIONS:
        (with_it, options), (without, others) = condition.scopes()
        for scope, own, opposite in ((with_it, options, others), (without, others, options)):
            if scope.separates(explainer.observations) and _confirmed(explainer, opposite):
                yield condition, scope, own


def _confirmed(explainer: Explainer, opposite: dict[str, Any]) -> bool:
    """Whether the smallest wrong case is right with the opposite option."""
    subject = explainer.subject
    cases = [o.experiment.case for o in explainer.observations if o.deviating]
    case = replace(min(cases, key=lambda c: c.T * c.B * c.layers * c.directions), **opposite)
    return not subject.options.lacking(case) and not wrong(subject, case)


def under_conditions(
    explainer: Explainer, candidates: Callable[[], Iterable[Hypothesis]]
) -> Iterator[Hypothesis]:
    """Yield mistakes that are made under one condition alone."""
    for condition, scope, _ in separating(explainer):
        for hypothesis in candidates():
            if _concerns_calls(hypothesis) and hypothesis.needs != (condition.needs,):
                yield in_calls(scope, hypothesis)


def _concerns_calls(hypothesis: Hypothesis) -> bool:
    """Whether a mistake is one of what a call computes, not of how arrays are read."""
    return bool(hypothesis.changes) and not (
        hypothesis.sources or hypothesis.returns or hypothesis.factors or hypothesis.reading
        or hypothesis.ignored
    )  # fmt: skip


def edited_under_conditions(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the formulas that explain the runs under a condition."""
    subject, deadline = explainer.subject, explainer.deadline
    for _, scope, options in separating(explainer):
        cases = (small_case(subject, explainer.dtype, T) for T in (1, 2, 3))
        sections = (Section(replace(case, **options)) for case in cases)
        runs = sections_measured(subject, [s for s in sections if not _lacks(explainer, s.case)])
        for hypothesis in islice(computing(runs, lambda: deadline.passed, together=False), MOST):
            yield in_calls(scope, hypothesis)
            if deadline.passed:
                return


def _lacks(explainer: Explainer, case: Case) -> bool:
    return bool(explainer.subject.options.lacking(case))


LONGEST = 40
"""The most steps among which the first wrong number is looked for."""


def _chunks_seen(explainer: Explainer) -> Iterator[str]:
    """Yield that sequences of whole chunks of steps are right, and longer ones of others wrong."""
    subject, dtype = explainer.subject, explainer.dtype
    for chunk in (4, 8, 16, 32):
        sizes = {n: wrong(subject, small_case(subject, dtype, n)) for n in (chunk, chunk + 1)}
        if sizes == {chunk: False, chunk + 1: True}:
            if not wrong(subject, small_case(subject, dtype, 2 * chunk)):
                yield (
                    f"It is right with up to {chunk} steps and with {2 * chunk}, wrong with "
                    f"{chunk + 1}: look at the steps after the last whole chunk of {chunk}."
                )
            return


def conditions_seen(explainer: Explainer) -> Iterator[str]:
    """Yield the conditions of wrong calls, for layers that no hypothesis explains."""
    for _, scope, _ in separating(explainer):
        yield f"{scope.words} it is wrong; all other calls that were made are right."
    subject, dtype = explainer.subject, explainer.dtype
    case = small_case(subject, dtype, 3)
    if not wrong(subject, case):
        yield from _chunks_seen(explainer)
        return
    size = first_wrong_size(subject, case, VALUES, LONGEST)
    if size is not None and size > 1:
        steps = "one step" if size == 2 else f"{size - 1} steps"
        yield f"A call of {steps} is right; from {size} steps on it is wrong."
    if not wrong(subject, replace(case, B=1)):
        yield "A single row is right; with two rows it is wrong."
    if (
        case.state
        and subject.options.default_state
        and not wrong(subject, replace(case, state=False))
    ):
        yield "Without an initial state it is right."
    if subject.options.bias and not wrong(subject, replace(case, bias=False)):
        yield "Without biases it is right."
