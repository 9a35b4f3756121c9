"""What became of one check of one subject in one dtype."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from .status import STATUSES, Outcome

PARAMETERS = "; its parameters: "
"""What stands in a version before the meaning of parameters that have names of their own."""

UNSHARP = "no bound is sharp enough to fail at "
"""What stands in a message before given sizes that show nothing."""

NO_EQUATIONS, OWN_EQUATIONS = "none", "own:"
"""In the place of a cell: there are no equations, or the user's own, whose name follows."""

SHARED = "none: "
"""What stands before the reason why nothing keeps a subject apart from its judge."""


@dataclass(frozen=True)
class Planned:
    """One check of one subject in one dtype."""

    subject: str
    check: str
    dtype: str


@dataclass
class Verdict:
    """One check of one subject in one dtype.

    ``status`` is one of ``STATUSES``; only ``passed`` says that the check holds.
    ``worst_ratio`` is the largest error in units of its bound over all cases;
    ``equations`` are those that the drawn cases touched, or, where none was drawn, those that they
    might have; ``place`` is the first wrong entry in words; ``case`` is the failing case,
    simplified, ``drawn`` the first that failed, as it was drawn; ``script`` a program that shows
    the failure without gatewise; ``arithmetic`` is the finest whose bounds hold all that was seen;
    ``ran`` what is known to have run, by the profiler's names, ``lacking`` what should have run
    and did not; ``isolation`` is what kept a program of others apart from its judge; ``plan`` the
    digest of its run's plan, "" outside of a run.
    """

    subject: str
    cell: str
    check: str
    statement: str
    equations: list[str]
    dtype: str
    seed: Annotated[int, msgspec.Meta(ge=0)]
    status: str = "passed"
    cases: Annotated[int, msgspec.Meta(ge=0)] = 0
    blind_cases: Annotated[int, msgspec.Meta(ge=0)] = 0
    worst_ratio: Annotated[float, msgspec.Meta(ge=0)] | None = None
    worst: str = ""
    message: str = ""
    place: str = ""
    case: str = ""
    drawn: str = ""
    reproduce: str = ""
    script: str = ""
    seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    subject_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    oracle_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    version: str = ""
    arithmetic: str = ""
    ran: str = ""
    lacking: str = ""
    isolation: str = ""
    plan: str = ""

    @property
    def dependent(self) -> str:
        """Why the subject is not independent of its judge, "" if it is."""
        return self.isolation.removeprefix(SHARED) if self.isolation.startswith(SHARED) else ""

    @property
    def planned(self) -> Planned:
        """What it is about."""
        return Planned(self.subject, self.check, self.dtype)

    @property
    def wrong(self) -> bool:
        """Whether the subject does not conform by it."""
        return STATUSES[self.status].outcome is Outcome.WRONG

    @property
    def open(self) -> bool:
        """Whether nothing is wrong and nothing was shown."""
        return STATUSES[self.status].outcome is Outcome.OPEN

    @property
    def cause(self) -> str:
        """What failures of the same cause have in common; "" where it takes numbers to say."""
        return cause(self.message) if self.wrong else ""

    @property
    def without_equations(self) -> bool:
        """Whether there were none to hold its numbers to."""
        return self.cell == NO_EQUATIONS

    @property
    def compared(self) -> bool:
        """Whether the subject ran, and what it computed was compared."""
        return STATUSES[self.status].compared


_AT = r"\(([^()]+), line (\d+), in ([^()]+)\)$"
_RAISED = r"(\w+): .*" + _AT
_RETURNED = r"(?:.*: )?(\S[^:]*): expected (shape|dtype) (.*), got (.*)"
_NUMBER = r"(?<![\w.])[-+]?\d[\w.+-]*"


def cause(message: str) -> str:
    """Return what messages of the same cause have in common, "" for numbers that are off.

    That is the exception and the line that raised it, or the array and what is wrong with it.
    """
    if returned := re.fullmatch(_RETURNED, message, re.DOTALL):
        name, what, expected, got = returned.groups()
        name = "a gradient" if name.startswith("gradient of ") else name
        if what == "dtype":
            return f"{name} comes back in {got} for {expected} input"
        return f"{name} comes back in another shape than it should"
    if raised := re.match(_RAISED, message, re.DOTALL):
        return "{} at {}, line {}, in {}".format(*raised.groups())
    if re.match(r"\w*(Error|Exception|Interrupt|Warning|Exit|Crashed|Iteration)\b", message):
        sizes = re.sub(r"\[[\d, ]*\]|\([\d, ]*\)", "#", message)
        return re.sub(_NUMBER, "#", re.sub(r"(Double|Float|Half|BFloat16)Tensor", "Tensor", sizes))
    return ""
