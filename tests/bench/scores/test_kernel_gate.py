"""What a benchmark's own test of kernels passes, and that gatewise passes none of it."""

import pytest

from commands import invoke, refused
from gatewise.bench.kernels.cheats import CHEATS
from gatewise.bench.kernels.submissions import HONEST, Loop
from gatewise.bench.scores import kernel_gate
from gatewise.bench.scores.kernel_gate import by_benchmark, row, summary, table
from gatewise.verify.subjects.kernel_problems import PROBLEMS

KINDS = {cheat.name: cheat.kind for cheat in CHEATS}


def test_there_are_enough_cheats_of_each_problem():
    assert len(CHEATS) == len({cheat.name for cheat in CHEATS}) >= 45
    for problem in PROBLEMS.values():
        assert sum(cheat.fits(problem) for cheat in CHEATS) >= 25


def test_the_benchmarks_test_sees_what_is_plainly_wrong():
    assert by_benchmark(Loop, PROBLEMS[35]) == (True, True)
    assert by_benchmark(KINDS["it returns zeros"], PROBLEMS[35]) == (False, False)
    assert by_benchmark(KINDS["the recurrent weights are left out"], PROBLEMS[39]) == (False, False)


@pytest.mark.parametrize(
    "name",
    ["the input is replaced by 0.5", "row 0 is copied to all rows",
     "the initial states are ignored", "every second step is skipped",
     "it returns zeros, and torch.allclose says that all is close"],
)  # fmt: skip
def test_it_passes_a_layer_that_forgets(name):
    """Problem 35's own weights forget; torch.allclose can be replaced by what it judges."""
    assert by_benchmark(KINDS[name], PROBLEMS[35]) == (True, True)


def test_a_row_of_each_kind():
    cheat, honest = row(33, "the initial states are ignored"), row(33, "a loop in Python")

    assert not cheat.passed
    assert cheat.check == "kernel-output"
    assert cheat.message.startswith("failed: output[")
    assert honest.passed
    assert honest.honest
    assert HONEST.keys() >= {honest.name}
    assert summary([cheat, honest])["gatewise"] == 0
    assert summary([cheat, honest])["false_alarms"] == 0
    lines = list(table([cheat, honest]))
    assert [line[0] for line in lines] == ["33 VanillaRNN", "all"]
    assert lines[-1][-1] == "0 of 1"


def test_the_audit_of_a_benchmark(monkeypatch):
    monkeypatch.setattr(kernel_gate, "PROBLEMS", {33: PROBLEMS[33]})
    done = invoke("audit --bench kernelbench --jobs 1")

    assert done.exit_code == 1, done.output
    assert "states are kept in half precision" in done.output
    assert "cheats pass at 1e-4" in done.output


def test_an_audit_without_tests_is_refused():
    refused(invoke("audit --target torch.nn:LSTM"), 2, "--tests PATH --target MODULE:CLASS")
