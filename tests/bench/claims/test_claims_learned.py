"""Claims that are judged by training: their verdicts, and planted errors that change them."""

import pytest

from gatewise.bench.claims import recall as remembering
from gatewise.bench.claims import symptoms as learning
from gatewise.bench.timing.significance import wilson
from planted_in_claims import LEARNED, PLANTED, VERDICTS, verdict

HERE = [one for one in PLANTED if one[0] in LEARNED]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As much training as the verdicts need."""
    monkeypatch.setattr(learning, "SEEDS", 3)
    monkeypatch.setattr(learning, "STEPS", 60)
    monkeypatch.setattr(remembering, "LAGS", (3, 30))
    monkeypatch.setattr(remembering, "SEEDS", 4)
    monkeypatch.setattr(remembering, "STEPS", 100)
    kept = ("RNN", "LSTM, b_f = 0", "LSTM, b_f = 3", "GRU, b_z = 3")
    chosen = {name: remembering.CONTESTANTS[name] for name in kept}
    monkeypatch.setattr(remembering, "CONTESTANTS", chosen)


@pytest.mark.parametrize("id", sorted(LEARNED))
def test_verdict_of_the_equations(id):
    assert verdict(id) == VERDICTS[id]


@pytest.mark.parametrize(
    ("id", "planted", "becomes"), HERE, ids=[f"{id}-{p.__name__}" for id, p, _ in HERE]
)
def test_a_planted_error_changes_the_verdict(id, planted, becomes, monkeypatch):
    planted(monkeypatch)
    assert verdict(id) == becomes


@pytest.mark.parametrize(("count", "n", "low", "high"), [
    (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634),
])  # fmt: skip
def test_wilson_interval(count, n, low, high):
    """Values of the closed form for z = 1.96, as tables of it print them."""
    assert wilson(count, n) == pytest.approx((low, high), abs=1e-4)
