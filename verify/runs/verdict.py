"""The verdict: the outcome of one check of one subject in one dtype."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import msgspec

from .status import STATUSES, Outcome

PARAMETERS = "; its parameters: "
"""Separates a version from the meaning of parameters that have names of their own."""

UNSHARP = "no bound is sharp enough to fail at "
"""Beginning of the message about sizes at which no bound is sharp."""

NO_EQUATIONS, OWN_EQUATIONS = "none", "own:"
"""Values of ``cell`` for no equations, and for the user's own, whose name follows."""

SHARED = "none: "
"""Beginning of ``isolation`` if the subject shares its judge's process; the reason follows."""


@dataclass(frozen=True)
class Planned:
    """One check of one subject in one dtype."""

    subject: str
    check: str
    dtype: str


@dataclass
class Verdict:
    """The outcome of one check of one subject in one dtype.

    ``status`` is one of ``STATUSES``; only ``passed`` says that the check holds.
    ``worst_ratio`` is the largest error in units of its bound over all cases;
    ``equations`` are those that the drawn cases use, or could use if none was drawn; ``place`` is
    the first wrong entry in words; ``case`` is the failing case, simplified, ``drawn`` the first
    that failed, as it was drawn; ``script`` is a program that shows the failure without gatewise;
    ``arithmetic`` is the finest whose bounds hold all results; ``ran`` lists the kernels that ran,
    by the profiler's names, ``lacking`` those that should have run and did not; ``isolation`` says
    how the subject was kept apart from its judge; ``plan`` is the digest of its run's plan, ""
    outside of a run.
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
        """The reason why the subject is not independent of its judge, "" if it is."""
        return self.isolation.removeprefix(SHARED) if self.isolation.startswith(SHARED) else ""

    @property
    def planned(self) -> Planned:
        """Its subject, check and dtype."""
        return Planned(self.subject, self.check, self.dtype)

    @property
    def wrong(self) -> bool:
        """Whether it shows that the subject does not conform."""
        return STATUSES[self.status].outcome is Outcome.WRONG

    @property
    def open(self) -> bool:
        """Whether it shows neither that the check holds nor that it fails."""
        return STATUSES[self.status].outcome is Outcome.OPEN

    @property
    def cause(self) -> str:
        """The text that failures of one cause share, see ``cause``; "" unless ``wrong``."""
        return cause(self.message) if self.wrong else ""

    @property
    def without_equations(self) -> bool:
        """Whether the subject has no equations."""
        return self.cell == NO_EQUATIONS

    @property
    def compared(self) -> bool:
        """Whether the subject ran and its results were compared."""
        return STATUSES[self.status].compared


_AT = r"\(([^()]+), line (\d+), in ([^()]+)\)$"
_RAISED = r"(\w+): .*" + _AT
_RETURNED = r"(?:.*: )?(\S[^:]*): expected (shape|dtype) (.*), got (.*)"
_PARAMETER = r"parameters?( \S+)?: .*"
_NUMBER = r"(?<![\w.])[-+]?\d[\w.+-]*"


OTHER_PARAMETERS = "it makes other parameters than it should"
"""The cause of a layer whose constructor ignores an option."""


def cause(message: str) -> str:
    """Return the part that messages of one cause share, "" for a wrong number.

    It names the exception and the line that raised it, or the array and its wrong shape or dtype.
    """
    if returned := re.fullmatch(_RETURNED, message, re.DOTALL):
        name, attribute, expected, got = returned.groups()
        name = "a gradient" if name.startswith("gradient of ") else name
        if attribute == "dtype":
            return f"{name} comes back in {got} for {expected} input"
        return f"{name} comes back in another shape than it should"
    if re.fullmatch(_PARAMETER, message):
        return OTHER_PARAMETERS
    if raised := re.match(_RAISED, message, re.DOTALL):
        return "{} at {}, line {}, in {}".format(*raised.groups())
    if re.match(r"\w*(Error|Exception|Interrupt|Warning|Exit|Crashed|Iteration)\b", message):
        sizes = re.sub(r"\[[\d, ]*\]|\([\d, ]*\)", "#", message)
        return re.sub(_NUMBER, "#", re.sub(r"(Double|Float|Half|BFloat16)Tensor", "Tensor", sizes))
    return ""
