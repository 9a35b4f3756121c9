"""A cluster may go away, have another gatewise, or a layer that ends whoever has started it."""

from concurrent.futures import Future
from dataclasses import asdict

import pytest

from commands import invoke
from gatewise.verify.execution import executors, session
from gatewise.verify.execution.batch import describe_one, hold_batch
from gatewise.verify.execution.executors import ClusterLost, Watch
from gatewise.verify.execution.sandbox import IN_FORCE
from gatewise.verify.execution.tasks import Named, Task
from pools import Pool, install

KILLS = """
import os, signal, sys
sys.path.insert(0, {doubles!r})
import plain_numpy

calls = []


class L(plain_numpy.LSTM):
    def forward(self, params, x, state, lengths=None):
        calls.append(x)
        if len(calls) > {after}:
            os.kill(os.getppid(), signal.SIGKILL)
        return super().forward(params, x, state, lengths)
"""


class Client:
    """What of Dask's client is asked."""

    status = "running"

    def __init__(self, workers=("a",), answers=()):
        self.workers, self.answers = workers, dict(answers)

    def wait_for_workers(self, n_workers, timeout):
        if not self.workers:
            raise TimeoutError

    def run(self, function, *arguments, on_error):
        return self.answers

    def scheduler_info(self, n_workers):
        return {"workers": dict.fromkeys(self.workers)}


def test_a_cluster_that_goes_away(monkeypatch):
    client, now = Client(), [0.0]
    monkeypatch.setattr(executors.time, "monotonic", lambda: now[0])
    watch = Watch(client)
    now[0] = 1000.0
    assert watch.lost() == ""
    client.workers = ()
    now[0] += executors.PATIENCE - 1
    assert watch.lost() == "", "a worker may come back"
    now[0] += 2
    assert watch.lost() == "the cluster has had no worker for 20 s"
    client.workers, client.status = ("a",), "closed"
    assert "the scheduler of the cluster has gone" in watch.lost()


@pytest.mark.parametrize(("client", "words"), [
    (Client(workers=()), "the scheduler has no worker"),
    (Client(answers={"tcp://w": ModuleNotFoundError("gatewise")}), "tcp://w has no gatewise"),
    (Client(answers={"tcp://w": "0.0.1"}), "tcp://w has gatewise 0.0.1, and here is"),
])  # fmt: skip
def test_workers_that_cannot_work(client, words):
    with pytest.raises(ValueError, match=words):
        executors._require_gatewise(client, "tcp://s")


def test_workers_that_can():
    own = executors.version("gatewise")
    executors._require_gatewise(Client(answers={"tcp://w": own}), "tcp://s")


class KilledWorker(Exception):
    """What Dask raises where a task ended several workers."""


def failing(error):
    future = Future()
    future.set_exception(error)
    return future


def cancelled():
    future = Future()
    future.cancel()
    future.set_running_or_notify_cancel()
    return future


@pytest.mark.parametrize(("asked", "kind"), [
    (cancelled(), ClusterLost), (failing(KilledWorker("a")), ClusterLost),
    (failing(RuntimeError("b")), RuntimeError),
])  # fmt: skip
def test_every_end_of_a_task_is_an_end(asked, kind):
    assert type(executors._then(asked, list).exception(timeout=1)) is kind


def test_an_answer_that_cannot_be_read_is_an_end():
    asked = Future()
    asked.set_result(3)
    assert isinstance(executors._then(asked, list).exception(timeout=1), TypeError)


def test_what_was_finished_is_kept(monkeypatch, here):
    pool = install(monkeypatch, Pool())
    real, count = pool.hold, []

    def hold(tasks):
        count.append(tasks)
        return real(tasks) if len(count) == 1 else Future()

    monkeypatch.setattr(pool, "hold", hold)
    monkeypatch.setattr(pool, "lost", lambda: "the cluster has gone")
    monkeypatch.setattr(session, "LOOK", 0.01)
    result = invoke("verify torch:LSTM --check smoke,forward --dtype float64")

    assert result.exit_code == 3
    assert "the cluster has gone; finished verdicts are kept; go on with: gatewise" in result.output
    (path,) = here.glob("runs/*/verdicts.jsonl")
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize("after", [0, 3])
def test_a_layer_that_ends_its_parent(tmp_path, root, after):
    """It has crashed, or has not reached it; the others are held, and who asked is still here.

    In a namespace of its own its parent is one that it cannot end.
    """
    path = tmp_path / "kills.py"
    path.write_text(KILLS.format(doubles=str(root / "tests" / "doubles"), after=after))
    right = f"{root}/tests/doubles/plain_numpy.py:GRU"
    tasks = [
        asdict(Task(Named(name), "forward", "float64", "quick", 0, shrink=False))
        for name in (right, f"{path}:L", right)
    ]

    first, ends, last = hold_batch(tasks, 60.0, 0)
    assert (first["status"], last["status"]) == ("passed", "passed")
    ended = "crashed" if ends["isolation"] != IN_FORCE else "passed"
    assert ends["status"] == ended
    assert describe_one({"name": f"{path}:L"}, 60.0, 0)["problem"] == "" or ended == "crashed"
