"""OpenVINO's operators conform, and an adapter that misstates them does not."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import openvino as openvino_layers
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.protocol import SubjectUnavailable

pytest.importorskip("openvino")

CHECKS = {check.id: check for check in subject_checks()}
PLAIN = Case(4, 3, 2, 5, dtype="float32")
NAMES = [subject.name for subject in openvino_layers.SUBJECTS]


def held(subject, check, case=None):
    return hold(subject, CHECKS[check], "float32", budget=Budget(4, 2), seed_value=5, case=case)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", ["smoke", "forward", "padding", "direction", "repeat"])
def test_every_operator_conforms(name, check):
    """Two directions and lengths among it."""
    verdict = held(subject_named(name), check)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "fields"), [
    ("LSTM", {"order": "iofg"}),
    ("GRU", {"bias": ("zrmn",)}),
    ("GRU-reset-before", {"update": "take"}),
    ("RNN", {"candidate": "relu"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, fields):
    """Each field that it states is one that the outputs show."""
    subject = subject_named(f"openvino:{name}")
    wrong = replace(subject, convention=replace(subject.convention, **fields))

    assert held(wrong, "forward", case=PLAIN).status == "failed"


def test_another_precision_is_no_float32(monkeypatch):
    """A hint that was not taken, or not given, is not tested under the wrong name."""
    other = openvino_layers.SETTINGS | {"INFERENCE_PRECISION_HINT": "f16"}
    monkeypatch.setattr(openvino_layers, "SETTINGS", other)
    subject, case = subject_named("openvino:LSTM"), Case(3, 2, 4, 5, dtype="float32")

    with pytest.raises(SubjectUnavailable, match="expected precision f32"):
        subject.build(case).forward(draw_inputs(subject, case))
