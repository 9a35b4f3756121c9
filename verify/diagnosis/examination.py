"""From a wrong layer to a sentence that says what to change."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from ..cases.case import Case
from ..runs.diagnosis import Diagnosis, Explanation
from ..runs.verdict import Verdict
from ..subjects.protocol import Subject
from . import precision
from .character import character
from .finding import Finding
from .grid import on_a_grid
from .hypotheses import Hypothesis
from .location import locate
from .observation import Experiment, basic, thorough
from .search import Explainer, Search, observations
from .truncation import Truncation, truncation

MOST = 4
"""Failing cases, of different checks, that an explanation is sought for at first."""

LARGEST = 200_000
"""Steps times rows times units of a case that is looked at beside those."""


def diagnose(
    subject: Subject,
    dtype: str,
    failing: Sequence[Verdict],
    *,
    on_step: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Find out what is wrong with a subject, given the checks that it failed in one dtype."""
    diagnosis = Diagnosis(subject.name, dtype, failed=tuple(v.check for v in failing))
    failures = [v for v in failing if v.case]
    values = [v for v in failures if v.status == "failed"]
    failures = values or failures  # what raised says little of values
    if not failures:
        diagnosis.status = "unexplained" if failing else "conforms"
        diagnosis.message = failing[0].message if failing else "no check failed"
        return diagnosis
    first = representative(failures)
    experiments = [Experiment(v.check, Case.from_json(v.drawn or v.case)) for v in first]
    experiments += basic(subject, dtype)
    explainer = Explainer(subject, dtype, list(observations(subject, experiments)), on_step)
    diagnosis.location = locate(subject, failures, explainer.observations)
    measured = Truncation()
    if diagnosis.location.part == "gradients":
        measured = truncation(subject, dtype)
    diagnosis.reach = measured.words
    diagnosis.experiments = len(explainer.observations)
    arithmetic = precision.explanation(subject, dtype, failures)
    whole = arithmetic and precision.explains(arithmetic, dtype, explainer.observations)
    if arithmetic and whole and arithmetic.certain:
        diagnosis.status, diagnosis.explanations = "explained", [arithmetic.explanation]
        return diagnosis
    search = explainer.search(measured.hypothesis, two=False)
    other = Finding()
    if not search.fits and not whole:
        other = _measured(explainer, diagnosis)
        if other.explanations:
            return _explained(diagnosis, other)
        explainer.pair(search)
    rest = [v for v in failures if v not in first and _size(v) <= LARGEST]
    more = [Experiment(v.check, Case.from_json(v.drawn or v.case)) for v in rest]
    alone = any(len(hypothesis.ids) == 1 for hypothesis in search.fits)
    explainer.sift(search, more)
    if len(search.fits) > 1:
        explainer.sift(search, list(thorough(subject, dtype)))
    if alone and not search.fits and not whole:
        explainer.pair(search)
        explainer.sift(search, more)
    diagnosis.explanations = [_explanation(h) for h in ranked(search.fits, failures)]
    if arithmetic and whole and not diagnosis.explanations:
        diagnosis.explanations = [arithmetic.explanation]
    diagnosis.experiments += len(rest)
    _conclude(diagnosis, search)
    if not diagnosis.explanations:
        diagnosis.notes = other.notes
        diagnosis.message = other.message or diagnosis.message
    if arithmetic and not diagnosis.explanations:
        diagnosis.message += f"; it computes in {arithmetic.name} at best, and that is not all"
    return diagnosis


def _measured(explainer: Explainer, diagnosis: Diagnosis) -> Finding:
    """Return what experiments on the layer itself say: a grid, another cell."""
    coarse = on_a_grid(explainer)
    if coarse.explanations or diagnosis.location.part != "outputs":
        return coarse
    other = character(explainer)
    other.notes = (*coarse.notes, *other.notes)
    return other


def _explained(diagnosis: Diagnosis, finding: Finding) -> Diagnosis:
    diagnosis.status, diagnosis.explanations = "explained", finding.explanations
    diagnosis.notes = finding.notes
    return diagnosis


def _explanation(hypothesis: Hypothesis) -> Explanation:
    fixes = tuple(filter(None, hypothesis.fixes))
    return Explanation(hypothesis.ids, hypothesis.statements, fixes)


def _conclude(diagnosis: Diagnosis, search: Search) -> None:
    """Write down in a diagnosis what a search found."""
    diagnosis.status = "explained" if diagnosis.explanations else "unexplained"
    diagnosis.residual, diagnosis.tried = search.residual, search.tried
    diagnosis.complete = search.complete
    if search.runner_up < sys.float_info.max:
        diagnosis.runner_up, diagnosis.runner_up_name = search.runner_up, search.runner_up_name
    if not diagnosis.explanations:
        time = "" if search.complete else ", in the time there was"
        diagnosis.message = f"no known mistake explains this, nor two together{time}"


def representative(failing: Sequence[Verdict]) -> list[Verdict]:
    """Return a few failing checks, those with the smallest cases."""
    return sorted(failing, key=_size)[:MOST]


def _size(verdict: Verdict) -> int:
    case = Case.from_json(verdict.drawn or verdict.case)
    return max(case.T, 1) * case.B * case.H * case.layers * case.directions


def ranked(fits: Sequence[Hypothesis], failing: Sequence[Verdict]) -> list[Hypothesis]:
    """Return explanations with the foreseen before others, single mistakes before pairs."""
    failed = {v.check for v in failing}

    def rank(hypothesis: Hypothesis) -> tuple[int, int]:
        foreseen = any(id in failed for id in hypothesis.killed_by[:1])
        return len(hypothesis.ids), 0 if foreseen else 1

    return sorted(fits, key=rank)
