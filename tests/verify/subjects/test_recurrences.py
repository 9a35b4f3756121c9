"""Recurrences of one's own: without equations, and by a step."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import gatewise
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named, subject_checks
from gatewise.verify.checks.derivative import extrapolated
from gatewise.verify.execution.judge import hold
from gatewise.verify.numbers import followed
from gatewise.verify.numbers.followed import Followed
from gatewise.verify.runs.conclusion import conclusion
from gatewise.verify.runs.status import CONFORMS, COULD_NOT_RUN
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.declared import Declaration
from gatewise.verify.subjects.loader import UnknownSubject
from gatewise.verify.subjects.recurrence import lengths

WITHOUT = [
    check.id for check in subject_checks() if not check.problems and "equations" not in check.needs
]


class IndRNN:
    """Every unit has a recurrent weight of its own; gradients by hand; rows of different length."""

    cell = None
    parameters = {"W": "D H", "u": "H"}  # noqa: RUF012 - as users write it
    gradient = "vjp"

    def forward(self, p, x, state, lengths=None):
        (h,) = state or (np.zeros((x.shape[1], len(p.u)), x.dtype),)
        y = np.zeros((len(x), *h.shape), np.result_type(x, h))
        for t in range(len(x)):
            new = np.tanh(x[t] @ p.W + h * p.u)
            going = True if lengths is None else (t < lengths)[:, None]
            h = np.where(going, new, h)
            y[t] = np.where(going, h, 0)
        return y, (h,)


class WithGradient(IndRNN):
    """The same for rows of one length."""

    def forward(self, p, x, state):
        return super().forward(p, x, state)

    def vjp(self, p, x, state, dy, dstate):
        y, _ = self.forward(p, x, state)
        start = state[0] if state else np.zeros_like(dy[0])
        before = [start, *y[:-1]]
        dW, du, dx, (dh,) = np.zeros_like(p.W), np.zeros_like(p.u), np.zeros_like(x), dstate
        for t in reversed(range(len(x))):
            da = (dy[t] + dh) * (1 - y[t] ** 2)
            dW, du = dW + x[t].T @ da, du + (before[t] * da).sum(0)
            dx[t], dh = da @ p.W.T, self.carried(da, p)
        return {"W": dW, "u": du}, dx, (dh,)

    def carried(self, da, p):
        return da * p.u


class Forgetful(WithGradient):
    """Wrong: its gradient does not reach the step before."""

    def carried(self, da, p):
        return 0 * da


class WithoutGradient(IndRNN):
    gradient = ""


class Mixed(WithoutGradient):
    """Wrong: rows of a batch know of each other."""

    def forward(self, p, x, state, lengths=None):
        y, (h,) = super().forward(p, x, state, lengths)
        return y + 1e-6 * y.mean(axis=1, keepdims=True), (h,)


class Narrow(WithGradient):
    """It computes in float32 alone: differences are made there, too."""

    dtypes = ("float32",)


class NarrowAndForgetful(Forgetful):
    dtypes = ("float32",)


class Random(WithoutGradient):
    """Wrong: another number each time."""

    def forward(self, p, x, state, lengths=None):
        y, final = super().forward(p, x, state, lengths)
        return y + np.random.default_rng().standard_normal(y.shape).astype(y.dtype), final


def minimal_gate(p, x, state):
    """A gate that lets a normalised candidate in: a step of no cell of the catalogue."""
    (h,) = state
    z = 1 / (1 + np.exp(-(x @ p.W + h @ p.U + p.b)))
    candidate = x @ p.V + z * h
    centred = candidate - np.mean(candidate, axis=-1, keepdims=True)
    return (1 - z) * h + z * np.tanh(
        centred / np.sqrt(1e-3 + np.mean(centred**2, -1, keepdims=True))
    )


GATED = {"W": "D H", "U": "H H", "V": "D H", "b": "H"}


class Gated:
    """The same as a layer of NumPy, over (B, T, D), in other words."""

    cell, parameters, axes = minimal_gate, GATED, "BTD"

    def forward(self, x, h0, W, U, V, b):
        h = np.zeros((len(x), len(b)), x.dtype) if h0 is None else h0
        y = []
        for t in range(x.shape[1]):
            z = 0.5 + 0.5 * np.tanh((x[:, t] @ W + h @ U + b) / 2)
            candidate = x[:, t] @ V + z * h
            spread = np.sqrt(candidate.var(-1, keepdims=True) + self.small)
            h = h + z * (np.tanh((candidate - candidate.mean(-1, keepdims=True)) / spread) - h)
            y.append(h)
        return np.stack(y, 1), h

    small = 1e-3


class OtherConstant(Gated):
    """Wrong: another number below the root."""

    small = 1.1e-3


class OfTorch:
    """Its gradient is torch's, through the same in torch."""

    cell, parameters, axes, gradient = minimal_gate, GATED, "BTD", "torch"
    detached = False

    def forward(self, x, h0, W, U, V, b):
        h = x.new_zeros(len(x), len(b)) if h0 is None else h0
        y = []
        for x_t in x.unbind(1):
            z = (x_t @ W + (h.detach() if self.detached else h) @ U + b).sigmoid()
            candidate = x_t @ V + z * h
            h = (1 - z) * h + z * self.normed(candidate).tanh()
            y.append(h)
        return torch_stack(y), h

    def normed(self, candidate):
        centred = candidate - candidate.mean(-1, keepdim=True)
        return centred * (1e-3 + (centred**2).mean(-1, keepdim=True)).rsqrt()


class Detached(OfTorch):
    """Wrong: the gate's gradient does not reach the state."""

    detached = True


def torch_stack(arrays):
    import torch

    return torch.stack(arrays, 1)


def held(value, *checks, explain=False, dtype=None):
    return gatewise.check(value, checks=checks, budget="quick", explain=explain, dtype=dtype)


def failing(outcome):
    return {v.check for v in outcome.wrong}


@pytest.mark.parametrize("value", [WithGradient, WithoutGradient])
def test_a_layer_without_equations_is_held_to_what_needs_none(value):
    outcome = held(value)

    assert outcome, outcome
    assert conclusion(list(outcome)).code == CONFORMS
    judged = {v.check for v in outcome if v.compared}
    assert {"carry", "batch-single", "causality", "final", "no-steps", "repeat"} <= judged
    assert ("derivative" in judged) is (value is WithGradient)
    assert ({"padding", "zero-length"} <= judged) is (value is WithoutGradient)
    assert judged.isdisjoint({"forward", "gradient", "transition", "default-state"})
    assert "its numbers are not judged" in str(outcome)


def test_a_layer_of_float32_alone_is_differentiated_in_it():
    outcome = held(Narrow, "smoke", "derivative")
    assert {v.check: v.status for v in outcome} == {"smoke": "passed", "derivative": "passed"}
    assert failing(held(NarrowAndForgetful, "smoke", "derivative")) == {"derivative"}


def test_what_needs_equations_cannot_be_passed_without():
    outcome = held(WithGradient, "forward")
    assert conclusion(list(outcome), ("forward",)).code == COULD_NOT_RUN
    assert {v.status for v in outcome if v.check == "forward"} == {"not supported"}


@pytest.mark.parametrize(
    ("value", "check"),
    [(Forgetful, "derivative"), (Mixed, "batch-single"), (Random, "repeat"), (Random, "carry")],
)
def test_a_wrong_layer_without_equations_fails(value, check):
    outcome = held(value, "smoke", check, explain=True)
    assert not outcome
    assert check in failing(outcome)
    assert outcome.diagnosis.message.startswith("Not looked for: it has no equations")


class Unread(WithoutGradient):
    """Wrong: an array is declared and not read."""

    parameters = {"W": "D H", "u": "H", "b": "H"}  # noqa: RUF012 - as users write it


def test_an_array_that_is_not_read_is_named():
    """Planted: zeros in place of the arrays, beside which W has no influence either."""
    outcome = held(Unread, "uses")

    assert failing(outcome) == {"uses"}
    for verdict in outcome.wrong:
        assert verdict.message.startswith("b_l0: changing it")
        assert "zeroed" not in verdict.case
    assert check_named("uses").refuses(Case(1, 1, 1, 1, zeroed="x"))
    assert held(WithoutGradient, "uses")


def test_a_layer_that_is_random_fails_first_because_it_is_not_the_same_again():
    outcome = held(Random, "batch-single", "repeat")
    assert {"batch-single", "repeat"} <= failing(outcome)
    assert "first failure   repeat" in str(outcome)


def test_convolutional_states_have_axes_of_their_own_in_a_module_of_torch():
    torch = pytest.importorskip("torch")

    class ConvRNN(torch.nn.Module):
        cell, axes, states, input = None, "BTD", {"h": "H 3 2"}, "D 3 2"

        def __init__(self, channels, hidden):
            super().__init__()
            self.hidden = hidden
            self.mix = torch.nn.Conv2d(channels + hidden, hidden, 3, padding=1)
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x, state=None):
            h = x.new_zeros(len(x), self.hidden, 3, 2) if state is None else state[0]
            y = []
            for x_t in x.unbind(1):
                h = self.mix(torch.cat([self.drop(x_t), h], 1)).tanh()
                y.append(h)
            return torch.stack(y, 1), (h,)

    class AlwaysInTraining(ConvRNN):
        def train(self, mode=True):
            return super().train(True)

    class Reversed(ConvRNN):
        def forward(self, x, state=None):
            y, final = super().forward(x, state)
            return y.flip(0), final

    outcome = held(ConvRNN, "smoke", "carry", "derivative", "modes", "batch-single")
    assert outcome, outcome
    assert failing(held(AlwaysInTraining, "modes", "repeat")) == {"modes", "repeat"}
    assert failing(held(Reversed, "batch-single", "purity")) == {"batch-single"}


def test_a_layer_is_held_to_a_step_of_its_author():
    """Everything is judged, in bounds that mean something, but what needs a cell's gates."""
    outcome = held(Gated)

    assert outcome, outcome
    assert {v.cell for v in outcome} == {"own:minimal_gate"}
    judged = {v.check for v in outcome if v.compared}
    assert {"forward", "dtype", "default-state", "transition", "influence", "wide"} <= judged
    assert {"step", "step-gradient"} <= judged
    assert judged.isdisjoint({"derivative", "gate-limits", "bounds", "unit-permutation"})


def test_a_step_that_is_read_wrongly_is_seen(monkeypatch):
    """Planted in the reading: a slope of another function; exp as another function."""
    rules = dict(followed.RULES)
    monkeypatch.setitem(followed.RULES, "tanh", lambda x: Followed(
        np.tanh(x.value), [(x, lambda d: d * (1 - np.tanh(x.value)))]))  # fmt: skip
    assert failing(held(Gated, "step", "step-gradient")) == {"step-gradient"}

    monkeypatch.setattr(followed, "RULES", rules | {"tanh": rules["expm1"]})
    assert "step" in failing(held(Gated, "step", "step-gradient"))


def test_torchs_gradient_is_held_to_the_step():
    pytest.importorskip("torch")
    right = held(OfTorch, "forward", "gradient", "gradient-window", dtype="float64")

    assert right, right
    assert held(OfTorch, "cotangents", dtype="float32")
    assert failing(held(Detached, "forward", "gradient", dtype="float64")) == {"gradient"}


def test_a_layer_that_differs_from_its_step_fails():
    outcome = held(OtherConstant, "forward", "transition", "carry", explain=True)
    assert failing(outcome) == {"forward", "transition"}
    assert outcome.diagnosis.message.startswith("Not looked for: its step is its own")


@pytest.mark.parametrize(("step", "said"), [
    (lambda p, x, state: (np.where(x @ p.W > 0, 1.0, 0.0),), "uses np.greater, which cannot be"),
    (lambda p, x, state: (np.cumsum(x @ p.W, axis=1),), "uses np.cumsum.*cell = None"),
    (lambda p, x, state: x @ p.nothing, "does not run: AttributeError: no parameter 'nothing'"),
    (lambda p, x, state: (x, state[0]), "returns states of shape"),
])  # fmt: skip
def test_a_step_that_cannot_be_followed_is_refused_in_a_sentence(step, said):
    wrong = type("Wrong", (Gated,), {"cell": staticmethod(step), "parameters": {"W": "D H"}})
    with pytest.raises(UnknownSubject, match=said):
        adapted(wrong, "Wrong", None)


@pytest.mark.parametrize(("declared", "said"), [
    ({}, "parameters: expected the axes of every array"),
    ({"parameters": {"W": "D 4X"}}, "axis '4X': expected a number, D, H"),
    ({"parameters": {"W": "D"}, "weights": "keras"}, "has no convention"),
    ({"parameters": {"W": "D"}, "states": "h c", "state": "h"}, "take and return all"),
    ({"parameters": {"W": "D"}, "states": ""}, "expected at least one"),
])  # fmt: skip
def test_what_is_no_recurrence_is_refused_in_a_sentence(declared, said):
    with pytest.raises(ValueError, match=said):
        Declaration(None, **declared)


def test_a_cell_of_the_catalogue_has_the_arrays_of_its_convention():
    with pytest.raises(ValueError, match="cell=None, or a step of its own"):
        Declaration("gru", parameters={"W": "D H"})

    class NoShapes:
        cell = None

        def forward(self, params, x, state):
            return x, state

    with pytest.raises(UnknownSubject, match="parameters: expected the axes"):
        adapted(NoShapes, "NoShapes", None)


def test_axes_are_sums_of_multiples_of_the_widths():
    assert lengths("D 4H 2*H D+H 3", 5, 7) == (5, 28, 14, 12, 3)
    assert lengths((4, "H"), 5, 7) == (4, 7)
    assert lengths(6, 5, 7) == (6,)


@pytest.mark.parametrize(
    ("function", "slope"),
    [(np.tanh, 1.0), (np.exp, 1.0), (lambda t: np.sin(5 * t), 5.0), (lambda t: 3 + 2 * t, 2.0)],
)
def test_extrapolated_differences_are_within_their_own_error(function, slope):
    """Planted: an error ten times smaller, a step less, and a table of twice the differences."""
    found = extrapolated(lambda t: function(t) + 1e-13 * np.sign(np.sin(1e9 * t)), 1e-13)
    assert abs(found.value - slope) <= found.error < 1e-8


def test_a_kink_widens_the_error_and_never_deceives():
    for where in (1e-9, 1e-6, 1e-4, 0.01, 0.1, 0.2):
        found = extrapolated(lambda t, where=where: max(t, where), 1e-15)
        assert abs(found.value) <= found.error
        assert found.error < 1e-9 or where < 0.01
    assert abs(extrapolated(abs, 1e-15).value) <= extrapolated(abs, 1e-15).error


@pytest.mark.parametrize("width", [1e-1, 1e-3, 1e-5, 1e-7])
def test_what_is_finer_than_the_steps_widens_the_error(width):
    """A step of some width, as a normalisation of what is nearly 0: odd, so no kink is seen."""
    found = extrapolated(lambda t: t / np.sqrt(t * t + width**2) + np.tanh(t), 1e-15)
    assert abs(found.value - (1 / width + 1)) <= found.error


@pytest.mark.parametrize("frequency", 10 ** np.linspace(3, 6, 60))
def test_a_table_that_does_not_converge_is_blind(frequency):
    """Planted: without the look at the last halvings, half of these are wrong."""
    for phase in np.linspace(0, 6, 40):
        found = extrapolated(lambda t, phase=phase: np.sin(frequency * t + phase), 1e-14)
        assert abs(found.value - frequency * np.cos(phase)) <= found.error


@pytest.mark.parametrize("units", [1, 2])
def test_terms_that_cancel_leave_their_rounding(units):
    """Planted: a bound by what moves alone. Normalised, one unit is 0 and two are nearly 1, -1."""
    torch = pytest.importorskip("torch")

    class Normalised(torch.nn.Module):
        cell, axes, states = None, "BTD", "h"

        def __init__(self, width, hidden):
            super().__init__()
            self.hidden, self.norm = hidden, torch.nn.LayerNorm(hidden)
            self.mix = torch.nn.Linear(width + hidden, hidden)

        def forward(self, x, h=None):
            h, y = x.new_zeros(len(x), self.hidden) if h is None else h, []
            for x_t in x.unbind(1):
                h = self.norm(self.mix(torch.cat([x_t, h], 1))).tanh()
                y.append(h)
            return torch.stack(y, 1), h

    class Detached(Normalised):
        def forward(self, x, h=None):
            return super().forward(x.detach() + 0 * x, h)

    subject = adapted(Normalised, "Normalised", None)
    wrong = adapted(Detached, "Detached", None)
    for check, dtype, seed in product(
        ("vjp-linearity", "derivative"), ("float64", "float32"), range(4)
    ):
        case = Case(2, 1, 2, units, dtype=dtype, seed=seed, state=True)
        verdict = hold(subject, check_named(check), dtype, case=case)
        assert verdict.status in ("passed", "blind"), verdict.message
    case = Case(2, 1, 2, 3, seed=1, state=True)
    assert hold(wrong, check_named("derivative"), "float64", case=case).status == "failed"


def test_a_module_with_running_statistics_has_no_modes_to_compare():
    torch = pytest.importorskip("torch")

    class Statistics(torch.nn.Module):
        cell, axes, states = None, "BTD", "h"

        def __init__(self, width, hidden):
            super().__init__()
            self.norm, self.mix = (
                torch.nn.BatchNorm1d(width),
                torch.nn.Linear(width + hidden, hidden),
            )
            self.hidden = hidden

        def forward(self, x, h=None):
            h, y = x.new_zeros(len(x), self.hidden) if h is None else h, []
            for x_t in self.norm(x.transpose(1, 2)).transpose(1, 2).unbind(1):
                h = self.mix(torch.cat([x_t, h], 1)).tanh()
                y.append(h)
            return torch.stack(y, 1), h

    outcome = held(Statistics, "smoke", "modes", "batch-single")

    assert not failing(outcome)
    modes = [v for v in outcome if v.check == "modes"]
    assert {v.status for v in modes} == {"not supported"}
    assert all("norm.running_mean" in v.message for v in modes)


def test_options_say_whether_there_are_equations():
    options = adapted(WithGradient, "test", None).options
    assert options.missing(("equations", "gradient")) == ("equations",)
    assert replace(options, equations=True).missing(("equations",)) == ()
