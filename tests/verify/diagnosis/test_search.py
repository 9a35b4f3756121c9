"""What is observed of a layer, before hypotheses are tried."""

from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis import search
from gatewise.verify.diagnosis.hypotheses import NOTHING_WRONG, of_mutant
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.mutants import mutants, right_subject


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


def sifted(*fits, more):
    """Return what remains of hypotheses about a right layer after more experiments."""
    found = search.Search(fits=list(fits))
    search.Explainer(right_subject("rnn"), "float64", []).sift(found, more, until=1)
    return found.fits


def test_experiments_go_on_until_all_that_remains_says_the_same():
    wrong = of_mutant(next(m for m in mutants() if m.id == "G02"))
    more = [Experiment(VALUES, Case(steps, 2, 2, 3)) for steps in (1, 3)]
    assert sifted(NOTHING_WRONG, wrong, more=more) == [NOTHING_WRONG]
    none_can_be_run = [None]
    assert sifted(wrong, wrong, more=none_can_be_run) == [wrong, wrong]
