"""What comparisons of times usually do wrong, planted: the simulations of verdicts see it."""

import numpy as np

from gatewise.bench.timing import comparison as comparing
from gatewise.bench.timing import significance as resampling
from gatewise.bench.timing.comparison import FASTER, SLOWER, Comparison, Rounds, corrected
from gatewise.bench.timing.measurement import OK, Effort, Timing, measure
from simulated_machine import BEATS, CALL, EFFORT, MACHINES, Machine, verdicts


class TestPlantedErrors:
    """The same simulations, with an error in the statistics."""

    def test_one_after_the_other(self):
        """All of a, then all of b: the drift between them becomes a difference."""
        effort = Effort(1e-6, 9.0, samples=100, most=100, half_width=1e-6)
        on = Machine(0, drift=1.0)
        timings = {name: measure(on.call(CALL), effort, clock=on.clock) for name in "ab"}
        assert Rounds(timings, effort, 0).compare("b", "a").verdict == SLOWER

    def test_always_in_the_same_order(self, monkeypatch):
        """What comes first then always meets the slow half of the beat, or never."""
        monkeypatch.setattr(comparing, "turn", lambda rng, count: range(count))

        found = verdicts(BEATS, CALL, count=20)

        assert found[FASTER] + found[SLOWER] == 20

    def test_not_paired(self, monkeypatch):
        """Of samples without neighbours, the machine's wandering hides 10 %."""
        machine = {"wander": 0.6, "memory": 0.3}
        assert verdicts(machine, 1.1 * CALL, count=20)[SLOWER] == 20
        paired, rng = comparing.log_ratios, np.random.default_rng(0)
        monkeypatch.setattr(comparing, "log_ratios", lambda a, b: paired(rng.permutation(a), b))

        assert verdicts(machine, 1.1 * CALL, count=20)[SLOWER] <= 8

    def test_means_instead_of_medians(self, monkeypatch):
        """A median shrugs its shoulders at what is rare, however long it takes."""
        machine = {"bursts": 10, "burst_length": 0.002, "burst_factor": 100}
        assert verdicts(machine, 1.1 * CALL, count=20)[SLOWER] == 20

        monkeypatch.setattr(np, "median", np.mean)
        monkeypatch.setattr(resampling, "medians_of_rows", lambda rows: rows.mean(axis=1))

        assert verdicts(machine, 1.1 * CALL, count=20)[SLOWER] <= 8

    def test_interruptions_left_in(self):
        machine = MACHINES["preempted"] | {"told": False, "preempted": 300}
        assert verdicts(machine, 1.1 * CALL, count=20)[SLOWER] <= 12

    def test_samples_taken_for_independent(self, monkeypatch):
        """The interval of a single median is then far too narrow."""
        with_blocks = self._covered()
        monkeypatch.setattr(resampling, "block_length", lambda series: 1)
        assert with_blocks >= 24
        assert self._covered() <= 15

    @staticmethod
    def _covered(count: int = 30) -> int:
        machine, inside = {"wander": 0.1, "memory": 0.01}, 0
        effort = Effort(0.4, 0.9, half_width=0.001)
        long = Effort(30.0, 60.0, samples=20000, most=20000)
        on = Machine(1000, **machine)
        true = np.median([_one(on) for _ in range(long.most)])
        for seed in range(count):
            on = Machine(seed, **machine)
            t = measure(on.call(CALL), effort, clock=on.clock, seed=seed)
            inside += t.low <= true <= t.high
        return inside

    def test_many_comparisons_not_corrected(self, monkeypatch):
        """Of 100 comparisons of the same, one or more is then wrong in 18 of 100 tables."""
        rng, on = np.random.default_rng(0), Machine(0)
        timing = measure(on.call(CALL), EFFORT, clock=on.clock)
        tables = [
            [_comparison(timing, p, 1.05, 1.2) for p in rng.uniform(size=100)] for _ in range(300)
        ]

        def wrong() -> int:
            return sum(any(c.verdict == SLOWER for c in corrected(table)) for table in tables)

        right = wrong()
        monkeypatch.setattr(comparing, "holm", list)
        assert right <= 2
        assert wrong() >= 30


def _one(on: Machine) -> float:
    before = on.now
    on.call(CALL)()
    return on.now - before


def _comparison(timing: Timing, p: float, low: float, high: float) -> Comparison:
    return Comparison(timing, timing, 10, (low * high) ** 0.5, low, high, p, 0.0, SLOWER, OK)
