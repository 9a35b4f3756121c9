"""Mutants: subjects that are wrong on purpose, each in one way, to try the checks themselves.

A check that no mutant fails proves nothing. ``replaceable_layer`` is a right layer whose parts can
be replaced; the other modules hold one function a mistake, after a defect that somebody really had,
and ``equivalent`` holds programs that look different and are right. New modules need no entry.
"""

from __future__ import annotations

from .catalogue import (
    LEFT_OUT,
    Change,
    Mutant,
    equivalences,
    mutant_named,
    mutant_subject,
    mutants,
    right_subject,
)

__all__ = [
    "LEFT_OUT",
    "Change",
    "Mutant",
    "equivalences",
    "mutant_named",
    "mutant_subject",
    "mutants",
    "right_subject",
]
