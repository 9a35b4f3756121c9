"""TensorFlow's fused ops against the equations: right but for BlockLSTMV2's gradient of 2.21."""

from dataclasses import replace

import pytest

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

pytest.importorskip("tensorflow", reason="pip install tensorflow-cpu")

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check):
    return hold(subject, CHECKS[check], "float32", budget=Budget(6, 3), seed_value=5)


@pytest.mark.parametrize("name", [
    "tensorflow:BlockLSTM", "tensorflow:BlockLSTM-peephole", "tensorflow:GRUBlockCell",
])  # fmt: skip
@pytest.mark.parametrize("check", ["forward", "gradient", "backward-twice", "extreme"])
def test_it_passes(name, check):
    """Values, and gradients by the tape."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("name", ["tensorflow:BlockLSTMV2", "tensorflow:BlockLSTMV2-peephole"])
def test_the_second_version_passes_forward(name):
    """Its gates lie in another order than the first version's, which its gradient forgets."""
    verdict = held(subject_named(name), "forward")

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("tensorflow:BlockLSTM", {"order": "ifgo", "bias": ("ifgo",)}),
    ("tensorflow:BlockLSTM-peephole", {"peepholes": "fio"}),
    ("tensorflow:BlockLSTM-peephole", {"output_peephole": "old"}),
    ("tensorflow:GRUBlockCell", {"update": "take"}),
    ("tensorflow:GRUBlockCell", {"reset": "after"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """What the adapter states is what the op does, and nothing else."""
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))

    assert held(planted, "forward").status == "failed"
