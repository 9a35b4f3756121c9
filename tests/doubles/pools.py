"""Workers that answer at once, in this process, whatever they are asked."""

from concurrent.futures import Future
from contextlib import contextmanager

from gatewise.verify.execution import session
from gatewise.verify.execution.tasks import Description


def done(value):
    future = Future()
    future.set_result(value)
    return future


class Pool:
    """Answers at once, and keeps what it was asked.

    ``status`` is the smoke check's, ``other`` that of the others; ``on_hold`` is called before each
    answer, ``change`` with each verdict.
    """

    batch = 1

    def __init__(
        self,
        status="passed",
        dtypes=("float64", "float32"),
        other="passed",
        on_hold=lambda: None,
        change=lambda verdict: None,
    ):
        self.status, self.dtypes, self.other, self.asked = status, dtypes, other, []
        self.on_hold, self.change = on_hold, change

    def lost(self):
        return ""

    def describe(self, named):
        return done(Description(named, ("lstm",), self.dtypes, version="1.0"))

    def hold(self, tasks):
        self.asked += tasks
        self.on_hold()
        status = self.other if tasks[0].check != "smoke" else self.status
        verdicts = [task.unanswered(status, "") for task in tasks]
        for verdict in verdicts:
            self.change(verdict)
        return done(verdicts)


def install(monkeypatch, pool):
    """Let every session of this process hand its tasks to a pool."""

    @contextmanager
    def workers(**_):
        yield pool

    monkeypatch.setattr(session, "workers", workers)
    return pool
