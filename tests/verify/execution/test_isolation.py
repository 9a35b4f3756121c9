"""Subjects that crash, hang or eat memory cost their check, not the run, and leave nothing."""

import io
import json
import re
import time
from contextlib import closing

import pytest

from gatewise.verify.execution import worker
from gatewise.verify.execution.isolation import Isolated
from gatewise.verify.execution.tasks import Named, Task, answer
from gatewise.verify.subjects import subject_named
from judgements import verdict_is
from processes import Mark, needs_proc

pytestmark = needs_proc


@pytest.fixture
def verify(root, tmp_path, server):
    """Verify a subject of faulty.py in fresh processes of its own; nothing of it must be left."""

    def verify(name, *arguments):
        mark = Mark()
        subject = f"{root}/tests/doubles/faulty.py:{name}"
        done = server.run("-m", "gatewise", "verify", subject, "--budget", "quick", "--dtype",
                          "float64", "--json", "--no-diagnosis", "--jobs", "1", *arguments,
                          cwd=tmp_path, env=mark.environment, fresh=True)  # fmt: skip
        assert mark.left_behind() == []
        assert "Traceback" not in done.stderr
        return done, {verdict["check"]: verdict for verdict in json.loads(done.stdout)}

    return verify


def test_a_right_layer_with_the_same_checks_passes(verify):
    """What is seen below is the faults' doing; answers are not mixed up with what is printed."""
    done, verdicts = verify("Prints", "--check", "smoke,forward,purity")
    assert done.returncode == 0
    assert {verdict["status"] for verdict in verdicts.values()} == {"passed"}


@pytest.mark.parametrize(("name", "status", "message"), [
    ("Segfaults", "crashed", "the process was ended by SIGSEGV"),
    ("Exits", "crashed", "the process ended itself with exit code 0"),
    ("Raises", "crashed", "RuntimeError: no kernel for this many steps"),
])  # fmt: skip
def test_crashes(verify, name, status, message):
    done, verdicts = verify(name, "--check", "smoke,forward,transition,no-steps")

    assert done.returncode == 1
    assert [v["status"] for v in verdicts.values()] == ["passed", status, status, "passed"]
    assert message in verdicts["forward"]["message"]
    assert json.loads(verdicts["forward"]["case"])["T"] > 4
    assert f"--case '{verdicts['forward']['case']}'" in verdicts["forward"]["reproduce"]


def test_last_words(verify):
    _, verdicts = verify("Segfaults", "--check", "forward")
    assert "it said: about to read address 0" in verdicts["forward"]["message"]


def test_what_is_gatewises_own_fault_is_not_the_layers(root, monkeypatch):
    """A judge that fails says so, and goes on."""
    monkeypatch.setattr(worker, "answer", lambda *_: 1 / 0)
    monkeypatch.setattr(worker, "end_descendants", lambda: None)  # here, these are the tests' own
    said = io.StringIO()
    named = vars(Named("torch:GRU"))

    worker._Worker(said, 0).do(
        {"do": "hold", "number": 1, "task": {"named": named, "check": "forward"}
         | {"dtype": "float32", "budget": "quick", "seed": 0}}
    )  # fmt: skip

    verdict = json.loads(said.getvalue().splitlines()[-1])["verdict"]
    assert verdict["status"] == "not tested"
    assert "gatewise itself failed, please report it: ZeroDivisionError" in verdict["message"]


@pytest.mark.parametrize("name", ["Hangs", "HangsWithChildren"])
def test_hanging_is_a_timeout(verify, name):
    started = time.monotonic()
    done, verdicts = verify(name, "--check", "smoke,forward,no-steps", "--timeout", "3")

    assert done.returncode == 1
    assert [v["status"] for v in verdicts.values()] == ["passed", "timeout", "passed"]
    said = re.fullmatch(
        r"no answer after ([\d.]+) s \(check forward in float64, T=(\d+), B=\d+, D=\d+, H=\d+\); "
        r"a layer that is only slow gets more time with --timeout 12",
        verdicts["forward"]["message"],
    )
    assert said
    assert float(said[1]) >= 3
    assert int(said[2]) == json.loads(verdicts["forward"]["case"])["T"] > 4
    assert verdicts["forward"]["seconds"] >= float(said[1]) - 0.05  # it is told rounded
    assert time.monotonic() - started < 60


def test_a_layer_that_hangs_everywhere_is_not_waited_for_everywhere(verify):
    done, verdicts = verify("Loops", "--timeout", "1.5")

    assert done.returncode == 1
    statuses = [verdict["status"] for verdict in verdicts.values()]
    assert statuses.count("timeout") == 3
    reasons = {v["message"] for v in verdicts.values() if v["status"] == "not tested"}
    assert len(reasons) == 1
    assert re.match(r"no answer came in 3 checks, [\w-]+ \(float64\), ", reasons.pop())
    assert statuses.count("not tested") > 20


SLOW = """
import json, sys, time

for line in sys.stdin:
    for said in ({"ready": True}, {"case": "{}"}, {"ready": True}, {"answer": {}}):
        time.sleep(0.5)
        print(json.dumps(said), flush=True)
"""


def test_the_clock_starts_again_with_the_first_answer(tmp_path, monkeypatch):
    """What a compiler does before that does not count against the calls that follow."""
    (tmp_path / "slow_worker.py").write_text(SLOW)
    monkeypatch.setattr(Isolated, "WORKER", "slow_worker")
    with closing(Isolated(paths=[str(tmp_path)])) as isolated:
        found = [isolated.ask("", Named("a:B"), timeout) for timeout in (1.6, 1.6, 0.6)]

    assert found[:2] == [{}, {}], "two seconds of work, never more than one without a word"
    assert re.match(r"no answer after 0.\d s; a layer that is only slow gets more time with "
                    "--timeout 2.4", found[2]["problem"])  # fmt: skip


HOSTILE = """
import json, sys, time

for line in sys.stdin:
    while True:
        time.sleep(0.2)
        print(json.dumps({"ready": True}), flush=True)
        print(json.dumps({"case": "nonsense"}), flush=True)
"""


def test_a_layer_cannot_give_itself_more_time(tmp_path, monkeypatch):
    """It may write to the worker's output: that is neither an answer nor an error of ours."""
    (tmp_path / "hostile_worker.py").write_text(HOSTILE)
    monkeypatch.setattr(Isolated, "WORKER", "hostile_worker")
    with closing(Isolated(paths=[str(tmp_path)])) as isolated:
        verdict = isolated.hold(Task(Named("a:B"), "forward", "float64", "quick", 0), 1.0)

    verdict_is(verdict, "timeout", "(check forward in float64, nonsense)")
    assert verdict.seconds < 20


def test_the_first_answer_is_said_once(root):
    events = []
    layer = subject_named(f"{root}/tests/doubles/plain_numpy.py:LSTM")
    task = Task(Named("a:B"), "repeat", "float64", "quick", 0)
    answer(task, layer, lambda case: events.append("case"), lambda: events.append("answer"))

    assert events[:2] == ["case", "answer"]
    assert events.count("answer") == 1
    assert events.count("case") > 1


def test_memory_is_limited(verify):
    """A layer that asks for more than it may is told so by NumPy, and has crashed."""
    done, verdicts = verify("EatsMemory", "--check", "smoke,forward", "--memory", "300")
    assert done.returncode == 1
    assert [v["status"] for v in verdicts.values()] == ["passed", "crashed"]
    assert "allocate" in verdicts["forward"]["message"]


@pytest.mark.parametrize(("name", "message"), [
    ("WritesIntoItsInput", "x: forward wrote into x"),
    ("WritesIntoItsState", "state 1: forward wrote into state 1"),
])  # fmt: skip
def test_writing_into_arguments_fails_purity(verify, name, message):
    """Only purity looks at that; the numbers of the other checks are given in copies."""
    done, verdicts = verify(name, "--check", "smoke,purity", "--seed", "2")
    assert done.returncode == 1
    assert [v["status"] for v in verdicts.values()] == ["passed", "failed"]
    assert verdicts["purity"]["message"] == message


@pytest.mark.parametrize(("name", "status", "message"), [
    ("RaisesAtOnce", "not tested", "the layer does not run: RuntimeError: no kernel at all"),
    ("ExitsAtOnce", "crashed", "the process ended itself with exit code 7"),
])  # fmt: skip
def test_a_layer_that_does_not_run_at_all(verify, name, status, message):
    done, verdicts = verify(name, "--check", "smoke,forward,gradient")

    assert done.returncode == (3 if status == "not tested" else 1)
    assert verdicts["smoke"]["status"] == status
    assert message in verdicts["smoke"]["message"]
    assert all(v["status"] == "not tested" for c, v in verdicts.items() if c != "smoke")
