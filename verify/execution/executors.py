"""Execution of tasks by workers: threads, each with a process of its own, or a Dask cluster.

Any executor with the ``concurrent.futures.Executor`` interface will do. A batch of tasks is a
function call with JSON values, so no objects of gatewise are pickled.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from ..runs.verdict import Verdict
from .batch import describe_one, hold_batch
from .hangs import Hangs
from .isolation import Isolated
from .tasks import Description, Named, Task

BATCH = 8
"""The number of tasks in a batch for a cluster, which share the start of a process."""


PATIENCE = 20.0
"""The seconds that a cluster may be without workers."""


class ClusterLost(RuntimeError):
    """No worker runs the tasks any more; the message says why."""


class Elsewhere:
    """Tasks submitted to an executor with workers elsewhere.

    ``lost`` returns the reason why no worker runs them any more, "" otherwise.
    """

    def __init__(
        self,
        executor: Executor,
        timeout: float,
        memory: int,
        batch: int = BATCH,
        lost: Callable[[], str] = lambda: "",
    ) -> None:
        self.executor, self.timeout, self.memory, self.batch = executor, timeout, memory, batch
        self.lost = lost

    def describe(self, named: Named) -> Future[Description]:
        """Submit the description of a subject."""
        future = self.executor.submit(describe_one, vars(named), self.timeout, self.memory)
        return _then(future, lambda fields: msgspec.convert(fields, Description))

    def hold(self, tasks: Sequence[Task]) -> Future[list[Verdict]]:
        """Submit one batch, for its verdicts."""
        batch = [asdict(task) for task in tasks]
        future = self.executor.submit(hold_batch, batch, self.timeout, self.memory)
        return _then(future, lambda verdicts: [Verdict(**fields) for fields in verdicts])


class Waiting(NamedTuple):
    """A task that waits for a thread, with its time limit in seconds and its future verdict."""

    task: Task
    timeout: float
    future: Future[list[Verdict]]


class Here:
    """Tasks on threads, each of which keeps one worker process.

    A thread prefers the first task of a subject that no other thread runs, so that a layer that
    hangs blocks one thread; among those, one of the subject that its process has imported.
    Whoever adds several tasks takes the ``lock``, so that no thread starts before all are there.
    """

    batch = 1

    @staticmethod
    def lost() -> str:
        """Return "": the threads live as long as this process."""
        return ""

    def __init__(self, jobs: int, timeout: float, memory: int, hidden: Sequence[str] = ()) -> None:
        self.timeout, self.memory, self.hidden = timeout, memory, hidden
        self.threads = ThreadPoolExecutor(jobs)
        self._own, self._hangs = threading.local(), Hangs()
        self._all: list[Isolated] = []
        self.lock = threading.RLock()
        self._waiting: dict[Named, deque[Waiting]] = {}
        self._running: Counter[Named] = Counter()
        self._imported: dict[int, Named] = {}

    def describe(self, named: Named) -> Future[Description]:
        """Submit the description of a subject."""
        return self.threads.submit(lambda: self._isolated(named).describe(named, self.timeout))

    def hold(
        self,
        tasks: Sequence[Task],
        timeout: float | None = None,
        after: Future[list[Verdict]] | None = None,
    ) -> Future[list[Verdict]]:
        """Submit one task, for its verdict.

        It waits for the verdict of ``after``: unless that was compared, the subject is not run.
        """
        (task,) = tasks
        waiting = Waiting(task, timeout or self.timeout, Future())

        def begin(first: Future[list[Verdict]]) -> None:
            if first.exception() is None and all(v.compared for v in first.result()):
                self._add(waiting)
            else:
                waiting.future.set_result([task.unanswered("not tested", "")])

        if after is None:
            self._add(waiting)
        else:
            after.add_done_callback(begin)  # by the thread that has run it, before it goes on
        return waiting.future

    def _add(self, waiting: Waiting) -> None:
        with self.lock:
            self._waiting.setdefault(waiting.task.named, deque()).append(waiting)
        with suppress(RuntimeError):  # it is closed, and nobody waits any more
            self.threads.submit(self._hold_next)

    def _hold_next(self) -> None:
        with self.lock:
            named = min(self._waiting, key=self._reluctance)
            task, timeout, future = self._waiting[named].popleft()
            if not self._waiting[named]:
                del self._waiting[named]
            self._running[named] += 1
        try:
            future.set_result([self._hangs.hold(task, self._isolated(named), timeout)])
        except BaseException as error:
            future.set_exception(error)
        finally:
            with self.lock:
                self._running[named] -= 1

    def _reluctance(self, named: Named) -> tuple[bool, bool, bool]:
        """Return a key that sorts the subjects for this thread, the best to run first.

        Worst is one that another thread runs, then one that this thread's process has not imported,
        then one that another process has.
        """
        own = self._imported.get(threading.get_ident())
        return self._running[named] > 0, named != own, named in self._imported.values()

    def close(self) -> None:
        """End all processes and threads."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for isolated in self._all:
            isolated.close()
        self.threads.shutdown(wait=True)
        for isolated in self._all:  # a thread may have started another meanwhile
            isolated.close()

    def _isolated(self, named: Named) -> Isolated:
        self._imported[threading.get_ident()] = named
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
    """Yield the workers: local processes, an executor's, or those at a Dask cluster's address.

    Local subjects do not see ``hidden`` folders, if the system can hide them.
    """
    if executor is None:
        here = Here(jobs, timeout, memory, hidden)
        try:
            yield here
        finally:
            here.close()
    elif isinstance(executor, str):
        with _dask(executor) as client:
            tasks = client.get_executor(pure=False, retries=2)
            yield Elsewhere(tasks, timeout, memory, lost=Watch(client).lost)
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
        _require_gatewise(client, address)
        yield client
    finally:
        client.close(timeout=PATIENCE)


def _require_gatewise(client: Any, address: str) -> None:
    """Raise ValueError unless there are workers, and all have the local version of gatewise."""
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise ValueError(f"--executor {address}: the scheduler has no worker") from error
    own = version("gatewise")
    for worker, answer in client.run(version, "gatewise", on_error="return").items():
        if answer != own:
            there = f"gatewise {answer}" if isinstance(answer, str) else "no gatewise"
            raise ValueError(f"--executor {address}: its worker {worker} has {there}, and here is "
                             f"{own}: install that one there")  # fmt: skip


class Watch:
    """A watch on a cluster's scheduler and on how long it has had no worker."""

    def __init__(self, client: Any) -> None:
        self.client, self.since = client, time.monotonic()

    def lost(self) -> str:
        """Return the reason why no worker runs tasks any more, "" while one does or may."""
        if self.client.status != "running":
            return "the scheduler of the cluster has gone"
        if self.client.scheduler_info(n_workers=-1).get("workers"):
            self.since = time.monotonic()
        if time.monotonic() - self.since > PATIENCE:
            return f"the cluster has had no worker for {PATIENCE:.0f} s"
        return ""


def _then(future: Future[Any], convert: Callable[[Any], Any]) -> Future[Any]:
    """Return a future of the converted result."""
    converted: Future[Any] = Future()

    def finish(done: Future[Any]) -> None:
        try:
            converted.set_result(convert(done.result()))
        except CancelledError:
            converted.set_exception(ClusterLost("the cluster gave its tasks up"))
        except Exception as error:
            if type(error).__name__ == "KilledWorker":  # Dask's, which need not be installed
                error = ClusterLost(f"the workers of the cluster died: {error}")
            converted.set_exception(error)

    future.add_done_callback(finish)
    return converted
