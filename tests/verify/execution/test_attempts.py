"""What tries to pass although it is wrong does not, and what disturbs leaves nothing behind."""

import json
import subprocess
import sys

import pytest

from attempts import COMMON, RIGHT, WRONG
from gatewise.verify.execution import sandbox
from processes import Mark, needs_proc

pytestmark = needs_proc

ARGUMENTS = ("--check", "smoke,forward", "--dtype", "float64", "--budget", "quick",
             "--timeout", "12", "--memory", "600", "--no-diagnosis", "--json")  # fmt: skip


class Run:
    """One run over a folder of layers: its verdicts by layer, and how the command ended."""

    def __init__(self, folder, sources, jobs=2, **environment):
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(COMMON + source, encoding="utf-8")
        mark = Mark()
        command = [sys.executable, "-m", "gatewise", "verify", f"{folder}:L", *ARGUMENTS,
                   "--jobs", str(jobs)]  # fmt: skip
        self.done = subprocess.run(
            command, cwd=folder, env=mark.environment | environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        self.left = mark.left_behind()
        self.verdicts = {}
        for verdict in json.loads(self.done.stdout):
            name = verdict["subject"].rpartition("/")[2].removesuffix(".py:L")
            self.verdicts.setdefault(name, {})[verdict["check"]] = verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """All attempts in one run: what one does is not to be seen in the verdicts of the others."""
    return Run(tmp_path_factory.mktemp("attempts"), WRONG | RIGHT)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_layer_never_passes(run, name):
    verdicts = run.verdicts[name]
    assert all(verdict["status"] != "passed" for check, verdict in verdicts.items()
               if check == "forward" or len(verdicts) == 1)  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_layer_that_disturbs_passes(run, name):
    """What it does to its own process says nothing of its numbers, nor does it reach the judge."""
    assert {v["status"] for v in run.verdicts[name].values()} == {"passed"}


def test_the_run_goes_on_to_its_end(run):
    assert {*run.verdicts} == {*WRONG, *RIGHT}
    assert run.done.returncode == 1
    assert run.left == []
    assert "Traceback" not in run.done.stderr


@pytest.mark.parametrize(("name", "message"), [
    ("forged_number", "spoke out of turn; it sent an answer to question 1000000"),
    ("forged_line", "spoke out of turn"),
    ("forged_length", "spoke out of turn; it sent bytes that are no frame"),
    ("forged_checksum", "checksum"),
    ("own_equations_in_memory", "it uses the cell lstm of gatewise"),
    ("unpacks_to_far_more", "it sent 20000016 bytes that unpack to far more"),
    ("other_dtype_and_no_state", "y: expected dtype float64, got float32"),
    ("own_equations", "it uses gatewise.Layer, gatewise.cell_named"),
    ("own_equations_by_module", "it uses gatewise.reference.cells"),
    ("refuses_all", "it offers this, and refused: not for these sizes"),
    ("leaves", "the process ended itself with exit code 0"),
    ("unspeakable", "Unspeakable (its message cannot be read: that raises, too)"),
    ("memory_of_a_family", "not enough memory: it took more than 600 MiB"),
    ("raised_limit", "not allowed to raise maximum limit"),
    ("nothing", "None"),
    ("becomes_a_device", "its file was changed while it was held"),
    ("claims_a_problem", "it sent a portrait of itself with a problem that is none"),
    ("array_of_lies", "expected dtype float64, got object"),
])  # fmt: skip
def test_what_is_told(run, name, message):
    said = " ".join(verdict["message"] for verdict in run.verdicts[name].values())
    assert message in said


def test_isolation_is_told(run):
    told = {v["isolation"] for name in RIGHT for v in run.verdicts[name].values()}
    assert told <= {sandbox.IN_FORCE, sandbox.NOT_IN_FORCE}
    assert len(told) == 1


SOME = ("forged_number", "answered_twice", "frames", "memory_of_a_family", "leaves")


def test_without_namespaces(tmp_path):
    """A system that has none still tells right from wrong, ends orphans, and says what it lacks."""
    sources = {name: WRONG[name] for name in SOME}
    sources |= {name: RIGHT[name] for name in ("grandchild", "child_in_a_session", "prints")}

    run = Run(tmp_path, sources, jobs=1, GATEWISE_NAMESPACES="none")

    assert all(run.verdicts[name]["forward"]["status"] != "passed"
               for name in SOME if "forward" in run.verdicts[name])  # fmt: skip
    assert run.verdicts["prints"]["forward"]["status"] == "passed"
    assert run.verdicts["prints"]["forward"]["isolation"] == sandbox.NOT_IN_FORCE
    assert run.verdicts["grandchild"]["forward"]["status"] == "passed"
    assert run.left == []


def test_namespaces_hide_the_run_and_the_others(tmp_path):
    source = """
def forward(p, x, state):
    processes = [name for name in os.listdir("/proc") if name.isdigit()]
    runs = [os.listdir(f"runs/{name}") for name in os.listdir("runs")]
    with socket.socket() as s:
        refused = s.connect_ex(("192.0.2.1", 9)) != 0
    with open("seen.txt", "w") as file:
        file.write(f"{len(processes)} {runs} {refused}")
    return right(p, x, state)
L = layer(forward)
"""
    (tmp_path / "seen.py").write_text(COMMON + source, encoding="utf-8")
    command = [sys.executable, "-m", "gatewise", "verify", "seen.py:L", *ARGUMENTS, "--jobs", "1"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    (verdict,) = [v for v in json.loads(done.stdout) if v["check"] == "forward"]
    if verdict["isolation"] != sandbox.IN_FORCE:
        pytest.skip("this system has no namespaces")
    assert (tmp_path / "seen.txt").read_text(encoding="utf-8") == "2 [] True"


def test_a_layer_that_is_diagnosed_does_not_see_its_run(tmp_path):
    """Else it could change the verdicts that stand there already."""
    source = """
def forward(p, x, state):
    runs = [os.listdir(f"runs/{name}") for name in os.listdir("runs")]
    with open("seen.txt", "a") as file:
        file.write(f"{runs}\\n")
    return right(p, x, None)
L = layer(forward)
"""
    (tmp_path / "seen.py").write_text(COMMON + source, encoding="utf-8")
    arguments = [a for a in ARGUMENTS if a not in ("--no-diagnosis", "--json")]
    command = [sys.executable, "-m", "gatewise", "verify", "seen.py:L", *arguments, "--jobs", "1"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert "what is wrong" in done.stdout, done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    if sandbox.IN_FORCE not in (folder / "verdicts.jsonl").read_text(encoding="utf-8"):
        pytest.skip("this system has no namespaces")
    seen = (tmp_path / "seen.txt").read_text(encoding="utf-8").splitlines()
    assert {*seen} == {"[]"}


DEPENDENT = {
    "adapter": """
from gatewise.verify.subjects import subject_named
L = subject_named("torch:RNN")
""",
    "step": """
def step(p, x, state):
    (h,) = state
    return (np.tanh(x @ p.W + h @ p.U),)
class L:
    cell, parameters, states = step, {"W": "D H", "U": "H H"}, "h"
    def forward(self, p, x, state):
        h = np.zeros((x.shape[1], p.U.shape[0]), x.dtype) if state is None else state[0]
        ys = []
        for x_t in x:
            (h,) = step(p, x_t, (h,))
            ys.append(h)
        return np.stack(ys), (h,)
L.cell = staticmethod(step)
""",
}


def test_what_is_not_independent_says_so(tmp_path):
    """An adapter with a map of its own, and a step that is the equations, run where they judge."""
    pytest.importorskip("torch")

    run = Run(tmp_path, DEPENDENT, jobs=1)

    adapter, step = (run.verdicts[name]["forward"] for name in ("adapter", "step"))
    assert {adapter["status"], step["status"]} == {"passed"}
    assert adapter["isolation"].startswith("none: its adapter says itself")
    assert step["isolation"].startswith("none: its step is the equations")


MALLORY = {
    "a_changes_others": """
for name in ("b_right", "c_right"):
    with open(os.path.join(os.path.dirname(__file__), name + ".py"), "a") as file:
        file.write("L = layer(wrong)\\n")
L = layer(right)
""",
    "b_right": "L = layer(right)\n",
    "c_right": "L = layer(right)\n",
}


def test_files_that_change_meanwhile_are_not_judged(tmp_path):
    """A layer that writes into the files of others does not make them wrong."""
    run = Run(tmp_path, MALLORY, jobs=1)

    for name in ("b_right", "c_right"):
        for verdict in run.verdicts[name].values():
            assert verdict["status"] == "not tested"
            assert "its file was changed while it was held" in verdict["message"]


def test_a_dependent_judge_judges_nobody_else(tmp_path):
    """Who runs where he is judged has a process to himself, and cannot drop the word for it."""
    patching = """
import sys
worker = sys.modules.get("__main__")
if hasattr(worker, "_Worker"):
    from gatewise.verify.numbers.ledger import Ledger
    Ledger.failed = property(lambda self: [])
    plain = worker._Worker.say
    def say(self, value):
        if "verdict" in value:
            value["verdict"]["isolation"] = "its own process"
        plain(self, value)
    worker._Worker.say = say
"""
    sources = {"a_step": DEPENDENT["step"] + patching, "b_wrong": "L = layer(wrong)\n"}

    run = Run(tmp_path, sources, jobs=1)

    assert run.verdicts["b_wrong"]["forward"]["status"] == "failed"
    assert run.verdicts["a_step"]["forward"]["isolation"].startswith("none: ")
