"""Every check refuses a wrong subject with no other check's help.

A check that always passes would else be seen by nobody: what it should refuse, others refuse too.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import miniatures
import wrong_in_one_check as wrong
from gatewise.reference.equation import equations
from gatewise.verify.cases.case import Case
from gatewise.verify.cases.options import WORDS
from gatewise.verify.checks import batches, check_named, subject_checks
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.mutants import mutant_named
from gatewise.verify.mutants.quantised import QUANTISATION_MUTANTS
from gatewise.verify.numbers.ledger import Ledger
from gatewise.verify.runs.status import STATUSES, Outcome
from gatewise.verify.subjects import adapted, subject_named
from judgements import verdict_is


@dataclass(frozen=True)
class Victim:
    """A wrong subject, what is said of it, and in which dtype; ``case`` where few cases show it."""

    subject: object
    said: str
    dtype: str = "float64"
    case: Case | None = None

    def verdict(self, check):
        """Hold it to one check."""
        subject = self.subject
        subject = mutant_named(f"mutant:{subject}") if isinstance(subject, str) else subject()
        return hold(
            subject, check, self.dtype, budget=BUDGETS["quick"], case=self.case, shrink=False
        )


def quantised(statement):
    """Return what makes a layer with the mistake of quantisation that begins so."""
    (mutant,) = (m for m in QUANTISATION_MUTANTS if m.statement.startswith(statement))
    return mutant.subject


def ignores_the_start():
    """Return a layer one of whose forms reads the first chunk from zeros."""
    from in_chunks import IgnoresTheStart

    return adapted(IgnoresTheStart, "it", None)


VICTIMS = {
    "smoke": Victim("P01[rnn]", "no kernel for this batch"),
    "parameters": Victim(wrong.RefusesTwoLayers, "expected weight_ih_l1"),
    "forward": Victim("C01[gru]", "y["),
    "gradient": Victim("C02[gru]", "gradient of b_hn_l0"),
    "cotangents": Victim("G02[rnn]", "cotangents on final h: gradient of x"),
    "dtype": Victim("D01[rnn]", "float64 is claimed, but only float32"),
    "batch-single": Victim("F15[rnn]", "row 3 alone: y"),
    "batch-permutation": Victim("F15[rnn]", "y["),
    "batch-first": Victim("B01[rnn]", "final h"),
    "unbatched": Victim("B02[rnn]", "y["),
    "purity": Victim("G12[rnn]", "the gradient wrote into dy"),
    "repeat": Victim("D05[rnn]", "called again: y: not the same bits as before"),
    "reweight": Victim("L11[rnn]", "y["),
    "backward-twice": Victim("G14[lstm]", "the second time: gradient of W_l0"),
    "vjp-linearity": Victim("G20[rnn]", "gradient of x"),
    "jvp": Victim("J02[rnn]", "derivative of y", case=Case(3, 2, 2, 3)),
    "strided": Victim("G13[rnn]", "strided cotangents: gradient of x"),
    "gate-limits": Victim("C05[gru]", "z = 0 and r = 0 forget it: final h"),
    "bounds": Victim(wrong.LeavesTheInterval, "y["),
    "unit-permutation": Victim("C07[gru]", "y["),
    "derivative": Victim("G06[rnn]", "gradient of x, along a direction"),
    "uses": Victim(wrong.stateless, "the state: changing it changes nothing"),
    "step": Victim(wrong.impure, "new h["),
    "step-gradient": Victim(wrong.impure, "no pure function"),
    "influence": Victim("C03[gru]", "b_hn of pass 0: changing it changes nothing"),
    "padding": Victim("Q01[rnn]", "expected a finite number"),
    "zero-length": Victim("Q11[rnn]", "final h"),
    "packed": Victim("V12[rnn]", "gradient of initial h["),
    "left-padding": Victim("V20[rnn]", "final h"),
    "causality": Victim("Q04[rnn]", "gradient of x"),
    "direction": Victim("L12[lstm]", "final c"),
    "shapes": Victim("S13[rnn]", "final h"),
    "wide": Victim("W02[rnn]", "y["),
    "algorithms": Victim(wrong.WrongAtWidth127, "y["),
    "extreme": Victim("D04[lstm]", "expected a finite number"),
    "default-state": Victim("S14[skip-rnn]", "y["),
    "carry": Victim("S01[rnn]", "y["),
    "schedule": Victim("V03[rnn]", "final h["),
    "carry-gradient": Victim("G16[rnn]", "gradient of W_l0"),
    "kept-state": Victim(wrong.not_kept, "a second call without a state: begins anew"),
    "partial-state": Victim(wrong.cell_state_alone_is_ignored, "c without h: c is ignored"),
    "final": Victim("Q03[rnn]", "backward direction: final h"),
    "no-steps": Victim("Q16[rnn]", "gradient of initial h"),
    "modes": Victim("F12[lstm-phased]", "final c"),
    "dropout": Victim("G04[rnn]", "gradient of x"),
    "transition": Victim("D02[rnn]", "y[", "float32"),
    "gradient-window": Victim("G06[rnn]", "cotangent on y[33]: gradient of x[32"),
    "forms": Victim(ignores_the_start, "quotient:3"),
    "source": Victim(wrong.Stale, "node: Its weights are others.", "float32"),
    "in-graph": Victim(wrong.OffInItsGraph, "y[1, 0, 2]", "float32"),
    "tie-rounding": Victim(quantised("Ties are rounded away from 0"), "must be exactly"),
    "saturation": Victim(quantised("Sums of products saturate"), "times the bound", "float32"),
    "zero-point": Victim(quantised("The zero point of h"), "times the bound", "float32"),
    "channel-scale": Victim(quantised("Scales for each channel"), "times the bound", "float32"),
    "row-scale": Victim(quantised("All rows share one range"), "times the bound", "float32"),
    "state-scale": Victim(quantised("The scale of the cell state"), "final c", "float32"),
    "kernel-output": Victim(wrong.cheat("the initial states are ignored"), "output[", "float32"),
    "kernel-steps": Victim(wrong.cheat("only the last 16 steps are read", 34), "output[",
                           "float32"),
    "kernel-size": Victim(wrong.cheat("row 0 is copied to all rows", 33), "output[", "float32"),
    "kernel-gradient": Victim(wrong.cheat("the recurrent weights have no gradient"),
                              "weight_hh_l1", "float32"),
    "kernel-calls": Victim(wrong.cheat("it goes on from the state of the call before"),
                           "the same call again: not the same bits as before", "float32"),
    "kernel-own-work": Victim(wrong.cheat("the initial states are ignored",
                                          forbid=("aten::sigmoid",)),
                              "it runs aten::sigmoid", "float32"),
}  # fmt: skip


def test_every_check_has_one():
    assert VICTIMS.keys() == {check.id for check in subject_checks()}


def test_what_a_check_says_of_itself():
    known = {equation.name for equation in equations()}
    for check in subject_checks():
        assert check.statement.endswith("."), check.id
        assert set(check.equations) <= known, check.id
        assert set(check.needs) <= WORDS.keys(), check.id


def test_two_checks_of_one_id_are_refused(monkeypatch):
    """The second would else stand in the place of the first, without a word."""
    again = replace(batches.CHECKS[0], id="forward")
    monkeypatch.setattr(batches, "CHECKS", (again, *batches.CHECKS[1:]))
    with pytest.raises(ValueError, match="two checks have the id forward"):
        subject_checks.__wrapped__()


def refuses(id, victim):
    verdict = victim.verdict(check_named(id))

    assert STATUSES[verdict.status].outcome is Outcome.WRONG, (
        f"{id} lets it pass: {verdict.status} {verdict.message}"
    )
    assert victim.said in verdict.message


@pytest.mark.parametrize("id", VICTIMS)
def test_a_check_refuses_a_wrong_subject_alone(id):
    refuses(id, VICTIMS[id])


MORE = [
    ("gate-limits", Victim("L01[lstm]", "f = 1 and i = 0 keep the cell state")),
    ("gate-limits", Victim("F01[lstm]", "f = 0 and i = 0 clear the cell state")),
    ("causality", Victim(wrong.SeesTheLastInput, "y[")),
    ("purity", Victim("S09[rnn]", "forward wrote into state 0")),
    ("purity", Victim("P10[rnn]", "a later call changed an earlier result, y")),
    ("repeat", Victim("D06[rnn]", "after other shapes: y: not the same bits as before")),
    ("dropout", Victim("M02[rnn]", "the second call has those of the first")),
    ("dropout", Victim("M05[rnn]", "two entries always have the same, or opposite, one")),
    ("dropout", Victim("M03[rnn]", "explained by none of 64 masks")),
    ("final", Victim("Q06[rnn]", "forward direction: final h")),
    ("padding", Victim("Q14[rnn]", "gradient of initial h")),
    ("padding", Victim("Q09[rnn]", "y[")),
    ("batch-single", Victim("Q01[rnn]", "final h")),
    ("carry", Victim("S01b[lstm]", "final c")),
    ("kept-state", Victim(wrong.half_reset, "a call after the reset: begins from c alone")),
    ("direction", Victim("Q03[rnn]", "y[")),
    ("modes", Victim("M10[rnn]", "final h")),
    ("cotangents", Victim("G01[lstm]", "cotangents on final c")),
    ("transition", Victim("W01[rnn]", "y[32")),
    ("transition", Victim("W04[rnn]", "y[1009")),
    ("gradient-window", Victim("W07[rnn]", "cotangent on y[3]")),
    ("gradient-window", Victim("W03[rnn]", "cotangent on y[33]")),
]
"""Parts of a check that its own victim does not need."""


@pytest.mark.parametrize(("id", "victim"), MORE, ids=[f"{id} {victim.said}" for id, victim in MORE])
def test_every_part_of_a_check_refuses(id, victim):
    refuses(id, victim)


@pytest.mark.parametrize("id", VICTIMS)
def test_a_check_that_always_passes_is_seen(id):
    """With the same cases and a comparison that always holds, nothing is refused."""

    def nothing(subject, case):
        ledger = Ledger()
        ledger.require("anything", True, "")
        return ledger

    assert VICTIMS[id].verdict(replace(check_named(id), run=nothing)).status == "passed"


@pytest.mark.parametrize("subject", [wrong.LeavesTheInterval, wrong.LeavesTheIntervalAtTheEnd])
@pytest.mark.parametrize("scale", ["unit", "large"])
def test_bounds_holds_outputs_and_final_states_to_the_interval(subject, scale):
    case = replace(Case(5, 2, 3, 4, scale=scale), state=False)
    assert Victim(subject, "", case=case).verdict(check_named("bounds")).status == "failed"
    right = Victim(miniatures.Right, "", case=case).verdict(check_named("bounds"))
    assert (right.status, right.cases) == ("passed", 1)


@pytest.mark.parametrize(("part", "check"), [("y", "smoke"), ("x", "gradient")])
def test_results_of_another_dtype_are_refused(part, check):
    class Narrow(miniatures.Right):
        def forward(self, case, inputs):
            return self.narrowed(super().forward(case, inputs))

        def gradient(self, case, inputs, dy, dfinal):
            return self.narrowed(super().gradient(case, inputs, dy, dfinal))

        def narrowed(self, result):
            array = getattr(result, part, None)
            return result if array is None else replace(result, **{part: array.astype(np.float32)})

    verdict_is(Victim(Narrow, "").verdict(check_named(check)), "failed",
               "expected dtype float64, got float32")  # fmt: skip


def test_bounds_lets_a_state_from_outside_decay():
    """Beyond 1 the initial state's largest entry is the limit, and no more than that."""
    case = Case(1, 1, 1, 1)

    class Doubles(miniatures.Right):
        def forward(self, case, inputs):
            result = super().forward(case, inputs)
            largest = max(1.0, float(np.abs(inputs.state[0]).max()))
            result.y[...] = self.share * largest
            return result

    within, beyond = Doubles(), Doubles()
    object.__setattr__(within, "share", 1.0)
    object.__setattr__(beyond, "share", 1 + 2.0**-47)
    statuses = [
        hold(s, check_named("bounds"), "float64", case=case, shrink=False).status
        for s in (within, beyond)
    ]
    assert statuses == ["passed", "failed"]


def test_batch_first_tells_a_reshape_from_a_transposition_at_any_budget():
    """Deep layers too; three rows, a state, steps that are no multiple of them nor one more."""
    check, budget = check_named("batch-first"), BUDGETS["quick"]
    forced = list(check.forced(subject_named("torch:LSTM"), "float64"))[: budget.forced]
    assert all(c.B > 2 and c.state and c.T % c.B not in (0, 1) for c in forced)
    assert [(c.layers, c.bidirectional) for c in forced] == [(1, False), (3, True)]
