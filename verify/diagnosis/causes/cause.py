"""Causes of failures other than wrong values: exceptions, wrong shapes or dtypes, randomness.

A cause explains some of the failures; the others go on to the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...runs.diagnosis import Diagnosis, Explanation, Location
from ...runs.verdict import Verdict
from ...subjects.protocol import Subject
from ..observation import Key, Observation, basic, observe, residual


@dataclass(frozen=True)
class Cause:
    """A cause of failed checks, with the verdicts that it explains and its location.

    ``every_number``: it also explains every other deviation.
    """

    explanation: Explanation
    verdicts: tuple[Verdict, ...]
    location: Location = field(default_factory=Location)
    every_number: bool = False


def unexplained(failing: Sequence[Verdict], causes: Sequence[Cause]) -> list[Verdict]:
    """Return the failures that no cause explains."""
    explained = [id(v) for cause in causes for v in cause.verdicts]
    return [v for v in failing if id(v) not in explained]


def hidden(subject: Subject, dtype: str, cause: Cause) -> Iterator[Verdict]:
    """Yield failures of numbers in plain runs, which a cause may have hidden.

    A check reports only the first failure that it meets.
    """
    for experiment in () if cause.every_number or not cause.verdicts else basic(subject, dtype):
        if experiment.check != "values":
            continue
        names = {key[2] for key in _deviating(observe(subject, experiment))}
        for check in ("forward", "gradient"):
            if any(name.startswith("gradient of ") is (check == "gradient") for name in names):
                case = experiment.case.to_json()
                yield replace(
                    cause.verdicts[0], check=check, status="failed", message="", case=case,
                    drawn=case, place="",
                )  # fmt: skip
                return


def _deviating(observation: Observation) -> Iterator[Key]:
    """Yield the keys of deviating arrays of the right shape.

    If an output has a coarser dtype, its rounding is allowed for all numbers.
    """
    dtypes = {array.dtype for array in observation.seen.values() if array.dtype.kind == "f"}
    roundoff = float(np.finfo(observation.experiment.case.dtype).eps)
    coarser = max((float(np.finfo(d).eps) for d in dtypes), default=roundoff) / roundoff
    for key in observation.deviating:
        array, right = observation.seen[key], observation.right[key]
        level = observation.levels[key] * max(coarser, 1.0)
        if array.shape == right.shape and not residual(array, right, level) <= 1:
            yield key


def with_causes(
    diagnosis: Diagnosis, causes: Sequence[Cause], failing: Sequence[Verdict]
) -> Diagnosis:
    """Return the diagnosis of the other failures with the causes added.

    Causes come first, except those of training alone.
    """
    if not causes:
        return diagnosis
    first = Explanation((), (), ())
    for cause in causes:
        first = _combined(first, cause.explanation)
    others = diagnosis.explanations or [Explanation((), (), ())]
    training = all(cause.location.part == "training" for cause in causes)
    explanations = [
        _combined(other, first) if training else _combined(first, other) for other in others
    ]
    message = diagnosis.message
    if diagnosis.status == "unexplained":
        rest = Explanation((), (f"That is not all: {message}.",), ())
        explanations = [_combined(first, rest)]
    status = "unexplained" if diagnosis.status == "unexplained" else "explained"
    location = diagnosis.location if diagnosis.location.part else causes[0].location
    return replace(
        diagnosis, status=status, explanations=explanations, location=location,
        failed=tuple(v.check for v in failing), message="",
        roots=_roots(causes, failing),
    )  # fmt: skip


def _roots(causes: Sequence[Cause], failing: Sequence[Verdict]) -> tuple[str, ...]:
    """Return a check for each cause, and one of the unexplained failures."""
    shown = [cause.verdicts for cause in causes] + [tuple(unexplained(failing, causes))]
    return tuple(dict.fromkeys(verdicts[0].check for verdicts in shown if verdicts))


def _combined(first: Explanation, second: Explanation) -> Explanation:
    return Explanation(
        first.ids + second.ids,
        first.statements + second.statements,
        first.fixes + second.fixes,
        first.variant,
    )
