"""The kill matrix of recordings: wrong layers show in the cases that are recorded."""

import json
from dataclasses import replace

import pytest

from commands import invoke
from gatewise.verify.cases.case import Case
from gatewise.verify.mutants import equivalences, mutants, right_subject
from gatewise.verify.recordings import table
from gatewise.verify.recordings.replayed import UNANSWERED
from gatewise.verify.recordings.table import cases_to_record
from gatewise.verify.recordings.visibility import ENDS_PROCESS, UNSEEN, visibility_of

SEEN = [m for m in mutants() if m.id not in UNSEEN]


@pytest.mark.parametrize("mutant", SEEN, ids=lambda m: m.id)
def test_a_mutant_is_seen(mutant):
    """Of one cell here; ``gatewise mutants --recorded`` tries all of them."""
    found = visibility_of(mutant, mutant.cells[0], mutant.dtypes[0])
    assert found.seen_by, mutant.statement
    assert found.right


def test_most_are_seen():
    assert len(SEEN) >= 128
    assert UNSEEN.keys() <= {m.id for m in mutants()}


@pytest.mark.parametrize("mutant", [m for m in mutants() if m.id in UNSEEN], ids=lambda m: m.id)
def test_what_is_not_seen_has_a_reason(mutant):
    if UNSEEN[mutant.id] == ENDS_PROCESS:
        assert mutant.isolated
    else:
        assert set(mutant.killed_by) <= UNANSWERED.keys()


@pytest.mark.parametrize("program", equivalences()[:1], ids=lambda m: m.id)
def test_an_equivalent_program_passes(program):
    found = visibility_of(program, program.cells[0], program.dtypes[0])
    assert found.right, found.seen_by
    assert found.tried > 40


def test_without_its_cases_a_mutant_is_not_seen(monkeypatch):
    """What no recorded case touches, a recording does not show, and the matrix says so."""
    monkeypatch.setattr(table, "CASES", [(Case(3, 2, 4, 5), "smoke forward")])
    monkeypatch.setattr(table, "FORCED_CASES", 0)
    gradients = next(m for m in mutants() if m.killed_by[0] == "gradient")
    found = visibility_of(gradients, gradients.cells[0], "float64")
    assert (found.seen_by, found.right) == ("", False)


def test_cases_are_of_mutually_different_sizes():
    sizes = [(c.T, c.B, c.D, c.H) for c, checks in table.CASES if checks != "shapes"]
    different = [len(set(s)) == 4 for s in sizes]
    assert sum(different) > 0.8 * len(different)
    assert max(c.H for c, _ in table.CASES) > 128
    assert max(c.T for c, _ in table.CASES) > 1000


def test_options_that_are_not_offered_are_left_out():
    subject = right_subject("lstm")
    poor = replace(
        subject.options, layers=False, bidirectional=False, lengths=False, zero_length=False,
        default_state=False, bias=False, dropout=False, projection=False,
    )  # fmt: skip

    class Poor:
        options, cells = poor, ("lstm",)

    for _, case in cases_to_record(Poor(), "float64"):
        assert not poor.lacking(case)
        assert case.layers == case.directions == 1


def test_the_command_prints_the_matrix():
    told = invoke("mutants --recorded L01 P03 --json")
    rows = json.loads(told.stdout)
    assert told.exit_code == 0
    assert {row["subject"] for row in rows} >= {"mutant:L01[lstm]", "mutant:P03[rnn]"}
    assert {row["seen by"] for row in rows if "P03" in row["subject"]} == {UNSEEN["P03"]}

    nobody = invoke("mutants --recorded Z99")
    assert nobody.exit_code == 2
