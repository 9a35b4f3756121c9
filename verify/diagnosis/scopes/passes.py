"""Mistakes of the layers above the lowest, or of one direction, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np

from ...mutants.replaceable_layer import ReplaceableLayer, TurnPart
from ...numbers.tape import rearranged
from ...subjects.protocol import Inputs
from ..formulas.measurement import small_case
from ..formulas.relations import computing
from ..hypotheses import Hypothesis
from ..search import Explainer, Search
from .scope import AtPredicate, Scope, in_passes
from .sections import Section, sections_measured

MOST = 12
"""The most edits of a formula that are tried in one group of passes."""


@dataclass(frozen=True)
class Group:
    """A group of passes: words, the options that it needs, and the case of its measurement."""

    words: str
    selected: AtPredicate
    needs: dict[str, Any]
    direction: int = 0

    @property
    def scope(self) -> Scope:
        """The calls that have such passes."""

        def calls(case: Any, inputs: Inputs) -> bool:
            deep = case.layers > 1 or "layers" not in self.needs
            return deep and (case.bidirectional or "bidirectional" not in self.needs)

        return Scope(self.words, calls)


GROUPS = (
    Group("In every layer above the lowest", lambda at: at.level > 0, {"layers": 2}),
    Group("In the backward direction", lambda at: at.direction > 0, {"bidirectional": True}, 1),
    Group(
        "In the backward direction of every layer above the lowest",
        lambda at: at.direction > 0 and at.level > 0, {"layers": 2, "bidirectional": True}, 1,
    ),
    Group(
        "In the forward direction of every layer above the lowest, where there are two",
        lambda at: at.direction == 0 and at.level > 0, {"layers": 2, "bidirectional": True},
    ),
)  # fmt: skip
"""The passes that a mistake may be confined to."""

BACKWARD = GROUPS[1]

AXES = {
    "reversed in time": 0, "not reversed": None, "reversed along the rows": 1,
    "reversed along the features": 2,
}  # fmt: skip
"""What may happen to the input or the outputs of the backward direction; the first is right."""


def _turned_along_others() -> Iterator[Hypothesis]:
    """Yield that the backward direction reads or returns its steps along another axis."""
    for (read, there), (returned, back) in product(AXES.items(), AXES.items()):
        if there == back == 0:
            continue
        yield Hypothesis(
            (f"backward direction: input {read}, outputs {returned}",),
            (f"In the backward direction the input is {read}, and the outputs are {returned}.",),
            (partial(_turned, there, back),),
            ("reverse the steps on the way in and on the way out, along the axis of time",),
            ("direction", "forward"), needs=("bidirectional",),
        )  # fmt: skip


def _turned(there: int | None, back: int | None, layer: ReplaceableLayer) -> None:
    def along(axis: int | None, right: TurnPart) -> TurnPart:
        if axis == 0:
            return right
        return lambda direction, a, lengths: (
            a if not direction or axis is None
            else rearranged(a, lambda whole: np.flip(whole, axis))
        )  # fmt: skip

    layer.turn, layer.turn_back = along(there, layer.turn), along(back, layer.turn_back)


def in_some_passes(
    explainer: Explainer, search: Search, candidates: Callable[[], Iterable[Hypothesis]]
) -> Iterator[Hypothesis]:
    """Yield mistakes, and edits of the formulas, in a group of passes alone."""
    subject, deadline = explainer.subject, explainer.deadline
    for group in GROUPS:
        if not group.scope.separates(explainer.observations):
            continue
        cases = (small_case(subject, explainer.dtype, T) for T in (1, 2, 3))
        sections = [Section(replace(c, **group.needs), group.direction) for c in cases]
        if any(subject.options.lacking(s.case) for s in sections):
            continue
        runs = sections_measured(subject, sections)
        edits = islice(computing(runs, lambda: deadline.passed, together=False), MOST)
        for hypothesis in (*edits, *filter(_of_a_pass, candidates())):
            yield in_passes(group.scope, group.selected, hypothesis)
            if deadline.passed:
                return
    if explainer.outputs_deviate and BACKWARD.scope.separates(explainer.observations):
        yield from _turned_along_others()


def _of_a_pass(hypothesis: Hypothesis) -> bool:
    return bool(hypothesis.changes) and not (
        hypothesis.sources or hypothesis.returns or hypothesis.factors or hypothesis.reading
        or hypothesis.ignored or hypothesis.needs
    )  # fmt: skip
