"""Subjects that gave no answer in time are waited for less, and then not at all."""

from __future__ import annotations

from ..runs.verdict import Verdict
from .isolation import Isolated
from .tasks import Named, Task, hung, in_vain

SHORTER = 6
"""What the time of a task is divided by once its subject has given no answer in time."""


class Late:
    """Verdicts of subjects that gave no answer in time.

    After the first, a subject's other tasks have a ``SHORTER``-th of the time; after ``HANGS``,
    none is run.
    """

    def __init__(self) -> None:
        self.verdicts: dict[Named, list[Verdict]] = {}

    def hold(self, task: Task, isolated: Isolated, timeout: float) -> Verdict:
        """Hold a subject to a task, unless it has hung too often."""
        late = self.verdicts.setdefault(task.named, [])
        if reason := hung(late):
            return task.unanswered("not tested", reason)
        verdict = isolated.hold(task, timeout, share=1 / SHORTER if late else 1.0)
        if in_vain(verdict):
            late.append(verdict)
        return verdict
