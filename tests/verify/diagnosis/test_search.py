"""What is observed of a layer, before hypotheses are tried."""

from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis import search
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.mutants import right_subject


def test_calls_with_masks_are_made_more_often(monkeypatch):
    """A mask of one unit is the same twice in half of all draws."""
    made, right = [], search.signature
    monkeypatch.setattr(search, "signature", lambda *given: made.append(0) or right(*given))
    plain = Case(2, 1, 1, 1, layers=2)
    counts = []
    for case in (plain, Case(2, 1, 1, 1, layers=2, dropout=0.5)):
        made.clear()
        list(search.observations(right_subject("rnn"), [Experiment(VALUES, case)]))
        counts.append(len(made))

    assert counts[0] == 1
    assert counts[1] >= 4
