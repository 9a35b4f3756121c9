"""Exported programs and files conform, and an adapter that misstates them does not."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import torch_exported as torch_derived

pytest.importorskip("torch")

CHECKS = {check.id: check for check in subject_checks()}
PLAIN = Case(4, 3, 2, 5, dtype="float32")
KINDS = ("RNN", "LSTM", "GRU")


def held(subject, check, dtype="float32", case=None):
    return hold(subject, CHECKS[check], dtype, budget=Budget(3, 1), seed_value=5, case=case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("check", ["smoke", "forward", "gradient"])
def test_an_exported_program_conforms(kind, dtype, check):
    """Layers and directions among it."""
    verdict = held(subject_named(f"torch-export:{kind}"), check, dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("check", ["smoke", "forward", "padding", "batch-first", "repeat"])
def test_an_exported_file_conforms(kind, check):
    """Layers, directions and lengths among it, and other numbers of steps than were traced."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    verdict = held(subject_named(f"torch-onnx:{kind}"), check)

    assert verdict.status == "passed", verdict.message


def test_a_wrong_convention_fails():
    """The order of the gates is one that the outputs show."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    subject = subject_named("torch-onnx:LSTM")
    wrong = replace(subject, convention=replace(subject.convention, order="iofg"))

    assert held(wrong, "forward", case=PLAIN).status == "failed"


def test_an_exported_lstm_is_no_rnn():
    """The equations that it is held against are its own."""
    wrong = replace(subject_named("torch-export:RNN"), reference="rnn-relu")

    assert held(wrong, "forward", case=PLAIN).status == "failed"


def test_a_program_without_the_operator_is_not_tested(monkeypatch):
    """A layer that is taken apart is another program, and no proof of this one."""
    monkeypatch.setattr(torch_derived, "OPERATORS", {"GRU": "lstm"})
    verdict = held(subject_named("torch-export:GRU"), "forward", case=PLAIN)

    assert verdict.status == "not tested"
    assert verdict.message == "expected one operator lstm, got ['gru']"
