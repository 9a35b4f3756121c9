"""Runs on other executors: threads from Python, and a Dask cluster that loses a worker."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest

from commands import invoke, refused
from gatewise.verify.execution import executors, session
from gatewise.verify.execution.isolation import Isolated
from gatewise.verify.execution.late import Late
from gatewise.verify.execution.tasks import Named, Task
from gatewise.verify.runs import run as run_files
from judgements import verdict_is
from processes import Mark, needs_proc

CHECKS = "smoke,forward,gradient,batch-single,padding"
TIMES = ("seconds", "subject_seconds", "oracle_seconds")


def told(folder):
    """Every verdict by what it is about, without the times; none is missing or twice there."""
    run = run_files.read(folder)
    assert run.untested == ()
    assert len(run.verdicts) == len(run.planned)
    verdicts = {(v.subject, v.check, v.dtype): asdict(v) for v in run.verdicts}
    return {k: {n: x for n, x in v.items() if n not in TIMES} for k, v in verdicts.items()}


@pytest.fixture(scope="module")
def request_(root):
    """A right and a wrong subject."""
    names = [f"{root}/tests/doubles/faulty.py:{name}" for name in ("Slow", "Raises")]
    return session.Request.parse(names, checks=CHECKS.split(","), budget="quick", seed=5)


@pytest.fixture(scope="module")
def local(request_, tmp_path_factory):
    """The verdicts of a run in processes of this machine."""
    folder = tmp_path_factory.mktemp("local") / "run"
    for _ in session.run(request_, folder, command="test"):
        pass
    return told(folder)


def test_any_executor_will_do(request_, local, tmp_path):
    """Threads of the standard library; every batch has a process of its own."""
    with ThreadPoolExecutor(2) as executor:
        for _ in session.run(request_, tmp_path / "run", command="test", executor=executor):
            pass

    assert told(tmp_path / "run") == local
    assert {v["status"] for v in local.values()} == {"passed", "crashed"}


def test_an_executors_own_failure_is_not_a_verdict(request_, tmp_path):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown"):
        list(session.run(request_, tmp_path / "run", command="test", executor=executor))
    assert not (tmp_path / "run").exists()


class Cluster:
    """A scheduler and two workers on this machine, as separate commands."""

    def __init__(self, folder, mark):
        self.folder, self.mark = folder, mark
        self.file = folder / "scheduler.json"
        given = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show")
        self.processes = [self.start("scheduler", *given)]
        deadline = time.monotonic() + 120
        while not self.file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.workers = [
            self.start("worker", "--no-nanny", "--nthreads", "1", "--no-dashboard", "--host",
                       "127.0.0.1", "--local-directory", str(folder / f"worker {k}"))
            for k in range(2)
        ]  # fmt: skip
        self.processes += self.workers

    def start(self, what, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        return subprocess.Popen([*command, "--scheduler-file", str(self.file)], cwd=self.folder,
                                env=self.mark.environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)  # fmt: skip

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("distributed")
    mark = Mark()
    cluster = Cluster(tmp_path, mark)
    yield cluster
    cluster.end()
    assert mark.left_behind() == []


@needs_proc
def test_a_cluster_that_loses_a_worker(request_, local, tmp_path, cluster):
    address = json.loads(cluster.file.read_text())["address"]
    command = [sys.executable, "-m", "gatewise", "verify", *request_.subjects, "--check", CHECKS,
               "--budget", "quick", "--seed", "5", "--no-diagnosis",
               "--executor", address]  # fmt: skip
    process = subprocess.Popen(command, cwd=tmp_path, env=cluster.mark.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    deadline, killed = time.monotonic() + 240, False
    while process.poll() is None and not killed and time.monotonic() < deadline:
        busy = [
            command
            for command in cluster.mark.alive()
            if "gatewise.verify.execution.worker" in command
        ]
        written = list(tmp_path.glob("runs/*/verdicts.jsonl"))
        if written and len(busy) == 2:  # both workers are at something
            cluster.workers[0].kill()
            killed = True
        time.sleep(0.02)
    output, _ = process.communicate(timeout=240)
    (folder,) = (tmp_path / "runs").iterdir()

    assert killed, "the run ended before a worker was killed"
    assert process.returncode == 1, output.decode()
    assert told(folder) == local


def verify(*arguments):
    return invoke("verify torch:RNN", *arguments)


def test_no_scheduler_is_a_usage_error(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: real(address, timeout="1s"))
    monkeypatch.chdir(tmp_path)
    result = verify("--executor", "tcp://127.0.0.1:1")

    refused(result, 2, "--executor tcp://127.0.0.1:1: no scheduler answers there")


def test_without_dask_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(verify("--executor", "tcp://127.0.0.1:1"), 2, "pip install 'dask[distributed]'")


def test_threads_prefer_subjects_that_no_other_runs(monkeypatch):
    """A layer that hangs holds up one thread; the other does everything else meanwhile."""
    order, hanging = [], threading.Event()

    def hold(isolated, task, timeout, share=1.0):
        if task.named.name == "hangs" and not order:
            order.append("hangs")
            hanging.wait(30)
        else:
            order.append(task.named.name)
            if order.count("right") == 4:
                hanging.set()
        return task.unanswered("passed", "")

    monkeypatch.setattr(Isolated, "hold", hold)
    pool = executors.Here(2, 1.0, 0)
    begun = threading.Event()
    for _ in range(2):  # both threads wait until all tasks are there
        pool.threads.submit(begun.wait)
    names = ["hangs"] * 3 + ["right"] * 4
    futures = [pool.hold([Task(Named(name), "forward", "float64", "quick", 0)]) for name in names]
    begun.set()
    for future in futures:
        future.result(60)
    pool.close()

    assert order == ["hangs", *["right"] * 4, "hangs", "hangs"]


@pytest.mark.parametrize("status", ["timeout", "not tested"])
def test_what_hung_has_less_time_and_is_then_not_run(status):
    """The first wait is whole, the next two are a sixth of it, and there is no fourth.

    So it is where the machine gave it no time.
    """
    shares = []

    class Silent:
        def hold(self, task, timeout, share=1.0):
            shares.append(share)
            return task.unanswered(status, "no answer after 60.0 s")

    late = Late()
    task = Task(Named("a:B"), "forward", "float64", "quick", 0)
    verdicts = [late.hold(task, Silent(), 60.0) for _ in range(5)]

    assert shares == [1.0, 1 / 6, 1 / 6]
    assert [v.status for v in verdicts] == [status] * 3 + ["not tested"] * 2
    assert verdicts[3].message.startswith("no answer came in 3 checks, forward (float64), ")
    verdict_is(late.hold(replace(task, named=Named("a:C")), Silent(), 60.0), status)
    assert shares[-1] == 1.0
