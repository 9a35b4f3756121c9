"""ncnn's layers against the equations: they pass, under a wrong convention they do not."""

from dataclasses import replace

import pytest

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

pytest.importorskip("ncnn", reason="pip install ncnn")

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check):
    return hold(subject, CHECKS[check], "float32", budget=Budget(6, 3), seed_value=5)


@pytest.mark.parametrize("name", ["ncnn:RNN", "ncnn:LSTM", "ncnn:GRU"])
@pytest.mark.parametrize("check", ["forward", "direction", "dtype", "default-state"])
def test_it_passes(name, check):
    """In both directions, with and without initial states, in float32 throughout."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("ncnn:LSTM", {"order": "ifgo", "bias": ("ifgo",)}),
    ("ncnn:LSTM", {"bias": ("ifgo",)}),
    ("ncnn:GRU", {"bias": ("rzmn",)}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """What the adapter states is what the layer does, and nothing else."""
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))

    assert held(planted, "forward").status == "failed"


def test_what_ncnn_has_not_is_not_supported():
    """It is for inference, and runs one sequence."""
    verdict = held(subject_named("ncnn:LSTM"), "gradient")

    assert verdict.status == "not supported"
    assert "ncnn is for inference" in verdict.message
