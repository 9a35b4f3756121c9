"""Grades: whether a tolerance is too tight, sound or blind, and the mistakes that it passes.

A tolerance is applied as by ``allclose``: |got - expected| <= atol + rtol |expected|, for every
number of every output, state and gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats
from ..numbers.bounded import Bounded
from .certificate import Mistake, Setting

TOO_TIGHT, SOUND, BLIND = "too tight", "sound", "blind"
"""Refuses correct implementations; neither; passes mistakes that this setting shows."""


@dataclass(frozen=True)
class Grade:
    """The grade of a tolerance.

    ``refused`` counts correct evaluations, of ``evaluations``, that exceed it; ``narrower`` are the
    quantities for which it is narrower than the derived bound, so that some correct implementation
    may exceed it; of the mistakes that the setting shows, ``passed`` are those within the
    tolerance, and ``caught`` counts the others.
    """

    atol: float
    rtol: float
    evaluations: int
    refused: int
    narrower: tuple[str, ...]
    passed: tuple[Mistake, ...]
    caught: int

    @property
    def words(self) -> tuple[str, ...]:
        """The grade: too tight, blind, both, or sound."""
        tight = (TOO_TIGHT,) if self.refused else ()
        return (*tight, *((BLIND,) if self.passed else ())) or (SOUND,)


def grade(
    setting: Setting,
    mistakes: Sequence[Mistake],
    atol: float,
    rtol: float,
    *,
    evaluations: int,
    seed: int,
) -> Grade:
    """Grade a tolerance in a setting; ``mistakes`` are those of ``Setting.mistakes``."""
    rng = np.random.default_rng(seed)
    runs = (setting.evaluated(rng) for _ in range(evaluations))
    refused = sum(not _within(setting, run, atol, rtol) for run in runs)
    narrower = tuple(
        name
        for name, want in setting.expected.items()
        if np.any(np.asarray(want.bound) > _allowed(want, atol, rtol))
    )
    visible = [mistake for mistake in mistakes if mistake.shown]
    passed = tuple(
        mistake
        for mistake in visible
        if mistake.got.keys() == setting.expected.keys()
        and _within(setting, mistake.got, atol, rtol)
    )
    return Grade(atol, rtol, evaluations, refused, narrower, passed, len(visible) - len(passed))


def _allowed(want: Bounded, atol: float, rtol: float) -> Floats:
    return np.asarray(atol + rtol * np.abs(want.value))


def _within(setting: Setting, got: Mapping[str, Floats], atol: float, rtol: float) -> bool:
    return all(
        bool(np.all(np.abs(array - setting.expected[name].value)
                    <= _allowed(setting.expected[name], atol, rtol)))
        for name, array in got.items()
    )  # fmt: skip
