"""The ladder: rungs are right, wrong ones get no time, counts are what formulas say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.bench.ladder import in_place, proof
from gatewise.bench.ladder.counting import counted
from gatewise.bench.ladder.problem import Size, draw, reference, results
from gatewise.bench.ladder.rungs import RUNGS
from gatewise.verify.numbers.ledger import Ledger, Mismatch
from wrong_rungs import WRONG, forgets_dc, wrong

SMALL = Size(5, 2, 3, 4)
NAMES = [rung.name for rung in RUNGS]


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
            proof.prove(RUNGS[1], wrong(0, backward=forgets_dc), held)

    def test_bounds_that_mean_nothing_are_no_proof(self):
        """As they would be for a whole sequence of ordinary weights."""
        size = Size(40, 2, 32, 64)
        problem = draw(size, 0)
        held = [proof.Held("all", problem, reference(problem))]
        with pytest.raises(Mismatch, match="every bound is too wide to mean anything"):
            proof.prove(RUNGS[0], None, held)
