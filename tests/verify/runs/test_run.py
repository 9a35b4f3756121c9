"""Runs on disk: written at once, read with distrust."""

import json
import shutil

import pytest

import miniatures
from gatewise.verify.checks import check_named
from gatewise.verify.execution import session
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.runs import records as reading
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.runs.run import Planned


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run of two planned checks, with a verdict for the first."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    planned = [Planned("mini:Right", "forward", dtype) for dtype in ("float64", "float32")]
    run_files.start(folder, command="gatewise verify mini:Right", seed=0, budget="quick",
                    planned=planned)  # fmt: skip
    verdict = hold(miniatures.Right(), check_named("forward"), "float64", budget=Budget(3))
    run_files.append(folder, verdict)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """A copy of it."""
    return shutil.copytree(written, tmp_path / "run")


def test_what_was_written_is_read(folder):
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
    "request no object": (lambda f: header(f, request=[]), "request: expected object, got array"),
    "place a number": (lambda f: verdict(f, place=1), "place: expected str"),
    "another schema": (lambda f: header(f, schema="gatewise.run/99"), "expected schema"),
    "seed as truth value": (lambda f: header(f, seed=True), "seed: expected int"),
    "seed as text": (lambda f: header(f, seed="0"), "seed: expected int"),
    "plan of text": (lambda f: header(f, planned=["x"]), r"planned\[0\]: expected object, got str"),
    "versions of numbers": (lambda f: header(f, versions={"a": 1}), r"versions.*: expected str"),
    "not JSON": (lambda f: (f / "run.json").write_text("{"), "not JSON"),
    "a list": (lambda f: (f / "run.json").write_text("[]"), "expected a JSON object"),
    "deeply nested": (lambda f: (f / "run.json").write_text("[" * 100_000), "not JSON"),
    "not UTF-8": (lambda f: (f / "run.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "no header": (lambda f: (f / "run.json").unlink(), "no such file"),
    "infinite ratio": (lambda f: verdict(f, worst_ratio=float("inf")), "not a JSON number"),
    "ratio a truth value": (lambda f: verdict(f, worst_ratio=True), "worst_ratio: expected"),
    "negative seconds": (lambda f: verdict(f, seconds=-1), "seconds: expected float >= 0.0"),
    "unknown status": (lambda f: verdict(f, status="fine"), "status: expected one of"),
    "unknown field": (lambda f: verdict(f, extra=1), "unknown: extra"),
    "equations of numbers": (lambda f: verdict(f, equations=[1]), r"equations\[0\]: expected str"),
    "message missing": (lambda f: verdict(f, message=None), "message: expected str"),
    "seconds as text": (lambda f: verdict(f, seconds="1"), "seconds: expected float"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_refused_in_a_sentence(folder, bad):
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

    with pytest.raises(RunFileError, match="jsonl:1: worst_ratio: expected a finite number"):
        run_files.read(folder)


def test_a_huge_file_is_refused(folder, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_FILE", 100)
    with pytest.raises(RunFileError, match="larger than"):
        run_files.read(folder)


def test_a_verdict_is_on_disk_before_it_is_told(tmp_path, root):
    folder = tmp_path / "run"
    request = session.Request.parse([f"{root}/tests/doubles/plain_numpy.py:LSTM"], budget="quick",
                                    checks=["smoke", "forward"])  # fmt: skip
    for n, _ in enumerate(session.run(request, folder, command="test"), start=1):
        assert (folder / "verdicts.jsonl").read_text().count("\n") == n
    assert n == 4


def as_schema_1(folder):
    """Write the run as the first schema had it."""
    header(folder, schema="gatewise.run/1")
    path = folder / "run.json"
    told = {k: v for k, v in json.loads(path.read_text()).items() if k != "request"}
    path.write_text(json.dumps(told))
    path = folder / "verdicts.jsonl"
    added = {name for new in run_files.SINCE.values() for name in new}
    told = {k: v for k, v in json.loads(path.read_text()).items() if k not in added}
    path.write_text(json.dumps(told) + "\n")


def test_runs_of_the_first_schema_are_readable(folder):
    as_schema_1(folder)
    run = run_files.read(folder)

    assert run.request == {}
    (verdict,) = run.verdicts
    assert (verdict.status, verdict.place, verdict.script) == ("passed", "", "")
    assert (verdict.subject_seconds, verdict.oracle_seconds) == (0, 0)


def test_a_run_of_the_second_schema_lacks_nothing(folder):
    """A header that claims the second schema, with verdicts of the first, is refused."""
    as_schema_1(folder)
    header(folder, schema=run_files.SCHEMA, request={})

    with pytest.raises(
        RunFileError, match="fields missing or unknown: arithmetic, drawn, isolation"
    ):
        run_files.read(folder)
