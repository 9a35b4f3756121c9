"""Mutants of cells that are given their gates: each is seen by the check that is said to."""

import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.mutants import mutant_subject, mutants, right_subject

EVERY = [(m, m.cells[-1]) for m in mutants() if m.id.startswith("K")]


@pytest.mark.parametrize(("mutant", "cell"), EVERY, ids=lambda v: getattr(v, "id", v))
def test_a_mutant_is_killed(mutant, cell):
    for id in mutant.killed_by:
        verdict = hold(
            mutant_subject(mutant, cell),
            check_named(id),
            "float64",
            budget=Budget(4, 2),
            shrink=False,
        )
        assert verdict.status == "failed", f"{id}: {verdict.status} {verdict.message}"


@pytest.mark.parametrize("cell", sorted({cell for _, cell in EVERY}))
def test_the_right_layer_is_not(cell):
    for id in ("forward", "gradient", "carry"):
        verdict = hold(right_subject(cell), check_named(id), "float64", budget=Budget(4, 2))
        assert verdict.status == "passed", f"{id}: {verdict.message}"


@pytest.mark.parametrize("id", ["K01", "K11", "K16", "K31"])
def test_it_is_named(id):
    mutant = next(m for m in mutants() if m.id == id)
    subject = mutant_subject(mutant, mutant.cells[0])
    checks = map(check_named, dict.fromkeys((*mutant.killed_by, "forward", "carry")))
    verdicts = [hold(subject, check, "float64", budget=Budget(4, 2)) for check in checks]
    found = diagnose(subject, "float64", [v for v in verdicts if v.status == "failed"])

    assert [each.ids for each in found.explanations] == [(id,)]
