"""The ladder's bench: wrong rungs get no time, and how it is planned, told and reported."""

import json
import os
from dataclasses import replace

import pytest
from click.testing import CliRunner

from gatewise.bench import run
from gatewise.bench.ladder import measuring, plan
from gatewise.bench.ladder.analysis import analysed, rows
from gatewise.bench.ladder.measuring import FORWARD, PASSES, TRAINING, measured
from gatewise.bench.ladder.one_thread import in_one_thread
from gatewise.bench.ladder.problem import Size
from gatewise.bench.ladder.rungs import RUNGS
from gatewise.bench.run import BenchRun
from gatewise.bench.timing import Effort
from gatewise.cli import main
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.ladder import section
from wrong_rungs import WRONG

SMALL = Size(5, 2, 3, 4)


@pytest.fixture(autouse=True)
def hardly_any_time(monkeypatch):
    monkeypatch.setitem(measuring.EFFORTS, "quick", Effort(1e-3, 0.02))
    monkeypatch.setattr(measuring, "CALLS", 1)


class TestMeasuring:
    """Who gets a time."""

    def test_a_wrong_rung_gets_no_time(self):
        rungs = [RUNGS[0], replace(WRONG["h0 not read"], name="wrong"), RUNGS[1]]
        row = measured(SMALL, "quick", 0, rungs)
        wrong = row["rungs"][1]

        assert row["status"] == wrong["status"] == "WRONG"
        assert "y (first 3 steps)[0, " in wrong["message"]
        assert wrong["timings"] == wrong["counts"] == {}
        assert all(row["rungs"][k]["timings"].keys() == set(PASSES) for k in (0, 2))

    def test_none_is_right(self):
        row = measured(SMALL, "quick", 0, [WRONG["gates exchanged"]])

        assert (row["status"], row["floor"]) == ("WRONG", {})


@pytest.fixture
def done(monkeypatch, tmp_path):
    """Run the command in this process, with one wrong rung."""
    rungs = [*RUNGS[:2], replace(WRONG["dc not read"], name="wrong"), RUNGS[5]]
    monkeypatch.setattr(plan, "in_one_thread", lambda f, *args: f(*args, rungs))
    told = CliRunner().invoke(
        main,
        ["bench", "ladder", "--size", "4,2,3,4", "--size", "3,1,2,2", "--effort", "quick",
         "--runs", str(tmp_path)],
    )  # fmt: skip
    (folder,) = tmp_path.iterdir()
    return told, run.read(folder)


class TestTheBench:
    """Plan, command and report."""

    def test_what_is_told(self, done):
        told, found = done

        assert told.exit_code == 1  # one rung is wrong
        assert "1 four products" in told.output
        assert "wrong: WRONG: gradient of " in told.output
        assert [row["id"] for row in found.rows] == list(found.planned)

    def test_rungs_are_compared_with_the_one_below_that_has_a_time(self, done):
        steps = analysed(rows([done[1]]))

        assert [(s.rung.name, s.below) for s in steps[:3]] == [
            ("four products", ""), ("one product", "four products"), ("planes", "one product"),
        ]  # fmt: skip
        assert [s.of for s in steps[:6]] == [FORWARD] * 3 + [TRAINING] * 3
        assert steps[0].speed_up == (1.0, 1.0, 1.0)
        assert len(steps) == 12

    def test_verdicts_are_corrected_for_how_many_there_are(self, done):
        found = rows([done[1]])
        together = [s.gain.p for s in analysed(found) if s.gain]
        alone = [s.gain.p for row in found for s in analysed([row]) if s.gain]

        assert all(p >= q for p, q in zip(together, alone, strict=True))
        assert together != alone

    def test_the_section(self, done):
        found = section([done[1]])
        figures = [part for part in found.parts if isinstance(part, Figure)]
        tables = {part.title: part for part in found.parts if isinstance(part, Table)}

        assert [f.id for f in figures] == ["ladder-times", "ladder-gains"]
        assert len(tables["Times"].rows) == len(tables["Counts of one call"].rows) == 12
        assert [row[1:3] for row in tables["Without a time"].rows] == [("wrong", "WRONG")] * 2
        assert "from the first rung to the last" in found.intro[1]

    def test_figures_are_drawn(self, done):
        pytest.importorskip("altair")
        for part in section([done[1]]).parts:
            if isinstance(part, Figure):
                spec = json.dumps(part.chart().to_dict())
                assert "four products" in spec
                assert "T4-B2-D3-H4-float64" in spec

    def test_a_run_of_nothing(self, done):
        empty = BenchRun(**{**vars(done[1]), "rows": ()})

        assert "Not measured: 2 sizes" in section([empty]).intro[-1]

    def test_sizes_are_measured_on_one_thread_in_a_process_of_their_own(self):
        assert in_one_thread(os.getenv, "OPENBLAS_NUM_THREADS") == "1"
        assert in_one_thread(os.getpid) != os.getpid()

    def test_what_the_process_raises_is_raised_here(self):
        with pytest.raises(ValueError, match="invalid literal"):
            in_one_thread(int, "x")

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"sizes": ["1,2,3"]}, "expected T,B,D,H"),
            ({"sizes": ["a,b,c,d"]}, "expected T,B,D,H"),
            ({"sizes": ["0,1,1,1"]}, "must be at least 1"),
            ({"dtype": "float16"}, "expected float64 or float32"),
            ({"effort": "none"}, "expected quick, standard, thorough"),
        ],
    )
    def test_wrong_settings(self, wrong, said):
        with pytest.raises(ValueError, match=said):
            plan.plan(seed=0, **wrong)

    def test_the_same_size_twice_is_measured_once(self):
        assert len(plan.plan(seed=0, sizes=["3,1,2,2", "3,1,2,2"]).pieces) == 1
