"""ONNX's reference evaluator conforms in what it does, and says what it does not."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks.onnx_reference import SUBJECTS
from gatewise.verify.subjects.inputs import draw_inputs

pytest.importorskip("onnx")

CHECKS = {check.id: check for check in subject_checks()}
PLAIN = Case(4, 3, 2, 5)
NAMES = [subject.name for subject in SUBJECTS]


def held(subject, check, dtype="float64", case=None):
    return hold(subject, CHECKS[check], dtype, budget=Budget(4, 2), seed_value=5, case=case)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_operator_conforms(name, dtype):
    """All equations, two directions and both layouts among them."""
    for check in ("smoke", "forward", "direction", "batch-first", "extreme", "shapes"):
        verdict = held(subject_named(name), check, dtype)

        assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "fields"), [
    ("LSTM", {"order": "ifgo"}),
    ("LSTM-peephole", {"output_peephole": "old"}),
    ("GRU", {"bias": ("zrm", "zrn")}),
    ("GRU-reset-before", {"reset": "after"}),
    ("RNN", {"candidate": "relu"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, fields):
    """Each field that it states is one that the outputs show."""
    subject = subject_named(f"onnx-reference:{name}")
    wrong = replace(subject, convention=replace(subject.convention, **fields))

    assert held(wrong, "forward", case=PLAIN).status == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_lengths_are_ignored(name):
    """That is why they are not offered; if this fails, offer them."""
    subject, case = subject_named(name), Case(4, 3, 2, 5, lengths=True)
    inputs = draw_inputs(subject, case)
    built = subject.build(case)

    with_lengths, without = built.forward(inputs), built.forward(replace(inputs, lengths=None))
    np.testing.assert_array_equal(with_lengths.y, without.y)


def test_input_forget_is_ignored():
    """So there is no coupled LSTM here: the forget gate's unused weights are read."""
    coupled, plain = subject_named("onnxruntime:LSTM-coupled"), subject_named(NAMES[1])
    subject = replace(plain, convention=coupled.convention, operator=coupled.operator)

    assert held(subject, "forward", case=PLAIN).status == "failed"
