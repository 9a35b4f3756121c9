"""What users give may be anything: it is refused in one sentence, with the exit code for that."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from commands import invoke, refused
from gatewise.cli import common
from gatewise.verify.execution import session, tasks
from gatewise.verify.runs import records
from gatewise.verify.runs import run as run_files
from pools import Pool, install

DEEP = "[" * 100_000


VERIFY = "verify torch:LSTM --check smoke,forward --dtype float64"


@pytest.fixture
def pool(here, monkeypatch):
    return install(monkeypatch, Pool())


@pytest.fixture
def run(pool, here):
    """The folder of a finished run."""
    invoke(VERIFY)
    (folder,) = (here / "runs").iterdir()
    return folder


def edit_header(folder, change):
    header = json.loads((folder / "run.json").read_text())
    change(header)
    (folder / "run.json").write_text(json.dumps(header))


@pytest.mark.parametrize("seconds", ["1e10", "1e300", "inf", "nan", "-inf", "0"])
@pytest.mark.parametrize("command", [
    "verify torch:LSTM", "identify torch:LSTM", "record torch:LSTM -o a", "diagnose torch:LSTM",
    "convert a --from b --to c -o d", "bench speed",
])  # fmt: skip
def test_a_time_limit_that_no_clock_holds(here, command, seconds):
    refused(invoke(f"{command} --timeout", seconds), 2, "Invalid value for '--timeout'")


@pytest.mark.parametrize("command", ["verify", "identify", "diagnose"])
def test_memory_beyond_what_a_system_counts(here, command):
    """It is the user's mistake, not the layer's crash."""
    refused(invoke(command, "torch:LSTM", "--memory", 8796093022208), 2, "'--memory'")


@pytest.mark.parametrize(("text", "words"), [
    (f"a = {DEEP}", "nested too deeply"),
    ("[[deviation]]\nsubject='a'\ncheck='nothing'\nreason='r'\nexpires=2030-01-01\n",
     "check 'nothing' is not known"),
    ("[[deviation]]\nsubject='a'\ncheck='forward'\ndtype='float31'\nreason='r'\n"
     "expires=2030-01-01\n", "dtype 'float31' is not known; there are float64"),
])  # fmt: skip
def test_deviations(here, text, words):
    (here / "known.toml").write_text(text)
    refused(invoke(VERIFY, "--deviations", "known.toml"), 2, words)


@pytest.mark.parametrize("option", ["--case", "--check", "--dtype", "--budget", "--like", "--seed"])
def test_what_is_quoted_is_cut(here, option):
    result = invoke("verify torch:LSTM", option, DEEP)
    assert result.exit_code == 2
    assert len(result.output) < 3000
    assert "Traceback" not in result.output


@pytest.mark.parametrize("case", ['{"T": ' + "9" * 3000 + "}", f'{{"{"x" * 10**5}": 1}}', "[1]"])
def test_a_case_that_is_none(here, case):
    refused(invoke(VERIFY, "--case", case), 2, "case: ")


@pytest.mark.parametrize("option", ["--junit", "-o"])
def test_a_full_disk_is_not_the_layers_mistake(pool, option):
    result = invoke(VERIFY, option, "/dev/full")
    refused(result, 3, "2 passed")
    assert "/dev/full: cannot be written (No space left on device)" in result.output


def test_a_full_disk_hides_no_mistake(here, monkeypatch):
    install(monkeypatch, Pool(other="failed"))
    result = invoke(VERIFY, "--no-diagnosis", "--junit", "/dev/full")
    assert result.exit_code == 1
    assert "/dev/full: cannot be written" in result.output


@pytest.mark.parametrize("name", ["page.html", "page.md", "page.xml", "page.json"])
def test_every_form_of_report_on_a_full_disk(run, here, name):
    (here / name).symlink_to("/dev/full")
    refused(invoke("report", run, "-o", name), 3, "cannot be written (No space left on device)")
    refused(invoke(VERIFY, "--report", name), 3, "cannot be written (No space left on device)")
    if name.endswith(("html", "md")):
        refused(invoke("compare", run, run, "-o", name), 3, "(No space left on device)")


@pytest.mark.parametrize("output", ["folder", "pipe"])
@pytest.mark.parametrize("option", ["--junit", "--report", "-o"])
def test_an_output_that_is_no_file(pool, here, output, option):
    """Before the run, and without waiting for somebody to read a pipe."""
    (here / "folder.xml").mkdir()
    os.mkfifo(here / "pipe.xml")
    result = invoke(VERIFY, option, f"{output}.xml")
    assert result.exit_code in (2, 3)
    assert "Traceback" not in result.output
    assert pool.asked == []


def test_a_full_disk_takes_what_is_printed(here, monkeypatch):
    monkeypatch.setattr(common.click, "echo", full)
    assert invoke("cells --json").exit_code == 3


def full(*_, err=False, **__):
    if not err:
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_takes_the_json(here):
    """A process of its own: the interpreter tries again when it ends."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "gatewise", "cells", "--json"], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "gatewise: output: No space left on device\n"


def test_a_mistake_of_gatewise_is_no_verdict(here, monkeypatch):
    """Exit 1 says that a layer is wrong: nothing else may."""
    monkeypatch.setattr(session, "run", lambda *_, **__: 1 / 0)
    result = invoke(VERIFY)
    assert result.exit_code == 3
    assert "gatewise itself failed, please report it" in result.output


def test_convert_replaces_no_device(here):
    """A new file takes the place of the old, which may be no file at all."""
    os.mkfifo(here / "pipe.safetensors")
    for output in ("/dev/null", "pipe.safetensors"):
        result = invoke("convert a.safetensors --from torch:LSTM --to torch:LSTM -o", output)
        refused(result, 3, "cannot be written (it is no regular file)")
    assert (here / "pipe.safetensors").is_fifo()


def test_a_failing_layers_text_is_printed(here, monkeypatch):
    def change(verdict):
        verdict.message = verdict.script = "ValueError: \udcff\x00\x1b[31m" + "z" * 10_000

    install(monkeypatch, Pool(other="failed", change=change))
    result = invoke(VERIFY, "--no-diagnosis", "--junit", "a.xml", "-o", "a.csv", "--report",
                    "a.html")  # fmt: skip
    assert result.exit_code == 1, result.output
    (run,) = (here / "runs").iterdir()
    assert "\ufffd" in run_files.read_checks(run).verdicts[1].message
    assert "\x1b[31m" not in result.output
    assert invoke("compare", run, run).exit_code == 0


def test_half_a_character_in_a_runs_fields(run):
    half = "\ud800"
    edit_header(run, lambda h: h.update(command=half, machine=h["machine"] | {"processor": half}))
    assert invoke("compare", run, run).exit_code == 0
    assert invoke("report", run, "-o", "a.html").exit_code == 0


@pytest.mark.parametrize("status", ["passed", 17, None, "fine"])
def test_a_verdict_that_is_none_ends_no_run(here, monkeypatch, status):
    """What a layer's process forges is its crash, whatever other layer it is about."""

    def change(verdict):
        if verdict.check == "forward":
            verdict.status, verdict.subject, verdict.cases = status, "torch:GRU", -1

    install(monkeypatch, Pool(change=change))
    result = invoke(VERIFY, "--no-diagnosis")
    assert result.exit_code == 1, result.output
    (run,) = (here / "runs").iterdir()
    (_, forged) = run_files.read_checks(run).verdicts
    assert (forged.subject, forged.status) == ("torch:LSTM", "crashed")


def test_commands_are_quoted_for_a_shell(here, monkeypatch):
    """A path may hold a space, or a command."""
    path = "a $(touch b)/l.py:L"
    told = tasks.Task(tasks.Named(path), "forward", "float64", "quick", 0)
    verdict = told.unanswered("timeout", "", '{"T": 1}')
    assert verdict.reproduce.startswith("gatewise verify 'a $(touch b)/l.py:L' --check forward")
    assert common.quoted("a b") == "'a b'"


@pytest.mark.parametrize("kind", ["verdict", "header", "lost"])
def test_the_exit_code_is_of_what_was_seen(here, monkeypatch, kind):
    """A layer that edits the run while it is made changes nothing but the run."""

    def edit():
        (folder,) = (here / "runs").iterdir()
        path = folder / "verdicts.jsonl"
        if kind == "verdict":
            path.write_text(path.read_text().replace('"failed"', '"passed"'))
        elif kind == "lost":
            path.unlink()
        else:
            edit_header(folder, lambda header: header.update(budget="thorough"))

    real = run_files.append
    monkeypatch.setattr(run_files, "append", lambda *given: (real(*given), edit()))
    install(monkeypatch, Pool(other="failed"))
    result = invoke(VERIFY, "--check", "final", "--no-diagnosis", "--junit", "a.xml", "-o",
                    "a.csv", "--report", "a.md")  # fmt: skip

    assert result.exit_code == 1
    assert "2 failed, 1 passed" in result.output.replace("1 passed, 2 failed", "2 failed, 1 passed")
    assert "somebody else changed the run while it was made" in result.output
    assert (here / "a.xml").read_text().count("<failure") == 2
    assert ",2,3," in (here / "a.csv").read_text()
    assert "2 of 3" in (here / "a.md").read_text()


def test_a_run_that_was_changed_is_no_success(here, monkeypatch):
    def edit():
        for path in here.glob("runs/*/run.json"):
            path.write_text(path.read_text().replace('"quick"', '"thorough"'))

    install(monkeypatch, Pool(on_hold=edit))
    refused(invoke(VERIFY, "--budget", "quick"), 3, "2 passed")


def test_a_run_is_added_to_by_one_process(run):
    before = (run / "verdicts.jsonl").read_text()
    with run_files.locked(run):
        refused(invoke("verify --resume", run), 2, "another process is adding to this run")
    assert invoke("verify --resume", run).exit_code == 0
    assert (run / "verdicts.jsonl").read_text() == before


def test_a_secret_seed(pool, here):
    seeds = []
    for _ in range(2):
        result = invoke(VERIFY, "--seed", "secret", "--sizes", "T=9,H=70")
        run = max((here / "runs").iterdir())
        kept = run_files.read_checks(run)
        seeds.append(kept.seed)
        assert f"the same cases again: --seed {kept.seed}" in result.output
        assert {v.seed for v in kept.verdicts} == {kept.seed} == {kept.request["seed"]}
        assert {task.seed for task in pool.asked[-2:]} == {kept.seed}
        assert invoke("verify --resume", run).exit_code == 0
    assert seeds[0] != seeds[1]
    assert [(s.T, s.H) for s in pool.asked[0].sizes] == [(9, 70)]
    refused(invoke(VERIFY, "--seed", "public"), 2, "'--seed'")
    refused(invoke(VERIFY, "--sizes", "T=x"), 2, "sizes 'T=x': expected numbers of T, B, D, H")


def test_another_hypothesis_draws_other_cases(run, monkeypatch):
    """So a run is gone on with by the version that began it."""
    real = session.versions()
    assert real["hypothesis"] == run_files.read_checks(run).versions["hypothesis"]
    monkeypatch.setattr(session, "versions", lambda: real | {"hypothesis": "6.100"})
    refused(invoke("verify --resume", run), 2, "drawn by Hypothesis", "and here is 6.100")


def test_resume_says_whose_code_it_runs(run):
    """The folder may be somebody else's."""
    assert f"--resume runs the code that {run} names: torch:LSTM" in (
        invoke("verify --resume", run).stderr
    )


DAMAGE = {
    "none": (lambda h: h.update(request={}), "was made by an older version"),
    "older": (lambda h: h.update(schema="gatewise.run/4"), "was made by an older version"),
    "subjects": (lambda h: h["request"].update(subjects=[1, 2]), "subjects"),
    "checks": (lambda h: h["request"].update(checks=[{}]), "checks"),
    "check": (lambda h: h["request"].update(checks=["nothing"]), "check 'nothing' is not known"),
    "timeout": (lambda h: h["request"].update(timeout=1e300), "timeout: expected"),
    "negative": (lambda h: h["request"].update(timeout=-1.0), "timeout: expected"),
    "memory": (lambda h: h["request"].update(memory=2**60), "memory: expected 0 to"),
    "dtype": (lambda h: h["request"].update(dtype="float31"), "dtype float31: expected one of"),
    "text": (lambda h: h["request"].update(subjects=["a\u202e"]), "printable text"),
    "seed": (lambda h: h["request"].update(seed=-1), "seed: expected"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_request_that_was_damaged(run, damage):
    """Of a run without a verdict, so that no digest tells: each value is looked at."""
    (run / "verdicts.jsonl").write_text("")
    change, words = DAMAGE[damage]
    edit_header(run, change)
    refused(invoke("verify --resume", run), 2, words)


@pytest.mark.parametrize("change", [
    {"check": "nothing"}, {"dtype": "float31"}, {"subject": "torch:GRU"}, {"seed": 7},
    {"plan": ""}, {"seed": -1}, {"cases": -1},
], ids=str)  # fmt: skip
def test_a_verdict_that_is_not_the_plans(run, change):
    first, second = (run / "verdicts.jsonl").read_text().splitlines()
    (run / "verdicts.jsonl").write_text(f"{first}\n{json.dumps(json.loads(second) | change)}\n")
    refused(invoke("verify --resume", run), 2)


def test_a_verdict_twice(run):
    text = (run / "verdicts.jsonl").read_text()
    (run / "verdicts.jsonl").write_text(text + text)
    refused(invoke("verify --resume", run), 2, "or stands there twice")


def test_a_long_file_is_cut_at_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "LARGEST_LINE", 10)
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 5 + b'{"b"')
    records.drop_torn_line(path)
    assert path.read_bytes() == b'{"a": 1}\n' * 5


@pytest.mark.skipif(sys.platform == "win32", reason="needs torch's own layer")
def test_weights_under_which_nothing_shows(here):
    """Rounding allows any result: that is not "as the equations say"."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from safetensors.numpy import save_file

    torch.manual_seed(0)
    layer = torch.nn.LSTM(64, 256)
    save_file({k: v.detach().numpy() * np.float32(1e38) for k, v in layer.state_dict().items()},
              here / "a.safetensors")  # fmt: skip
    result = invoke("convert a.safetensors --from torch:LSTM --to torch:LSTM -o b.safetensors")
    assert "as the equations say" not in result.output
    assert result.exit_code == 3, result.output
