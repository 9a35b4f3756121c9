"""The statistics of timing: intervals of medians, tests, and what is concluded from both."""

import itertools

import numpy as np
import pytest

from gatewise.bench.timing import comparison as comparing
from gatewise.bench.timing import significance
from gatewise.bench.timing import significance as resampling
from gatewise.bench.timing.comparison import AMBIGUOUS, FASTER, SAME, SLOWER, noise_floor, rounds
from simulated_machine import CALL, EFFORT, Machine


class TestResampling:
    """Blocks as long as the samples are correlated."""

    @pytest.mark.parametrize("n", [1, 2, 7, 10, 300])
    def test_samples_that_are_equal(self, n):
        assert resampling.interval([2.0] * n, np.random.default_rng(0)) == (2.0, 2.0)

    @pytest.mark.parametrize("n", [1, 2, 7, 10])
    def test_medians_of_rows_are_numpys(self, n):
        rows = np.random.default_rng(0).standard_normal((20, n))
        want = np.median(rows, axis=1)
        assert (resampling.medians_of_rows(rows) == want).all()

    def test_independent_samples_need_no_blocks(self):
        rng = np.random.default_rng(0)
        lengths = [resampling.block_length(rng.standard_normal(400)) for _ in range(50)]
        assert np.median(lengths) <= 2

    def test_blocks_grow_with_the_correlation(self):
        lengths = [self._typical(memory) for memory in (0.5, 0.8, 0.95)]
        assert lengths[0] < lengths[1] < lengths[2]
        assert 20 <= lengths[2] <= 100

    def test_the_interval_is_as_wide_as_medians_really_scatter(self):
        """Of an autocorrelated series, and of an independent one."""
        for memory in (0.0, 0.9):
            series = [self._series(memory, seed) for seed in range(200)]
            scatter = np.std([np.median(s) for s in series])
            intervals = [resampling.interval(s, np.random.default_rng(0)) for s in series[:50]]
            widths = np.array(intervals) @ [-1, 1] / (2 * 1.96)
            assert 0.75 < np.median(widths) / scatter < 1.25

    def _typical(self, memory: float) -> float:
        found = [resampling.block_length(self._series(memory, seed)) for seed in range(30)]
        return float(np.median(found))

    @staticmethod
    def _series(memory: float, seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal(600)
        kept = itertools.accumulate(noise, lambda before, new: memory * before + new)
        return np.array(list(kept))


class TestSignificance:
    """Signed ranks, and many of them."""

    def test_it_is_the_share_of_coins_that_fall_so(self):
        """Against every one of the 2^10 ways in which the coins can fall."""
        logs = np.array([0.9, 0.1, -0.2, 0.5, 0.6, -0.3, 0.8, 0.7, 0.4, 1.0])
        ranks = np.argsort(np.argsort(np.abs(logs))) + 1
        seen = ranks[logs > 0].sum()
        coins = np.array(list(itertools.product([0, 1], repeat=10))) @ ranks

        assert significance.p_value(logs, 0.0) == pytest.approx(2 * np.mean(coins >= seen))

    def test_ten_of_ten_are_just_enough(self):
        assert significance.p_value(np.linspace(0.1, 0.2, 10), 0.0) < comparing.LEVEL
        assert significance.p_value(np.linspace(0.1, 0.2, 9), 0.0) > comparing.LEVEL

    def test_a_difference_below_the_floor_is_none(self):
        logs = 0.03 + 0.01 * np.random.default_rng(0).standard_normal(100)
        assert significance.p_value(logs, 0.0) < 1e-9
        assert significance.p_value(logs, 0.04) == 1.0

    def test_no_difference_at_all(self):
        assert significance.p_value(np.zeros(20), 0.0) == 1.0

    def test_p_values_are_uniform_where_nothing_differs(self):
        """Also where the size of differences comes in waves."""
        rng = np.random.default_rng(0)
        waves = np.exp(2 * np.sin(np.arange(60) / 5))
        found = [significance.p_value(waves * rng.standard_normal(60), 0.0) for _ in range(500)]
        assert 0.03 < np.mean(np.array(found) < 0.05) < 0.075

    def test_holm(self):
        """The example of Holm's rule: 0.01, 0.04, 0.03, 0.005."""
        assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
            [0.03, 0.06, 0.06, 0.02]
        )
        assert significance.holm([]) == []

    @pytest.mark.parametrize(("count", "n", "low", "high"), [
        (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634),
    ])  # fmt: skip
    def test_wilson_interval(self, count, n, low, high):
        """Values of the closed form for z = 1.96, as tables of it print them."""
        assert significance.wilson(count, n) == pytest.approx((low, high), abs=1e-4)


class TestDeciding:
    """Interval, p-value and noise floor together."""

    @pytest.mark.parametrize(
        ("low", "high", "p", "floor", "verdict"),
        [
            (0.99, 1.01, 0.9, 0.0, SAME),
            (1.005, 1.015, 1e-9, 0.0, SAME),  # surely slower, and by nothing that matters
            (0.97, 1.01, 0.9, 0.0, AMBIGUOUS),  # "not significant" is not "the same"
            (0.97, 1.01, 0.9, 0.04, SAME),
            (0.90, 1.01, 0.9, 0.2, AMBIGUOUS),  # where a fifth is noise, nothing is the same
            (1.08, 1.12, 1e-9, 0.0, SLOWER),
            (1.08, 1.12, 1e-9, 0.1, AMBIGUOUS),  # no difference below the noise floor
            (1.08, 1.12, 0.01, 0.0, AMBIGUOUS),
            (0.88, 0.92, 1e-9, 0.05, FASTER),
            (0.90, 0.97, 1e-9, 0.0, FASTER),
        ],
    )
    def test_verdict(self, low, high, p, floor, verdict):
        assert comparing.decide(low, high, p, floor) == verdict

    def test_the_noise_floor_is_what_a_call_differs_from_itself_by(self):
        floors = [
            noise_floor(on.call(CALL), EFFORT, clock=on.clock)
            for on in (Machine(0), Machine(0, wander=0.3, memory=0.01))
        ]
        assert 0 < floors[0] < 0.01 < floors[1]

    def test_a_twin_that_differs_raises_it(self):
        on = Machine(0)
        floor = noise_floor(on.call(CALL), EFFORT, clock=on.clock, twin=on.call(1.04 * CALL))
        assert 0.035 < floor < 0.05

    def test_one_call_cannot_be_compared(self):
        with pytest.raises(ValueError, match="expected at least two calls to compare, got 1"):
            rounds({"a": print})
