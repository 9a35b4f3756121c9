"""The same calls in pytest-benchmark's hands: ``reference.fast`` and torch, and the ladder's rungs.

Run it with one thread: ``OPENBLAS_NUM_THREADS=1 pytest bench --benchmark-json=FILE``. The file is
one that other tools read, ``gatewise compare`` among them. Nothing is asserted about time here, and
no verdict is drawn: pytest-benchmark times one call after the other, so that other load on the
machine affects them unequally, and its statistics take samples for independent. Verdicts come from
``gatewise.bench.timing``, where calls take turns.
"""

import os
from typing import Any

import pytest

from gatewise.bench.scores.reference_speed import CASES, ONE_THREAD, SIDES, Case
from gatewise.bench.speed import shapes
from gatewise.bench.speed.contender import FORWARD, TRAINING
from gatewise.bench.speed.gate import expected, passed
from gatewise.bench.speed.ladder import RUNGS, Rung
from gatewise.bench.speed.problem import Problem
from gatewise.bench.speed.registry import contender_named

pytest.importorskip("pytest_benchmark")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.dtype}-{case.shape}")
def test_forward_and_backward(benchmark: Any, case: Case, side: str) -> None:
    """The reference's fast LSTM, and torch's."""
    pytest.importorskip("torch").set_num_threads(1)
    time_of(benchmark, side, Problem("lstm", case.shape, case.dtype), TRAINING)


@pytest.mark.parametrize("phase", [FORWARD, TRAINING])
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
@pytest.mark.parametrize("part", shapes.parts("ladder")[:2], ids=lambda part: part.grid)
def test_rung(benchmark: Any, part: shapes.Part, rung: Rung, phase: str) -> None:
    """The rungs of the ladder."""
    time_of(benchmark, rung.name, Problem("lstm", part.shapes[0], "float64"), phase)


def time_of(benchmark: Any, name: str, problem: Problem, phase: str) -> None:
    """Time a pass of a contender once the gate has passed it."""
    prepared = contender_named(name).prepare(problem)
    gate = passed(phase, prepared, problem, expected(problem))
    threads = {name: os.environ.get(name) for name in ONE_THREAD}

    benchmark.group = f"{problem.shape} {problem.dtype} {phase}"
    benchmark.extra_info |= {"error/bound": gate.ratio, "threads": threads}
    benchmark(prepared.call, phase, prepared.to_native(problem.cotangents()))
