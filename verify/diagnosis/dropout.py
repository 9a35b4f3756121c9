"""The diagnosis of dropout in layers whose equations are wrong, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..cases.case import Case
from ..runs.verdict import Verdict
from .hypotheses import hypotheses
from .location import TRAINING
from .observation import Experiment
from .search import Explainer, Search

NOT_JUDGED = "Dropout is not judged: the equations are wrong."
RIGHT = "Dropout is right, as far as it can be judged beside that."


def dropout_notes(
    explainer: Explainer, search: Search, failing: Sequence[Verdict]
) -> Iterator[str]:
    """Yield notes on failed checks of training beside other failed checks.

    The reference with the mistake that explains the other checks draws right masks. If its rows in
    training equal the subject's, dropout is right; if they do with a mistake in the masks as well,
    that is the mistake of dropout; otherwise nothing can be said.
    """
    training = [
        Experiment(v.check, Case.from_json(v.drawn or v.case))
        for v in failing
        if v.check in TRAINING and v.case
    ]
    if not training:
        return
    if not search.fits or explainer.deadline.passed:
        yield NOT_JUDGED
        return
    beside = explainer.of(explainer.subject, training)
    explanation = search.fits[0]
    if beside.residual_of(explanation) <= 1:
        yield RIGHT
        return
    for mask in hypotheses(explainer.subject, explainer.dtype):
        if not set(mask.killed_by) & set(TRAINING):
            continue
        if explainer.deadline.passed:
            break
        if beside.residual_of(explanation + mask) <= 1:
            yield f"Dropout is wrong, too: {' '.join(mask.statements)}"
            return
    yield NOT_JUDGED
