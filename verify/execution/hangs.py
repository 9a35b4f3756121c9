"""Shorter time limits for subjects that hang: that gave no answer in time."""

from __future__ import annotations

from ..runs.verdict import Verdict
from .isolation import Isolated
from .tasks import Named, Task, hung, in_vain

SHORTER = 6
"""The divisor of a task's time after its subject gave no answer in time."""


class Hangs:
    """The verdicts on each subject that gave no answer in time.

    After the first, a subject's other tasks have 1/``SHORTER`` of the time; after ``HANGS``, none
    is run.
    """

    def __init__(self) -> None:
        self.verdicts: dict[Named, list[Verdict]] = {}

    def hold(self, task: Task, isolated: Isolated, timeout: float) -> Verdict:
        """Return the verdict on a task, without running it if its subject has hung too often."""
        earlier = self.verdicts.setdefault(task.named, [])
        if reason := hung(earlier):
            return task.unanswered("not tested", reason)
        verdict = isolated.hold(task, timeout, share=1 / SHORTER if earlier else 1.0)
        if in_vain(verdict):
            earlier.append(verdict)
        return verdict
