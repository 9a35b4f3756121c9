"""Runs on disk: written at once, read with distrust."""

import json
import os
import subprocess
import sys
import time

import pytest

import miniatures
from gatewise.verify import run_files, session
from gatewise.verify.checks import subject_checks
from gatewise.verify.run_files import Planned, RunFileError
from gatewise.verify.runner import hold


@pytest.fixture
def folder(tmp_path):
    """A run of two planned checks, with a verdict for the first."""
    folder = tmp_path / "run"
    planned = [Planned("mini:Right", "forward", dtype) for dtype in ("float64", "float32")]
    run_files.start(folder, command="gatewise verify mini:Right", seed=0, budget="quick",
                    planned=planned)  # fmt: skip
    verdict = hold(miniatures.Right(), subject_checks()[0], "float64", examples=3)
    run_files.append(folder, verdict)
    return folder


def test_what_was_written_is_read(folder):
    """Header, plan and verdicts come back; what has no verdict is untested."""
    run = run_files.read(folder)

    assert run.command == "gatewise verify mini:Right"
    assert run.versions["numpy"]
    assert [v.status for v in run.verdicts] == ["passed"]
    assert run.untested == (Planned("mini:Right", "forward", "float32"),)


def test_a_line_cut_off_loses_only_itself(folder):
    """A run killed while writing its second verdict keeps the first."""
    path = folder / "verdicts.jsonl"
    path.write_text(path.read_text() + path.read_text()[:100])

    assert len(run_files.read(folder).verdicts) == 1


def header(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def verdict(folder, **changes):
    path = folder / "verdicts.jsonl"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}) + "\n")


BAD = {
    "another schema": (lambda f: header(f, schema="gatewise.run/99"), "expected schema"),
    "seed as truth value": (lambda f: header(f, seed=True), "seed: expected int"),
    "seed as text": (lambda f: header(f, seed="0"), "seed: expected int"),
    "plan of text": (lambda f: header(f, planned=["x"]), "planned: expected objects"),
    "versions of numbers": (lambda f: header(f, versions={"a": 1}), "expected text"),
    "not JSON": (lambda f: (f / "run.json").write_text("{"), "not JSON"),
    "a list": (lambda f: (f / "run.json").write_text("[]"), "expected a JSON object"),
    "deeply nested": (lambda f: (f / "run.json").write_text("[" * 100_000), "not JSON"),
    "not UTF-8": (lambda f: (f / "run.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "no header": (lambda f: (f / "run.json").unlink(), "no such file"),
    "infinite ratio": (lambda f: verdict(f, worst_ratio=float("inf")), "not a JSON number"),
    "ratio a truth value": (lambda f: verdict(f, worst_ratio=True), "worst_ratio: expected"),
    "negative seconds": (lambda f: verdict(f, seconds=-1), "seconds: expected a number"),
    "unknown status": (lambda f: verdict(f, status="fine"), "status: expected one of"),
    "unknown field": (lambda f: verdict(f, extra=1), "unknown: extra"),
    "equations of numbers": (lambda f: verdict(f, equations=[1]), "equations: expected names"),
    "message missing": (lambda f: verdict(f, message=None), "message: expected str"),
    "seconds as text": (lambda f: verdict(f, seconds="1"), "seconds: expected a number"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_refused_in_a_sentence(folder, bad):
    """Corrupt or foreign files raise RunFileError, saying which file and why."""
    damage, message = BAD[bad]
    damage(folder)

    with pytest.raises(RunFileError, match=message) as caught:
        run_files.read(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_beyond_floats_is_refused(folder):
    """1e400 is JSON, and reads as infinity."""
    path = folder / "verdicts.jsonl"
    written = json.loads(path.read_text())["worst_ratio"]
    path.write_text(path.read_text().replace(f'"worst_ratio": {written}', '"worst_ratio": 1e400'))

    with pytest.raises(RunFileError, match="worst_ratio: expected a number"):
        run_files.read(folder)


def test_a_huge_file_is_refused(folder, monkeypatch):
    """A file beyond the limit is not even read."""
    monkeypatch.setattr(run_files, "LARGEST_FILE", 100)

    with pytest.raises(RunFileError, match="larger than"):
        run_files.read(folder)


def test_a_verdict_is_on_disk_before_it_is_told(tmp_path):
    """Whoever sees a verdict, or hears of it, finds it in the file."""
    folder, told = tmp_path / "run", []

    def on_verdict(name):
        told.append((folder / "verdicts.jsonl").read_text().count("\n"))

    request = session.Request((miniatures.Right(),), subject_checks()[:1], None, "quick", 0, None)
    for n, _ in enumerate(session.run(request, folder, command="t", on_verdict=on_verdict), 1):
        assert (folder / "verdicts.jsonl").read_text().count("\n") == n
    assert told == [1, 2]


STUCK = """
import sys, time
from pathlib import Path
import miniatures
from gatewise.verify import session
from gatewise.verify.checks import subject_checks

real = session.hold

def stuck(subject, check, dtype, **options):
    if (check.id, dtype) == ("gradient", "float64"):
        time.sleep(600)
    return real(subject, check, dtype, **options)

session.hold = stuck
request = session.Request((miniatures.Right(),), subject_checks(), None, "quick", 0, None)
list(session.run(request, Path(sys.argv[1]), command="test"))
"""


def test_a_killed_run_loses_no_finished_verdict(tmp_path, root):
    """The third check hangs; killed there, the first two are on disk, the rest is untested."""
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(root / "tests")}
    process = subprocess.Popen([sys.executable, "-c", STUCK, str(folder)], env=environment)
    path, deadline = folder / "verdicts.jsonl", time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and path.read_text().count("\n") == 2:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    run = run_files.read(folder)

    assert [(v.check, v.dtype) for v in run.verdicts] == [
        ("forward", "float64"), ("forward", "float32"),
    ]  # fmt: skip
    assert len(run.untested) == 2 * len(subject_checks()) - 2
