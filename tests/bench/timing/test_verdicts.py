"""Verdicts on two times: false calls, power and intervals, on machines that are simulated.

Real time is never asserted about. The machines wander, burst, drift, beat and are taken away, the
same at every run; ``test_timing_errors`` plants what comparisons usually do wrong.
"""

import pytest

from gatewise.bench.timing.comparison import (
    AMBIGUOUS,
    FASTER,
    SAME,
    SLOWER,
    Comparison,
    compare,
    rounds,
)
from gatewise.bench.timing.measurement import NOISY
from simulated_machine import BEATS, CALL, EFFORT, MACHINES, Machine, verdicts


class TestVerdicts:
    """What is the same is not called different, and what is different is."""

    @pytest.mark.parametrize("machine", MACHINES)
    def test_a_call_does_not_differ_from_itself(self, machine):
        found = verdicts(MACHINES[machine], CALL, count=100)
        assert found[FASTER] + found[SLOWER] <= 1
        assert found[SAME] >= 50

    @pytest.mark.parametrize("machine", MACHINES)
    @pytest.mark.parametrize(("times", "verdict"), [(1.1, SLOWER), (1 / 1.1, FASTER)])
    def test_ten_percent_are_seen(self, machine, times, verdict):
        found = verdicts(MACHINES[machine], times * CALL, count=40)
        assert found[verdict] >= 38

    def test_too_much_noise_is_ambiguous(self):
        machine = {"preempted": 300, "told": False, "wander": 0.3, "memory": 0.01}
        assert verdicts(machine, CALL)[AMBIGUOUS] >= 55
        assert not verdicts(machine, 1.05 * CALL)[FASTER]

    def test_a_beat_is_not_taken_for_a_difference(self):
        found = verdicts(BEATS, CALL)
        assert found[FASTER] + found[SLOWER] <= 1

    @pytest.mark.parametrize("machine", ["quiet", "bursts", "preempted"])
    def test_the_interval_covers_the_ratio(self, machine):
        inside = 0
        for seed in range(100):
            on = Machine(seed, **MACHINES[machine])
            c = compare(on.call(1.3 * CALL), on.call(CALL), EFFORT, seed, clock=on.clock)
            inside += c.low <= 1.3 <= c.high

        assert inside >= 89  # 95 expected; 88 or fewer has a probability of 0.4 %

    def test_the_same_seed_gives_the_same_comparison(self):
        def once() -> Comparison:
            on = Machine(3, wander=0.2)
            return compare(on.call(CALL), on.call(CALL), EFFORT, 5, clock=on.clock)

        assert once() == once()

    def test_what_cannot_be_narrowed_is_noisy(self):
        on = Machine(0, wander=1.0, memory=1e-4)
        c = compare(on.call(CALL), on.call(CALL), EFFORT, clock=on.clock)
        assert (c.status, c.verdict) == (NOISY, AMBIGUOUS)
        assert c.a.n == c.b.n > 100

    def test_any_number_of_calls_take_turns(self):
        on = Machine(0, wander=0.1)
        taken = rounds({k: on.call(k * CALL) for k in (1, 2, 3)}, EFFORT, clock=on.clock)

        assert {t.n for t in taken.timings.values()} == {taken.timings[1].n}
        assert [taken.compare(k, 2).verdict for k in (1, 2, 3)] == [FASTER, SAME, SLOWER]
        assert abs(taken.compare(3, 1).ratio - 3) < 0.1
