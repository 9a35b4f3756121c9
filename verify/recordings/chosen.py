"""Which cases are recorded: few and small, yet wrong layers show in them.

At least one case for each check but ``algorithms``, whose cases are too large (``wide`` has widths
of 33, 65 and 129), and for the sharpest checks more; the choice is by greedy cover
over the mutants (``seeing``), cheapest first. The same cases in every dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ..case import Case
from ..checks import subject_checks
from ..options import Options
from ..subjects.protocol import Subject
from .replaying import UNANSWERED
from .table import CHOSEN

Choice = tuple[str, Case]

FROM_THE_SUBJECT = ("dropout",)
"""Checks whose cases depend on the layer's own cell: the first that the check forces."""

MASKED = 3
"""So many of them: dropout at three rates, 1 among them."""

APART = 1000
"""Seeds of one set of cases and the next are this far apart."""


def chosen(subject: Subject, dtype: str, seed: int = 0) -> Iterator[Choice]:
    """Yield the checks and cases to record of a subject in one dtype, the smoke check first."""
    found: dict[tuple[str, str], Choice] = {}
    for check in subject_checks():
        offered = check.concerns(subject) and not subject.options.missing(check.needs)
        if not offered or check.id in UNANSWERED:
            continue
        cases = [case for id, case in CHOSEN if id == check.id]
        if check.id in FROM_THE_SUBJECT:
            cases = list(islice(check.forced(subject, dtype), MASKED))
        for case in cases:
            moved = check.reached(replace(fitted(case, subject.options), dtype=dtype))
            if check.id not in FROM_THE_SUBJECT:
                moved = replace(moved, seed=moved.seed + APART * seed)
            if not check.refuses(moved) and not subject.options.lacking(moved):
                found.setdefault((check.id, moved.to_json()), (check.id, moved))
    yield from found.values()


def fitted(case: Case, options: Options) -> Case:
    """Return a case without the options that are not offered."""
    return replace(
        case,
        P=case.P if options.projection else 0,
        layers=case.layers if options.layers else 1,
        bidirectional=case.bidirectional and options.bidirectional,
        bias=case.bias or not options.bias,
        lengths=case.lengths and options.lengths,
        zero_length=case.zero_length and options.zero_length,
        state=options.state and (case.state or not options.default_state),
    )
