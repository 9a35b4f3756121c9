"""Benchmarks of ``reference.fast`` beside ``torch.nn.LSTM``: forward and backward.

Run it with one thread each: ``OPENBLAS_NUM_THREADS=1 pytest bench``. Nothing is asserted about
time here; ``python -m gatewise.bench.speed_ratio`` judges.
"""

import os
from typing import Any

import pytest

from gatewise.bench.speed_ratio import (
    CASES,
    ONE_THREAD,
    Case,
    check_agreement,
    draw,
    gatewise_side,
    torch_side,
)

pytest.importorskip("torch")
pytest.importorskip("pytest_benchmark")

SIDES = {"torch": torch_side, "gatewise": gatewise_side}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_forward_and_backward(benchmark: Any, case: Case, side: str) -> None:
    """Both sides compute the same gradients; one of them is timed."""
    problem = draw(case, seed=0)
    check_agreement(gatewise_side(problem)(), torch_side(problem)())

    benchmark.group = case.name
    benchmark.extra_info |= {"dtype": case.dtype, "shape": [case.T, case.B, case.D, case.H]}
    benchmark.extra_info["threads"] = {name: os.environ.get(name) for name in ONE_THREAD}
    benchmark(SIDES[side](problem))
