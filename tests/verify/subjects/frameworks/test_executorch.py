"""ExecuTorch's programs: they pass, under a wrong convention they do not."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import executorch as executorch_layers

pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("executorch.runtime", reason="pip install executorch")
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*deprecated:FutureWarning")

CHECKS = {check.id: check for check in subject_checks()}
SMALL = Case(2, 2, 3, 4)


def held(name, check, case=SMALL, dtype="float32", **wrong):
    subject = subject_named(name)
    planted = replace(subject, convention=replace(subject.convention, **wrong))
    return hold(planted, CHECKS[check], dtype, case=replace(case, dtype=dtype), shrink=False)


@pytest.mark.parametrize(("name", "options", "dtype"), [
    ("executorch:RNN", {"bidirectional": True, "bias": False}, "float64"),
    ("executorch:LSTM", {"bidirectional": True, "P": 3}, "float64"),
    ("executorch:LSTM", {"layout": "batch-first", "state": False}, "float32"),
    ("executorch:GRU", {"bidirectional": True}, "float32"),
    ("executorch:RNN-xnnpack", {}, "float32"),
    ("executorch:LSTM-xnnpack", {"T": 20}, "float32"),
    ("executorch:GRU-xnnpack", {"bias": False}, "float32"),
])  # fmt: skip
def test_it_passes(name, options, dtype):
    """Whole layers on portable kernels, single steps on XNNPACK."""
    verdict = held(name, "forward", replace(SMALL, **options), dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("executorch:LSTM", {"order": "iofg"}),
    ("executorch:GRU-xnnpack", {"order": "zrn"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """What the adapter states is what the program does, and nothing else."""
    assert held(name, "forward", **wrong).status == "failed"


@pytest.mark.parametrize(("name", "arithmetic"), [
    ("executorch:LSTM", ("conv",)),
    ("executorch:LSTM-xnnpack", ("split_with_sizes_copy",)),
])  # fmt: skip
def test_arithmetic_elsewhere_is_not_tested(name, arithmetic, monkeypatch):
    """A program that computes in other kernels than were asked for is no proof of these."""
    monkeypatch.setattr(executorch_layers, "ARITHMETIC", arithmetic)
    verdict = held(name, "forward")

    assert verdict.status == "not tested"
    assert verdict.message.startswith("delegates ")


def test_long_programs_are_not_offered():
    """They take too long to make; steps on XNNPACK have no such limit."""
    verdict = held("executorch:RNN", "forward", replace(SMALL, T=13))

    assert verdict.status == "not supported"
    assert "more than 12 steps" in verdict.message
