"""A killed run goes on where it was, and ends as if nothing had happened."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

from commands import invoke, refused
from gatewise.verify.runs import run as run_files
from judgements import told
from processes import Mark, needs_proc

pytestmark = needs_proc
CHECKS = "smoke,forward,gradient,batch-single,purity,final,carry,no-steps"
MOMENT = 0.02
CHANGED = "is of another plan than run.json, which was changed since"


def command(*arguments):
    return [sys.executable, "-m", "gatewise", "verify", "--no-diagnosis", "--jobs", "1", *arguments]


def asked(root, *more):
    given = ("--check", CHECKS, "--budget", "quick", "--seed", "11", *more)
    return command(f"{root}/tests/doubles/faulty.py:Slow", f"{root}/tests/doubles/faulty.py:Raises",
                   *given)  # fmt: skip


def finish(arguments, cwd):
    """Run a command to its end; the right and the raising subject together are exit 1."""
    mark = Mark()
    done = subprocess.run(arguments, cwd=cwd, env=mark.environment, capture_output=True, text=True,
                          check=False, timeout=240)  # fmt: skip
    assert mark.left_behind() == []
    assert done.returncode == 1, done.stderr
    return done


def contents(folder):
    return [(path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]


def only_run(folder):
    (found,) = (folder / "runs").iterdir()
    return found


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory):
    """The folder of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(asked(root), folder)
    return only_run(folder)


@pytest.fixture(scope="module")
def stopped(root, tmp_path_factory):
    """The folder of a run of two processes that was killed after some of its verdicts."""
    mark, folder = Mark(), tmp_path_factory.mktemp("killed")
    process = subprocess.Popen(asked(root, "--jobs", "2"), cwd=folder, env=mark.environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        written = [path.read_text().count("\n") for path in folder.glob("runs/*/verdicts.jsonl")]
        if written and written[0] >= 6:
            break
        time.sleep(MOMENT)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    assert mark.left_behind() == [], "workers outlived the run that had started them"
    assert run_files.read(only_run(folder)).untested
    return only_run(folder)


@pytest.fixture
def killed(stopped, tmp_path):
    """A copy of it, to go on with."""
    return shutil.copytree(stopped, tmp_path / stopped.name)


def test_a_resumed_run_is_an_undisturbed_one(killed, undisturbed):
    before = (killed / "verdicts.jsonl").read_text().splitlines()
    finish(command("--resume", str(killed)), killed.parent)
    assert (killed / "verdicts.jsonl").read_text().splitlines()[: len(before)] == before
    assert told(killed) == told(undisturbed)


def test_after_a_torn_line(killed, undisturbed):
    path = killed / "verdicts.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    finish(command("--resume", str(killed)), killed.parent)

    assert told(killed) == told(undisturbed)


def test_a_finished_run_needs_nothing(undisturbed):
    path = undisturbed / "verdicts.jsonl"
    before = path.read_bytes()
    finish(command("--resume", str(undisturbed)), undisturbed.parent)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("change", "message"), [
    (lambda header: header["planned"].pop(), CHANGED),
    (lambda header: header.update(seed=12, request=header["request"] | {"seed": 12}), CHANGED),
    (lambda header: header.update(budget="standard"), CHANGED),
    (lambda header: header["versions"].update(numpy="1.0"), CHANGED),
    (lambda header: header["request"].update(memory=-1), CHANGED),
    (lambda header: header["request"].update(checks=["forward"]), CHANGED),
    (lambda header: header["request"].update(checks="forward"), CHANGED),
    (lambda header: header["request"].pop("subjects"), CHANGED),
    (lambda header: header.update(request={}), CHANGED),
])  # fmt: skip
def test_a_folder_of_another_plan_is_refused(undisturbed, tmp_path, change, message):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    header = json.loads((folder / "run.json").read_text())
    change(header)
    (folder / "run.json").write_text(json.dumps(header))
    before = contents(folder)
    done = invoke("verify --resume", folder)

    refused(done, 2, message)
    assert contents(folder) == before


def test_two_runs_at_once_do_not_collide(root, tmp_path):
    subject = f"{root}/tests/doubles/plain_numpy.py:GRU"
    arguments = command(subject, "--check", "smoke,forward", "--budget", "quick")
    both = [subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for _ in range(2)]  # fmt: skip

    assert [process.wait(timeout=240) for process in both] == [0, 0]
    first, second = (told(folder) for folder in (tmp_path / "runs").iterdir())
    assert first == second
    assert len(first) == 4
