"""ONNX Runtime's operators conform, and an adapter that misstates them does not."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks.onnxruntime import SUBJECTS, session
from gatewise.verify.subjects.inputs import draw_inputs

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

CHECKS = {check.id: check for check in subject_checks()}
PLAIN = Case(4, 3, 2, 5, dtype="float32")
NAMES = [subject.name for subject in SUBJECTS]
CASE = replace(PLAIN, bidirectional=True, lengths=True)


def held(subject, check, dtype="float32", case=None):
    return hold(subject, CHECKS[check], dtype, budget=Budget(4, 2), seed_value=5, case=case)


def wrong(name, **fields):
    """Return a subject whose convention is not its operator's."""
    subject = subject_named(name)
    return replace(subject, convention=replace(subject.convention, **fields))


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_conforms(name):
    """All equations, two directions and lengths among them."""
    for check in ("smoke", "forward", "padding", "direction", "extreme", "shapes"):
        verdict = held(subject_named(name), check)

        assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "parameters"])
def test_the_lstm_passes_what_it_offers(check):
    """All other checks are not supported, and say why."""
    subject = subject_named("onnxruntime:LSTM")
    verdict = held(subject, check)
    missing = subject.options.missing(CHECKS[check].needs)

    assert verdict.status == ("not supported" if missing else "passed"), verdict.message
    assert verdict.message == (subject.options.why(missing) if missing else "")


@pytest.mark.parametrize(("name", "fields"), [
    ("LSTM", {"order": "ifgo"}),
    ("LSTM", {"recurrent_order": "iogf"}),
    ("LSTM", {"forget_offset": 1.0}),
    ("LSTM-peephole", {"peepholes": "ifo"}),
    ("LSTM-peephole", {"output_peephole": "old"}),
    ("LSTM-coupled", {"order": "ogi"}),
    ("LSTM-sigmoid-candidate", {"candidate": "tanh"}),
    ("GRU", {"order": "rzn"}),
    ("GRU", {"bias": ("zrm", "zrn")}),
    ("GRU-reset-before", {"update": "take"}),
    ("RNN", {"candidate": "relu"}),
    ("RNN-relu", {"candidate": "tanh"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, fields):
    """Each field that it states is one that the outputs show."""
    verdict = held(wrong(f"onnxruntime:{name}", **fields), "forward", case=PLAIN)

    assert verdict.status == "failed", verdict.status


def test_an_ignored_input_forget_shows():
    """The weights of the forget gate that nobody should read are ones."""
    subject = subject_named("onnxruntime:LSTM-coupled")
    ignoring = replace(subject, operator=replace(subject.operator, attributes={}))

    assert held(ignoring, "forward", case=PLAIN).status == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_the_model_is_one_operator(name):
    """What is tested is the kernel, and nothing around it."""
    subject = subject_named(name)
    model = subject.operator.model(onnx, CASE, draw_inputs(subject, CASE))

    assert [node.op_type for node in model.graph.node] == [subject.operator.kind]
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model))
    assert session(model.SerializeToString()).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("name", NAMES)
def test_there_are_no_kernels_for_float64(name):
    """The one dtype that it states is the one that there is; if this fails, offer both."""
    subject = replace(subject_named(name), dtypes=("float64", "float32"))

    verdict = held(subject, "smoke", "float64")
    assert verdict.status == "crashed"
    assert "double" in verdict.message or "NOT_IMPLEMENTED" in verdict.message


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_row_of_length_0_ends_in_zeros(name):
    """That is why such rows are not offered; if this fails, offer them."""
    subject = subject_named(f"onnxruntime:{name}")
    case = replace(CASE, zero_length=True)
    inputs = draw_inputs(subject, case)
    empty = inputs.lengths == 0

    for state in subject.build(case).forward(inputs).final:
        assert np.all(state[:, empty] == 0)
        assert np.any(state[:, ~empty] != 0)
