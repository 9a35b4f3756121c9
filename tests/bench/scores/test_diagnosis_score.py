"""Of a mistake that the catalogue does not have, true stories are right, and wrong ones are not."""

import pytest

from gatewise.bench.scores import diagnosis as scores
from gatewise.verify.mutants import mutant_subject, mutants
from gatewise.verify.mutants.held_out import UNKNOWN_MISTAKES
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation

KNOWN = {m.id: m for m in (*mutants(), *UNKNOWN_MISTAKES)}


def subject(id):
    return mutant_subject(KNOWN[id], KNOWN[id].cells[0])


@pytest.mark.parametrize(("id", "blamed", "true"), [
    ("softsign", (), True),
    ("softsign", ("formula h_t = a",), True),
    ("softsign", ("L05",), False),
    ("softsign", ("L05", "formula h_t = a"), False),
    ("softsign", ("L05", "G11"), False),
    ("last_input_gradient_doubled", ("G11",), False),
    ("L05", ("L05",), True),
    ("L05", ("L05", "G11"), False),
    ("G11", ("G11",), True),
    ("G11", ("L05",), False),
])  # fmt: skip
def test_a_mistake_of_the_catalogue_is_true_where_it_computes_the_same(id, blamed, true):
    assert scores.true(subject(id), blamed) is true


@pytest.mark.parametrize(("blamed", "result"), [
    ((), scores.SILENT),
    (("formula h_t = a",), scores.TRUE),
    (("L05",), scores.WRONG),
])  # fmt: skip
def test_the_score_of_a_mistake_that_nobody_knows(monkeypatch, blamed, result):
    def told(held, dtype, failing):
        explanations = [Explanation(blamed, ("It is so.",), ())] if blamed else []
        return Diagnosis(held.name, dtype, "unexplained", explanations=explanations)

    monkeypatch.setattr(scores, "failing_checks", lambda held, dtype: [])
    monkeypatch.setattr(scores, "diagnose", told)
    row = scores.unknown_row("softsign")

    assert (row.result, row.explanations) == (result, tuple(blamed))
    assert scores.totals([row])["unknown"]["right"] == int(result != scores.WRONG)


def test_a_state_drawn_at_random_is_named_by_what_it_is():
    row = scores.mutant_row("S15", "gru")
    assert (row.result, row.explanations) == (scores.TOP, ("random state",))
