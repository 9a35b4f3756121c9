"""What became of one check of one subject in one dtype."""

from __future__ import annotations

from dataclasses import dataclass

STATUSES = (
    "passed",
    "failed",
    "crashed",
    "timeout",
    "fallback",
    "blind",
    "known deviation",
    "not supported",
    "not tested",
)
"""What a verdict can be; only the first says that a check holds."""

WRONG = ("failed", "crashed", "timeout")
"""The subject does not conform."""

OPEN = ("fallback", "blind", "not tested")
"""Nothing was found wrong, but a run with these is not green either."""


@dataclass
class Verdict:
    """One check of one subject in one dtype.

    ``status``: ``passed``, ``failed``, ``crashed`` (the subject raised, or its process ended),
    ``timeout``, ``fallback`` (something else ran than was asked for), ``blind`` (no case had a
    bound that means something), ``known deviation`` (it failed as declared), ``not supported`` (the
    subject does not offer what the check needs), ``not tested`` (the subject does not run, or is
    not installed). ``worst_ratio`` is the largest error in units of its bound over all cases;
    ``equations`` are those that the drawn cases touched, or, where none was drawn, those that they
    might have; ``place`` is the first wrong entry in words; ``case`` is the failing case,
    simplified, ``drawn`` the first that failed, as it was drawn; ``script`` a program that shows
    the failure without gatewise; ``arithmetic`` is the finest whose bounds hold all that was seen;
    ``ran`` what is known to have run, by the profiler's names, ``lacking`` what should have run
    and did not.
    """

    subject: str
    cell: str
    check: str
    statement: str
    equations: list[str]
    dtype: str
    seed: int
    status: str = "passed"
    cases: int = 0
    blind_cases: int = 0
    worst_ratio: float | None = None
    worst: str = ""
    message: str = ""
    place: str = ""
    case: str = ""
    drawn: str = ""
    reproduce: str = ""
    script: str = ""
    seconds: float = 0.0
    subject_seconds: float = 0.0
    oracle_seconds: float = 0.0
    version: str = ""
    arithmetic: str = ""
    ran: str = ""
    lacking: str = ""
