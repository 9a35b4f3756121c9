"""Paddle's layers against the equations: right but for gradients and padding of version 3.3.1."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

pytest.importorskip("paddle", reason="pip install paddlepaddle")

CHECKS = {check.id: check for check in subject_checks()}


def held(subject, check, dtype="float64", **options):
    given = {"budget": Budget(6, 3), "seed_value": 5} | options
    return hold(subject, CHECKS[check], dtype, **given)


@pytest.mark.parametrize("name", ["paddle:RNN", "paddle:LSTM", "paddle:GRU"])
@pytest.mark.parametrize("check", ["forward", "direction", "batch-first", "strided", "dropout"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes(name, check, dtype):
    """Layers, directions, lengths, a projection, dropout; in both dtypes."""
    verdict = held(subject_named(name), check, dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("name", ["paddle:RNN", "paddle:LSTM", "paddle:GRU"])
@pytest.mark.parametrize("given", [
    {"layers": 2, "bidirectional": True},
    {"layers": 2, "lengths": True, "zero_length": True},
    {"bidirectional": True, "lengths": True, "state": False},
], ids=str)  # fmt: skip
def test_gradients_pass_but_in_one_case(name, given):
    """Directions, lengths and initial states each; all three together are wrong in Paddle 3.3.1."""
    case = Case(5, 3, 2, 4, **given)
    verdict = held(subject_named(name), "gradient", case=case)

    assert verdict.status == "passed", verdict.message


def test_the_projected_layer_passes_with_all_options():
    """With proj_size Paddle loops in Python, and that loop's gradients are right."""
    case = Case(5, 3, 2, 4, P=3, layers=2, bidirectional=True, lengths=True)
    verdict = held(subject_named("paddle:LSTM"), "gradient", case=case)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("paddle:LSTM", {"order": "igfo", "bias": ("igfo", "igfo")}),
    ("paddle:GRU", {"order": "zrn", "bias": ("zrn", "zrm")}),
    ("paddle:GRU", {"bias": ("rzn", "rzn"), "reset": "before"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """What the adapter states is what the layer does, and nothing else."""
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))

    assert held(planted, "forward").status == "failed"


def test_what_ends_the_process_is_not_offered():
    """Leaving out the bias and input of no steps; both with the reason."""
    options = subject_named("paddle:GRU").options

    assert not options.bias
    assert not options.no_steps
    assert {"bias", "no_steps"} <= dict(options.reasons).keys()
