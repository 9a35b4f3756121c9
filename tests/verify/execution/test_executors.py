"""Runs on other executors: threads from Python, and a Dask cluster that loses a worker."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from commands import invoke, refused
from gatewise.verify.execution import executors, session
from gatewise.verify.execution.hangs import Hangs
from gatewise.verify.execution.isolation import Isolated
from gatewise.verify.execution.tasks import Description, Named, Task
from gatewise.verify.runs import run as run_files
from judgements import told, verdict_is
from processes import Mark, needs_proc

CHECKS = "smoke,forward,gradient,batch-single,padding"


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


def test_no_scheduler_is_a_usage_error(here, monkeypatch):
    distributed = pytest.importorskip("distributed")
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: real(address, timeout="1s"))
    result = verify("--executor", "tcp://127.0.0.1:1")

    refused(result, 2, "--executor tcp://127.0.0.1:1: no scheduler answers there")


def test_without_dask_it_says_what_to_install(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused(verify("--executor", "tcp://127.0.0.1:1"), 2, "pip install 'dask[distributed]'")


def task_of(name, check):
    return Task(Named(name), check, "float64", "quick", 0)


class Layers:
    """Layers whose processes are made up: what these are asked, and what they answer when."""

    def __init__(self, monkeypatch, **smoke):
        """``smoke``: the status of a layer's smoke check, by its name; the others pass."""
        self.smoke, self.asked, self.closed = smoke, [], threading.Event()
        self.before = lambda task: None
        monkeypatch.setattr(Isolated, "describe", self.describe)
        monkeypatch.setattr(Isolated, "hold", lambda *given, share=1.0: self.hold(*given))
        monkeypatch.setattr(Isolated, "close", lambda _: self.closed.set())

    def describe(self, named, timeout):
        self.asked.append((named.name, ""))
        return Description(named, ("lstm",))

    def hold(self, isolated, task, timeout):
        self.asked.append((task.named.name, task.check))
        self.before(task)
        smoke = task.check == "smoke"
        return task.unanswered(self.smoke.get(task.named.name, "passed") if smoke else "passed", "")

    def run(self, folder, *names, jobs=1):
        request = session.Request(names, checks=("smoke", "forward", "final"), dtype="float64")
        return session.run(request, folder, command="test", jobs=jobs)


REST = ("final", "forward")
"""What is asked after the smoke check, in that order."""


def test_a_layer_is_held_by_the_process_that_has_imported_it(monkeypatch, tmp_path):
    """The last that was described goes on at once; every other one is imported once more."""
    layers = Layers(monkeypatch)
    list(layers.run(tmp_path, "a", "b", "c"))

    assert layers.asked == [
        ("a", ""), ("b", ""), ("c", ""),
        *((name, check) for name in "cba" for check in ("smoke", *REST)),
    ]  # fmt: skip


def test_threads_keep_their_layers(monkeypatch):
    """Each of four has imported one; what none has goes to those that have nothing to do."""
    held, four = {}, threading.Barrier(4)

    def describe(isolated, named, timeout):
        four.wait(30)
        held[isolated] = [named.name]
        return Description(named)

    def hold(isolated, task, timeout, share=1.0):
        four.wait(30)
        held[isolated].append(task.named.name)
        return task.unanswered("passed", "")

    monkeypatch.setattr(Isolated, "describe", describe)
    monkeypatch.setattr(Isolated, "hold", hold)
    pool = executors.Here(4, 1.0, 0)
    for future in [pool.describe(Named(name)) for name in "abcd"]:
        future.result(60)
    for names in ("aefb", "abcd"):
        with pool.lock:
            futures = [pool.hold([task_of(name, "forward")]) for name in names]
        for future in futures:
            future.result(60)
    pool.close()

    assert ["a"] * 3 in held.values()
    assert ["b"] * 3 in held.values()


@pytest.mark.parametrize("status", ["crashed", "timeout", "not tested", "not supported", "blind"])
def test_what_does_not_run_is_not_asked_the_rest(monkeypatch, tmp_path, status):
    layers = Layers(monkeypatch, a=status)
    verdicts = list(layers.run(tmp_path, "a", "b"))

    assert [check for name, check in layers.asked if name == "a"] == ["", "smoke"]
    assert [check for name, check in layers.asked if name == "b"] == ["", "smoke", *REST]
    rest = [v for v in verdicts if v.subject == "a" and v.check != "smoke"]
    assert {(v.status, v.message) for v in rest} == {("not tested", f"its smoke check: {status}")}
    assert len(verdicts) == 6


def test_a_layer_that_fails_its_smoke_check_is_held_to_all(monkeypatch, tmp_path):
    layers = Layers(monkeypatch, a="failed")
    list(layers.run(tmp_path, "a"))

    assert [check for _, check in layers.asked] == ["", "smoke", *REST]


def test_a_smoke_check_that_is_no_verdict_is_not_followed(monkeypatch, tmp_path):
    """Whoever gave it that is taken for a layer that has crashed: so are its other answers."""
    layers = Layers(monkeypatch)
    monkeypatch.setattr(Layers, "hold", lambda _, isolated, task, timeout: replace(
        task.unanswered("passed", ""), cases=-(task.check == "smoke")))  # fmt: skip
    statuses = {v.check: v.status for v in layers.run(tmp_path, "a")}

    assert statuses == {"smoke": "crashed"} | dict.fromkeys(REST, "not tested")


@pytest.mark.parametrize("check", ["smoke", *REST])
def test_a_layer_that_hangs_holds_up_one_thread(monkeypatch, tmp_path, check):
    """The other does all else meanwhile, smoke checks and what comes after them."""
    layers, others = Layers(monkeypatch), threading.Event()

    def before(task):
        if (task.named.name, task.check) == ("hangs", check):
            assert others.wait(30), "the others waited for it"
        elif len([name for name, check in layers.asked if check and name != "hangs"]) == 6:
            others.set()

    layers.before = before
    verdicts = list(layers.run(tmp_path, "a", "b", "hangs", jobs=2))

    assert {v.status for v in verdicts} == {"passed"}
    assert len(verdicts) == 9


def test_a_thread_leaves_a_layer_that_another_runs(monkeypatch):
    """Both run one; who has done with it takes another before it goes on with that."""
    layers, both = Layers(monkeypatch), threading.Barrier(3)
    added, last = threading.Event(), threading.Event()

    def before(task):
        if task.check in ("forward", "final"):
            both.wait(30)
            assert (last if task.check == "forward" else added).wait(30)
        elif task.check == "purity":
            last.set()

    layers.before = before
    pool = executors.Here(2, 1.0, 0)
    futures = [pool.hold([task_of("a", check)]) for check in ("forward", "final")]
    both.wait(30)
    futures += [pool.hold([task_of("a", "purity")]), pool.hold([task_of("b", "carry")])]
    added.set()
    for future in futures:
        future.result(60)
    pool.close()

    assert layers.asked[2:] == [("b", "carry"), ("a", "purity")]


@pytest.mark.parametrize("status", ["passed", "crashed"])
def test_closing_ends_what_waits(monkeypatch, caplog, status):
    """The smoke check ends as its process is ended; nothing begins after it, and nobody waits."""
    layers, begun = Layers(monkeypatch, a=status), threading.Event()

    def before(task):
        begun.set()
        assert layers.closed.wait(30)

    layers.before = before
    pool = executors.Here(1, 1.0, 0)
    smoke = pool.hold([task_of("a", "smoke")])
    rest = pool.hold([task_of("a", "forward")], after=smoke)
    assert begun.wait(30)
    pool.close()

    assert smoke.result(30)[0].status == status
    assert layers.asked == [("a", "smoke")]
    assert rest.done() is (status == "crashed")
    assert caplog.records == [], "what could not begin any more was an error"


def test_a_run_that_is_left_ends(monkeypatch, tmp_path):
    layers = Layers(monkeypatch)
    layers.before = lambda task: task.check == "smoke" or layers.closed.wait(30)
    run = layers.run(tmp_path, "a", "b")
    first = next(run)
    run.close()

    assert first.check == "smoke"
    assert layers.closed.is_set()
    assert run_files.read(tmp_path).verdicts == (first,)
    assert [check for _, check in layers.asked if check not in ("", "smoke")] in ([], ["final"])


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

    hangs = Hangs()
    task = Task(Named("a:B"), "forward", "float64", "quick", 0)
    verdicts = [hangs.hold(task, Silent(), 60.0) for _ in range(5)]

    assert shares == [1.0, 1 / 6, 1 / 6]
    assert [v.status for v in verdicts] == [status] * 3 + ["not tested"] * 2
    assert verdicts[3].message.startswith("no answer came in 3 checks, forward (float64), ")
    verdict_is(hangs.hold(replace(task, named=Named("a:C")), Silent(), 60.0), status)
    assert shares[-1] == 1.0
