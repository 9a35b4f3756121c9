"""The ladder: rungs are right, wrong ones get no time, counts are what formulas say."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.bench import run
from gatewise.bench.ladder import in_place, measuring, plan, proof
from gatewise.bench.ladder.analysis import analysed, rows
from gatewise.bench.ladder.counting import counted
from gatewise.bench.ladder.measuring import FORWARD, PASSES, TRAINING, measured
from gatewise.bench.ladder.one_thread import in_one_thread
from gatewise.bench.ladder.problem import Size, draw, reference, results
from gatewise.bench.ladder.rungs import RUNGS
from gatewise.bench.run import BenchRun
from gatewise.bench.timing import Effort
from gatewise.cli import main
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.ladder import section
from gatewise.verify.check import Ledger, Mismatch

SMALL = Size(5, 2, 3, 4)
NAMES = [rung.name for rung in RUNGS]


@pytest.fixture(autouse=True)
def hardly_any_time(monkeypatch):
    monkeypatch.setitem(measuring.EFFORTS, "quick", Effort(1e-3, 0.02))
    monkeypatch.setattr(measuring, "CALLS", 1)


@pytest.mark.parametrize("rung", RUNGS, ids=NAMES)
class TestEveryRung:
    """What each has to hold to."""

    @settings(max_examples=25, deadline=None)
    @given(
        dtype=st.sampled_from(["float32", "float64"]),
        sizes=st.tuples(*[st.integers(1, 6)] * 4),
        steps=st.integers(0, 6),
        seed=st.integers(0, 2**32 - 1),
        scale=st.sampled_from([1e-3, 1.0, 4.0]),
    )
    @example(dtype="float64", sizes=(1, 1, 1, 1), steps=0, seed=0, scale=1.0)
    @example(dtype="float32", sizes=(4, 3, 2, 5), steps=4, seed=0, scale=300.0)
    def test_equals_the_plain_cell(self, rung, dtype, sizes, steps, seed, scale):
        """Element by element, within the bound of any right program; also saturated."""
        problem = draw(Size(*sizes, dtype), seed, scale).first(steps)
        ledger = Ledger()
        got = results(rung, problem)
        for name, want in reference(problem).items():
            assert got[name].dtype == dtype
            ledger.compare(name, got[name], want)
        ledger.assert_within()

    def test_leaves_its_inputs_and_its_run_alone(self, rung):
        def lock(array):
            array.flags.writeable = False
            return array

        q = draw(SMALL, 0).map(lock)
        made = rung.forward(q.p, q.x, q.h0, q.c0)
        first, *again = (rung.backward(q.p, made, q.dy, q.dh, q.dc) for _ in range(2))

        assert all(np.array_equal(first[0][name], again[0][0][name]) for name in "WUb")
        assert all(np.array_equal(a, b) for a, b in zip(first[1:], again[0][1:], strict=True))

    def test_has_the_operations_that_formulas_say(self, rung):
        """Forward 2 G H (D + H) B T; backward, with dx and dh, twice that."""
        problem = draw(SMALL, 0)

        assert counted(rung, problem, backward=False).flop == SMALL.flop
        assert counted(rung, problem, backward=True).flop == 3 * SMALL.flop


class TestCounts:
    """What makes one rung differ from another, without a clock."""

    @pytest.mark.parametrize(
        ("name", "forward", "training"),
        [
            ("four products", lambda T: 8 * T, lambda T: 24 * T),
            ("one product", lambda T: T, lambda T: 3 * T),
            ("hoisted", lambda T: T + 1, lambda T: 4 * T + 2),
            ("in place", lambda T: T + 1, lambda T: 4 * T + 2),
            ("stacked", lambda T: T + 1, lambda T: 2 * T + 4),
            ("planes", lambda T: 4 * T + 4, lambda T: 8 * T + 16),
        ],
    )
    @pytest.mark.parametrize("T", [3, 7])
    def test_products(self, name, forward, training, T):
        rung, problem = RUNGS[NAMES.index(name)], draw(replace(SMALL, T=T), 0)

        assert counted(rung, problem, backward=False).products == forward(T)
        assert counted(rung, problem, backward=True).products == training(T)

    def test_no_step_in_place_makes_an_array(self):
        made = [
            [counted(rung, draw(replace(SMALL, T=T), 0), backward=True).made for T in (3, 9)]
            for rung in RUNGS
        ]
        grows = dict(zip(NAMES, (few != many for few, many in made), strict=True))

        assert not grows["in place"]
        assert not grows["stacked"]
        assert grows["hoisted"]

    def test_calls_become_fewer_from_rung_to_rung(self):
        calls = [counted(rung, draw(SMALL, 0), backward=True).calls for rung in RUNGS]

        assert calls[1] < calls[0] / 1.8
        assert calls[3] < calls[2]
        assert calls[5] < calls[4] < calls[3]

    def test_bytes(self):
        """What is kept is six planes of (T, B, H) and what Python needs; the peak is no less."""
        size = Size(16, 16, 16, 64)
        plane = 8 * size.T * size.B * size.H
        for rung in RUNGS:
            counts = counted(rung, draw(size, 0), backward=False)
            assert 6 * plane < counts.kept < 9.5 * plane
            assert counts.peak >= counts.kept

    def test_counting_leaves_no_trace(self):
        before = in_place.np
        counted(RUNGS[3], draw(SMALL, 0), backward=True)

        assert in_place.np is before is np


def _wrong(place=0, forward=None, backward=None):
    """Return a rung that does something to what goes in, or to what comes out."""
    rung = RUNGS[place]
    return replace(
        rung,
        forward=(lambda *given: forward(rung, *given)) if forward else rung.forward,
        backward=(lambda *given: backward(rung, *given)) if backward else rung.backward,
    )


def _exchanged(rung, p, x, h0, c0):
    return rung.forward(p.map(lambda a: a[[1, 0, 2, 3]]), x, h0, c0)


def _no_state(rung, p, x, h0, c0):
    return rung.forward(p, x, 0 * h0, c0)


def _in_float32(rung, p, x, h0, c0):
    made = rung.forward(p, x.astype("float32").astype("float64"), h0, c0)
    return replace(made, x=x)


def _off(rung, p, x, h0, c0):
    made = rung.forward(p, x, h0, c0)
    return replace(made, y=made.y * (1 + 1e-10))


def _of_float32(rung, p, x, h0, c0):
    made = rung.forward(p, x, h0, c0)
    return replace(made, y=made.y.astype("float32"))


def _forgets_dc(rung, p, made, dy, dh, dc):
    return rung.backward(p, made, dy, dh, 0 * dc)


def _late(rung, p, made, dy, dh, dc):
    return rung.backward(p, made, np.roll(dy, 1, axis=0), dh, dc)


def _one_bias(rung, p, made, dy, dh, dc):
    dp, *rest = rung.backward(p, made, dy, dh, dc)
    dp["b"][1] = dp["b"][0]
    return dp, *rest


WRONG = {
    "gates exchanged": _wrong(forward=_exchanged),
    "h0 not read": _wrong(2, forward=_no_state),
    "input rounded to float32": _wrong(1, forward=_in_float32),
    "off by 1e-10": _wrong(3, forward=_off),
    "returns float32": _wrong(forward=_of_float32),
    "dc not read": _wrong(4, backward=_forgets_dc),
    "dy a step late": _wrong(5, backward=_late),
    "db of one gate for another": _wrong(2, backward=_one_bias),
}


class TestTheProof:
    """Planted errors."""

    @pytest.mark.parametrize("error", WRONG)
    def test_a_wrong_rung_is_refused(self, error):
        with pytest.raises(Mismatch):
            proof.prove(WRONG[error], None, proof.oracles(SMALL, draw(SMALL, 0)))

    @pytest.mark.parametrize("size", [SMALL, Size(60, 2, 24, 32), Size(12, 2, 64, 96, "float32")])
    def test_right_ones_are_not(self, size):
        held, below = proof.oracles(size, draw(size, 0)), None
        for rung in RUNGS:
            found = proof.prove(rung, below, held)
            assert 0 < found.error < 0.2
            assert (found.from_below is None) == (below is None)
            below = rung

    def test_a_rung_is_also_held_to_the_one_below(self):
        held = proof.oracles(SMALL, draw(SMALL, 0))
        with pytest.raises(Mismatch, match="beside four products"):
            proof.prove(RUNGS[1], _wrong(0, backward=_forgets_dc), held)

    def test_bounds_that_mean_nothing_are_no_proof(self):
        """As they would be for a whole sequence of ordinary weights."""
        size = Size(40, 2, 32, 64)
        problem = draw(size, 0)
        held = [proof.Held("all", problem, reference(problem))]
        with pytest.raises(Mismatch, match="every bound is too wide to mean anything"):
            proof.prove(RUNGS[0], None, held)

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
