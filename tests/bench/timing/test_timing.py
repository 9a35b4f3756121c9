"""Samples, warm-up, stop rules, and what is read of a machine."""

import gc
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from gatewise.bench.scores import false_calls
from gatewise.bench.scores.false_calls import busy
from gatewise.bench.timing import comparison as comparing
from gatewise.bench.timing import measurement as sampling
from gatewise.bench.timing.comparison import AMBIGUOUS, FASTER, SAME, SLOWER, compare
from gatewise.bench.timing.environment import environment
from gatewise.bench.timing.measurement import NOISY, OK, Clock, Effort, measure
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

    @pytest.mark.parametrize(("wrong", "said"), [
        ({"seconds": 2.0}, "must lie above 0, up to patience"),
        ({"seconds": 0.0}, "must lie above 0, up to patience"),
        ({"samples": 9}, "must be at least 10, at most 1000"),
        ({"half_width": 0.0}, "half_width and sample must be above 0"),
    ])  # fmt: skip
    def test_an_effort_that_says_nothing_is_refused(self, wrong, said):
        with pytest.raises(ValueError, match=said):
            Effort(**{"seconds": 0.1, "patience": 1.0, **wrong})


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
        c = compare(lambda: sum(range(100)), lambda: sum(range(5000)), Effort(0.01, 0.2))
        assert c.a.loops > c.b.loops
        assert c.pairs <= c.a.n == c.b.n

    @pytest.mark.parametrize(("called", "more", "state", "ok"), [
        (SAME, False, "as it is", True),
        (SLOWER, False, "as it is", False),
        (SLOWER, False, "disturbed", False),
        (SLOWER, True, "as it is", True),
        (AMBIGUOUS, True, "as it is", False),
        (AMBIGUOUS, True, "disturbed", True),
        (FASTER, True, "disturbed", False),
    ])  # fmt: skip
    def test_what_false_calls_requires(self, monkeypatch, called, more, state, ok):
        on = Machine(0)
        one = compare(on.call(CALL), on.call(CALL), EFFORT, clock=on.clock)
        found = comparing.replace(one, verdict=called)
        monkeypatch.setattr(false_calls, "compare", lambda *given, **options: found)

        assert false_calls.counted(state, more, 3, 0.0, 0).ok is ok

    def test_false_calls_prints_json(self):
        arguments = ["--same", "1", "--planted", "1", "--machine", "as it is", "--json"]
        told = json.loads(CliRunner().invoke(false_calls.main, arguments).stdout)
        assert [row["comparisons"] for row in told["rows"]] == [1, 1]
        assert told["seed"] == 0
