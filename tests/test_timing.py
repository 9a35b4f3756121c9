"""The parts of timing: samples, warm-up, stop rules, intervals, tests, what a machine tells."""

import gc
import itertools
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from gatewise.bench.timing import (
    AMBIGUOUS,
    FASTER,
    NOISY,
    OK,
    SAME,
    SLOWER,
    Clock,
    Effort,
    compare,
    comparing,
    environment,
    false_calls,
    measure,
    noise_floor,
    resampling,
    rounds,
    sampling,
    significance,
)
from gatewise.bench.timing.busy import busy
from simulated_machine import CALL, EFFORT, READING, Machine


class TestSamples:
    """A call, long enough for the clock."""

    @pytest.mark.parametrize("seconds", [1e-6, 3e-5, 2e-3])
    def test_the_clock_takes_a_ten_thousandth_at_most(self, seconds):
        on = Machine(0)
        loops = measure(on.call(seconds), EFFORT, clock=on.clock).loops

        assert READING <= sampling.OVERHEAD * loops * seconds * 1.05
        assert loops * seconds >= EFFORT.sample * 0.95
        assert loops == 1 or loops * seconds < 4 * max(EFFORT.sample, READING / sampling.OVERHEAD)

    def test_a_call_that_takes_no_time_ends(self):
        assert sampling.loops_for(lambda: None, 1.0, Clock(lambda: 0.0), most=1000) == 1000

    def test_garbage_is_collected_between_samples_only(self):
        seen = []
        sampling.sample(lambda: seen.append(gc.isenabled()), 2)

        assert seen == [False, False]
        assert gc.isenabled()

    def test_an_error_of_the_call_is_the_callers(self):
        with pytest.raises(ZeroDivisionError):
            measure(lambda: 1 / 0)
        assert gc.isenabled()

    def test_what_others_took_is_left_out(self):
        on = Machine(0, preempted=100)
        t = measure(on.call(CALL), EFFORT, clock=on.clock)

        assert 0 < t.interrupted < 0.5
        assert min(away for away in t.away if away) > 1.9e-3
        assert max(t.samples) < 1.1 * CALL

    def test_also_where_every_sample_is_interrupted(self):
        on = Machine(0, preempted=500)
        t = measure(on.call(20e-3), Effort(0.1, 3.0), clock=on.clock)

        assert t.interrupted == 1.0
        assert abs(t.median - 20e-3) < 0.05 * 20e-3

    def test_waiting_by_choice_is_time_of_the_call(self):
        for preempted in (0, 100):
            on = Machine(0, preempted=preempted)
            t = measure(on.waiting(CALL), EFFORT, clock=on.clock)

            assert t.interrupted == 0
            assert abs(t.median - CALL) < 0.02 * CALL

    @pytest.mark.parametrize(("threads", "device"), [(2, False), (1, True)])
    def test_where_others_do_the_work_nothing_is_left_out(self, threads, device):
        """They go on while this thread, which only asks whether they are done, is away."""
        on = Machine(0, device=device)
        t = measure(on.spinning(CALL, threads=threads), EFFORT, clock=on.clock)

        assert t.away == ()
        assert t.median == pytest.approx(CALL, rel=1e-3)

    def test_otherwise_it_would_be(self):
        on = Machine(0)
        t = measure(on.spinning(CALL), EFFORT, clock=on.clock)

        assert t.median < 0.8 * CALL

    def test_the_clock_of_this_machine(self):
        clock = sampling.WALL
        started, running, scheduled = clock.seconds(), clock.running(), clock.scheduled()
        sum(range(10**5))

        assert clock.seconds() > started
        assert clock.running() >= running
        assert min(np.subtract(clock.scheduled(), scheduled)[:2]) >= 0
        assert clock.device() in (False, True)

    def test_a_gpu_in_use_is_known(self, monkeypatch):
        cuda = SimpleNamespace(is_initialized=lambda: True)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

        assert sampling.wall().device()


class TestStopping:
    """Warm-up and the stop rule."""

    def test_it_warms_up_until_times_stop_falling(self):
        on = Machine(0)
        t = measure(on.call(CALL, cold=3 * CALL), EFFORT, clock=on.clock)
        warm = measure(on.call(CALL), EFFORT, clock=on.clock)

        assert t.warm_up > warm.warm_up
        assert max(t.samples) < 1.1 * CALL

    def test_warm_up_that_does_not_end_is_noisy(self):
        on = Machine(0, drift=-0.9)
        t = measure(on.call(CALL), Effort(0.1, 0.12), clock=on.clock)

        assert t.status == NOISY

    def test_the_first_call_is_apart(self):
        on = Machine(0)
        t = measure(on.call(CALL, first=0.1), EFFORT, clock=on.clock)

        assert t.first_call > 0.1 > 0.01 > max(t.samples)

    def test_enough_over_enough_time(self):
        on = Machine(0)
        t = measure(on.call(CALL), EFFORT, clock=on.clock)

        assert t.status == OK
        assert t.half_width < EFFORT.half_width
        assert sum(t.samples) >= EFFORT.seconds
        assert t.least <= t.low <= t.median <= t.high

    def test_patience_ends_it(self):
        on = Machine(0, wander=1.0, memory=0.01)
        t = measure(on.call(CALL), EFFORT, clock=on.clock)

        assert t.status == NOISY
        assert t.half_width >= EFFORT.half_width
        assert EFFORT.patience < on.now < EFFORT.patience + 0.1

    def test_a_call_longer_than_patience_is_measured_once(self):
        on = Machine(0)
        t = measure(on.call(9.0), EFFORT, clock=on.clock)

        assert (t.n, t.status) == (1, NOISY)

    def test_most_samples(self):
        on = Machine(0, wander=1.0)
        t = measure(on.call(CALL), Effort(0.1, 60.0, most=50), clock=on.clock)

        assert (t.n, t.status) == (50, NOISY)

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"seconds": 2.0}, "must lie above 0, up to patience"),
            ({"seconds": 0.0}, "must lie above 0, up to patience"),
            ({"samples": 9}, "must be at least 10, at most 1000"),
            ({"half_width": 0.0}, "half_width and sample must be above 0"),
        ],
    )
    def test_an_effort_that_says_nothing_is_refused(self, wrong, said):
        with pytest.raises(ValueError, match=said):
            Effort(**{"seconds": 0.1, "patience": 1.0, **wrong})


class TestResampling:
    """Blocks as long as the samples are correlated."""

    @pytest.mark.parametrize("n", [1, 2, 7, 10, 300])
    def test_samples_that_are_equal(self, n):
        assert resampling.interval([2.0] * n, np.random.default_rng(0)) == (2.0, 2.0)

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


class TestThisMachine:
    """What is read of it, and the command that disturbs it."""

    def test_environment(self, monkeypatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        found = environment()

        assert found["OMP_NUM_THREADS"] == "3"
        assert found["clock"].startswith("perf_counter")
        assert "blas" in found
        json.dumps(found)

    def test_disturbers_end_with_the_block(self):
        import multiprocessing

        before = len(multiprocessing.active_children())
        with busy(1):
            assert len(multiprocessing.active_children()) == before + 1
        assert len(multiprocessing.active_children()) == before

    def test_real_calls_can_be_compared(self):
        """Nothing about how long they take."""
        c = compare(lambda: sum(range(100)), lambda: sum(range(5000)), Effort(0.01, 0.2))

        assert c.a.loops > c.b.loops
        assert c.pairs <= c.a.n == c.b.n

    @pytest.mark.parametrize(
        ("called", "more", "state", "ok"),
        [
            (SAME, False, "as it is", True),
            (SLOWER, False, "as it is", False),
            (SLOWER, False, "disturbed", False),
            (SLOWER, True, "as it is", True),
            (AMBIGUOUS, True, "as it is", False),
            (AMBIGUOUS, True, "disturbed", True),
            (FASTER, True, "disturbed", False),
        ],
    )
    def test_what_false_calls_requires(self, monkeypatch, called, more, state, ok):
        on = Machine(0)
        one = compare(on.call(CALL), on.call(CALL), EFFORT, clock=on.clock)
        found = comparing.replace(one, verdict=called)
        monkeypatch.setattr(false_calls, "compare", lambda *given, **options: found)

        assert false_calls.counted(state, more, 3, 0.0, 0).ok is ok

    def test_false_calls_prints_json(self):
        arguments = ["--same", "1", "--planted", "1", "--machine", "as it is", "--json"]
        told = json.loads(CliRunner().invoke(false_calls.main, arguments).stdout)

        assert [row["comparisons"] for row in told["counted"]] == [1, 1]
        assert told["about"]["seed"] == "0"
