"""What a layer does wrong in some calls, passes or steps alone is named, with where it does so."""

from functools import partial

import numpy as np
import pytest
import torch

import hand_written
import plain_numpy
from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis import examination
from gatewise.verify.diagnosis.examination import searched_last
from gatewise.verify.diagnosis.formulas.relations import steps
from gatewise.verify.diagnosis.hypotheses import hypotheses
from gatewise.verify.diagnosis.misplaced.passes import passes
from gatewise.verify.diagnosis.misplaced.places import places
from gatewise.verify.diagnosis.misplaced.states import other_starts
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.diagnosis.scopes.calls import conditions_seen, edited_under_conditions
from gatewise.verify.diagnosis.scopes.mixed import mixed
from gatewise.verify.diagnosis.scopes.passes import in_some_passes
from gatewise.verify.diagnosis.scopes.steps import at_some_steps
from gatewise.verify.diagnosis.search import NEAR, Explainer, Search, observations
from gatewise.verify.subjects import adapted

PLAIN = Case(4, 3, 2, 3)
LIKE = "torch.nn.LSTM"


def explainer_of(layer, like, *cases, check=VALUES):
    subject = adapted(layer, "test:layer", like)
    seen = list(observations(subject, [Experiment(check, case) for case in cases]))
    return Explainer(subject, "float64", seen)


def first_fit(explainer, candidates, *, whole=False):
    fit = next((h for h in candidates if explainer.residual_of(h) <= 1), None)
    return "" if fit is None else " ".join(fit.statements) if whole else fit.statements[0]


def named_at_steps(explainer, at_least=3):
    catalogue = partial(hypotheses, explainer.subject, "float64")
    return first_fit(explainer, at_some_steps(explainer, Search(), catalogue, at_least=at_least))


class Chunked:
    """The cell state is lost between chunks of four steps."""

    cell = "lstm"

    def forward(self, params, x, state):
        parts = []
        for first in range(0, len(x), 4):
            y, (h, c) = plain_numpy.LSTM().forward(params, x[first : first + 4], state)
            parts.append(y)
            state = h, 0 * c
        return np.concatenate(parts), (h, c)


def test_a_state_that_is_lost_between_chunks_is_named_with_their_length():
    explainer = explainer_of(Chunked, None, Case(11, 2, 2, 3), PLAIN)
    assert named_at_steps(explainer) == (
        "At every 4th step (steps 4, 8, ...): the cell state starts again from zeros."
    )


class Unrolled:
    """Two steps an iteration; the next one begins with the state between them."""

    cell = "rnn"

    def forward(self, params, x, state):
        (h,) = state or (np.zeros((x.shape[1], params["U"].shape[-1]), x.dtype),)
        y = []
        for t, x_t in enumerate(x):
            start = h if t % 2 == 0 or t == 0 else y[-1]
            y.append(np.tanh(x_t @ params["W"][0] + start @ params["U"][0] + params["b"][0]))
            h = y[-1] if t % 2 == 0 else h
        return np.stack(y), (y[-1],)


def whole(x):
    return len(x) - len(x) % 4 if len(x) > 4 else len(x)


class WholeChunks:
    """Only whole chunks of four steps read x, in sequences that have one."""

    cell = "lstm"

    def forward(self, params, x, state):
        right, end = plain_numpy.LSTM().forward, whole(x)
        y, state = right(params, x[:end], state)
        blind = {n: a if n == "U" else 0 * a for n, a in params.items()}
        late, state = right(blind, x[end:], state)
        return np.concatenate([y, late]), state


@pytest.mark.parametrize(("layer", "cases", "statement"), [
    (Unrolled, (Case(5, 2, 2, 3), Case(2, 2, 2, 3)),
     "At every 2nd step (steps 2, 4, ...): the hidden state that is read is the one before the "
     "last step, not the one after it."),
    (WholeChunks, (Case(7, 2, 2, 3), Case(8, 2, 2, 3)),
     "At the steps after the last whole chunk of 4 (the last T mod 4): what the step takes of x is "
     "left out, and so are the biases."),
])  # fmt: skip
def test_what_goes_wrong_at_the_seams_of_a_loop_is_named(layer, cases, statement):
    assert named_at_steps(explainer_of(layer, None, *cases)) == statement


def test_steps_after_whole_chunks_are_told_where_nothing_explains_them():
    class Cosine:
        cell = "lstm"

        def forward(self, params, x, state):
            y, state = plain_numpy.LSTM().forward(params, x, state)
            return np.concatenate([y[: whole(x)], np.cos(y[whole(x) :])]), state

    said = [*conditions_seen(explainer_of(Cosine, None, Case(7, 2, 2, 3), PLAIN))]
    assert said == [
        "It is right with up to 4 steps and with 8, wrong with 5: look at the steps after the last "
        "whole chunk of 4."
    ]


class DetachedCell(hand_written.LSTM):
    """The cell state alone is detached after every third step."""

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__(input_size, hidden_size, bias=bias)

    def forward(self, x, hx=None):
        self.count = 0
        return super().forward(x, hx)

    def step(self, x, h, c, suffix):
        c = c.detach() if self.count and self.count % 3 == 0 else c
        self.count += 1
        return super().step(x, h, c, suffix)


def test_a_state_that_is_detached_every_third_step_is_named():
    explainer = explainer_of(DetachedCell, LIKE, Case(6, 2, 2, 3), Case(3, 3, 2, 3))
    assert named_at_steps(explainer) == (
        "At every 3rd step (steps 3, 6, ...): the cell state is detached before the step reads "
        "it, so that no gradient passes."
    )


class Window:
    """A scan that stops a round too early: half of the steps reach the last one."""

    cell = "mingru"

    def forward(self, params, x, state):
        z = plain_numpy.sigmoid(x @ params["W"][0] + params["b"][0])
        share, added = 1 - z, z * (x @ params["W"][1] + params["b"][1])
        if state is not None:
            added[0] += share[0] * state[0]
        width = 1
        while 2 * width < len(x):
            added[width:] += share[width:] * added[:-width]
            share[width:] = share[width:] * share[:-width]
            width *= 2
        return added, (added[-1],)


def test_a_scan_that_stops_too_early_is_named():
    explainer = explainer_of(Window, None, Case(9, 2, 2, 3), Case(3, 3, 2, 3))
    assert named_at_steps(explainer, at_least=2) == (
        "Only the last half of the steps, rounded up to a power of 2, reach a step; what came "
        "before is as if it were 0."
    )


class UpperSlip(hand_written.LSTM):
    """Above the lowest layer the candidate has no tanh."""

    def step(self, x, h, c, suffix):
        if suffix.startswith("_l0"):
            return super().step(x, h, c, suffix)
        i, f, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * g
        return torch.sigmoid(o) * torch.tanh(c), c


class BackwardSlip(hand_written.LSTM):
    """In the backward direction the candidate has no tanh."""

    def step(self, x, h, c, suffix):
        if not suffix.endswith("_reverse"):
            return super().step(x, h, c, suffix)
        i, f, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * g
        return torch.sigmoid(o) * torch.tanh(c), c


class TurnedAlongRows(hand_written.LSTM):
    """The outputs of the backward direction are reversed along the rows, not the steps."""

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        if self.directions == 2 and not self.batch_first:
            own, other = y.chunk(2, dim=2)
            y = torch.cat([own, other.flip(0).flip(1)], dim=2)
        return y, final


@pytest.mark.parametrize(("layer", "option", "statement"), [
    (UpperSlip, {"layers": 2},
     "In every layer above the lowest: in the candidate g, tanh is not applied to a_g: g = a_g, "
     "should be g = tanh(a_g)."),
    (BackwardSlip, {"bidirectional": True},
     "In the backward direction: in the candidate g, tanh is not applied to a_g: g = a_g, should "
     "be g = tanh(a_g)."),
    (TurnedAlongRows, {"bidirectional": True},
     "In the backward direction the input is reversed in time, and the outputs are reversed along "
     "the rows."),
])  # fmt: skip
def test_what_one_group_of_passes_does_wrong_is_named(layer, option, statement):
    cases = PLAIN, Case(4, 3, 2, 3, **option)
    explainer = explainer_of(layer, LIKE, *cases)
    candidates = in_some_passes(explainer, Search(), lambda: ())
    assert first_fit(explainer, candidates) == statement


class SlipWithLengths:
    """With lengths alone the gates of the input and of forgetting are exchanged in one product."""

    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        if lengths is not None:
            params = {**params, "b": params["b"] * np.array([1, 1, 0, 1])[:, None]}
        return plain_numpy.LSTM().forward(params, x, state, lengths)


def test_a_slip_on_the_path_with_lengths_alone_is_named():
    explainer = explainer_of(SlipWithLengths, None, PLAIN, Case(4, 3, 2, 3, lengths=True))
    said = first_fit(explainer, edited_under_conditions(explainer, Search()))
    assert said.startswith("Where lengths are given: in the pre-activation of the candidate g, ")
    assert "b_g is missing" in said
    assert [*conditions_seen(explainer)] == [
        "Where lengths are given it is wrong; all other calls that were made are right."
    ]


class SlipAndNoLengths:
    """A formula is wrong, and lengths are taken and ignored."""

    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        params = {**params, "b": params["b"] * np.array([1, 1, 0, 1])[:, None]}
        return plain_numpy.LSTM().forward(params, x, state)


def test_a_slip_together_with_an_option_that_is_ignored_is_named():
    explainer = explainer_of(SlipAndNoLengths, None, PLAIN, Case(4, 3, 2, 3, lengths=True, seed=2))
    candidates = mixed(explainer, [steps], partial(places, explainer.subject, gradients=False))
    said = first_fit(explainer, (h for h in candidates if len(h.statements) > 1), whole=True)
    assert "the term b_g is missing" in said
    assert "Rows end at the end of the padding." in said


class KeptProduct(hand_written.LSTM):
    """A transposed copy of the weights of the input is made once."""

    copy = None

    def gates(self, x, h, suffix):
        if self.copy is None or self.copy.dtype != x.dtype:
            self.copy = self.weight_ih_l0.T.contiguous()
        of_h = torch.nn.functional.linear(
            h, self.part("weight_hh", suffix), self.part("bias_hh", suffix)
        )
        bias = self.part("bias_ih", suffix)
        return x @ self.copy + of_h + (0 if bias is None else bias)

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__(input_size, hidden_size, bias=bias)


class LastOutput(hand_written.LSTM):
    """The final hidden state is the last output, in the backward direction, too."""

    def forward(self, x, hx=None):
        y, (h, c) = super().forward(x, hx)
        if self.num_layers == 1:
            last = y[:, -1] if self.batch_first else y[-1]
            h = torch.stack(last.chunk(self.directions, dim=1))
        return y, (h, c)


class UpperForward(hand_written.LSTM):
    """Above the lowest layer the backward direction reads the forward one's parameters."""

    def part(self, name, suffix):
        return super().part(name, suffix if "_l0" in suffix else suffix.removesuffix("_reverse"))


class Delayed(hand_written.LSTM):
    """Every layer above the lowest reads the outputs below it one step late."""

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True):
        super().__init__(input_size, hidden_size, num_layers, bias)

    def gates(self, x, h, suffix):
        if not suffix.startswith("_l0"):
            x, self.late[suffix] = self.late.get(suffix, 0 * x), x
        return super().gates(x, h, suffix)

    def forward(self, x, hx=None):
        self.late = {}
        return super().forward(x, hx)


@pytest.mark.parametrize(("layer", "check", "case", "candidates", "statement"), [
    (Delayed, VALUES, Case(4, 3, 2, 3, layers=2), places,
     "The input of every layer above the lowest is taken from the previous step (0 at the first)."),
    (KeptProduct, "reweight", Case(2, 2, 2, 3), places,
     "Of the first call, weight_ih is kept: later changes of it have no effect, and it gets no "
     "gradient then."),
    (LastOutput, VALUES, Case(4, 3, 2, 3, bidirectional=True), places,
     "The final hidden state is y[-1], the last output in the order of the input, also in the "
     "backward direction and in rows that are shorter."),
    (UpperForward, VALUES, Case(4, 3, 2, 3, layers=2, bidirectional=True), passes,
     "The backward direction reads all parameters of the forward direction above the lowest "
     "layer."),
])  # fmt: skip
def test_what_stands_in_the_wrong_place_is_named(layer, check, case, candidates, statement):
    explainer = explainer_of(layer, LIKE, case, check=check)
    assert first_fit(explainer, candidates(explainer.subject, gradients=False)) == statement


def test_rows_that_end_a_step_late_and_rows_put_back_twice_are_named():
    cases = [Case(8, 6, 2, 3, lengths=True, seed=37)]
    late = explainer_of(OneStepLate, None, *cases)
    assert first_fit(late, places(late.subject, gradients=False)) == (
        "Rows end one step after their length, while their outputs are those up to the length."
    )
    again = explainer_of(PutBackTwice, None, *cases)
    assert first_fit(again, places(again.subject, gradients=False)) == (
        "Rows are sorted by falling length, and the final states are put back once more than they "
        "were sorted."
    )


class OneStepLate:
    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        right = plain_numpy.LSTM().forward
        if lengths is None:
            return right(params, x, state)
        inside = np.arange(len(x))[:, None, None] < np.asarray(lengths)[:, None]
        x = np.where(inside, x, 0)
        y, final = right(params, x, state, np.minimum(np.asarray(lengths) + 1, len(x)))
        return np.where(inside, y, 0), final


class PutBackTwice:
    cell = "lstm"

    def forward(self, params, x, state, lengths=None):
        y, final = plain_numpy.LSTM().forward(params, x, state, lengths)
        if lengths is not None:
            back = np.argsort(np.argsort(-np.asarray(lengths), kind="stable"))
            final = tuple(s[back] for s in final)
        return y, final


class DetachedChunk(hand_written.LSTM):
    """The cell state is detached after every chunk of two steps, the last one included."""

    def __init__(self, input_size, hidden_size, bias=True):
        super().__init__(input_size, hidden_size, bias=bias)

    def forward(self, x, hx=None):
        parts = []
        for chunk in x.split(2):
            y, (h, c) = super().forward(chunk, hx)
            parts.append(y)
            hx = h, c.detach()
        return torch.cat(parts), hx


def test_a_state_that_is_detached_after_every_chunk_is_named_with_the_final_one():
    explainer = explainer_of(DetachedChunk, LIKE, Case(5, 2, 2, 3))
    assert named_at_steps(explainer) == (
        "At every 2nd step (steps 2, 4, ...): the cell state is detached before the step reads "
        "it, so that no gradient passes, and the final one is detached, too."
    )


class Epsilon:
    """A constant is added to the initial state, in logarithms, which round more."""

    cell = "mingru-positive"

    def forward(self, params, x, state):
        a, v = (x @ params["W"][k] + params["b"][k] for k in (0, 1))
        keep, candidate = -np.logaddexp(0, a), np.where(v >= 0, v + 0.5, plain_numpy.sigmoid(v))
        start = np.zeros_like(a[0]) if state is None else state[0]
        sums = np.cumsum(keep, axis=0)
        terms = np.log(candidate) - np.logaddexp(0, -a) - sums
        inner = np.logaddexp.accumulate(np.concatenate([np.log(start + 1e-5)[None], terms]))
        y = np.exp(sums + inner[1:])
        return y, (y[-1],)


def test_a_mistake_that_misses_by_little_is_admitted_if_nothing_else_fits(monkeypatch):
    """The levels are such that the true mistake is three levels of rounding off."""
    explainer = explainer_of(Epsilon, None, Case(3, 2, 2, 3))
    candidates = [*other_starts("mingru", explainer.subject.options)]
    (off,) = [r for r in map(explainer.residual_of, candidates) if r <= 1]
    narrow, search = explainer.widened(off / 3), Search()
    narrow.consider(candidates, search)

    assert search.fits == []
    monkeypatch.setattr(examination, "LAST_STAGES", ())
    (fit,) = searched_last(narrow, [], search).fits
    assert fit.statements == ("1e-05 is added to the initial hidden state, given or not.",)
    assert 1 < search.residual < NEAR
