"""For every claim there is a planted error that changes its verdict, and which one it becomes."""

import sys

import pytest

from gatewise.bench.claims import jacobians, mitigation, recall, speed, symptoms
from gatewise.bench.claims import vanishing_gradient as vanishing
from gatewise.bench.claims.ledger import HOLDS, claim_named, claims, judge
from gatewise.bench.timing.comparison import FASTER, SLOWER
from planted_in_claims import NO_EQUATION, PLANTED, VERDICTS, verdict


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As many draws, and as much training, as the verdicts need; work is counted in place of time,
    which is not the same twice.
    """
    monkeypatch.setattr(jacobians, "STEPS", 1000)
    monkeypatch.setattr(mitigation, "DRAWS", 2)
    monkeypatch.setattr(mitigation, "STEPS", 150)
    monkeypatch.setattr(vanishing, "DRAWS", 4)
    monkeypatch.setattr(speed, "rounds", counted)
    monkeypatch.setattr(speed, "BACKENDS", (speed.numpy_backend,))
    monkeypatch.setattr(symptoms, "SEEDS", 3)
    monkeypatch.setattr(symptoms, "STEPS", 40)
    monkeypatch.setattr(symptoms, "LAG", 30)
    monkeypatch.setattr(recall, "LAGS", (3, 30))
    monkeypatch.setattr(recall, "SEEDS", 4)
    monkeypatch.setattr(recall, "STEPS", 75)
    kept = ("RNN", "LSTM, b_f = 0", "LSTM, b_f = 3", "GRU, b_z = 3")
    chosen = {name: recall.CONTESTANTS[name] for name in kept}
    monkeypatch.setattr(recall, "CONTESTANTS", chosen)


def test_every_claim_has_an_expected_verdict_and_a_plant():
    ids = {one.id for one in claims()}
    assert ids == set(VERDICTS)
    assert {id for id, _, _ in PLANTED} == ids - NO_EQUATION
    assert all(becomes != VERDICTS[id] for id, _, becomes in PLANTED)


def test_speed_without_torch_says_so(monkeypatch):
    monkeypatch.setattr(speed, "BACKENDS", (speed.numpy_backend, speed.torch_backend))
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    row = judge(claim_named("C16"), 0)
    assert row.verdict == HOLDS
    assert "not tested: torch is not installed" in [n.note for n in row.numbers]


def test_speed_with_torch_leaves_its_settings_as_they_were(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(speed, "BACKENDS", (speed.torch_backend,))
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    row = judge(claim_named("C16"), 0)
    assert not row.message
    modes = {number.name.partition(":")[0] for number in row.numbers}
    assert {"PyTorch CPU (training)", "PyTorch CPU without oneDNN (inference)"} <= modes
    assert before == (torch.get_num_threads(), torch.backends.mkldnn.enabled)


@pytest.mark.parametrize("id", VERDICTS)
def test_verdict_of_the_equations(id):
    assert verdict(id) == VERDICTS[id]


@pytest.mark.parametrize(
    ("id", "planted", "becomes"), PLANTED, ids=[f"{id}-{p.__name__}" for id, p, _ in PLANTED]
)
def test_a_planted_error_changes_the_verdict(id, planted, becomes, monkeypatch):
    planted(monkeypatch)
    assert verdict(id) == becomes


def counted(calls, effort, seed):
    """Stand in for ``timing.rounds``: the function calls that each makes."""
    work = {}
    for name, call in calls.items():
        call()
        seen = []
        sys.setprofile(lambda frame, event, argument, seen=seen: seen.append(event))
        try:
            call()
        finally:
            sys.setprofile(None)
        work[name] = len(seen)
    return Counts(work)


class Counts:
    """Compares amounts of work as ``timing.Rounds`` compares times."""

    def __init__(self, work):
        self.work = work

    def compare(self, a, b):
        ratio = self.work[a] / self.work[b]
        return Compared(ratio, FASTER if ratio < 1 else SLOWER)


class Compared:
    """The share of work of a in b, without an interval."""

    def __init__(self, ratio, verdict):
        self.ratio = self.low = self.high = ratio
        self.verdict = verdict
        self.a = self
        self.median = ratio
