"""What a run says as a whole: the exit code, and the reason for it in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .status import CONFORMS, COULD_NOT_RUN, DIFFERS, STATUSES, Outcome
from .verdict import Verdict

OF_PROBLEMS = ("kernel-output", "kernel-steps", "kernel-size", "kernel-calls")
"""Those of a submission to a benchmark's problem: it may refuse a case, but none of these."""

ESSENTIAL = ("forward", "gradient", *OF_PROBLEMS)
"""Checks without which nothing is shown; ``gradient`` only of a subject that offers gradients."""

WITHOUT_EQUATIONS = ("derivative",)
"""The same of a layer that has no equations: its gradients, where it offers any."""

WHERE_OFFERED = ("gradient", *WITHOUT_EQUATIONS)


@dataclass(frozen=True)
class Conclusion:
    """What a command ends with: its exit code, and why that is not ``CONFORMS``, "" if it is."""

    code: int
    reason: str = ""

    @property
    def conforms(self) -> bool:
        """Whether everything that had to be shown was shown."""
        return self.code == CONFORMS


def conclusion(verdicts: Sequence[Verdict], chosen: Collection[str] = ()) -> Conclusion:
    """Return what verdicts say together; ``chosen`` are the checks that the user named, if any.

    A subject conforms if nothing is wrong or open, and each check that was chosen, or else each
    of ``ESSENTIAL``, passed in at least one dtype. What was not judged shows nothing. A layer
    without equations conforms if what could be judged passed.
    """
    outcomes = {v.status: STATUSES[v.status].outcome for v in verdicts}
    for outcome, code in ((Outcome.WRONG, DIFFERS), (Outcome.OPEN, COULD_NOT_RUN)):
        there = [v for v in verdicts if outcomes[v.status] is outcome]
        if there:
            return Conclusion(code, _counted(there, len(verdicts)))
    reasons = [
        reason
        for subject in dict.fromkeys(v.subject for v in verdicts)
        for reason in _unjudged([v for v in verdicts if v.subject == subject], chosen)
    ]
    if not verdicts:
        reasons = ["nothing was run"]
    return Conclusion(COULD_NOT_RUN, "; ".join(reasons)) if reasons else Conclusion(CONFORMS)


def _counted(there: Sequence[Verdict], total: int) -> str:
    """Return how many verdicts of each status there are, in words."""
    statuses = [v.status for v in there]
    parts = [STATUSES[s].counted(statuses.count(s)) for s in STATUSES if s in statuses]
    return f"of {total} {'check' if total == 1 else 'checks'}, {', '.join(parts)}"


def _unjudged(verdicts: Sequence[Verdict], chosen: Collection[str]) -> Iterator[str]:
    """Yield what of one subject had to be shown, and was not."""
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
