"""Tasks on many workers: threads here, each with a process of its own, or a Dask cluster.

Anything with the ``concurrent.futures.Executor`` interface will do; a batch of tasks is a
function call with JSON values, so nothing of ours is pickled.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import msgspec

from ..runs.verdict import Verdict
from .isolation import Isolated
from .tasks import Description, Named, Task, hung, in_vain

BATCH = 8
"""Tasks sent to a cluster at a time, so that starting a process is paid once for several."""


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


def hold_batch(
    tasks: Sequence[dict[str, Any]], timeout: float, memory: int
) -> list[dict[str, Any]]:
    """Hold subjects in a process of this batch's own; runs on a cluster's workers."""
    isolated = Isolated(memory)
    try:
        late = Late()
        converted = (msgspec.convert(task, Task) for task in tasks)
        return [vars(late.hold(task, isolated, timeout)) for task in converted]
    finally:
        isolated.close()


def describe_one(named: dict[str, Any], timeout: float, memory: int) -> dict[str, Any]:
    """Describe a subject in a process of its own; runs on a cluster's workers."""
    isolated = Isolated(memory)
    try:
        return asdict(isolated.describe(Named(**named), timeout))
    finally:
        isolated.close()


class Elsewhere:
    """Tasks handed to an executor whose workers are somewhere else."""

    def __init__(self, executor: Executor, timeout: float, memory: int, batch: int = BATCH) -> None:
        self.executor, self.timeout, self.memory, self.batch = executor, timeout, memory, batch

    def describe(self, named: Named) -> Future[Description]:
        """Ask for a description."""
        asked = self.executor.submit(describe_one, vars(named), self.timeout, self.memory)
        return _then(asked, lambda one: msgspec.convert(one, Description))

    def hold(self, tasks: Sequence[Task]) -> Future[list[Verdict]]:
        """Ask for the verdicts of one batch."""
        batch = [asdict(task) for task in tasks]
        asked = self.executor.submit(hold_batch, batch, self.timeout, self.memory)
        return _then(asked, lambda found: [Verdict(**one) for one in found])


class Here:
    """Tasks on threads, each of which keeps one worker process.

    A thread takes the first task of a subject that no other thread runs, if there is one: a layer
    that hangs then holds up one thread, and each process imports few subjects.
    """

    batch = 1

    def __init__(self, jobs: int, timeout: float, memory: int, hidden: Sequence[str] = ()) -> None:
        self.timeout, self.memory, self.hidden = timeout, memory, hidden
        self.threads = ThreadPoolExecutor(jobs)
        self._own, self._late = threading.local(), Late()
        self._all: list[Isolated] = []
        self._lock = threading.Lock()
        self._waiting: list[tuple[Task, float, Future[list[Verdict]]]] = []
        self._running: Counter[Named] = Counter()

    def describe(self, named: Named) -> Future[Description]:
        """Ask for a description."""
        return self.threads.submit(lambda: self._isolated().describe(named, self.timeout))

    def hold(self, tasks: Sequence[Task], timeout: float | None = None) -> Future[list[Verdict]]:
        """Ask for the verdict on one task."""
        (task,) = tasks
        future: Future[list[Verdict]] = Future()
        with self._lock:
            self._waiting.append((task, timeout or self.timeout, future))
        self.threads.submit(self._hold_next)
        return future

    def _hold_next(self) -> None:
        with self._lock:
            free = (k for k, (t, *_) in enumerate(self._waiting) if not self._running[t.named])
            task, timeout, future = self._waiting.pop(next(free, 0))
            self._running[task.named] += 1
        try:
            future.set_result([self._late.hold(task, self._isolated(), timeout)])
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self._lock:
                self._running[task.named] -= 1

    def close(self) -> None:
        """End every process; nothing is left behind."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for isolated in self._all:
            isolated.close()
        self.threads.shutdown(wait=True)
        for isolated in self._all:  # a thread may have started one more in between
            isolated.close()

    def _isolated(self) -> Isolated:
        if not hasattr(self._own, "isolated"):
            self._own.isolated = Isolated(self.memory, hidden=self.hidden)
            self._all.append(self._own.isolated)
        isolated: Isolated = self._own.isolated
        return isolated


@contextmanager
def workers(
    *,
    jobs: int,
    timeout: float,
    memory: int,
    executor: Executor | str | None = None,
    hidden: Sequence[str] = (),
) -> Iterator[Here | Elsewhere]:
    """Yield what tasks are handed to: processes here, an executor, or a Dask cluster's address.

    Subjects do not see ``hidden`` folders, where the system can hide them, and are here.
    """
    if executor is None:
        here = Here(jobs, timeout, memory, hidden)
        try:
            yield here
        finally:
            here.close()
    elif isinstance(executor, str):
        with _dask(executor) as client:
            yield Elsewhere(client.get_executor(pure=False, retries=2), timeout, memory)
    else:
        yield Elsewhere(executor, timeout, memory)


@contextmanager
def _dask(address: str) -> Iterator[Any]:
    try:
        import distributed
    except ImportError as error:
        raise ValueError(
            "--executor needs Dask; install it with: pip install 'dask[distributed]'"
        ) from error
    try:
        connect: Callable[..., Any] = distributed.Client
        client = connect(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise ValueError(f"--executor {address}: no scheduler answers there ({error})") from error
    try:
        yield client
    finally:
        client.close()


def _then(asked: Future[Any], convert: Callable[[Any], Any]) -> Future[Any]:
    """Return a future of the converted result."""
    converted: Future[Any] = Future()

    def finish(done: Future[Any]) -> None:
        error = done.exception()
        if error is not None:
            converted.set_exception(error)
        else:
            converted.set_result(convert(done.result()))

    asked.add_done_callback(finish)
    return converted
