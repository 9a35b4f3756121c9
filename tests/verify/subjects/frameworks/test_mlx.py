"""MLX's layers against the equations: they pass, under a wrong convention they do not."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.inputs import draw_inputs

mx = pytest.importorskip("mlx.core", reason="pip install 'mlx[cpu]'")

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check, dtype="float32"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(6, 3), seed_value=5)


@pytest.mark.parametrize("name", ["mlx:LSTM", "mlx:GRU"])
@pytest.mark.parametrize("check", ["forward", "gradient", "jvp", "unbatched", "strided", "dtype"])
def test_it_passes(name, check):
    """Values, gradients and forward-mode derivatives."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("check", ["forward", "gradient", "dtype"])
def test_the_plain_layer_computes_in_float64(check):
    """Its tanh is one of float64."""
    verdict = held(subject_named("mlx:RNN"), check, "float64")

    assert verdict.status == "passed", verdict.message


def test_the_gated_layers_do_not_compute_in_float64():
    """MLX's sigmoid has the accuracy of float32, which the claim of float64 would hide."""
    lstm = subject_named("mlx:LSTM")

    assert lstm.dtypes == ("float32",)
    verdict = held(replace(lstm, dtypes=("float64", "float32")), "forward", "float64")
    assert verdict.status == "failed"


@pytest.mark.parametrize(("name", "wrong"), [
    ("mlx:LSTM", {"order": "figo"}),
    ("mlx:GRU", {"update": "take", "reset": "before", "bias": ("rzn",)}),
    ("mlx:GRU", {"order": "zrn"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """What the adapter states is what the layer does, and nothing else."""
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))

    assert held(planted, "forward").status == "failed"


def test_float64_arrays_stay_float64():
    """MLX makes float32 of NumPy's float64 arrays unless it is told not to."""
    subject, case = subject_named("mlx:RNN"), Case(3, 2, 2, 4)
    result = subject.build(case).forward(draw_inputs(subject, case))
    assert result.y.dtype == np.float64
    assert mx.array(result.y).dtype == mx.float32
