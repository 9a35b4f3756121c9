"""The conclusion of a run: its exit code, and the reason for it in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .status import CONFORMS, COULD_NOT_RUN, DIFFERS, STATUSES, Outcome
from .verdict import Verdict

OF_PROBLEMS = ("kernel-output", "kernel-steps", "kernel-size", "kernel-calls")
"""Checks that a submission to a benchmark's problem must pass, even if it refuses a case."""

ESSENTIAL = ("forward", "gradient", *OF_PROBLEMS)
"""Checks that a subject must pass to conform; ``gradient`` only if it offers gradients."""

WITHOUT_EQUATIONS = ("derivative",)
"""The essential checks of a layer without equations: its gradients, if it offers any."""

WHERE_OFFERED = ("gradient", *WITHOUT_EQUATIONS)


@dataclass(frozen=True)
class Conclusion:
    """The exit code of a command, and the reason if it is not ``CONFORMS``, else ""."""

    code: int
    reason: str = ""

    @property
    def conforms(self) -> bool:
        """Whether everything that had to be shown was shown."""
        return self.code == CONFORMS


def conclusion(verdicts: Sequence[Verdict], chosen: Collection[str] = ()) -> Conclusion:
    """Return the conclusion of all verdicts; ``chosen`` are the checks that the user named, if any.

    A subject conforms if nothing is wrong or open, and each check that was chosen, or else each
    of ``ESSENTIAL``, passed in at least one dtype. A layer without equations conforms if all
    checks that could be judged passed.
    """
    outcomes = {v.status: STATUSES[v.status].outcome for v in verdicts}
    for outcome, code in ((Outcome.WRONG, DIFFERS), (Outcome.OPEN, COULD_NOT_RUN)):
        matching = [v for v in verdicts if outcomes[v.status] is outcome]
        if matching:
            return Conclusion(code, _counted(matching, len(verdicts)))
    reasons = [
        reason
        for subject in dict.fromkeys(v.subject for v in verdicts)
        for reason in _unjudged([v for v in verdicts if v.subject == subject], chosen)
    ]
    if not verdicts:
        reasons = ["nothing was run"]
    return Conclusion(COULD_NOT_RUN, "; ".join(reasons)) if reasons else Conclusion(CONFORMS)


def _counted(verdicts: Sequence[Verdict], total: int) -> str:
    """Return how many verdicts of each status there are, in words."""
    statuses = [v.status for v in verdicts]
    parts = [STATUSES[s].counted(statuses.count(s)) for s in STATUSES if s in statuses]
    return f"of {total} {'check' if total == 1 else 'checks'}, {', '.join(parts)}"


def _unjudged(verdicts: Sequence[Verdict], chosen: Collection[str]) -> Iterator[str]:
    """Yield the essential checks of one subject that were not judged, each with the reason."""
    subject = verdicts[0].subject
    essential = WITHOUT_EQUATIONS if verdicts[0].without_equations else ESSENTIAL
    for check in chosen or essential:
        about = [v for v in verdicts if v.check == check]
        if not about or any(v.compared for v in about):
            continue
        if check in WHERE_OFFERED and not chosen:
            continue  # it offers none
        yield f"{subject}: {check} was not judged: {about[0].message or about[0].status}"
    if not any(v.compared for v in verdicts):
        yield f"{subject}: nothing was judged"
