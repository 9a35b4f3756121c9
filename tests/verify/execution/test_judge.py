"""Verdicts: wrong subjects fail with a shrunk case that fails again, right ones pass."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

import miniatures
from gatewise.verify.cases import simplification
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.checks.oracle import around
from gatewise.verify.execution.judge import Budget, Judge, hold
from gatewise.verify.numbers.ledger import Ledger
from judgements import verdict_is

CHECKS = {
    check.id: check for check in subject_checks()
    if not check.problems and "quantised" not in check.needs
}  # fmt: skip


def held(subject, check, dtype="float64", **options):
    given = {"budget": Budget(40), "seed_value": 3} | options
    return hold(subject, CHECKS[check], dtype, **given)


NOT_OFFERED = {
    "batch-first": "input with the batch first",
    "unbatched": "input without a batch axis",
    "jvp": "forward-mode derivatives",
    "modes": "dropout",
    "dropout": "dropout",
    "kept-state": "a state that is kept between calls",
    "partial-state": "one of several initial states without the others",
    "packed": "sequences packed one after another (cu_seqlens)",
    "left-padding": "padding in front of sequences (a mask)",
}
OF_OTHERS = {"step", "step-gradient", "forms", "source", "in-graph"}
"""Checks of recurrences whose step is their author's; they are not planned for other cells."""


def test_a_check_without_its_ledger_is_gatewises_own_fault():
    """A forgotten return is no narrow bound."""
    check = replace(CHECKS["forward"], run=lambda subject, case: None)
    verdict_is(hold(miniatures.Right(), check, "float64", budget=Budget(4, 2)), "not tested",
               "check forward: expected its ledger, got None")  # fmt: skip


@pytest.mark.parametrize(
    "check", [name for name in CHECKS if name not in {*NOT_OFFERED, *OF_OTHERS}]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_subject_passes(check, dtype):
    verdict = held(miniatures.Right(), check, dtype, budget=Budget(4, 2))
    assert verdict.status == "passed", verdict.message
    assert verdict.cases >= 2 * verdict.blind_cases
    assert 0 <= verdict.worst_ratio <= 1


@pytest.mark.parametrize("check", NOT_OFFERED)
def test_what_a_subject_does_not_offer_is_not_supported(check):
    verdict = held(miniatures.Right(), check)
    assert verdict.status == "not supported"
    assert verdict.message == f"the subject does not offer {NOT_OFFERED[check]}"
    assert (verdict.cases, verdict.worst_ratio) == (0, None)


def test_the_budget_counts_cases():
    """Forced cases, drawn ones by the check's share, and as many steered ones."""
    right = miniatures.Right()
    forced = len(list(CHECKS["forward"].forced(right, "float64")))

    assert held(right, "forward", budget=Budget(12)).cases == forced + 12
    assert held(right, "shapes", budget=Budget(20, 3)).cases == 3 + 2
    assert held(right, "forward", budget=Budget(5, 0, 30)).cases == 35


WRONG = {
    miniatures.SwapsInputAndForgetGate: ("forward", "float64", "y|final"),
    miniatures.IgnoresTheCotangentOnC: ("gradient", "float64", "gradient of"),
    miniatures.ForgetsTheStateFromStep32: ("transition", "float64", r"y\[32, |also off: .*y"),
    miniatures.TruncatesBackpropagationAt32: (
        "gradient-window",
        "float64",
        r"cotangent on y\[32\]: gradient of x\[(29|30|31), 0, 0\] = 0, expected",
    ),
    miniatures.SeesTheFuture: (
        "gradient-window",
        "float64",
        r"gradient of x\[\d+, 0, 0\] = \S+, must be exactly 0",
    ),
    miniatures.ReturnsNaN: ("forward", "float64", r"y\[.*\] = nan, expected a finite number"),
    miniatures.ReturnsNaNInLongSequences: ("transition", "float64", r"y\[100, 0, 0\] = nan"),
    miniatures.ScalesLongSequences: ("transition", "float64", r"y\[\d+, 0, 0\] = .*, expected"),
    miniatures.ReturnsWrongShape: ("forward", "float64", r"y: expected shape \(.*\), got \("),
    miniatures.ComputesInFloat16: ("forward", "float32", "y|final"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__)
def test_a_wrong_subject_fails_again_on_its_shrunk_case(wrong, monkeypatch):
    monkeypatch.setattr(simplification, "TIME_LIMIT", 300.0)  # a busy machine simplifies as far
    check, dtype, message = WRONG[wrong]
    verdict = held(wrong(), check, dtype)

    assert verdict.status == "failed"
    assert re.search(message, verdict.message)
    again = held(wrong(), check, dtype, case=Case.from_json(verdict.case))
    assert again.status == "failed"
    assert again.message == verdict.message
    assert verdict.case in verdict.reproduce


def test_the_case_is_shrunk():
    """Swapped gates show on one step of one unit of one row, so that is the case."""
    verdict = held(miniatures.SwapsInputAndForgetGate(), "forward")
    case = Case.from_json(verdict.case)

    assert (case.T, case.B, case.D, case.H, case.layers) == (1, 1, 1, 1, 1)
    assert not case.bidirectional
    assert not case.lengths


def test_window_errors_need_long_sequences():
    """A restart at step 32 passes the short checks: that is what the long ones are for."""
    wrong = miniatures.ForgetsTheStateFromStep32()
    assert held(wrong, "forward").status == "passed"
    assert held(wrong, "transition").status == "failed"


NO_OUTPUTS = {*NOT_OFFERED, *OF_OTHERS, "parameters", "no-steps"}


@pytest.mark.parametrize("check", [name for name in CHECKS if name not in NO_OUTPUTS])
def test_a_wrong_shape_fails_every_check(check):
    """Twice as many outputs are a mismatch, not an error of the engine."""
    verdict = held(miniatures.ReturnsWrongShape(), check, budget=Budget(4, 2))
    assert (verdict.status, "expected shape" in verdict.message) == ("failed", True)


def test_a_subject_that_raises_has_crashed():
    verdict = held(miniatures.Raises(), "forward")
    verdict_is(verdict, "crashed", "RuntimeError: no kernel for this batch")
    assert Case.from_json(verdict.case).B == 2


def test_a_missing_package_is_not_tested():
    verdict = held(miniatures.NotInstalled(), "forward")
    verdict_is(verdict, "not tested", "pip install mini")
    assert verdict.cases == 0


def test_a_check_without_a_meaningful_bound_is_blind():
    chaotic = Case(40, 1, 3, 30, scale="large", dtype="float32", seed=1)
    verdict_is(held(miniatures.Right(), "forward", "float32", case=chaotic), "blind")


def test_the_same_seed_gives_the_same_verdict():
    one, two = (vars(held(miniatures.SwapsInputAndForgetGate(), "forward")) for _ in range(2))
    time = dict.fromkeys(("seconds", "subject_seconds", "oracle_seconds"), 0)
    assert one | time == two | time


def test_the_largest_ratio_of_all_cases_is_kept():
    ratios = iter([0.2, 0.9, 0.5])

    def run(subject, case):
        ledger, ratio = Ledger(share=1.0), next(ratios)
        ledger.compare(f"q{ratio}", np.full(1, 1 + ratio / 10), around(case, np.ones(1), 0.1))
        return ledger

    judge = Judge(miniatures.Right(), replace(CHECKS["forward"], run=run))
    for _ in range(3):
        judge(Case(2, 2, 2, 2))

    assert (judge.cases, judge.blind, judge.worst) == (3, 0, "q0.9")
    assert judge.worst_ratio == pytest.approx(0.9)


@pytest.mark.parametrize(("second", "status"), [("q", "passed"), ("p", "blind")])
def test_every_quantity_needs_a_sharp_bound_in_some_case(second, status):
    """No case is sharp in p and q; where each of them is in one, nothing is left unseen."""
    sharp = itertools.cycle(["p", second])

    def run(subject, case):
        ledger, told = Ledger(), next(sharp)
        for quantity in ("p", "q"):
            bound = 1e-15 if quantity == told else 1.0
            ledger.compare(quantity, np.ones(1), around(case, np.ones(1), bound))
        return ledger

    check = replace(CHECKS["forward"], run=run)
    verdict = hold(miniatures.Right(), check, "float64", budget=Budget(4, 2))

    assert verdict.status == status
    assert verdict.cases == verdict.blind_cases
    assert verdict.message == ("" if status == "passed" else
                               "no case had a bound sharp enough to fail on q")  # fmt: skip


def test_a_failure_is_told_with_its_first_case():
    verdict = held(miniatures.SwapsInputAndForgetGate(), "forward")
    assert verdict.drawn != verdict.case
    assert (
        held(
            miniatures.SwapsInputAndForgetGate(), "forward", case=Case.from_json(verdict.drawn)
        ).status
        == "failed"
    )


@pytest.mark.parametrize("text", ["", "[]", '{"T": 1}', '{"T":1,"B":1,"D":1,"H":0}',
                                  '{"T":1,"B":1,"D":1,"H":"2"}', '{"T":1,"B":1,"D":1,"H":2,"x":1}',
                                  '{"T":1,"B":1,"D":1,"H":2,"scale":"vast"}',
                                  '{"T":1,"B":2,"D":1,"H":2,"layout":"unbatched"}',
                                  '{"T":1,"B":1,"D":1,"H":2,"layout":"sideways"}',
                                  '{"T":1,"B":1,"D":1,"H":2,"dropout":1.5}',
                                  '{"T":1,"B":1,"D":1,"H":2,"seed":-1}',
                                  '{"T":1,"B":1,"D":1,"H":99999}',
                                  '{"T":1,"B":1,"D":1,"H":2,"dtype":"int8"}',
                                  '{"T":1,"B":1,"D":1,"H":2,"P":2}'])  # fmt: skip
def test_a_bad_case_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="case: "):
        Case.from_json(text)
