"""Recurrent operators of files of TensorFlow Lite: held with their own weights, or refused."""

import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert runs files of TensorFlow Lite")

import tflite_files as files
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.models.subject import node_named, own_case
from gatewise.verify.subjects.called import under_test

D, H = 3, 4

ONE, BOTH = "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM"
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3
VARIETY = {
    "LSTM": (ONE, {}, {}),
    "steps first": (ONE, {}, {"timeMajor": True}),
    "peepholes": (ONE, {"more": "p"}, {}),
    "projection": (ONE, {"P": 2}, {}),
    "projection and peepholes": (ONE, {"P": 2, "more": "p"}, {"projClip": 0.1}),
    "layer norm": (ONE, {"more": "s"}, {}),
    "layer norm of everything": (ONE, {"more": "ps", "P": 2, "coupled": True}, {"cellClip": 0.3}),
    "coupled": (ONE, {"coupled": True}, {}),
    "coupled peepholes": (ONE, {"coupled": True, "more": "p"}, {}),
    "ReLU": (ONE, {}, {"fusedActivationFunction": RELU}),
    "ReLU6 and its clip": (ONE, {}, {"fusedActivationFunction": RELU6, "cellClip": 0.5}),
    "the cell of a step": ("LSTM", {"more": "p"}, {}),
    "two directions": (BOTH, {}, {"timeMajor": True}),
    "two directions, rows first": (BOTH, {"P": 2, "more": "p"}, {"mergeOutputs": False}),
    "RNN": ("UNIDIRECTIONAL_SEQUENCE_RNN", {}, {}),
    "RNN, hard": ("UNIDIRECTIONAL_SEQUENCE_RNN", {},
                  {"timeMajor": True, "fusedActivationFunction": RELU_N1_TO_1}),
    "the step of an RNN": ("RNN", {}, {"fusedActivationFunction": RELU}),
    "RNN in two directions": ("BIDIRECTIONAL_SEQUENCE_RNN", {}, {"timeMajor": True}),
}  # fmt: skip


def written(path, name, **options):
    """Write a file of one node, ``a``, of some variety."""
    operator, given, own = VARIETY[name]
    kind = "LSTM" if "LSTM" in operator else "RNN"
    passes = [files.layer(kind, D, H, seed=k, **given) for k in range(1 + ("BI" in operator))]
    return files.written(path, [files.Node("a", operator, passes, {**own, **options})])


def forward(subject, **changes):
    """Return how far a subject's outputs are off, in units of what rounding explains."""
    case = Case(**{**vars(own_case(subject.node)), "T": 3, "B": 2, "seed": 7, **changes})
    ledger = check_named("forward").run(under_test(subject), case)
    return max(c.ratio for c in ledger.comparisons)


@pytest.mark.parametrize("name", VARIETY)
def test_an_operator_with_its_own_options_is_what_the_equations_say(tmp_path, name):
    subject = node_named(f"{written(tmp_path / 'm.tflite', name)}#a")

    assert 0 < forward(subject) <= 1
    assert 0 < forward(subject, T=1, B=1, seed=8) <= 1
    assert 0 < forward(subject, state=False, seed=9) <= 1
