"""xlstm's cell as a plain LSTM: it passes, under a wrong convention it does not."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

pytest.importorskip("torch", reason="pip install torch")
cell = pytest.importorskip("xlstm.blocks.slstm.cell", reason="pip install xlstm")

CHECKS = {check.id: check for check in subject_checks()}
SUBJECT = subject_named("xlstm:LSTM")
SMALL = Case(3, 2, 3, 4)


def held(subject, check, dtype="float64", **options):
    return hold(subject, CHECKS[check], dtype, budget=Budget(3, 2), seed_value=5, **options)


@pytest.mark.parametrize(
    "check", ["smoke", "forward", "gradient", "jvp", "batch-first", "default-state", "dtype"]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes(check, dtype):
    """Both layouts, with and without a state, differentiated by torch in both modes."""
    verdict = held(SUBJECT, check, dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("wrong", [{"order": "figo"}, {"bias": ("figo",)}, {"forget_offset": 1.0}])
def test_a_wrong_convention_fails(wrong):
    """What the adapter states is what the cell does, and nothing else."""
    planted = replace(SUBJECT, convention=replace(SUBJECT.convention, **wrong))

    assert held(planted, "forward", shrink=False).status == "failed"


def test_exponential_gates_are_no_lstm(monkeypatch):
    """Were the other function run in its place, the adapter would say so."""
    plain = cell.sLSTMCellConfig
    monkeypatch.setattr(
        cell, "sLSTMCellConfig", lambda **given: plain(**given | {"function": "slstm"})
    )
    verdict = held(SUBJECT, "forward", case=SMALL)

    assert verdict.status == "not tested"
    assert verdict.message.startswith("xlstm made another cell than asked for")


def test_lengths_are_not_offered():
    """The cell takes them and ignores them."""
    verdict = held(SUBJECT, "padding")

    assert verdict.status == "not supported"
    assert "ignores them" in verdict.message
