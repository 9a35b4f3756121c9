"""Dropout, judged apart: what can be said of it when the equations are wrong, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..runs.verdict import Verdict
from .location import TRAINING
from .search import Explainer, Search

NOT_JUDGED = "Dropout is not judged: the equations are wrong."


def dropout_notes(
    explainer: Explainer, search: Search, failing: Sequence[Verdict]
) -> Iterator[str]:
    """Yield what is to be said of failed checks of training beside other failed checks."""
    if any(v.check in TRAINING for v in failing):
        yield NOT_JUDGED
