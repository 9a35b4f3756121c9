"""A mistake of plain calls, together with one that concerns what they do not use.

Code that computes a wrong formula may take an option and ignore it, besides; no single hypothesis
explains both, but one explains the plain calls alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ...cases.case import Case
from ...subjects.protocol import Inputs
from ..hypotheses import Hypothesis
from ..observation import Observation
from ..search import Explainer, Search

FEW = 2
"""The most explanations of the plain calls that are combined with others."""

Stage = Callable[[Explainer, Search], Iterable[Hypothesis]]


def mixed(
    explainer: Explainer, stages: Iterable[Stage], candidates: Callable[[], Iterable[Hypothesis]]
) -> Iterator[Hypothesis]:
    """Yield what explains the plain calls, combined with every mistake of the others."""
    plain = [o for o in explainer.observations if _is_plain(o)]
    if len(plain) == len(explainer.observations) or not any(o.deviating for o in plain):
        return
    of_plain, partly = explainer.with_observations(plain), Search()
    for stage in stages:
        of_plain.consider(stage(of_plain, partly), partly)
        if partly.fits or not partly.complete:
            break
    for fit in partly.fits[:FEW]:
        for hypothesis in candidates():
            yield fit + hypothesis


def _is_plain(observation: Observation) -> bool:
    case = observation.experiment.case
    return all(
        call.inputs is None or _uses_nothing(call.layer.case, call.inputs)
        for call in observation.calls
    ) and not (case.dropout or observation.words)


def _uses_nothing(case: Case, inputs: Inputs) -> bool:
    return (
        case.layers == 1
        and not case.bidirectional
        and inputs.lengths is None
        and case.layout == "time-first"
    )
