"""Classes that are called in a way of their own: it is found, and they are held in it."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import diagnosed

CHECKS = {check.id: check for check in subject_checks() if not check.problems}


class LSTM(nn.Module):
    """The equations, over x (B, T, D) and states (B, H)."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.x2h = nn.Linear(input_size, 4 * hidden_size)
        self.h2h = nn.Linear(hidden_size, 4 * hidden_size)

    def zeros(self, x):
        return x.new_zeros(len(x), self.hidden_size)

    def candidate(self, g):
        return g.tanh()

    def run(self, x, h, c):
        outputs = []
        for x_t in x.unbind(1):
            i, f, g, o = (self.x2h(x_t) + self.h2h(h)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * self.candidate(g)
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs, 1), h, c


class WithoutAxis(LSTM):
    def forward(self, x, state=None):
        y, h, c = self.run(x, *(state or (self.zeros(x), self.zeros(x))))
        return y, (h, c)


class Apart(LSTM):
    def forward(self, x, h=None, c=None):
        return self.run(x, self.zeros(x) if h is None else h, self.zeros(x) if c is None else c)


class ApartWithAxis(LSTM):
    def forward(self, x, h_0, c_0):
        y, h, c = self.run(x, h_0[0], c_0[0])
        return y, [h[None], c[None]]


class WithoutState(LSTM):
    def forward(self, x):
        y, h, c = self.run(x, self.zeros(x), self.zeros(x))
        return y, (h, c)


class TimeFirst(LSTM):
    def forward(self, x, state=None):
        y, h, c = self.run(x.transpose(0, 1), *(state or [self.zeros(x[0])] * 2))
        return y.transpose(0, 1), (h, c)


class WithLengths(LSTM):
    """States of the last real step of each row; its outputs end with the longest row."""

    def forward(self, x, state=None, lengths=None):
        h, c = state or (self.zeros(x), self.zeros(x))
        lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        y = []
        for t in range(int(lengths.max())):
            real = (t < lengths)[:, None]
            y_t, h_new, c_new = self.run(torch.where(real, x[:, t], 0)[:, None], h, c)
            h, c = torch.where(real, h_new, h), torch.where(real, c_new, c)
            y.append(torch.where(real, y_t[:, 0], 0))
        return torch.stack(y, 1), (h, c)


class HiddenWidthFirst(WithoutAxis):
    def __init__(self, hidden_dim, in_features, num_layers, dropout=0.1, bidirectional=None):
        assert (num_layers, dropout, bidirectional) == (1, 0.0, None)
        super().__init__(in_features, hidden_dim)


class OutputsOfGRU(nn.Module):
    """A GRU that returns y alone."""

    kind = "GRU"

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.cell = nn.GRUCell(input_size, hidden_size)
        self.hidden_size = hidden_size

    def forward(self, x, h=None):
        h = x.new_zeros(len(x), self.hidden_size) if h is None else h
        y = []
        for x_t in x.unbind(1):
            h = self.cell(x_t, h)
            y.append(h)
        return torch.stack(y, 1)


class OutputsFromZeros(OutputsOfGRU):
    """Neither a state nor a final one has an axis of rows: y alone tells which axis they are."""

    def forward(self, x):
        return super().forward(x)


class EitherAxis(WithLengths):
    """States (B, H), and the batch first where its constructor is told so."""

    def __init__(self, input_size, hidden_size, batch_first=True):
        super().__init__(input_size, hidden_size)
        self.batch_first = batch_first

    def forward(self, x, state=None, lengths=None):
        y, final = super().forward(x if self.batch_first else x.transpose(0, 1), state, lengths)
        return y if self.batch_first else y.transpose(0, 1), final


class OutputsOfEitherAxis(OutputsOfGRU):
    def __init__(self, input_size, hidden_size, batch_first=False):
        super().__init__(input_size, hidden_size)
        self.batch_first = batch_first

    def forward(self, x, h=None):
        y = super().forward(x if self.batch_first else x.transpose(0, 1), h)
        return y if self.batch_first else y.transpose(0, 1)


FORMS = {
    WithoutAxis: "x is (B, T, D), states are (B, H)",
    Apart: "x is (B, T, D), states are (B, H), h and c are two arguments",
    ApartWithAxis: "x is (B, T, D), h and c are two arguments",
    WithoutState: "x is (B, T, D), states are (B, H), no initial state",
    TimeFirst: "states are (B, H)",
    WithLengths: "x is (B, T, D), states are (B, H)",
    HiddenWidthFirst: "x is (B, T, D), states are (B, H)",
    OutputsOfGRU: "x is (B, T, D), states are (B, H), y is returned alone",
    OutputsFromZeros: "x is (B, T, D), y is returned alone, no initial state",
}


@functools.cache
def like(layer):
    kind = getattr(layer, "kind", "LSTM")
    return adapted(layer, f"own:{layer.__name__}", f"torch.nn.{kind}")


def held(subject, check):
    return hold(subject, CHECKS[check], "float64", budget=Budget(2, 1), seed_value=5)


@pytest.mark.parametrize("layer", FORMS, ids=lambda layer: layer.__name__)
def test_the_form_is_found_and_the_layer_passes(layer):
    """Also where it goes on from its own states; the version says in what form it is called."""
    subject = like(layer)

    assert subject.called_as.text == FORMS[layer]
    assert subject.version().endswith(f"Its calls: {FORMS[layer]}")
    for check in ("gradient", "carry"):
        verdict = held(subject, check)
        takes_none = layer in (WithoutState, OutputsFromZeros) and check == "carry"
        assert verdict.status == ("not supported" if takes_none else "passed"), verdict.message
    assert subject.options.lengths == (layer is WithLengths)
    if layer is WithLengths:
        verdict = held(subject, "padding")
        assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(
    "layer", [WithoutAxis, Apart, ApartWithAxis, TimeFirst, HiddenWidthFirst, OutputsOfGRU]
)
def test_the_script_calls_it_in_the_same_form(layer):
    """A stand-alone script returns the numbers that the subject returns."""
    subject, case = like(layer), Case(3, 2, 4, 5)
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    pulled = under_test(subject).build(case).gradient(inputs, (dy, dfinal))
    script = {"np": np, "Layer": layer}
    exec(subject.caller(case), script)

    named = script["call"](
        script["make"](), inputs.parameters, inputs.x, inputs.state, dy=dy, dfinal=dfinal
    )

    np.testing.assert_array_equal(named["y"], pulled.y)
    for letter, final, initial in zip("hc", pulled.final, pulled.initial, strict=False):
        np.testing.assert_array_equal(named[f"final {letter}"], final)
        np.testing.assert_allclose(named[f"gradient of initial {letter}"], initial, atol=1e-14)
    np.testing.assert_allclose(named["gradient of x"], pulled.x, atol=1e-14)


class WrongCandidate(WithoutState):
    """Nothing tells the axes of x but what depends on what."""

    def candidate(self, g):
        return g.sigmoid()


class LosesTheAxis(LSTM):
    """Takes states (1, B, H), and returns them as (B, H): what it returns it cannot take."""

    def forward(self, x, state=None):
        h, c = (s[0] for s in state) if state else (self.zeros(x), self.zeros(x))
        y, h, c = self.run(x, h, c)
        return y, (h, c)


class StateOfTheFirstRow(LSTM):
    """Takes the first row's state for all rows of states (B, H)."""

    def forward(self, x, state=None):
        h, c = state or (self.zeros(x), self.zeros(x))
        y, h, c = self.run(x, h[:1].expand(len(x), -1), c[:1].expand(len(x), -1))
        return y, (h, c)


class IgnoresTheState(LSTM):
    def forward(self, x, state=None):
        y, h, c = self.run(x, self.zeros(x), self.zeros(x))
        return y, (h, c)


@pytest.mark.parametrize(
    ("layer", "form", "check"),
    [
        (WrongCandidate, FORMS[WithoutState], "forward"),
        (LosesTheAxis, "x is (B, T, D)", "smoke"),
        (StateOfTheFirstRow, FORMS[WithoutAxis], "carry"),
        (IgnoresTheState, FORMS[WithoutAxis], "forward"),
    ],
)  # fmt: skip
def test_a_wrong_layer_does_not_pass_by_a_form_of_its_own(layer, form, check):
    """A form needs that rows depend on their own states, and that states can be handed back."""
    subject = like(layer)

    assert (subject.called_as.text, held(subject, check).status) == (form, "failed")


def test_an_lstm_without_its_cell_state_is_refused():
    """The refusal says what to return."""

    class WithoutC(LSTM):
        def forward(self, x):
            return self.run(x, self.zeros(x), self.zeros(x))[:2]

    with pytest.raises(SubjectUnavailable, match=r"returns y without c.*return y, \(h, c\)"):
        like(WithoutC)


class OutputsOfLSTM(LSTM):
    def forward(self, x, state=None):
        return self.run(x, self.zeros(x), self.zeros(x))[0]


class WrongOutputsOfLSTM(OutputsOfLSTM):
    def candidate(self, g):
        return g.sigmoid()


def test_the_outputs_of_an_lstm_alone_are_held_and_its_c_is_not():
    subject = like(OutputsOfLSTM)
    form = "x is (B, T, D), y is returned alone, so the final c is not tested, no initial state"
    assert subject.called_as.text == form
    for check in (
        "forward",
        "gradient",
        "cotangents",
        "jvp",
        "repeat",
        "final",
        "bounds",
        "shapes",
    ):
        verdict = held(subject, check)
        assert verdict.status == "passed", verdict.message
    assert held(subject, "carry").status == held(subject, "transition").status == "not supported"
    found = diagnosed(like(WrongOutputsOfLSTM), "forward", "gradient", seconds=60)
    assert "sigmoid" in found.headline


class ListOfStates(nn.Module):
    """Several layers, whose states are a list of (B, H)."""

    kind = "GRU"

    def __init__(self, input_size, hidden_size, num_layers=1):
        super().__init__()
        widths = [input_size, *[hidden_size] * (num_layers - 1)]
        self.cells = nn.ModuleList(nn.GRUCell(width, hidden_size) for width in widths)

    def forward(self, x, states=None):
        zeros = x.new_zeros(x.shape[1], self.cells[0].hidden_size)
        states = [zeros] * len(self.cells) if states is None else states
        assert isinstance(states, list)
        y = []
        for x_t in x:
            below, new = x_t, []
            for cell, h in zip(self.cells, states, strict=True):
                below = cell(below, h)
                new.append(below)
            states = new
            y.append(below)
        return torch.stack(y), states


def test_states_may_be_a_list_with_one_for_each_layer():
    subject = like(ListOfStates)
    assert subject.called_as.text == "states are lists, (B, H) for each layer"
    case = Case(3, 2, 4, 5, layers=2)
    verdict = hold(subject, CHECKS["gradient"], "float64", case=case, seed_value=1)
    assert verdict.status == "passed", verdict.message


def test_outputs_in_the_wrong_order_do_not_change_how_states_are_read():
    """Rows of its states reach other rows of y in every form; it starts in one of them."""

    class Reshaped(WithoutAxis):
        def forward(self, x, state=None):
            y, final = super().forward(x, state)
            return y.transpose(0, 1).reshape(y.shape), final

    subject = like(Reshaped)
    assert subject.called_as.text == FORMS[WithoutAxis]
    assert held(subject, "smoke").status == "passed"


def test_outputs_of_another_shape_are_refused_in_a_sentence():
    """As of a class that returns the last h alone, whose forward takes no state."""

    class Last(LSTM):
        def forward(self, x):
            return self.run(x, self.zeros(x), self.zeros(x))[1]

    with pytest.raises(
        SubjectUnavailable, match=r"y: expected shape \(T, B, H\) = \(3, 4, 6\), got"
    ):
        like(Last)


@pytest.mark.parametrize("layer", [EitherAxis, OutputsOfEitherAxis])
@pytest.mark.parametrize("layout", ["time-first", "batch-first"])
def test_the_constructor_tells_the_axes_of_every_case(layer, layout):
    """Rows that end are cut, and the last step taken, along the axis of steps."""
    subject = like(layer)
    case = Case(4, 3, 2, 5, layout=layout, state=False)

    assert subject.called_as.text.startswith("states are (B, H)")
    cases = [replace(case, lengths=True)] if subject.options.lengths else [case]
    for each in (case, *cases):
        verdict = hold(subject, CHECKS["forward"], "float64", case=each, seed_value=1)
        assert verdict.status == "passed", verdict.message


def test_a_step_that_is_missing_is_not_filled_in():
    """Only rows that end may leave steps out."""

    class WithoutTheLastStep(WithoutAxis):
        def forward(self, x, state=None):
            y, final = super().forward(x, state)
            return y[:, :-1], final

    with pytest.raises(SubjectUnavailable, match=r"y: expected shape"):
        like(WithoutTheLastStep)
