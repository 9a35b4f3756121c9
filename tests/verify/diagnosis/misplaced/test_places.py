"""Conventions, right numbers in the wrong place, and parameters read from the wrong place."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import hand_written
import plain_numpy
from gatewise.bench.scores.diagnosis import pair_of
from gatewise.verify.cases.case import Case
from gatewise.verify.conventions import Convention
from gatewise.verify.conventions.convention import CELLS
from gatewise.verify.diagnosis.conventions import differences, other_conventions, own_convention
from gatewise.verify.diagnosis.dropout import NOT_JUDGED, RIGHT
from gatewise.verify.diagnosis.examination import diagnose, judged
from gatewise.verify.diagnosis.hypotheses import Guess, gathered, scattered
from gatewise.verify.diagnosis.misplaced.passes import passes
from gatewise.verify.diagnosis.misplaced.places import places
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.diagnosis.scopes.calls import under_conditions
from gatewise.verify.diagnosis.search import Explainer, observations
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


def loop(cell, step, *, show=lambda h, a: h, start=0):
    """Return a layer whose new h ``step`` makes of p, x_t, h; what it shows, where it starts."""

    class Loop:
        def forward(self, p, x, state):
            h = state[0] if state else np.full((x.shape[1], p["U"].shape[1]), start, x.dtype)
            y = [x[:0, :, :1] + 0 * h]
            for x_t in x:
                h, a = step(p, x_t, h)
                y.append(show(h, a)[None])
            return np.concatenate(y), (h,)

    Loop.cell = cell
    return Loop


def elman(p, x, h, last=None):
    a = x @ p.W_a + h[:, :last] @ p.U_a[:last] + p.b_a
    return np.tanh(a), a


def one_by_one(p, x, h):
    h = h.copy()
    for j in range(h.shape[1]):
        h[:, j] = elman(p, x, h)[0][:, j]
    return h, h


class UnturnedBetween(torch.nn.RNN):
    """Outputs of the backward direction are turned back behind the last layer alone."""

    def __init__(self, input_size, hidden_size, num_layers=1, bidirectional=False):
        super().__init__(input_size, hidden_size, num_layers, bidirectional=bidirectional)

    def forward(self, x, hx=None):
        D = 1 + self.bidirectional
        hx = x.new_zeros(self.num_layers * D, x.shape[1], self.hidden_size) if hx is None else hx
        finals, named = [], dict(self.named_parameters())
        for level in range(self.num_layers):
            outputs = []
            for k in range(D):
                end, y, h = f"_l{level}" + "_reverse" * k, [], hx[level * D + k]
                own = [named[n + end] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
                for x_t in x.flip(0) if k else x:
                    h = torch.tanh(x_t @ own[0].T + own[2] + h @ own[1].T + own[3])
                    y.append(h)
                last = k and level == self.num_layers - 1
                outputs.append(torch.stack(y[::-1] if last else y))
                finals.append(h)
            x = torch.cat(outputs, -1)
        return x, torch.stack(finals)


class MaskedStates(plain_numpy.ForwardOnly):
    """States are multiplied by the mask, and are not held."""

    def forward(self, params, x, state, lengths=None):
        if lengths is None:
            return super().forward(params, x, state)
        y = np.zeros((*x.shape[:2], params["U"].shape[1]), x.dtype)
        for t in range(len(x)):
            y_t, state = super().forward(params, x[t : t + 1], state)
            mask = (t < np.asarray(lengths))[:, None].astype(x.dtype)
            state = tuple(s * mask for s in state)
            y[t] = y_t[0] * mask
        return y, state


class Clipped(plain_numpy.GRU):
    """All gradients of parameters are scaled to a norm of 1 at most."""

    def vjp(self, *given):
        dp, dx, dinitial = super().vjp(*given)
        norm = np.sqrt(sum((d**2).sum() for d in dp.values()))
        return {n: d / max(norm, 1) for n, d in dp.items()}, dx, dinitial


class OtherFinalC:
    """The final c is that at the end of the padding, of zeros."""

    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        right = plain_numpy.LSTM().forward
        y, (h, c) = right(params, x, state, lengths)
        if lengths is not None:
            inside = np.arange(len(x))[:, None, None] < np.asarray(lengths)[:, None]
            c = right(params, np.where(inside, x, 0), state)[1][1]
        return y, (h, c)


def holding(kept):
    """Return an LSTM whose rows that have ended hold h, and for c what ``kept`` says."""

    class Layer:
        cell = "lstm"

        def forward(self, params, x, state, lengths=None):
            y, zeros = [], np.zeros((x.shape[1], params["b"].shape[-1]), x.dtype)
            h, c = state or (zeros, zeros)
            for t, x_t in enumerate(x):
                on = plain_numpy.active(lengths, t)
                _, (new, cell) = plain_numpy.LSTM().forward(
                    params, np.where(on, x_t, 0)[None], (h, c)
                )
                y.append(np.where(on, new, 0))
                h, c = np.where(on, new, h), np.where(on, cell, kept(h, cell))
            return np.stack(y), (h, c)

    return Layer


class LateLayers(torch.nn.RNN):
    """Every layer reads what the one below it had put out before the step."""

    def __init__(self, input_size, hidden_size, num_layers=1):
        super().__init__(input_size, hidden_size, num_layers)

    def forward(self, x, hx=None):
        h = x.new_zeros(self.num_layers, x.shape[1], self.hidden_size) if hx is None else hx
        y = []
        for x_t in x:
            h = torch.stack([
                torch.tanh(
                    torch.nn.functional.linear(below, getattr(self, f"weight_ih_l{k}"))
                    + h[k] @ getattr(self, f"weight_hh_l{k}").T
                    + getattr(self, f"bias_ih_l{k}") + getattr(self, f"bias_hh_l{k}")
                )
                for k, below in enumerate([x_t, *h[:-1]])
            ])  # fmt: skip
            y.append(h[-1])
        return torch.stack(y), h


class OneCForBoth(torch.nn.LSTM):
    """The backward direction starts from the forward direction's c."""

    def __init__(self, input_size, hidden_size, bidirectional=False):
        super().__init__(input_size, hidden_size, bidirectional=bidirectional)

    def forward(self, x, hx=None):
        hx = (hx[0], hx[1][:1].expand_as(hx[1])) if hx else None
        return super().forward(x, hx)


class CForTheNextLayer(torch.nn.Module):
    """Layers above the lowest read c."""

    def __init__(self, input_size, hidden_size, num_layers=1):
        super().__init__()
        widths = [input_size, *[hidden_size] * (num_layers - 1)]
        self.cells = torch.nn.ModuleList(torch.nn.LSTMCell(w, hidden_size) for w in widths)

    def forward(self, x, hx=None):
        zeros = x.new_zeros(len(self.cells), x.shape[1], self.cells[0].hidden_size)
        states, y = [*zip(*(hx or (zeros, zeros)), strict=True)], []
        for x_t in x:
            below = x_t
            for k, cell in enumerate(self.cells):
                states[k] = cell(below, states[k])
                below = states[k][1]
            y.append(states[-1][0])
        return torch.stack(y), tuple(map(torch.stack, zip(*states, strict=True)))


DEEP = Case(4, 3, 2, 3, layers=2, bidirectional=True)
ROWS = Case(4, 3, 2, 3, lengths=True)
NAMED = [
    (loop("rnn", lambda p, x, h: elman(p, x, h, -1)), None, Case(4, 3, 2, 3),
     "The last entry of the state is left out of every sum over U."),
    (loop("rnn", one_by_one), None, Case(4, 3, 2, 3),
     "The hidden state is overwritten in place: every unit reads units before it that have been "
     "replaced already."),
    (loop("rnn", elman, show=lambda h, a: a), None, Case(4, 3, 2, 3),
     "The outputs are a_a, not the states h_t that the steps carry."),
    (loop("rnn", elman, start=1), None, Case(4, 3, 2, 3, state=False),
     "Without an initial state, the hidden state starts from 1 instead of 0."),
    (UnturnedBetween, "torch.nn.RNN", DEEP,
     "On the way to the next layer, the outputs of the backward direction stand in the order of "
     "computation, not in that of the input."),
    (MaskedStates, None, ROWS,
     "The state of a row that has ended is set to 0, and so is its final state."),
    (holding(lambda h, new: new), None, ROWS,
     "Where a row has ended, its c goes on through the padding; its h is held."),
    (holding(lambda h, new: h), None, ROWS,
     "Where a row has ended, its c is replaced by h; its h is held."),
    (OneCForBoth, "torch.nn.LSTM", Case(4, 3, 2, 3, bidirectional=True),
     "The backward direction reads the initial cell state of the forward direction."),
    (CForTheNextLayer, "torch.nn.LSTM", Case(4, 3, 2, 3, layers=2),
     "On the way to the next layer, the outputs are the cell states, not the hidden states."),
    (LateLayers, "torch.nn.RNN", Case(4, 3, 2, 3, layers=2),
     "On the way to the next layer, the output of each step is the hidden state before it, not "
     "after it."),
    (OtherFinalC, None, ROWS, "The final cell state is that at the end of the padding."),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "like", "case", "statement"), NAMED)
def test_what_goes_wrong_in_loops_is_named(layer, like, case, statement):
    """By one run with gradients, where there are any."""
    subject = adapted(layer, "test:layer", like)
    seen = list(observations(subject, [Experiment(VALUES, case)]))
    explainer = Explainer(subject, "float64", seen)
    candidates = places(subject, gradients=False)
    assert statement in [h.statements[0] for h in candidates if explainer.residual_of(h) <= 1]


class ReversedWithoutLengths:
    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        y, final = plain_numpy.LSTM().forward(params, x, state, lengths)
        return y[:, ::-1] if lengths is None else y, final


def test_a_mistake_on_the_path_without_lengths_alone_is_named():
    subject = adapted(ReversedWithoutLengths, "test:layer", None)
    cases = (ROWS, Case(4, 3, 2, 3))
    seen = [*observations(subject, [Experiment(VALUES, case) for case in cases])]
    explainer = Explainer(subject, "float64", seen)
    candidates = under_conditions(explainer, partial(places, subject, gradients=False))
    (said,) = [h.statements[0] for h in candidates if explainer.residual_of(h) <= 1]
    assert said == "Where no lengths are given: the outputs y are in the reverse order of the rows."


@pytest.mark.usefixtures("briefly")
def test_gradients_that_are_clipped_by_their_norm_are_named():
    said = diagnosed(Clipped, "gradient").headline
    assert said.startswith("The gradients of all parameters together are scaled down")


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
