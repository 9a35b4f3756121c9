"""Is nothing wrong but the arithmetic?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..case import Case
from ..check import Mismatch
from ..checks import check_named
from ..subjects.protocol import Subject
from ..verdict import Verdict
from .diagnosis import Explanation

CASES = 3
"""Cases that the same coarser arithmetic must explain."""


def explanation(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Explanation | None:
    """Return the coarser arithmetic that explains what was seen, if the check of dtypes finds one.

    That check compares the size of all errors with the arithmetic's roundoff, too, because bounds
    of a coarse arithmetic are wide enough to hold wrong equations.
    """
    if all(verdict.check != "dtype" for verdict in failing):
        return None
    named = {_coarser(subject, _plain(subject, dtype, seed)) for seed in range(CASES)}
    if len(named) != 1 or None in named:
        return None
    (arithmetic,) = named
    return Explanation(
        (f"arithmetic {arithmetic}",),
        (f"It computes in {arithmetic} or coarser, and claims {dtype}; the equations are right.",),
        (f"keep {dtype} throughout: look for a cast, a default dtype or a fast-math setting",),
    )


def _plain(subject: Subject, dtype: str, seed: int) -> Case:
    return Case(T=6, B=3, D=4, H=5, state=subject.options.state, dtype=dtype, seed=seed)


def _coarser(subject: Subject, case: Case) -> str | None:
    """Return the arithmetic that the check names for one case, None if it names none."""
    try:
        check_named("dtype").run(subject, case)
    except Mismatch as said:
        found = re.search(r"it takes (\w+) or coarser", str(said))
        return found[1] if found else None
    return None
