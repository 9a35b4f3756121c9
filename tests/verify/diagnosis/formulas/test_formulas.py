"""Hand-written gradients are taken apart: the edit that makes a wrong one is named, in words."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.reference.parameters import Sizes
from gatewise.reference.sequence import backpropagate, unroll
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.diagnosis.formulas import relations
from gatewise.verify.diagnosis.formulas.departure import departures
from gatewise.verify.diagnosis.formulas.program import gradient, named, program_of
from gatewise.verify.diagnosis.formulas.texts import TEXTS
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.diagnosis.search import Explainer, observations
from gatewise.verify.execution.judge import BUDGETS, hold
from hand_written_gradients import GRU, LSTM, RNN, layer


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("lengths", [None, (4, 0, 2)])
def test_programs_are_the_reference(name, lengths):
    cell, rng = cell_named(name), np.random.default_rng(0)
    sizes = Sizes(5, 4, 3 if "projected" in cell.traits else None)
    p, x = cell.random_parameters(rng, sizes), cell.random_input(rng, 4, 3, sizes)
    state = tuple(rng.standard_normal((3, width)) for width in cell.widths(sizes))
    dfinal = tuple(rng.standard_normal(s.shape) for s in state)
    run = unroll(cell, p, x, state, lengths)
    dy = rng.standard_normal(run.y.shape)
    dp, dx, dstate = backpropagate(cell, p, run, dy, dfinal)

    mine = program_of(name).run(named(p), x, state, lengths)
    found = mine.pull(dy, dfinal)

    assert np.allclose(mine.y, run.y, rtol=0, atol=1e-14)
    assert all(np.allclose(d, dp[n], atol=1e-13) for n, d in gradient(p, found).items())
    assert np.allclose(found["dx"], dx, atol=1e-13)
    for s, d in zip(cell.states, dstate, strict=True):
        assert np.allclose(found[f"d0_{s}"], d, atol=1e-13)


SLIPS = [
    (LSTM, "df = dc * c_old", "df = dc",
     "In the gradient of the forget gate, the factor c_{t-1} is missing: da_f = dc * f * (1 - f), "
     "should be da_f = dc * c_{t-1} * f * (1 - f)."),
    (LSTM, "dc = dc * f", "dc = dc", "passes back to c_{t-1}, the factor f is missing"),
    (LSTM, "df = dc * c_old", "df = dc * c", "c_t stands in the place of c_{t-1}"),
    (LSTM, "dh * o * (1 - np.tanh(c) ** 2)", "dh * (1 - np.tanh(c) ** 2)", "factor o is missing"),
    (LSTM, "dh * o * (1 - np.tanh(c) ** 2)", "dh * o * (1 - c**2)", "tanh is not applied to c_t"),
    (LSTM, "dg * (1 - g**2)", "dg * g * (1 - g)", "the slope of sigma"),
    (LSTM, "do * o * (1 - o)", "do * (1 - o)", "gradient of the output gate, the factor o"),
    (LSTM, "df * f * (1 - f)", "df * f * 1 - f", "multiplies 1 and not f"),
    (LSTM, "dg * (1 - g**2)", "np.sin(dg) * (1 - g**2)", None),
    (LSTM, "dU[k] += h_old.T", "dU[k] += h.T", "h_t stands in the place of h_{t-1}"),
    (LSTM, "db[k] += da", "db[k] = da", "each step overwrites"),
    (LSTM, "reversed(range(len(kept)))", "reversed(range(1, len(kept)))", "the first step is left"),
    (LSTM, "dh = dh + dy[t]", "dh = dh + dy[t - 1]", "dy_{t-1} stands in the place of dy_t"),
    (LSTM, "= kept[t]", "= kept[-1 - t]", "what step T-1-t saved stands in the place of"),
    (GRU, "d = d + dy[t]", "d = d + dy[-1 - t]", "dy_{T-1-t} stands in the place of dy_t"),
    (LSTM, "U[k].T for k in range(4)", "U[k].T for k in range(3)", "the term da_o @ U_o^T is miss"),
    (GRU, "an = d * (1 - z) *", "an = d *", "the factor (1 - z) is missing"),
    (GRU, "az = d * (hs[t] - n)", "az = d * (n - hs[t])", "(h_{t-1} - n) has the other sign"),
    (GRU, "d * z + ar", "ar", "the term dh * z is missing"),
    (GRU, "(ar, az, s)", "(ar, az, an)", "da_n stands in the place of dq"),
    (GRU, "(1 - n * n)", "(1 - hs[t] * n)", "h_{t-1} stands in the place of n in one factor"),
    (GRU, "ar @ p.U_r.T", "ar @ p.U_r", "U_r is not transposed"),
    (RNN, "(1 - hs[t + 1] ** 2)", "(1 - hs[t] ** 2)", "h_{t-1} stands in the place of h_t"),
    (RNN, "da.sum(0)", "da.mean(0)", "rows are averaged, not summed"),
    (RNN, "(carried,) = dfinal", "carried = 0 * dfinal[0]", "it is left out"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "right", "wrong", "words"), SLIPS)
def test_slips_are_named(text, right, wrong, words):
    found = [h.statements[0] for h in relations.candidates(layer(text, right, wrong), "float64")]
    assert any(words in statement for statement in found) if words else not found


STEPS = [
    (LSTM, [("c = f * c_old + i * g", "c = f * c_old + i * i")],
     ["In the new cell state c_t, i stands in the place of g"]),
    (GRU, [("p.b_n + r * q", "p.b_n + z * q")],
     ["In the pre-activation of the candidate n, z stands in the place of r"]),
    (GRU, [("p.b_n + r * q", "p.b_n + z * q"), ("an = d * (1 - z) *", "an = d *")],
     ["the candidate n, z stands in the place of r", "the factor (1 - z) is missing"]),
    (LSTM, [("df = dc * c_old", "df = dc"), ("do * o * (1 - o)", "do * (1 - o)")],
     ["the factor c_{t-1} is missing", "gradient of the output gate, the factor o is missing"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "slips", "words"), STEPS)
def test_wrong_steps_and_two_slips_are_explained_and_nothing_is_said_besides(text, slips, words):
    for right, wrong in slips:
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    subject = layer(text)
    explainer = Explainer(subject, "float64", list(observations(subject, [VALUE])))
    found = next(
        h for h in relations.candidates(subject, "float64") if explainer.residual_of(h) <= 1
    )

    assert len(found.statements) == len(words)
    assert all(any(w in statement for statement in found.statements) for w in words)


VALUE = Experiment(VALUES, Case(4, 3, 2, 5))


@pytest.mark.parametrize("text", [LSTM, GRU, RNN])
def test_right_gradients_have_no_story(text):
    assert not list(relations.candidates(layer(text), "float64"))


def test_a_comparison_that_sees_nothing_is_noticed(monkeypatch):
    """With every number taken as measured, edits fit that do not compute what is wrong."""
    monkeypatch.setattr(relations, "explains", lambda edit, step, seen: True)
    text, right, wrong, words = SLIPS[0]
    found = [h.statements[0] for h in relations.candidates(layer(text, right, wrong), "float64")]
    assert words not in found[0]


def diagnosis(subject):
    failing = hold(subject, check_named("gradient"), "float64", budget=BUDGETS["quick"])
    return diagnose(subject, "float64", [failing], seconds=60)


def test_the_whole_diagnosis_names_a_slip():
    found = diagnosis(layer(LSTM, "dc = dc + dh * o", "dc = dc + dy[t] * o"))
    assert found.status == "explained"
    assert found.headline.startswith("In the gradient of c_t, dy_t stands in the place of dh")
    assert found.explanations[0].fixes == (
        "compute dc = dc_next + dh * o * (1 - tanh(c_t)^2)",
    )  # fmt: skip


NOWHERE = "3 * dh * np.sin(c) * o"
"""A gradient of the output gate that no edit makes."""


@pytest.mark.parametrize(("text", "right", "wrong", "place"), [
    (LSTM, "do * o * (1 - o)", NOWHERE, "gate (o) is off; those of the other gates are right"),
    (LSTM, "dc = dc * f", "dc = np.sin(dc * f)", "passes back to c_{t-1} (the path through c)"),
    (GRU, "az = d * (hs[t] - n)", "az = np.sin(d) * n", "of the update gate (z) is off"),
    (RNN, "x[t].T @ da", "np.sin(x[t]).T @ da", "the gradient of W (gate a) is off, while x and"),
])  # fmt: skip
def test_the_place_is_told_where_no_edit_fits(text, right, wrong, place):
    subject = layer(text, right, wrong)
    assert not list(relations.candidates(subject, "float64"))
    assert place in " ".join(departures(Explainer(subject, "float64", [])))
