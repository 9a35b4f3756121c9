"""Several runs in one report: everything of each is there, and the names stay apart."""

from dataclasses import replace

from commands import invoke
from gatewise.reports import summary
from gatewise.reports.page import render
from gatewise.verify.runs.run import Planned
from made_runs import kept, run, verdict, words

FIRST = run(
    verdict("onnxruntime:LSTM", version="onnxruntime 1.2"),
    command="gatewise verify first", versions={"gatewise": "0.1.0", "numpy": "2.1"},
)  # fmt: skip
SECOND = run(
    verdict("mlx:LSTM", version="mlx 3.4", seed=9),
    command="gatewise verify second", created="2026-02-03T04:05:06Z", seed=9, budget="standard",
    versions={"gatewise": "0.2.0", "numpy": "2.2"}, machine={"cores": "64"}, source="",
)  # fmt: skip


def test_one_run_is_what_it_was():
    assert summary.combined([FIRST]) == FIRST
    assert summary.header([FIRST]) == summary.Header(FIRST.created, "quick", "7", "0.1.0")


def test_plans_and_verdicts_follow_each_other():
    left = Planned("mlx:LSTM", "gradient", "float32")
    whole = summary.combined([FIRST, replace(SECOND, planned=(*SECOND.planned, left))])

    assert [entry.planned.subject for entry in summary.entries(whole)] == [
        "onnxruntime:LSTM", "mlx:LSTM", "mlx:LSTM",
    ]  # fmt: skip
    assert [entry.status for entry in summary.entries(whole)] == ["passed", "passed", "not tested"]


def test_headers_that_differ_are_all_shown():
    page = words(render(FIRST, SECOND))

    for told in (
        "gatewise verify first", "gatewise verify second", "run 1 again", "run 2 again",
        "2 runs, 2026-01-02T03:04:05Z to 2026-02-03T04:05:06Z", "budget quick and standard",
        "seed 7 and 9", "gatewise 0.1.0 and 0.2.0", "numpy 2.1", "numpy 2.2", "cores 8", "cores 64",
        "onnxruntime 1.2", "mlx 3.4",
    ):  # fmt: skip
        assert told in page


def test_a_subject_of_two_runs_stands_twice():
    again = run(verdict("mlx:LSTM", status="failed", message="off", version="mlx 3.5"))
    whole = summary.combined([SECOND, again])
    rows = summary.entries(whole)

    assert [(row.planned.subject, row.status) for row in rows] == [
        ("mlx:LSTM (run 1)", "passed"), ("mlx:LSTM (run 2)", "failed"),
    ]  # fmt: skip
    assert summary.own_name("mlx:LSTM (run 2)") == "mlx:LSTM"
    left = {planned.subject for planned in summary.left_out(rows)}
    assert left == {"mlx:LSTM (run 1)", "mlx:LSTM (run 2)"}


def test_many_subjects_are_counted_by_family():
    few = summary.entries(run(*(verdict(f"mlx:{k}") for k in range(3))))
    many = summary.entries(run(*(verdict(f"{of}:{k}") for of in ("mlx", "ncnn") for k in range(5))))
    assert summary.names(few) == ("mlx:0", "mlx:1", "mlx:2")
    assert summary.names(many) == ("mlx (5)", "ncnn (5)")


def test_the_command_takes_several_runs(tmp_path):
    first = kept(tmp_path / "first", verdict("mlx:GRU"))
    second, page = kept(tmp_path / "second", verdict("ncnn:GRU")), tmp_path / "page.html"
    result = invoke("report", first, second / "run.json", second, "-o", page)

    assert result.exit_code == 0
    text = words(page.read_text(encoding="utf-8"))
    assert "2 runs" in text
    assert "mlx:GRU" in text
    assert "ncnn:GRU" in text
    assert "(run" not in text


def test_one_that_cannot_be_read_is_named(tmp_path):
    page, first = tmp_path / "page.html", kept(tmp_path / "first", verdict())
    result = invoke("report", first, tmp_path / "nowhere", "-o", page)

    assert result.exit_code == 3
    assert "nowhere" in result.stderr
    assert not page.exists()
