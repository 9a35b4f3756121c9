"""State that is kept between calls, reset on purpose, or given in part."""

import numpy as np
import pytest

import gatewise
import plain_numpy
import wrong_in_one_check as wrong
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named, subject_checks
from gatewise.verify.diagnosis.observation import Experiment, observe
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.loader import UnknownSubject
from judgements import verdict_is

NEW = ("kept-state", "partial-state")


def held(subject, check, budget=6):
    return hold(subject, check_named(check), "float64", budget=Budget(budget, 4), seed_value=2)


def lstm(x, state, w_ih, w_hh, b_ih, b_hh):
    """Torch's LSTM, (B, T, D)."""
    h, c = state
    y = []
    for x_t in x.swapaxes(0, 1):
        i, f, g, o = np.split(x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=-1)
        c = plain_numpy.sigmoid(f) * c + plain_numpy.sigmoid(i) * np.tanh(g)
        h = plain_numpy.sigmoid(o) * np.tanh(c)
        y.append(h)
    return np.stack(y, 1), (h, c)


class Declared:
    """Keeps its state, and is reset by a method of another name."""

    cell, weights, axes = "lstm", "torch", "BTD"
    stateful, reset = True, "reset_states"
    kept = None

    def reset_states(self):
        self.kept = None

    def forward(self, x, h0, c0, w_ih, w_hh, b_ih, b_hh):
        zeros = np.zeros((len(x), w_hh.shape[1]), x.dtype)
        if h0 is None and c0 is None:
            state = self.kept or (zeros, zeros)
        else:
            state = zeros if h0 is None else h0, zeros if c0 is None else c0
        y, self.kept = lstm(x, state, w_ih, w_hh, b_ih, b_hh)
        return y, self.kept


class IsNotReset(Declared):
    def reset_states(self):
        pass


class Undeclared(Declared):
    stateful = False


def by_h_alone(x, h0, c0, w_ih, w_hh, b_ih, b_hh):
    zeros = np.zeros((len(x), w_hh.shape[1]), x.dtype)
    state = (zeros, zeros) if h0 is None else (h0, zeros if c0 is None else c0)
    return lstm(x, state, w_ih, w_hh, b_ih, b_hh)


def all_or_nothing(x, h0, c0, w_ih, w_hh, b_ih, b_hh):
    zeros = np.zeros((len(x), w_hh.shape[1]), x.dtype)
    if (h0 is None) != (c0 is None):
        raise ValueError("h0 and c0 go together")
    return lstm(x, (zeros, zeros) if h0 is None else (h0, c0), w_ih, w_hh, b_ih, b_hh)


def declared(function):
    return adapted(gatewise.subject("lstm", weights="torch", axes="BTD")(function), "it", None)


@pytest.mark.parametrize("layer", [plain_numpy.KeepsItsState, Declared()])
def test_a_layer_that_keeps_its_state_passes_every_check(layer):
    subject = adapted(layer, "layer", None)
    concerned = [check for check in subject_checks() if check.concerns(subject)]
    assert {check.id for check in concerned} >= {*NEW}
    for check in concerned:
        if check.id in ("transition", "gradient-window"):
            continue
        verdict = held(subject, check.id, budget=3)
        missing = subject.options.missing(check.needs)
        assert verdict.status == ("not supported" if missing else "passed"), (
            f"{check.id}: {verdict.message}"
        )
        assert not (missing and check.id in NEW)


@pytest.mark.parametrize(("subject", "said"), [
    (lambda: adapted(IsNotReset, "it", None),
     "a call after the reset: begins from h and c of the call before; expected to begin anew"),
    (wrong.not_kept, "a second call without a state: begins anew; expected to begin from h and c "
     "of the first call's end"),
])  # fmt: skip
def test_a_call_that_begins_elsewhere_is_told(subject, said):
    assert held(subject(), "kept-state").message == said


def test_a_state_that_is_kept_and_should_not_be_is_told():
    """By a check that concerns everybody; those of kept state do not concern it."""
    subject = adapted(Undeclared, "it", None)
    case = Case(4, 3, 2, 5, state=False)
    verdict = hold(subject, check_named("repeat"), "float64", case=case, shrink=False)

    assert not check_named("kept-state").concerns(subject)
    verdict_is(verdict, "failed", "a call without a state goes on where the last one ended")


def test_one_state_alone():
    assert held(declared(by_h_alone), "partial-state").message == "c without h: c is ignored"
    verdict = held(declared(all_or_nothing), "partial-state")
    assert verdict.status == "not supported"
    assert "h0 and c0 go together" in verdict.message


def test_one_state_is_no_part():
    """Of a cell with one state, and of states that are one argument, nothing is asked."""
    for layer in (plain_numpy.GRU, plain_numpy.LSTM):
        assert not check_named("partial-state").concerns(adapted(layer, "it", None))


@pytest.mark.parametrize("check", NEW)
def test_the_diagnosis_is_handed_whole_states(check):
    """Hypotheses keep no state and fill none up; a right layer's calls are right beside theirs."""
    subject = adapted(plain_numpy.KeepsItsState, "it", None)
    case = Case(4, 3, 2, 5, state=check == "partial-state")
    seen = observe(subject, Experiment(check, case))

    assert not seen.wrong
    assert seen.seen
    assert not seen.deviating
    assert not any(call.inputs.kept for call in seen.calls)
    assert all(s is not None for call in seen.calls for s in call.inputs.state or ())


def test_a_layer_that_keeps_its_state_has_a_reset():
    class NoReset(plain_numpy.LSTM):
        stateful = True

    class NoResetStates(Declared):
        reset = "clear"

    with pytest.raises(UnknownSubject, match=r"expected a method reset\(\)"):
        adapted(NoReset, "it", None)
    with pytest.raises(UnknownSubject, match=r"expected a method clear\(\)"):
        adapted(NoResetStates, "it", None)
    with pytest.raises(ValueError, match="stateful: expected whole sequences"):
        gatewise.subject("lstm", axes="BD", stateful=True)
