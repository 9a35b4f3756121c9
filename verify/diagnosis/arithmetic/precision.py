"""Layers that are right except for a coarser arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....reference.functions import Array
from ...cases.case import Case
from ...checks import check_named
from ...checks.arithmetics import COARSER
from ...numbers.arithmetic import ARITHMETICS
from ...numbers.ledger import CoarserArithmetic, Mismatch
from ...runs.diagnosis import Explanation
from ...runs.verdict import Verdict
from ...subjects.called import NotOffered, SubjectCrashed, under_test
from ...subjects.inputs import draw_inputs
from ...subjects.protocol import Subject
from ..observation import Key, Observation, plain_case, residual
from .storage import Storage

CASES = 3
"""The number of cases that a coarser arithmetic must explain."""

NUDGE = 16
"""A change in units of roundoff of the claimed arithmetic that a coarser one does not notice."""


@dataclass(frozen=True)
class Coarser:
    """A coarser arithmetic that explains plain runs; ``certain``: all cases agree on it."""

    name: str
    explanation: Explanation
    certain: bool


def explanation(
    subject: Subject, dtype: str, failing: Sequence[Verdict], stored: Storage | None = None
) -> Coarser | None:
    """Return the coarser arithmetic that explains plain runs, if the check of dtypes finds one.

    That check also compares the size of all errors with the arithmetic's roundoff, because bounds
    of a coarse arithmetic may include wrong equations. Errors may be larger in one case by chance,
    so the arithmetic is the median of those of all cases, or the one in which outputs are stored.
    Return None for a layer that does not run in such a case.
    """
    if all(verdict.check != "dtype" for verdict in failing):
        return None
    try:
        coarser = [_coarser(subject, _plain(subject, dtype, seed)) for seed in range(CASES)]
        named = sorted(filter(None, coarser), key=COARSER[dtype].index)
        if len(named) < CASES or _notices(subject, _plain(subject, dtype, 0)):
            return None
    except (SubjectCrashed, NotOffered):
        return None
    arithmetic = stored.dtype if stored and stored.outputs else named[CASES // 2]
    sentence = Explanation(
        (f"arithmetic {arithmetic}",),
        (f"It computes in {arithmetic} or coarser, and claims {dtype}; the equations are right.",),
        (f"keep {dtype} throughout: look for a cast, a default dtype or a fast-math setting",),
    )
    return Coarser(arithmetic, sentence, {*named} == {arithmetic})


def explains(coarser: Coarser, dtype: str, observations: Sequence[Observation]) -> bool:
    """Whether all observations deviate from the equations by no more than the arithmetic's error.

    Numbers that are passed through, as a state over no steps, are rounded as well, and results may
    have the arithmetic's dtype.
    """
    coarse, claimed = ARITHMETICS[coarser.name], ARITHMETICS[dtype]
    ratio = max(coarse.roundoff, coarse.product_roundoff) / claimed.roundoff

    def level(observation: Observation, key: Key) -> Array:
        handed_through = coarse.roundoff * np.max(np.abs(observation.right[key]), initial=0.0)
        return np.maximum(observation.levels[key] * ratio, handed_through)

    returned = f"expected dtype {dtype}, got {coarser.name}"
    return all(
        not o.words or o.experiment.check == "dtype" or o.words.endswith(returned)
        for o in observations
    ) and all(
        residual(array, o.right[key], level(o, key)) <= 1
        for o in observations
        for key, array in o.seen.items()
    )  # fmt: skip


def _plain(subject: Subject, dtype: str, seed: int) -> Case:
    return plain_case(subject, dtype, T=6, B=3, D=4, H=5, seed=seed)


def _notices(subject: Subject, case: Case) -> bool:
    """Whether most outputs change with a change of x below a coarser arithmetic's roundoff.

    Slightly wrong equations deviate as far as a coarse arithmetic, but they notice such changes.
    """
    inputs = draw_inputs(subject, case)
    nudge = inputs.x.dtype.type(1 + NUDGE * np.finfo(case.dtype).eps)
    layer = under_test(subject)
    y = layer.build(case).forward(inputs).y
    moved = layer.build(case).forward(replace(inputs, x=inputs.x * nudge)).y
    return bool(np.mean(y != moved) > 1 / 2)


def _coarser(subject: Subject, case: Case) -> str | None:
    """Return the arithmetic that the check of dtypes names for one case, or None."""
    try:
        check_named("dtype").run(under_test(subject), case)
    except CoarserArithmetic as error:
        return error.arithmetic
    except Mismatch:
        return None
    return None
