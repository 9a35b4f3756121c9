"""The ladder: rungs are right, wrong ones get no time, counts are what formulas say."""

import json
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.bench.cost.shape import Shape
from gatewise.bench.speed import analysis, ladder, registry
from gatewise.bench.speed.contender import BACKWARD, FORWARD, PASSES, TRAINING
from gatewise.bench.speed.gate import WrongError, expected, passed
from gatewise.bench.speed.ladder import RUNGS
from gatewise.bench.speed.measurement import Request, measured
from gatewise.bench.speed.problem import Problem
from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Sizes
from gatewise.reference.sequence import backpropagate, unroll
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.speed import section
from gatewise.verify.numbers.arithmetic import ARITHMETICS
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.numbers.ledger import Ledger
from made_runs import bench_run
from wrong_rungs import WRONG

LSTM = cell_named("lstm")
SMALL = Shape(T=5, B=2, D=3, H=4)
NAMES = [rung.name.partition(":")[2] for rung in RUNGS]


def results(run, gradient):
    dp, dx, dh0, dc0 = gradient
    return {"y": run.y, "x": dx, "h0": dh0, "c0": dc0, **dp}


@pytest.mark.parametrize("rung", RUNGS, ids=NAMES)
class TestEveryRung:
    """What each has to hold to."""

    @settings(max_examples=25, deadline=None)
    @given(dtype=st.sampled_from(["float32", "float64"]), sizes=st.tuples(*[st.integers(1, 6)] * 3),
           steps=st.integers(0, 6), seed=st.integers(0, 2**32 - 1),
           scale=st.sampled_from([1e-3, 1.0, 4.0]))  # fmt: skip
    @example(dtype="float64", sizes=(1, 1, 1), steps=0, seed=0, scale=1.0)
    @example(dtype="float32", sizes=(3, 2, 5), steps=4, seed=0, scale=300.0)
    def test_equals_the_plain_cell(self, rung, dtype, sizes, steps, seed, scale):
        """Element by element, within the bound of any right program; also saturated."""
        rng, (B, D, H) = np.random.default_rng(seed), sizes
        p = LSTM.random_parameters(rng, Sizes(D, H)).map(lambda a: (scale * a).astype(dtype))
        shapes = ((steps, B, D), (B, H), (B, H), (steps, B, H), (B, H), (B, H))
        x, h0, c0, dy, dh, dc = (rng.standard_normal(s).astype(dtype) for s in shapes)
        with np.errstate(over="ignore"):  # exp(1000) = inf is right, see ladder.sigmoid
            run = rung.forward(p, x, h0, c0)
            found = results(run, rung.backward(p, run, dy, dh, dc))

        def exact(array):
            return Bounded.exact(array, ARITHMETICS[dtype])

        plain = unroll(LSTM, p.map(exact), exact(x), (exact(h0), exact(c0)))
        ends = (exact(dh), exact(dc))
        dp, dx, initial = backpropagate(LSTM, p.map(exact), plain, exact(dy), ends)
        ledger = Ledger()
        for name, want in results(plain, (dp, dx, *initial)).items():
            assert found[name].dtype == dtype
            ledger.compare(name, found[name], want)
        for name, got, want in zip("hc", (run.h, run.c), plain.final, strict=True):
            ledger.compare(name, got, want)
        ledger.assert_within()

    def test_leaves_its_inputs_and_its_run_alone(self, rung):
        def lock(array):
            array.flags.writeable = False
            return array

        prepared = prepared_of(rung)
        prepared.p, prepared.x = prepared.p.map(lock), lock(prepared.x)
        prepared.h, prepared.c = lock(prepared.h), lock(prepared.c)
        d = prepared.problem.cotangents()
        first, again = (prepared.arrays(prepared.backward(d)) for _ in range(2))

        assert all(np.array_equal(a, again.parameters[n]) for n, a in first.parameters.items())
        assert np.array_equal(first.x, again.x)
        assert all(map(np.array_equal, first.initial, again.initial))

    def test_has_the_operations_that_formulas_say(self, rung):
        """Forward 2 G H (D + H) B T; backward, with dx and dh, twice that."""
        s = SMALL
        flop = 8 * (s.D + s.H) * s.H * s.B * s.T

        assert counts(rung, FORWARD)["flop"] == flop
        assert counts(rung, BACKWARD)["flop"] == 2 * flop
        assert counts(rung, TRAINING)["flop"] == 3 * flop

    def test_passes_the_gate(self, rung):
        prepared = prepared_of(rung)
        for of in (FORWARD, BACKWARD, TRAINING):
            assert passed(of, prepared, prepared.problem, expected(prepared.problem)).ratio < 0.2


def prepared_of(rung, shape=SMALL):
    return rung.prepare(Problem("lstm", shape, "float64"))


def counts(rung, of, shape=SMALL):
    prepared = prepared_of(rung, shape)
    return prepared.counts(of, prepared.problem.cotangents())


class TestCounts:
    """What makes one rung differ from another, without a clock."""

    @pytest.mark.parametrize(("name", "forward", "training"), [
        ("four-products", lambda T: 8 * T, lambda T: 24 * T),
        ("one-product", lambda T: T, lambda T: 3 * T),
        ("hoisted", lambda T: T + 1, lambda T: 4 * T + 2),
        ("in-place", lambda T: T + 1, lambda T: 4 * T + 2),
        ("stacked", lambda T: T + 1, lambda T: 2 * T + 4),
        ("planes", lambda T: 4 * T + 4, lambda T: 8 * T + 16),
    ])  # fmt: skip
    @pytest.mark.parametrize("T", [3, 7])
    def test_products(self, name, forward, training, T):
        rung, shape = RUNGS[NAMES.index(name)], replace(SMALL, T=T)
        assert counts(rung, FORWARD, shape)["products"] == forward(T)
        assert counts(rung, TRAINING, shape)["products"] == training(T)
        assert counts(rung, BACKWARD, shape)["products"] == training(T) - forward(T)

    def test_no_step_in_place_makes_an_array(self):
        made = [[counts(rung, TRAINING, replace(SMALL, T=T))["made"] for T in (3, 9)]
                for rung in RUNGS]  # fmt: skip
        grows = dict(zip(NAMES, (few != many for few, many in made), strict=True))

        assert not grows["in-place"]
        assert not grows["stacked"]
        assert grows["hoisted"]

    def test_calls_become_fewer_from_rung_to_rung(self):
        calls = [counts(rung, TRAINING)["calls"] for rung in RUNGS]
        assert calls[1] < calls[0] / 1.8
        assert calls[3] < calls[2]
        assert calls[5] < calls[4] < calls[3]

    def test_bytes(self):
        """What is kept is six planes of (T, B, H) and what Python needs; the peak is no less."""
        shape = Shape(T=16, B=16, D=16, H=64)
        plane = 8 * shape.T * shape.B * shape.H
        for rung in RUNGS:
            kept = counts(rung, FORWARD, shape)["kept"]
            assert 6 * plane < kept < 9.5 * plane
            assert prepared_of(rung, shape).peak(FORWARD, None) >= kept

    def test_counting_leaves_no_trace(self):
        before = ladder.np
        counts(RUNGS[3], TRAINING)
        assert ladder.np is before is np


@pytest.mark.parametrize("error", WRONG)
def test_a_wrong_rung_is_refused(error):
    prepared = prepared_of(WRONG[error])
    with pytest.raises(WrongError):
        passed(TRAINING, prepared, prepared.problem, expected(prepared.problem))


@pytest.fixture(scope="module")
def run():
    """A run of two shapes in which a rung is wrong."""
    wrong = replace(WRONG["dc not read"], name="ladder:stacked")
    names = tuple(rung.name for rung in RUNGS)
    contenders = {rung.name: rung.contender() for rung in (*RUNGS, wrong)}
    with patch.object(registry, "package_contenders", lambda: contenders):
        rows = [
            {"id": str(shape), **measured(Request(str(shape), "lstm", shape, "float64",
             (*names[1:], names[0]), (FORWARD, TRAINING)), lambda doing: None)}
            for shape in (SMALL, replace(SMALL, T=3))
        ]  # fmt: skip
    return bench_run("speed", *json.loads(json.dumps(rows)))


class TestTheRun:
    """Who gets a time, and with whom it is compared."""

    def test_a_wrong_rung_gets_no_time(self, run):
        entries = {(e["subject"], e["of"]): e for e in run.rows[0]["entries"]}
        wrong = entries["ladder:stacked", TRAINING]

        assert (wrong["status"], wrong["timing"], wrong["counts"]) == ("WRONG", None, None)
        assert "gradient of " in wrong["message"]
        assert entries["ladder:in-place", TRAINING]["timing"]
        assert entries["ladder:in-place", TRAINING]["counts"]["products"] == 22

    def test_rungs_are_compared_with_the_one_below_that_has_a_time(self, run):
        rows = {(r.shape, r.entry.of, r.entry.subject): r for r in analysis.analysed(run)}
        below = {name: rows[SMALL, TRAINING, f"ladder:{name}"].below for name in NAMES}

        assert below == {
            "four-products": "", "one-product": "ladder:four-products",
            "hoisted": "ladder:one-product", "in-place": "ladder:hoisted", "stacked": "",
            "planes": "ladder:in-place",
        }  # fmt: skip
        planes = rows[SMALL, TRAINING, "ladder:planes"]
        assert planes.baseline == "ladder:four-products"
        assert planes.gain.a == planes.entry.timing
        assert planes.gain.b == rows[SMALL, TRAINING, planes.below].entry.timing

    def test_verdicts_are_corrected_for_how_many_there_are(self, run):
        def gains(run):
            return [r.gain.p for r in analysis.analysed(run) if r.gain]

        together = gains(run)
        alone = [p for row in run.rows for p in gains(replace(run, rows=(row,)))]

        assert all(p >= q for p, q in zip(together, alone, strict=True))
        assert together != alone

    def test_the_section(self, run):
        parts = section([run]).parts
        (table,) = (
            part for part in parts if isinstance(part, Table) and part.title == "The ladder"
        )
        (figure,) = (p for p in parts if isinstance(p, Figure) and "ladder" in p.id)

        assert len(table.rows) == 2 * (6 + 5)
        assert [row[2] for row in table.rows[:2]] == ["1 four-products", "2 one-product"]
        assert (table.rows[0][7], table.rows[0][4]) == ("8", "")  # products a step, gain
        assert "float64 training: " in figure.alt
        assert {row[1] for row in table.rows} <= set(PASSES)

    def test_the_figure_is_drawn(self, run):
        pytest.importorskip("altair")
        (figure,) = (p for p in section([run]).parts if isinstance(p, Figure) and "ladder" in p.id)
        spec = json.dumps(figure.chart().to_dict())

        assert "1 four-products" in spec
        assert str(SMALL) in spec
