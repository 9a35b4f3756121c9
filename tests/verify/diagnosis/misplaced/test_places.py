"""Conventions, right numbers in the wrong place, and parameters read from the wrong place."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import hand_written
import plain_numpy
from gatewise.bench.scores.diagnosis import pair_of
from gatewise.verify.conventions import Convention
from gatewise.verify.conventions.convention import CELLS
from gatewise.verify.diagnosis.conventions import differences, other_conventions, own_convention
from gatewise.verify.diagnosis.dropout import NOT_JUDGED, RIGHT
from gatewise.verify.diagnosis.examination import diagnose, judged
from gatewise.verify.diagnosis.hypotheses import Guess, gathered, scattered
from gatewise.verify.diagnosis.misplaced.passes import passes
from gatewise.verify.diagnosis.misplaced.places import places
from gatewise.verify.identification.identification import identify
from gatewise.verify.mutants import mutant_subject, mutants
from gatewise.verify.subjects import adapted
from judgements import diagnosed, failing

told = partial(diagnosed, like="torch.nn.LSTM")


class ForgetBias(hand_written.LSTM):
    """Gates of another library, its constant, and masks of its own."""

    def __init__(self, *sizes, dropout=0.0, **options):
        super().__init__(*sizes, **options)
        self.dropout = dropout

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        if self.training and self.dropout:
            y = torch.nn.functional.dropout(y, self.dropout)
        return y, final

    def step(self, x, h, c, suffix):
        i, g, f, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = torch.sigmoid(f + 2) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


def test_a_convention_is_told_field_by_field_and_dropout_does_not_refute_it():
    found = told(ForgetBias, "forward", "gradient", "dropout")

    assert "dropout" in found.failed
    assert found.headline == (
        "The blocks of the gates are read in the order i g f o, not i f g o. "
        "2 is added to the forget gate's pre-activation."
    )
    assert found.notes == (NOT_JUDGED,)


def test_masks_are_judged_where_nothing_else_fails():
    subject = adapted(ForgetBias, "test:Layer", "torch.nn.LSTM")
    wrong = failing(subject, "forward", "dropout")
    assert [v.check for v in judged(wrong)] == ["forward"]
    assert judged(wrong[1:]) == wrong[1:]


@pytest.mark.parametrize(("ids", "note"), [
    (("L01",), RIGHT),
    (("L01", "M07"), "Dropout is wrong, too: "),
])  # fmt: skip
def test_dropout_is_judged_beside_what_explains_the_equations(ids, note):
    known = {m.id: m for m in mutants()}
    wrong = known[ids[0]] if len(ids) == 1 else pair_of(*(known[id] for id in ids), "lstm")
    subject = mutant_subject(replace(wrong, needs=("layers", "dropout")), "lstm")
    found = diagnosed(subject, "forward", "dropout")

    assert [each.ids for each in found.explanations] == [("L01",)]
    assert [said[: len(note)] for said in found.notes] == [note]


class StateNotRead(hand_written.LSTM):
    def forward(self, x, hx=None):
        return super().forward(x, hx and tuple(0 * s for s in hx))


class FinalStatesViewed(hand_written.LSTM):
    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return y, tuple(s.transpose(0, 1).reshape(s.shape) for s in final)


class ReshapedBatchFirst(hand_written.LSTM):
    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return y.transpose(0, 1).reshape(y.shape) if self.batch_first else y, final


class ForwardWeightsInBoth(hand_written.LSTM):
    def part(self, name, suffix):
        return super().part(name, suffix.removesuffix("_reverse"))


class OneMatrixAbove(hand_written.LSTM):
    def part(self, name, suffix):
        ih, hh = super().part("weight_ih", suffix), super().part("weight_hh", suffix)
        if name == "weight_ih" and "_l0" not in suffix and ih.shape == hh.shape:
            return hh
        return super().part(name, suffix)


class WeightsReshaped(hand_written.LSTM):
    def gates(self, x, h, suffix):
        of_x = x @ self.part("weight_ih", suffix).T + h @ self.part("weight_hh", suffix).reshape(
            h.shape[1], -1
        )
        return of_x + (self.part("bias_ih", suffix) + self.part("bias_hh", suffix)
                       if self.bias else 0)  # fmt: skip


class OrderAndWeights(ForwardWeightsInBoth):
    """A convention, and a further mistake."""

    def step(self, x, h, c, suffix):
        f, i, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


@pytest.mark.parametrize(("layer", "checks", "words"), [
    (StateNotRead, ("forward", "gradient"),
     "The initial hidden state and cell state are not read: every call starts from zeros."),
    (FinalStatesViewed, ("forward", "final"),
     "The final states are laid out as (rows, layers and directions, units) and reshaped to"),
    (ReshapedBatchFirst, ("batch-first",),
     "With batch-first input, the outputs y are "),
    (ForwardWeightsInBoth, ("forward", "gradient", "direction"),
     "The backward direction reads all parameters of the forward direction."),
    (OneMatrixAbove, ("forward", "gradient"),
     "weight_hh is read in the place of weight_ih above the lowest layer"),
    (WeightsReshaped, ("forward", "gradient"),
     "weight_hh is reshaped to (inputs, gates, units), not transposed to it."),
    (OrderAndWeights, ("forward", "gradient"),
     "in the order f i g o, not i f g o. The backward direction reads all parameters of the"),
])  # fmt: skip
def test_what_is_in_the_wrong_place_is_named(layer, checks, words):
    assert words in told(layer, *checks).headline


class LeftSorted(plain_numpy.LSTM):
    """Rows are sorted by length, and the outputs are left so; the final states are put back."""

    def forward(self, params, x, state, lengths=None):
        y, final = super().forward(params, x, state, lengths)
        return y if lengths is None else y[:, np.argsort(-np.asarray(lengths))], final

    def vjp(self, params, x, state, dy, dstate, lengths=None):
        if lengths is not None:
            dy = dy[:, np.argsort(np.argsort(-np.asarray(lengths)))]
        return super().vjp(params, x, state, dy, dstate, lengths)


def test_rows_left_in_sorted_order(briefly):
    found = told(LeftSorted, "padding", "forward", like=None)
    assert found.headline.startswith("Rows are sorted by falling length, and the outputs are left")


class WithWhere(torch.nn.RNN):
    """Right, unless NaN stands in the padding: where() hides it on the way forward alone."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)

    def forward(self, x, hx=None, lengths=None):
        h, y = x.new_zeros(1, x.shape[1], self.hidden_size) if hx is None else hx, []
        for t in range(len(x)):
            out, new = super().forward(x[t : t + 1], h)
            on = None if lengths is None else (t < lengths)[None, :, None]
            h = new if on is None else torch.where(on, new, h)
            y.append(out if on is None else torch.where(on, out, torch.zeros_like(out)))
        return torch.cat(y), h


class OneStepLate(WithWhere):
    """Rows go on for a step after their end, and NaN reaches gradients."""

    def forward(self, x, hx=None, lengths=None):
        return super().forward(x, hx, lengths if lengths is None else lengths + 1)


class EndOfLastRow(WithWhere):
    """All final states are those at the length of the last row."""

    def forward(self, x, hx=None, lengths=None):
        last = lengths if lengths is None else 0 * lengths + lengths[-1]
        return super().forward(x, hx, lengths)[0], super().forward(x, hx, last)[1]


class OneStepBehind(WithWhere):
    """Outputs are those of the step before, and 0 at the first."""

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return torch.cat([0 * y[:1], y[:-1]]), final


@pytest.mark.parametrize(("layer", "checks", "words"), [
    (OneStepLate, ("padding", "schedule"),
     "Rows end one step after their length. A NaN in the padding reaches the gradients"),
    (EndOfLastRow, ("final",), "The final states are those at the length of the last row."),
    (OneStepBehind, ("forward",), "The outputs y are taken from the previous step (0 at the fi"),
])  # fmt: skip
def test_rows_and_outputs_elsewhere(briefly, layer, checks, words):
    assert diagnosed(layer, *checks, like="torch.nn.RNN").headline.startswith(words)


class OutputsAlone(plain_numpy.GRU):
    """The gates are exchanged on the way forward, and the way back is wrong in its own way."""

    def forward(self, params, x, state):
        return super().forward(params.map(lambda array: array[[1, 0, 2]]), x, state)

    def vjp(self, params, x, state, dy, dstate):
        dp, dx, dinitial = plain_numpy.GRU().vjp(params, x, state, dy, dstate)
        return {name: d**3 for name, d in dp.items()}, dx, dinitial


def test_outputs_are_explained_where_gradients_are_not(briefly):
    found = told(OutputsAlone, "forward", "gradient", like=None)

    assert (found.status, found.explanations) == ("unexplained", [])
    order = "The blocks of the gates are read in the order z r n, not r z n."
    assert found.notes[:2] == (
        f"The outputs are explained: {order}", "The gradients are wrong beyond that.",
    )  # fmt: skip


def test_the_search_stops_in_time_and_says_so():
    found = told(OutputsAlone, "forward", "gradient", like=None, seconds=0)
    assert not found.complete
    assert found.message.endswith("stopped after 0 s")


@pytest.mark.parametrize("seed", range(6))
def test_generated_hypotheses_are_named_by_what_they_do(briefly, seed):
    """Any of them, made a subject, is explained by itself, or by what computes the same."""
    right = adapted(hand_written.LSTM, "test:LSTM", "torch.nn.LSTM")
    known = [*places(right, gradients=False), *passes(right, gradients=False)]
    hypothesis = known[int(np.random.default_rng(seed).integers(len(known)))]
    subject = Guess(right, hypothesis).as_subject
    wrong = failing(subject, "forward", "batch-first", "gradient")
    if wrong:
        found = diagnose(subject, "float64", wrong, seconds=120)
        names = {hypothesis.name, SAME.get(hypothesis.name)}
        assert names & {one.name for one in found.explanations}, hypothesis.name


SAME = {"initial states: directions all first": "S04"}
"""What has a name in the catalogue, too."""


def test_gradients_go_where_entries_were_read():
    rng = np.random.default_rng(0)
    right = adapted(hand_written.LSTM, "test:LSTM", "torch.nn.LSTM")
    named, d = (
        {f"{n}_l{k}": np.asfortranarray(rng.standard_normal(shape)) for k in (0, 1)
         for n, shape in (("weight_ih", (8, 2)), ("weight_hh", (8, 2)), ("bias_ih", (8,)),
                          ("bias_hh", (8,)))}
        for _ in range(2)
    )  # fmt: skip
    for hypothesis in passes(right, gradients=False):
        (sources,) = hypothesis.sources
        there = sum((gathered(named, sources)[n] * d[n]).sum() for n in d)
        back = sum((named[n] * scattered(d, sources)[n]).sum() for n in d)
        assert there == pytest.approx(back), hypothesis.name


def test_right_layers_have_no_other_convention():
    for layer, like in ((hand_written.LSTM, "torch.nn.LSTM"), (plain_numpy.LSTM, None)):
        assert list(other_conventions(adapted(layer, "test:Right", like))) == []


@pytest.mark.parametrize("cell", CELLS.values())
def test_a_cell_reads_its_parameters_by_a_convention_of_its_own(cell):
    assert own_convention(cell).cell == cell


def test_differences_are_told_one_by_one():
    gru = own_convention("gru")
    other = Convention("gru", "zrn", ("zrn",), layout="gates", reset="before", update="take",
                       gate="hard sigmoid 1/6")  # fmt: skip
    names = [each.name for each in differences(other, gru, {"bias": "b"})]
    assert names == ["order zrn", "gate hard sigmoid 1/6", "reset before", "update take",
                     "b_hn not read"]  # fmt: skip


def test_identification_without_the_state_that_is_not_read():
    found = identify(adapted(StateNotRead, "test:Layer", "torch.nn.LSTM"))
    assert found.without_state
    assert found.fits[0].order == "ifgo"
