"""Mutants: subjects with one deliberate mistake each, which test the checks themselves.

A check that no mutant fails proves nothing. ``replaceable_layer`` is a correct layer whose parts
can be replaced; the other modules hold one function per mistake, modelled on real defects, and
``equivalent`` holds programs that are written differently and correct. New modules need no entry.
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
