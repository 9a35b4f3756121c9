"""A run in numbers: the nearest miss, the worst first, and what an exit code says."""

import pytest

from gatewise.reports import summary
from gatewise.verify.runs.status import STATUSES, Outcome, rank
from made_runs import failure, run, verdict

WRONG, OPEN = (
    {name for name, status in STATUSES.items() if status.outcome is outcome}
    for outcome in (Outcome.WRONG, Outcome.OPEN)
)


def entries(*verdicts):
    return summary.entries(run(*verdicts))


def test_the_closest_to_its_bound_has_the_largest_ratio():
    rows = entries(*(verdict(check=f"c{k}", worst_ratio=r) for k, r in enumerate((0.2, 0.9, 0.5))))
    found = summary.closest(rows)
    assert (found.planned.check, found.ratio) == ("c1", 0.9)


def test_only_what_passed_comes_close():
    wrong, untold = failure(check="a"), verdict(check="b", worst_ratio=None)
    assert summary.closest(entries(wrong, untold)) is None
    found = summary.closest(entries(wrong, untold, verdict(check="c", worst_ratio=0.1)))
    assert found.planned.check == "c"


def test_every_status_has_a_rank_and_wrong_ones_the_worst():
    ranks = {status: rank(status) for status in STATUSES}
    assert max(ranks[s] for s in WRONG) < min(ranks[s] for s in OPEN)
    assert max(ranks[s] for s in OPEN) < ranks["known deviation"] < ranks["passed"]


def test_what_is_wrong_and_what_is_open():
    assert WRONG == {"failed", "crashed", "timeout"}
    assert OPEN == {"fallback", "blind", "not tested"}


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_conforms_only_where_nothing_is_wrong_or_open(status):
    rows = entries(verdict("my:layer", "a"), verdict("my:layer", "b", status=status))
    tone = summary.headline(rows).tone
    expected = "differs" if status in WRONG else "incomplete" if status in OPEN else "conforms"
    assert tone == expected, f"passed and {status}"
