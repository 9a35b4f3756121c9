"""Kinds of mistakes that ported layers showed: one slot of two biases, ends of rows, words."""

import numpy as np
import pytest
import torch

import hand_written
from gatewise import subject
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.conventions import differences, stated_convention
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.declared import declaration_of


def judged(layer, check, like=None):
    found = adapted(layer, "test:layer", like)
    return found, hold(found, check_named(check), "float64", budget=BUDGETS["quick"])


@subject("gru", weights="torch", axes="BTD", state="h", gradient="torch")
def reset_bias_twice(x, h0, w_ih, w_hh, b_ih, b_hh):
    h = x.new_zeros(x.shape[0], w_hh.shape[1]) if h0 is None else h0
    y = []
    for x_t in x.unbind(1):
        of_x, of_h = (x_t @ w_ih.T + b_ih).chunk(3, -1), (h @ w_hh.T + b_hh).chunk(3, -1)
        r = (of_x[0] + of_h[0] + b_ih.chunk(3)[0]).sigmoid()
        z = (of_x[1] + of_h[1]).sigmoid()
        h = z * h + (1 - z) * (of_x[2] + r * of_h[2]).tanh()
        y.append(h)
    return torch.stack(y, 1), h


def test_one_gate_of_one_of_two_biases_is_named():
    layer, verdict = judged(reset_bias_twice, "gradient")
    found = diagnose(layer, "float64", [verdict], seconds=120)

    assert found.headline == "The part of bias_ih that belongs to the gate r is added twice."


class Detached(hand_written.LSTM):
    def step(self, x, h, c, suffix):
        return super().step(x, h, c.detach(), suffix)


class DropsTheLast(hand_written.LSTM):
    """Dropout after every layer, the last one, too, by masks that are not the reference's."""

    def __init__(self, *sizes, dropout=0.0, **options):
        super().__init__(*sizes, **options)
        self.dropout = dropout

    def gates(self, x, h, suffix):
        level = int(suffix[2])
        return super().gates(self.dropped(x) if level else x, h, suffix)

    def dropped(self, v):
        return torch.nn.functional.dropout(v, self.dropout, self.training)

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return self.dropped(y), final


@pytest.mark.parametrize(("layer", "check", "words"), [
    (Detached, "gradient", "No gradient passes through the cell state from a step to the one "
     "before it, as if detached at the start of each step."),
    (DropsTheLast, "dropout", "Dropout is also applied to the outputs of the last layer."),
])  # fmt: skip
def test_what_people_write_is_named(layer, check, words):
    found, verdict = judged(layer, check, "torch.nn.LSTM")

    assert verdict.status == "failed"
    assert words in diagnose(found, "float64", [verdict], seconds=120).headline


class PlainLSTM:
    """Explicit, of one step after another; ``lengths`` as its mistake has them."""

    cell = "lstm"

    def forward(self, p, x, state, lengths=None):
        h, c = state or (np.zeros((x.shape[1], p["b"].shape[1]), x.dtype),) * 2
        ends = np.full(x.shape[1], len(x) + 1) if lengths is None else np.asarray(lengths)
        y = []
        for t, x_t in enumerate(x):
            a = [x_t @ w + h @ u + b for w, u, b in zip(p["W"], p["U"], p["b"], strict=True)]
            i, f, o = (1 / (1 + np.exp(-a[k])) for k in (0, 1, 3))
            new_c = f * c + i * np.tanh(a[2])
            new_h = o * np.tanh(new_c)
            shown, kept = self.live(t, ends)
            h, c = np.where(kept, new_h, h), np.where(kept, new_c, c)
            y.append(np.where(shown, new_h, 0))
        return np.array(y).reshape(len(x), *h.shape), (h, c)


class OneStepShort(PlainLSTM):
    def live(self, t, ends):
        return ((t < ends - 1)[:, None],) * 2


class StateGoesOn(PlainLSTM):
    def live(self, t, ends):
        return (t < ends)[:, None], np.full((len(ends), 1), True)


@pytest.mark.parametrize(("layer", "words"), [
    (OneStepShort, "Rows end one step before their length."),
    (StateGoesOn, "The outputs stop at the end of a row, but its state goes on through the "
     "padding."),
])  # fmt: skip
def test_rows_that_end_elsewhere_are_named(layer, words):
    found, verdict = judged(layer, "padding")

    assert diagnose(found, "float64", [verdict], seconds=120).headline == words


def test_biases_and_matrices_are_told_in_words():
    stated = stated_convention(adapted(reset_bias_twice, "test:gru", None))
    merged = type(stated)(**{**vars(stated), "bias": ("rzn", "rzn")})
    transposed = type(stated)(**{**vars(stated), "recurrent_layout": "in-out"})
    arrays = {n: n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}

    assert [d.name for d in differences(merged, stated, arrays)] == ["recurrent bias of bias_hh"]
    assert [d.statement for d in differences(transposed, stated, arrays)] == [
        "weight_hh is read as [H, 3H], not as [3H, H]."
    ]


class OwnOrder(hand_written.LSTM):
    cell, order, state, bias = "lstm", (0, 1, 2, 3), None, True


def test_attributes_that_are_no_words_declare_nothing():
    assert declaration_of(OwnOrder, "test:OwnOrder") is None
