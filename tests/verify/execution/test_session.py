"""What a session asks for, in which order, and what it need not ask; in this process."""

from dataclasses import replace

import pytest

from gatewise.verify.execution import session
from gatewise.verify.execution.judge import BUDGETS, Budget
from gatewise.verify.execution.session import TIMEOUTS, Request
from gatewise.verify.execution.tasks import Named, Task
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.records import drop_torn_line
from pools import Pool, install

CHECKS = ["smoke", "forward", "final"]


@pytest.fixture
def verify(monkeypatch, tmp_path):
    """Run checks of one subject on a pool; ``stop`` ends the run after so many verdicts."""

    def verify(pool, stop=None, folder=tmp_path / "run", **options):
        install(monkeypatch, pool)
        request = Request.parse(["torch:LSTM"], **{"checks": CHECKS, "budget": "quick"} | options)
        seen = []
        for verdict in session.run(request, folder, command="test"):
            seen.append((verdict.check, verdict.dtype, verdict.status))
            if len(seen) == stop:
                break
        return seen

    return verify


def test_the_smoke_check_comes_first(verify):
    seen = verify(Pool())
    assert [check for check, _, _ in seen[:2]] == ["smoke", "smoke"]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize("status", ["crashed", "timeout", "not tested", "not supported", "blind"])
def test_what_does_not_run_is_not_asked_again(verify, status):
    pool = Pool(status)
    rest = [seen for seen in verify(pool) if seen[0] != "smoke"]
    assert {s for _, _, s in rest} == {"not tested"}, f"more was run; the smoke check: {status}"
    assert {task.check for task in pool.asked} == {"smoke"}


@pytest.mark.parametrize("status", ["passed", "failed"])
def test_what_runs_is_asked_all(verify, status):
    pool = Pool(status)
    verify(pool)
    assert len(pool.asked) == 6, f"checks left out; the smoke check: {status}"


def test_an_unfinished_run_is_gone_on_with(verify, tmp_path):
    first, second = Pool(), Pool()
    before = verify(first, stop=3)
    after = verify(second)
    assert (len(before), len(after)) == (3, 3), "what has a verdict was asked again"
    assert not set(before) & set(after)
    assert len(second.asked) == 3, "what has a verdict was asked again"
    run = run_files.read(tmp_path / "run")
    assert run.untested == ()
    assert len(run.verdicts) == 6


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"budget": "standard"}, {"checks": ["smoke"]}], ids=str
)
def test_another_request_does_not_go_on_with_it(verify, other):
    verify(Pool(), stop=1)
    with pytest.raises(ValueError, match="the plan is no longer the same"):
        verify(Pool(), **other)


def test_what_a_subject_does_not_compute_in_is_said_once(verify):
    pool = Pool(dtypes=("float32",))
    seen = verify(pool, dtype="float64")
    assert seen == [("smoke", "float64", "not supported")]
    assert pool.asked == []


def test_patience():
    request = Request.parse(["torch:LSTM"], budget="quick")
    assert request.patience == TIMEOUTS["quick"] == 60
    assert replace(request, timeout=7.0).patience == 7
    assert TIMEOUTS == {"quick": 60, "standard": 300, "thorough": 1800}


def test_budgets_are_what_readers_are_told():
    assert BUDGETS == {
        "quick": Budget(4, 2), "standard": Budget(30), "thorough": Budget(200, None, 100),
    }  # fmt: skip


def test_a_torn_line_is_cut_off_and_nothing_else(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": 2}\n{"c"')
    drop_torn_line(path)
    drop_torn_line(path)
    assert path.read_bytes() == b'{"a": 1}\n{"b": 2}\n'


def test_a_verdict_that_nobody_gave_names_its_case():
    task = Task(Named("a:B", "LSTM"), "forward", "float32", "quick", 3)
    told = task.unanswered("timeout", "no answer", '{"T": 1}')
    assert (told.status, told.dtype, told.seed, told.case) == ("timeout", "float32", 3, '{"T": 1}')
    assert told.reproduce == "gatewise verify a:B --like LSTM --check forward --case '{\"T\": 1}'"
