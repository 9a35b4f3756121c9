"""The cases to record, chosen greedily until each mutant is caught twice, if possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ..cases.case import Case
from ..cases.layouts import RAGGED
from ..cases.options import Options
from ..checks import subject_checks
from ..subjects.protocol import Subject
from .replayed import UNANSWERED

CASES: tuple[tuple[Case, str], ...] = (
    (Case(3, 2, 4, 5, state=False), "smoke"),
    (
        Case(6, 3, 2, 4, lengths=True, zero_length=True, state=False, scale="tiny", seed=64541),
        "forward batch-permutation repeat reweight backward-twice vjp-linearity strided",
    ),
    (Case(6, 5, 3, 4, layers=2, lengths=True, zero_length=True, state=False, seed=3), "forward"),
    (
        Case(5, 3, 2, 4, bidirectional=True, bias=False, lengths=True, zero_length=True),
        "gradient final",
    ),
    (
        Case(3, 6, 5, 2, layers=2, bidirectional=True, zero_length=True, scale="large", seed=45828),
        "gradient repeat reweight",
    ),
    (Case(5, 3, 2, 4, layers=2, bidirectional=True, lengths=True, seed=8), "gradient batch-single"),
    (Case(5, 3, 2, 6, P=4, layers=2, bidirectional=True, lengths=True, seed=11), "forward"),
    (Case(6, 3, 2, 5, P=3, lengths=True, seed=12), "gradient"),
    (Case(3, 4, 2, 7, P=5, layers=2, bidirectional=True, lengths=True, seed=13), "gradient"),
    (
        Case(3, 4, 5, 6, layers=2, bidirectional=True, lengths=True, zero_length=True, seed=9),
        "cotangents",
    ),
    (Case(6, 3, 3, 3, seed=19981), "dtype"),
    (Case(4, 3, 2, 4, layout="batch-first", seed=3), "batch-first"),
    (
        Case(6, 3, 7, 4, lengths=True, zero_length=True, layout="batch-first", seed=42705),
        "batch-first",
    ),
    (Case(2, 1, 2, 2, layout="unbatched", seed=5), "unbatched"),
    (Case(4, 1, 2, 4, layout="unbatched", seed=3), "unbatched"),
    (Case(2, 6, 4, 7, layers=2, state=False, scale="large", seed=28764), "repeat"),
    (Case(6, 4, 3, 2, zero_length=True, state=False, seed=42987), "jvp causality"),
    (Case(5, 3, 2, 4, layers=2, bidirectional=True, seed=14), "jvp"),
    (Case(4, 6, 5, 2, seed=37066), "gate-limits"),
    (Case(4, 3, 6, 5, seed=19975), "gate-limits"),
    (Case(6, 3, 2, 4, lengths=True, zero_length=True, state=False, seed=64541), "bounds"),
    (Case(4, 2, 6, 3, zero_length=True, seed=6), "unit-permutation"),
    (Case(4, 2, 6, 7, lengths=True, zero_length=True, seed=49387), "influence"),
    (Case(6, 4, 3, 2, lengths=True, zero_length=True, state=False, seed=42987), "padding"),
    (Case(4, 2, 6, 3, lengths=True, zero_length=True, seed=6), "padding zero-length"),
    (Case(4, 2, 6, 3, bidirectional=True, zero_length=True, seed=6), "direction"),
    (Case(2, 2, 2, 2, seed=5), "shapes"),
    (Case(4, 4, 2, 3), "shapes"),
    (Case(4, 140, 2, 4, seed=11), "wide"),
    (Case(3, 2, 5, 33), "wide"),
    (Case(3, 2, 5, 65, seed=1), "wide"),
    (Case(3, 2, 5, 129, seed=2), "wide"),
    (Case(4, 2, 3, 5, scale="saturating"), "extreme"),
    (Case(4, 2, 3, 5, scale="huge", seed=1), "extreme"),
    (Case(4, 2, 3, 5, scale="subnormal", seed=2), "extreme"),
    (Case(6, 4, 3, 2, lengths=True, state=False, seed=42987), "default-state"),
    (Case(5, 7, 3, 2, layers=2, scale="tiny", seed=42931), "carry carry-gradient"),
    (Case(0, 1, 2, 2), "no-steps"),
    (Case(0, 2, 1, 3), "no-steps"),
    (Case(4, 6, 5, 2, layers=2, seed=45338), "modes"),
    (
        Case(
            5, 4, 2, 7, layers=2, lengths=True, state=False, dropout=0.5, scale="tiny", seed=59111
        ),
        "modes",
    ),
    (Case(40, 2, 3, 5, seed=1), "transition gradient-window"),
    (Case(1010, 2, 3, 4, seed=2), "transition"),
    (Case(1010, 1, 3, 4, seed=2), "gradient-window"),
    (Case(133, 1, 3, 66, scale="large", seed=3), "gradient-window"),
)
"""Cases, and the checks that are recorded on each, the same in every dtype: few and small.

Options that a subject does not offer are left out. Every check has one, but for ``algorithms``,
whose cases are too large (``wide`` has widths of 33, 65 and 129); the sharpest checks have more.
"""

Choice = tuple[str, Case]

FROM_THE_SUBJECT = ("dropout", "schedule")
"""Checks whose forced cases are recorded, because they depend on the layer or the check."""

IN_A_LAYOUT = ("packed", "left-padding")
"""Checks of layouts, whose first forced cases are recorded, with other seeds."""

FORCED_CASES = 3
"""Number of forced cases to record: three rates of dropout, 1 among them, or three schedules."""

APART = 1000
"""Distance of the seeds of two sets of cases."""


def cases_to_record(subject: Subject, dtype: str, seed: int = 0) -> Iterator[Choice]:
    """Yield the checks and cases to record of a subject in one dtype, the smoke check first."""
    choices: dict[tuple[str, str], Choice] = {}
    for check in subject_checks():
        offered = check.concerns(subject) and not subject.options.missing(check.needs)
        if not offered or check.id in UNANSWERED:
            continue
        cases = [case for case, checks in CASES if check.id in checks.split()]
        if check.id in (*FROM_THE_SUBJECT, *IN_A_LAYOUT):
            cases = list(islice(check.forced(subject, dtype), FORCED_CASES))
        for case in cases:
            fitted_case = check.reached(replace(fitted(case, subject.options), dtype=dtype))
            if check.id not in FROM_THE_SUBJECT:
                fitted_case = replace(fitted_case, seed=fitted_case.seed + APART * seed)
            if not check.refuses(fitted_case) and not subject.options.lacking(fitted_case):
                choices.setdefault((check.id, fitted_case.to_json()), (check.id, fitted_case))
    yield from choices.values()


def fitted(case: Case, options: Options) -> Case:
    """Return a case without options that the subject does not offer."""
    return replace(
        case,
        P=case.P if options.projection else 0,
        layers=case.layers if options.layers else 1,
        bidirectional=case.bidirectional and options.bidirectional,
        bias=case.bias or not options.bias,
        lengths=case.lengths and (options.lengths or case.layout in RAGGED),
        zero_length=case.zero_length and options.zero_length,
        state=options.state and (case.state or not options.default_state),
    )
