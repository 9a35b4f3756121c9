"""Comparing runs: nothing between a run and itself, and exactly what was planted otherwise."""

import json
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke
from gatewise.bench import run as bench_files
from gatewise.reports.comparison import (
    between,
    compare,
    ratio_of_medians,
    read_benchmarks,
    sentence,
)
from gatewise.verify.runs.records import RunFileError
from made_runs import bench_run, failure, kept, run, verdict

HELD = run(verdict("a:LSTM"), verdict("a:LSTM", "final"), failure("a:GRU"))
NAMES = ("old", "new")
FAILED = failure("a:LSTM")


def changes(a, b):
    return [(c.verdict, c.what, c.before, c.after) for c in compare(a, b, NAMES).changes]


def with_verdict(made, number, **changed):
    verdicts = list(made.verdicts)
    verdicts[number] = replace(verdicts[number], **changed)
    return replace(made, verdicts=tuple(verdicts))


def test_a_run_is_no_change_of_itself():
    found = compare(HELD, HELD, NAMES)
    assert (found.changes, found.environment, found.same) == ((), (), 3)
    assert sentence(found) == "Nothing changed: 3 the same."


def test_a_planted_regression_is_exactly_what_is_told():
    worse = with_verdict(HELD, 1, status="failed", worst_ratio=3.0)
    assert changes(HELD, worse) == [("worse", "a:LSTM final float64", "passed", "failed")]
    assert changes(worse, HELD) == [("better", "a:LSTM final float64", "failed", "passed")]
    assert compare(HELD, worse, NAMES).regressed


def test_what_was_left_untested_is_worse_than_what_passed():
    stopped = replace(HELD, verdicts=HELD.verdicts[:1])
    assert ("worse", "a:LSTM final float64", "passed", "not tested") in changes(HELD, stopped)


def test_an_error_that_has_grown_is_told_and_is_no_regression():
    grown = with_verdict(HELD, 0, worst_ratio=0.75)
    assert changes(HELD, grown) == [
        ("changed", "a:LSTM forward float64", "0.25 of its bound", "0.75 of its bound")
    ]
    assert not compare(HELD, grown, NAMES).regressed
    assert not changes(HELD, with_verdict(HELD, 0, worst_ratio=0.4))
    tiny = with_verdict(HELD, 0, worst_ratio=1e-5)
    assert not changes(tiny, with_verdict(tiny, 0, worst_ratio=9e-3))


def test_checks_come_and_go():
    more = run(*HELD.verdicts, verdict("a:LSTM", "carry"))
    assert changes(HELD, more) == [("new", "a:LSTM carry float64", "", "passed")]
    assert changes(more, HELD) == [("gone", "a:LSTM carry float64", "passed", "")]


def test_the_environment_is_told():
    other = replace(HELD, versions={"gatewise": "0.2.0", "numpy": "2.1"}, seed=8)
    assert compare(HELD, other, NAMES).environment == (
        ("seed", "7", "8"), ("gatewise", "0.1.0", "0.2.0"), ("numpy", "", "2.1"),
    )  # fmt: skip


def test_two_subjects_of_a_run():
    one, other = between(HELD, "a:LSTM", "a:GRU")
    assert changes(one, other) == [
        ("worse", "forward float64", "passed", "failed"), ("gone", "final float64", "passed", ""),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="b:RNN is not in the run; it has a:GRU, a:LSTM"):
        between(HELD, "a:LSTM", "b:RNN")


def timed(scale=1.0, seed=0, **changed):
    """A run of two rows, whose samples are those of a busy machine, autocorrelated."""
    rng = np.random.default_rng(seed)

    def samples(median):
        noise = np.convolve(rng.standard_normal(64), np.ones(4) / 2, mode="valid")
        return [float(t) for t in median * np.exp(0.03 * noise)]

    rows = (
        {"id": "lstm H64", "status": "OK", "forward": {"samples": samples(1e-3 * scale)}},
        {"id": "gru H64", "status": "OK", "forward": {"samples": samples(2e-3)}},
    )
    return replace(bench_run("speed", *rows), **changed)


def test_a_slower_row_is_called_and_nothing_else():
    found = compare(timed(), timed(1.3, seed=1), NAMES)
    (change,) = found.changes
    assert (change.verdict, change.kind, change.what) == ("worse", "SLOWER", "lstm H64 forward")
    assert compare(timed(1.3), timed(seed=1), NAMES).changes[0].kind == "FASTER"


def test_rows_of_the_same_speed_are_not_called_different():
    """Over many draws; with single samples in the place of medians this fails."""
    assert not [s for s in range(40) if compare(timed(), timed(seed=s + 1), NAMES).changes]


def test_ratios_have_intervals_that_hold_them():
    """The true ratio, 1.3, lies in the 95 % interval about as often as it should."""
    inside = 0
    for seed in range(100):
        old, new = timed(seed=2 * seed), timed(1.3, seed=2 * seed + 1)
        samples = [made.rows[0]["forward"]["samples"] for made in (new, old)]
        _, low, high = ratio_of_medians(*samples)
        inside += low <= 1.3 <= high
    assert 85 <= inside <= 100


def test_a_status_or_a_verdict_that_changed_is_told():
    rows = ({"id": "C07", "status": "OK", "verdict": "holds"},)
    claims = timed(kind="claims", planned=("C07",), rows=rows)
    odd = replace(claims, rows=({"id": "C07", "status": "OK", "verdict": "false as printed"},))
    lost = replace(claims, rows=({"id": "C07", "status": "UNSUPPORTED"},))
    assert changes(claims, odd) == [("changed", "C07", "holds", "false as printed")]
    assert changes(claims, lost)[0] == ("worse", "C07", "OK", "UNSUPPORTED")


def test_runs_of_different_kinds_are_not_compared():
    with pytest.raises(ValueError, match="old and new are runs of different kinds"):
        compare(HELD, timed(), NAMES)


class TestCommand:
    """``gatewise compare`` on runs on disk."""

    @pytest.fixture
    def folders(self, tmp_path):
        pair = kept(tmp_path / "first", verdict("a:LSTM")), kept(tmp_path / "second", FAILED)
        return [str(folder) for folder in pair]

    @pytest.mark.parametrize(("fail_on", "order", "code"), [
        ("never", 1, 0), ("regress", 1, 1), ("regress", -1, 0), ("change", -1, 1),
    ])  # fmt: skip
    def test_exit_codes(self, folders, fail_on, order, code):
        told = invoke("compare", *folders[::order], "--fail-on", fail_on)
        assert told.exit_code == code, told.output

    def test_tells_on_a_terminal_as_a_page_as_markdown_and_to_programs(self, folders, tmp_path):
        for name, words in (("c.html", "<td><bdi>worse</bdi></td>"), ("c.md", "| worse | check |")):
            told = invoke("compare", *folders, "-o", tmp_path / name)
            assert "first and second: 1 worse, 0 better" in told.stdout
            assert words in (tmp_path / name).read_text(encoding="utf-8")
        assert '<header class="differs">' in (tmp_path / "c.html").read_text(encoding="utf-8")
        invoke("compare", *folders[::-1], "-o", tmp_path / "better.html")
        assert '<header class="measured">' in (tmp_path / "better.html").read_text("utf-8")
        (found,) = json.loads(invoke("compare", *folders, "--json").stdout)
        assert found["changes"][0]["verdict"] == "worse"

    @pytest.mark.parametrize(("more", "words"), [
        ([], "give two runs, or one with --subject NAME --subject NAME"),
        (["--subject", "a:LSTM"], "give one RUN and two subjects"),
        (["--subject", "a:LSTM", "--subject", "b:GRU"], "b:GRU is not in the run"),
    ])  # fmt: skip
    def test_usage(self, folders, more, words):
        told = invoke("compare", folders[0], *more)
        assert told.exit_code == 2
        assert words in told.stderr

    def test_what_is_no_run_is_one_sentence(self, folders, tmp_path):
        told = invoke("compare", folders[0], tmp_path / "none")
        assert told.exit_code == 3
        assert "there is no such file" in told.stderr


def test_bench_runs_on_disk_are_read(tmp_path):
    made = timed()
    bench_files.start(tmp_path / "r", kind="speed", command="c", seed=0, settings={},
                      planned=made.planned)  # fmt: skip
    for row in made.rows:
        bench_files.append(tmp_path / "r", row)
    told = invoke("compare", tmp_path / "r", tmp_path / "r")
    assert "Nothing changed: 2 the same." in told.stdout


class TestPytestBenchmark:
    """Files of pytest-benchmark are runs, too."""

    def written(self, tmp_path, scale, **changed):
        stats = {"median": scale, "data": [scale * (1 + k / 1000) for k in range(20)]}
        value = {
            "machine_info": {"python_version": "3.12", "system": "Linux"}, "datetime": "2026",
            "commit_info": {"id": "abc"}, "benchmarks": [{"fullname": "test_a", "stats": stats}],
        }  # fmt: skip
        path = tmp_path / f"{scale}.json"
        path.write_text(json.dumps({**value, **changed}))
        return path

    def test_are_compared(self, tmp_path):
        one, other = (read_benchmarks(self.written(tmp_path, s)) for s in (1.0, 1.5))
        (change,) = compare(one, other, NAMES).changes
        assert (change.kind, change.what) == ("SLOWER", "test_a")

    @pytest.mark.parametrize(("changed", "words"), [
        ({"benchmarks": 3}, "benchmarks: expected list"),
        ({"benchmarks": [3]}, "benchmarks: expected objects"),
        ({"benchmarks": [{"fullname": "a", "stats": {"data": ["x"]}}]}, "times in seconds"),
    ])  # fmt: skip
    def test_other_files_are_refused(self, tmp_path, changed, words):
        with pytest.raises(RunFileError, match=words):
            read_benchmarks(self.written(tmp_path, 1.0, **changed))
