"""The same calls in pytest-benchmark's hands: ``reference.fast`` and torch, and the ladder's rungs.

Run it with one thread: ``OPENBLAS_NUM_THREADS=1 pytest bench --benchmark-json=FILE``. The file is
one that other tools read, ``gatewise compare`` among them. Nothing is asserted about time here, and
no verdict is drawn: pytest-benchmark times one call after the other, so that what else the machine
does meets them unequally, and its statistics take samples for independent. Verdicts are those of
``gatewise.bench.timing``, where calls take turns.
"""

import os
from typing import Any

import pytest

from gatewise.bench.scores.reference_speed import CASES, ONE_THREAD, SIDES, Case, calls
from gatewise.bench.speed import shapes
from gatewise.bench.speed.contender import FORWARD, TRAINING
from gatewise.bench.speed.gate import expected, passed
from gatewise.bench.speed.ladder import RUNGS, Rung
from gatewise.bench.speed.problem import Problem

pytest.importorskip("pytest_benchmark")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_forward_and_backward(benchmark: Any, case: Case, side: str) -> None:
    """Both sides compute the same gradients; one of them is timed."""
    pytest.importorskip("torch").set_num_threads(1)
    call = calls(case.problem(seed=0))[side]

    benchmark.group = case.name
    benchmark.extra_info |= {"shape": [case.T, case.B, case.D, case.H], **_about(case.dtype)}
    benchmark(call)


@pytest.mark.parametrize("of", [FORWARD, TRAINING])
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
@pytest.mark.parametrize("part", shapes.parts("ladder")[:2], ids=lambda part: part.grid)
def test_rung(benchmark: Any, part: shapes.Part, rung: Rung, of: str) -> None:
    """A rung is timed after it has proven right."""
    problem = Problem("lstm", part.shapes[0], "float64")
    prepared = rung.prepare(problem)
    gate = passed(of, prepared, problem, expected(problem))

    benchmark.group = f"{problem.shape} {of}"
    benchmark.extra_info |= {"error/bound": gate.ratio, **_about("float64")}
    benchmark(prepared.call, of, problem.cotangents())


def _about(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "threads": {name: os.environ.get(name) for name in ONE_THREAD}}
