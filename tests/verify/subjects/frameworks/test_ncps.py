"""ncps's LSTMCell: the rare gate order and the added 1 are right, and others are seen."""

from dataclasses import replace

import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import ncps as ncps_cells

pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("ncps", reason="pip install ncps")

CHECKS = {check.id: check for check in subject_checks()}
SUBJECT = subject_named("ncps:LSTMCell")


def held(subject, check, dtype="float64", **options):
    return hold(subject, CHECKS[check], dtype, budget=Budget(3, 2), seed_value=5, **options)


@pytest.mark.parametrize("check", ["smoke", "forward", "gradient", "jvp", "carry", "dtype"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes(check, dtype):
    """A loop over the cell, differentiated by torch in both modes."""
    verdict = held(SUBJECT, check, dtype)

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("wrong", [
    {"order": "igfo"},
    {"order": "gifo", "bias": ("igfo",)},
    {"forget_offset": 0.0},
])  # fmt: skip
def test_a_wrong_convention_fails(wrong):
    """What the adapter states is what the cell does, and nothing else."""
    planted = replace(SUBJECT, convention=replace(SUBJECT.convention, **wrong))

    assert held(planted, "forward", shrink=False).status == "failed"


def test_a_cell_with_other_parameters_is_not_tested(monkeypatch):
    """What is held to the equations is a cell with these parameters, or none."""
    exchanged = {"input_map.weight": "weight_hh", "recurrent_map.weight": "weight_ih"}
    monkeypatch.setattr(ncps_cells, "PARAMETERS", exchanged)
    verdict = held(SUBJECT, "forward", case=Case(2, 2, 3, 4))

    assert verdict.status == "not tested"
    assert verdict.message.startswith("expected the parameters")
