"""``pytest --gatewise`` and ``gatewise.conforms``: items, outcomes, words."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from preloaded import FORKS
from processes import Mark, needs_proc

LAYERS = """
import sys

sys.path.insert(0, {tests!r})
import faulty
import plain_numpy

GRU = plain_numpy.GRU
Segfaults, Exits, RaisesAtOnce = faulty.Segfaults, faulty.Exits, faulty.RaisesAtOnce
Loops = faulty.Loops


class Wrong(plain_numpy.GRU):
    def forward(self, params, x, state):
        ys, final = super().forward(params, x, state)
        return 1.001 * ys, final
"""
IN_A_FORK = (
    ("-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:hypothesispytest")
    if FORKS
    else ()
)
"""There some plugins have been imported before pytest, which would warn of it."""
OWN = """
def test_of_my_own():
    pass
"""
DECORATED = """
import gatewise
from layers import GRU, RaisesAtOnce, Wrong

CHECKS = ["smoke", "forward", "padding"]


@gatewise.conforms(GRU, checks=CHECKS, budget="quick")
def test_right(verdict, tmp_path):
    assert verdict.status == "passed", verdict.message
    assert tmp_path.is_dir()


class TestWrong:
    @gatewise.conforms(Wrong, checks=CHECKS, budget="quick", dtype="float64")
    def test_wrong(self, verdict):
        assert verdict.status == "passed", verdict.message


@gatewise.conforms(RaisesAtOnce, checks=["forward"], budget="quick", dtype="float32")
def test_does_not_run(verdict):
    assert verdict.status == "passed", verdict.message
"""


@pytest.fixture
def run(root, tmp_path, server):
    """Run pytest in a folder with layers, a test and nothing of this repository's settings.

    The layers' processes are ``fresh`` where it matters how they end, and that none is left.
    """
    (tmp_path / "layers.py").write_text(LAYERS.format(tests=str(root / "tests" / "doubles")))
    (tmp_path / "test_own.py").write_text(OWN)
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")

    def run(*arguments, fresh=False):
        mark = Mark()
        done = server.run("-m", "pytest", *IN_A_FORK, "-p", "no:cacheprovider", "-ra", *arguments,
                          cwd=tmp_path, env=mark.environment, fresh=fresh)  # fmt: skip
        if Path("/proc/self/environ").exists():
            assert mark.left_behind() == []
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return run


def outcomes(done):
    """What the last line counts."""
    found = re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout.splitlines()[-1])
    return {what: int(count) for count, what in found}


def gatewise(name, checks, *more):
    return ("--gatewise", f"layers.py:{name}", "--gatewise-check", checks, "--gatewise-budget",
            "quick", "--gatewise-no-diagnosis", *more)  # fmt: skip


def test_items_stand_beside_the_users_tests(run):
    done = run(*gatewise("GRU", "forward,smoke,padding"))

    assert outcomes(done) == {"passed": 5, "skipped": 2}
    assert done.returncode == 0
    assert "layers.py:GRU ....ss" in done.stdout
    assert "SKIPPED [2] layers.py:1: the subject does not offer sequences of different" in (
        done.stdout
    )


def test_collecting_shows_them(run):
    done = run("--collect-only", "-q", *gatewise("GRU", "forward,smoke"), "-k", "float32 or own")
    lines = done.stdout.splitlines()

    assert lines[:3] == [
        "test_own.py::test_of_my_own",
        "layers.py:GRU::smoke[float32]", "layers.py:GRU::forward[float32]",
    ]  # fmt: skip
    assert "3/5 tests collected" in done.stdout


def test_a_failure_is_told_without_a_traceback(run, tmp_path):
    done = run(*gatewise("Wrong", "forward", "--gatewise-seed", "3"), "--junit-xml", "junit.xml")

    assert outcomes(done) == {"passed": 1, "failed": 2}
    assert done.returncode == 1
    assert "Outputs and final states are those of the equations." in done.stdout
    assert re.search(r"^E +failed: y\[.*\] = .*, expected .* times the bound\)", done.stdout, re.M)
    assert re.search(r"^E +first wrong: step \d+, row \d+, unit \d+$", done.stdout, re.M)
    again = r"^E +again: gatewise verify layers.py:Wrong --check forward --case '{.*}'$"
    assert re.search(again, done.stdout, re.M)
    assert "FAILED layers.py:Wrong::forward[float64] - failed: y[" in done.stdout
    assert "pytest_plugin.py" not in done.stdout
    failures = ET.parse(tmp_path / "junit.xml").iter("failure")
    assert [f.get("message")[:11] for f in failures] == ["failed: y[0"] * 2


def test_what_is_wrong_is_said_once_after_all_items(run):
    some = gatewise("Wrong", "smoke,forward,final,repeat,gradient")
    done = run(*(word for word in some if word != "--gatewise-no-diagnosis"))
    section = done.stdout.partition("= gatewise =")[2].splitlines()

    assert section[1].startswith("layers.py:Wrong does not conform: ")
    assert "what is wrong" in section[2]
    assert sum("first failure" in line for line in section) == 1
    assert sum("what is wrong" in line for line in done.stdout.splitlines()) == 1


def test_one_that_crashes_costs_its_own_item(run):
    exits = ("--gatewise", "layers.py:Exits")
    done = run(*gatewise("Segfaults", "smoke,forward,no-steps"), *exits, fresh=True)
    assert outcomes(done) == {"passed": 9, "failed": 4}
    assert "crashed: the process was ended by SIGSEGV" in done.stdout
    assert "crashed: the process ended itself with exit code 0" in done.stdout


def test_one_that_hangs_is_not_waited_for_in_all_items(run):
    """The option that gives it more time is this one's; after three, no more are run."""
    checks = "smoke,forward,gradient,cotangents,repeat"
    done = run(*gatewise("Loops", checks), "--gatewise-timeout", "2.5", fresh=True)

    assert done.stdout.count("E   timeout: no answer after ") == 3
    assert "gets more time with --gatewise-timeout 10" in done.stdout
    assert done.stdout.count("E   not tested: no answer came in 3 checks, ") == 5


def test_what_was_not_tested_fails(run):
    done = run(*gatewise("RaisesAtOnce", "smoke,forward,no-steps,padding"))
    assert outcomes(done) == {"passed": 1, "failed": 8}
    told = "not tested: the layer does not run: RuntimeError: no kernel at all"
    assert done.stdout.count(f"E   {told}") == 8


BLIND = """
from gatewise.verify.execution.isolation import Isolated

hold = Isolated.hold


def without_a_bound(self, task, timeout, **more):
    verdict = hold(self, task, timeout, **more)
    if task.check == "forward":
        verdict.status, verdict.message = "blind", "no bound was sharp"
    return verdict


Isolated.hold = without_a_bound
"""


def test_blind_fails(run, tmp_path):
    """Nothing has been shown. (No right layer is blind on the cases drawn, so it is made up.)"""
    (tmp_path / "conftest.py").write_text(BLIND)
    done = run(*gatewise("GRU", "smoke,forward"))
    assert outcomes(done) == {"passed": 3, "failed": 2}
    assert "blind: no bound was sharp" in done.stdout


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--gatewise", "missing.py:LSTM"], "subject 'missing.py:LSTM': there is no file"),
    (["--gatewise", "layers.py:LTSM"], "there is no LTSM in layers.py"),
    (["--gatewise", "nothing"], "subject 'nothing' is not known; there are"),
    (["--gatewise", "layers.py:GRU", "--gatewise-like", "torch.nn.Linear"],
     "--like torch.nn.Linear: expected one of torch.nn.LSTM"),
    (["--gatewise", "layers.py:GRU", "--gatewise-check", "foo"], "check 'foo' is not known"),
    (["--gatewise", "layers.py:GRU", "--gatewise-timeout", "0"],
     "--gatewise-timeout: expected seconds, more than 0"),
    (["--gatewise", "layers.py:GRU", "--gatewise-seed", "-1"], "--gatewise-seed: expected 0 or"),
])  # fmt: skip
def test_mistakes_are_usage_errors(run, arguments, sentence):
    done = run(*arguments)

    assert done.returncode == 4
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("ERROR: "))
    assert sentence in line
    assert "passed" not in done.stdout


def test_modules_are_found_where_pytest_finds_them(run, tmp_path):
    """The ini option ``pythonpath`` counts for subjects, too."""
    (tmp_path / "src").mkdir()
    (tmp_path / "layers.py").rename(tmp_path / "src" / "inner.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = src\n")
    done = run("--gatewise", "inner:GRU", "--gatewise-check", "smoke")

    assert outcomes(done) == {"passed": 3}


@needs_proc
def test_conforms(run, tmp_path):
    (tmp_path / "test_decorated.py").write_text(DECORATED)
    done = run("-v", "test_decorated.py", fresh=True)

    assert outcomes(done) == {"passed": 5, "failed": 2, "skipped": 3}
    for line in (
        "test_decorated.py::test_right[forward-float64] PASSED",
        "test_decorated.py::test_right[padding-float32] SKIPPED",
        "test_decorated.py::TestWrong::test_wrong[smoke-float64] PASSED",
        "test_decorated.py::TestWrong::test_wrong[forward-float64] FAILED",
        "test_decorated.py::test_does_not_run[forward-float32] FAILED",
    ):
        assert line in done.stdout
    assert re.search(r"AssertionError: y\[.*\] = .*, expected", done.stdout)
    assert "AssertionError: the layer does not run: RuntimeError: no kernel" in done.stdout
    assert "pytest_plugin.py" not in done.stdout


def test_conforms_needs_an_argument(run, tmp_path):
    """A test that does not look at its verdict would always pass."""
    (tmp_path / "test_decorated.py").write_text(DECORATED.replace("verdict, tmp_path", "tmp_path"))
    done = run("test_decorated.py")
    assert done.returncode == 2
    assert "TypeError: test_right: expected an argument named verdict" in done.stdout


def test_nothing_happens_without_the_option(run):
    """pytest loads the plugin in every project; it says and does nothing there."""
    done = run()
    assert outcomes(done) == {"passed": 1}
    assert "gatewise::" not in done.stdout
