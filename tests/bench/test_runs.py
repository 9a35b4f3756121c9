"""Runs of benches: on disk piece by piece, gone on with, and read with distrust."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatewise.bench import run
from gatewise.bench.run import Piece, Plan, UnsupportedError, carry_out
from gatewise.verify.runs.records import RunFileError, typed


@dataclass(frozen=True)
class Inner:
    name: str
    size: float


@dataclass(frozen=True)
class Row:
    id: str
    samples: tuple[float, ...]
    inner: Inner
    rate: float | None = None


def refuse():
    raise UnsupportedError("there is no GPU")


def plan(*pieces, seed=0):
    return Plan("decay", seed, {"hidden": [4]}, pieces)


FIRST, SECOND = Piece("a", lambda: {"value": 1}), Piece("b", refuse)


def test_what_is_measured_is_on_disk_before_the_next_piece(tmp_path):
    seen = []
    look = Piece("b", lambda: {"before": len(run.read(tmp_path / "r").rows)})
    seen += carry_out(plan(FIRST, look), tmp_path / "r", "gatewise bench decay")

    assert seen[1]["before"] == 1
    assert list(run.read(tmp_path / "r").rows) == seen


def test_what_cannot_be_measured_is_a_row_that_says_why(tmp_path):
    (row,) = carry_out(plan(SECOND), tmp_path / "r", "c")
    assert row == {"id": "b", "status": "UNSUPPORTED", "message": "there is no GPU"}


def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    measured = []

    def interrupt():
        raise KeyboardInterrupt

    def count():
        measured.append("a")
        return {}

    with pytest.raises(KeyboardInterrupt):
        list(carry_out(plan(Piece("a", count), Piece("b", interrupt)), tmp_path / "r", "c"))
    assert run.read(tmp_path / "r").untested == ("b",)
    with (tmp_path / "r" / "rows.jsonl").open("a") as file:
        file.write('{"id": "b", "stat')

    rows = list(carry_out(plan(Piece("a", count), Piece("b", dict)), tmp_path / "r", "c"))
    assert [row["id"] for row in rows] == ["b"]
    assert measured == ["a"]
    assert run.read(tmp_path / "r").untested == ()


def test_another_plan_is_not_gone_on_with(tmp_path):
    list(carry_out(plan(FIRST), tmp_path / "r", "gatewise bench decay --seed 0"))
    with pytest.raises(ValueError, match=r"another plan.*gatewise bench decay --seed 0"):
        list(carry_out(plan(FIRST, seed=1), tmp_path / "r", "c"))


@pytest.mark.parametrize(("change", "words"), [
    ({"schema": "gatewise.bench/9"}, "expected schema .* gatewise.bench/1"),
    ({"planned": [1]}, r"planned\[0\]: expected str"),
    ({"settings": 3}, "settings: expected object, got int"),
    ({"machine": {"cores": 2}}, r"machine\[...\]: expected str, got int"),
])  # fmt: skip
def test_a_header_that_is_not_one_is_refused(tmp_path, change, words):
    list(carry_out(plan(FIRST), tmp_path, "c"))
    header = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**header, **change}))
    with pytest.raises(RunFileError, match=words):
        run.read(tmp_path)


def test_a_row_without_its_name_is_refused(tmp_path):
    list(carry_out(plan(FIRST), tmp_path, "c"))
    (tmp_path / "rows.jsonl").write_text('{"status": "OK"}\n')
    with pytest.raises(RunFileError, match=r"rows.jsonl:1: id: expected str"):
        run.read(tmp_path)


def test_on_a_full_disk_nothing_finished_is_lost(tmp_path, monkeypatch):
    """Not even when a run is gone on with: the torn line is cut off where it stands."""
    list(carry_out(plan(FIRST), tmp_path, "c"))
    kept = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "rows.jsonl").write_bytes(kept + b'{"id": ')

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    list(carry_out(plan(FIRST), tmp_path, "c"))
    assert (tmp_path / "rows.jsonl").read_bytes() == kept


GOOD = {"id": "a", "samples": [1, 2.5], "inner": {"name": "x", "size": 1}}


def test_rows_are_typed():
    assert typed(Row, GOOD) == Row("a", (1.0, 2.5), Inner("x", 1.0), None)


@pytest.mark.parametrize(("change", "words"), [
    ({"samples": [1, "2"]}, r"samples\[1\]: expected float, got str"),
    ({"samples": 3}, "samples: expected"),
    ({"inner": {"name": "x"}}, "inner: object missing required field size"),
    ({"inner": {"name": "x", "size": True}}, "inner.size: expected float, got bool"),
    ({"rate": 1e999}, "rate: expected a finite number, got inf"),
    ({"more": 1}, "unknown fields: more"),
])  # fmt: skip
def test_rows_of_another_form_are_refused(change, words):
    with pytest.raises(RunFileError, match=words):
        typed(Row, {**GOOD, **change})


def test_a_run_is_added_to_by_one_process(tmp_path):
    first = carry_out(plan(FIRST, SECOND), tmp_path / "r", "c")
    next(first)
    with pytest.raises(RunFileError, match="another process is adding to this run"):
        list(carry_out(plan(FIRST, SECOND), tmp_path / "r", "c"))
    assert [row["id"] for row in first] == ["b"]
    assert len(run.read(tmp_path / "r").rows) == 2
