"""FlashRNN's functions on the CPU: they pass, under a wrong convention they do not."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import flashrnn as flashrnn_functions

pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("flashrnn.flashrnn", reason="pip install flashrnn")

CHECKS = {check.id: check for check in subject_checks()}
NAMES = ["flashrnn:RNN", "flashrnn:LSTM", "flashrnn:LSTM-fwbw", "flashrnn:GRU"]
SMALL = Case(3, 2, 3, 4)


def held(subject, check, dtype="float64", **options):
    return hold(subject, CHECKS[check], dtype, budget=Budget(3, 2), seed_value=5, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", ["smoke", "forward", "gradient", "batch-first", "dtype"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes(name, check, dtype):
    """Torch's gradients and those written by hand, with and without a state."""
    verdict = held(subject_named(name), check, dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("flashrnn:LSTM", {"order": "igfo"}),
    ("flashrnn:LSTM", {"bias": ("igfo",)}),
    ("flashrnn:GRU", {"recurrent_order": ""}),
    ("flashrnn:GRU", {"bias": ("nrzm",)}),
    ("flashrnn:RNN", {"recurrent_layout": "gates"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """The GRU has its gates in one order in W, in another in U, in a third in the bias."""
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))

    assert held(planted, "forward", shrink=False).status == "failed"


@pytest.mark.parametrize("name", ["flashrnn:LSTM", "flashrnn:LSTM-fwbw"])
def test_a_gradient_of_the_other_backend_is_not_tested(name, monkeypatch):
    """Autograd's name of the gradient tells which one it is."""
    other = {"flashrnn:LSTM": "PermuteBackward0", "flashrnn:LSTM-fwbw": "another"}[name]
    monkeypatch.setattr(flashrnn_functions, "BY_HAND", other)
    verdict = held(subject_named(name), "gradient", case=SMALL)

    assert verdict.status == "not tested"
    assert "the gradient is that of" in verdict.message


def test_a_backend_of_its_own_choice_is_not_tested():
    """FlashRNN takes the backend cuda where cuda_fused is asked for with a GRU."""
    other = replace(subject_named("flashrnn:GRU"), backend="cuda_fused")
    verdict = held(other, "forward", case=SMALL)

    assert verdict.status == "not tested"
    assert verdict.message == "flashrnn chose gru, cuda"
