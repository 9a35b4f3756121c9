"""Slips of the hand that people make: layers in NumPy and torch, with what is said of them."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import hand_written
import hand_written_gradients as by_hand
from gatewise import subject
from gatewise.verify.diagnosis.conventions import differences, stated_convention
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.declared import declaration_of
from judgements import diagnosed


def said_of(layer, *checks, like=None):
    """Return all sentences about a layer whose explanation fits everything."""
    diagnosis = diagnosed(layer, *checks, like=like)
    assert diagnosis.status == "explained", diagnosis.headline
    return " ".join(diagnosis.explanations[0].statements)


class Summed:
    """Gradients in arrays that are made once."""

    def __init__(self, layer):
        self.cell, self.layer, self.sums = layer.value.cell, layer.value(), {}

    def forward(self, p, x, state):
        return self.layer.forward(p, x, state)

    def vjp(self, p, x, state, dy, dstate):
        named, dx, d0 = self.layer.vjp(p, x, state, dy, dstate)
        for name, d in named.items():
            self.sums[name] = self.sums.get(name, np.zeros_like(d)) + d
        return dict(self.sums), dx, d0


def test_gradients_that_accumulate_over_calls():
    class Layer(Summed):
        def __init__(self):
            super().__init__(by_hand.layer(by_hand.GRU))

    Layer.cell = "gru"
    assert said_of(Layer, "reweight", "backward-twice") == (
        "The gradients of all parameters accumulate over calls: a second backward call returns the "
        "sum of both."
    )


def test_gradients_that_accumulate_in_the_buffer_that_is_returned():
    zeros = "dW, dU, db, db_hn, dx = (np.zeros_like(a) for a in (*(p[n] for n in p), x))"
    kept = (
        "self.db = db = getattr(self, 'db', np.zeros_like(p['b']))\n"
        "        dW, dU, db_hn, dx = (np.zeros_like(a) for a in (p['W'], p['U'], p['b_hn'], x))"
    )
    layer = by_hand.layer(by_hand.GRU, zeros, kept)

    assert said_of(layer, "backward-twice").startswith("The gradient of b accumulates over calls:")


class FromTheForwardDirection(hand_written.LSTM):
    """One loop over directions, without a new start of the second."""

    def forward(self, x, hx=None):
        x = x.transpose(0, 1) if self.batch_first else x
        shape = (self.num_layers * self.directions, x.shape[1], self.hidden_size)
        hx = (x.new_zeros(shape),) * 2 if hx is None else hx
        finals = []
        for layer in range(self.num_layers):
            outputs = []
            h, c = (s[layer * self.directions] for s in hx)
            for direction, suffix in enumerate(self.suffixes(layer)):
                steps = []
                for x_t in x.flip(0) if direction else x:
                    h, c = self.step(x_t, h, c, suffix)
                    steps.append(h)
                outputs.append(torch.stack(steps[::-1] if direction else steps))
                finals.append((h, c))
            x = torch.cat(outputs, dim=2)
        final = tuple(torch.stack(states) for states in zip(*finals, strict=True))
        return (x.transpose(0, 1) if self.batch_first else x), final


def of_gates(step):
    """Return an LSTM in torch whose step is a function of the gates' sums and the cell state."""

    class Layer(hand_written.LSTM):
        def step(self, x, h, c, suffix):
            return step(*self.gates(x, h, suffix).chunk(4, dim=1), c)

    return Layer


def of_terms(spoil):
    """Return a GRU in torch, batch first; ``spoil`` gets the gates' products, and biases of x."""

    @subject("gru", weights="torch", axes="BTD", state="h", gradient="torch")
    def layer(x, h0, w_ih, w_hh, b_ih, b_hh):
        h = x.new_zeros(x.shape[0], w_hh.shape[1]) if h0 is None else h0
        y = []
        for x_t in x.unbind(1):
            a, u = functional.linear(x_t, w_ih, b_ih), functional.linear(h, w_hh, b_hh)
            a, u = spoil(list(a.chunk(3, -1)), list(u.chunk(3, -1)), b_ih.chunk(3))
            r, z = (a[0] + u[0]).sigmoid(), (a[1] + u[1]).sigmoid()
            h = z * h + (1 - z) * (a[2] + r * u[2]).tanh()
            y.append(h)
        return torch.stack(y, 1), h

    return layer


def exchanged_and_turned(a, u, b):
    return [a[1], -a[0], a[2]], [u[1], -u[0], u[2]]


def shown_by(function, i, f, g, o, c):
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * function(c), c


OF_STEPS = [
    (
        of_gates(lambda i, f, g, o, c: (
            o.sigmoid() * (c := f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh()).tanh(), c)),
        "In the input gate, it is 1 - f, of another gate: i = 1 - sigmoid(a_f), should be "
        "i = sigmoid(a_i).",
    ),
    (
        of_gates(lambda *gates: shown_by(functional.softsign, *gates)),
        "In the new state h_t, softsign, s / (1 + |s|), stands in the place of tanh: "
        "h_t = o * softsign(c_t), should be h_t = o * tanh(c_t).",
    ),
    (
        of_gates(lambda i, f, g, o, c: (
            o.sigmoid() * (c := f.sigmoid() * c + (i / 4 + 0.5).clamp(0, 1) * g.tanh()).tanh(), c)),
        "In the input gate, a hard sigmoid, clip(s / 4 + 0.5, 0, 1), stands in the place of "
        "sigmoid: i = hard_sigmoid_steep(a_i), should be i = sigmoid(a_i).",
    ),
    (
        of_gates(lambda i, f, g, o, c: (
            o.sigmoid() * (c := f.sigmoid() * c[:1] + i.sigmoid() * g.tanh()).tanh(), c)),
        "In the new cell state c_t, that of row 0, for all rows, stands in the place of c_{t-1}: "
        "c_t = f * row_0(c_{t-1}) + i * g, should be c_t = f * c_{t-1} + i * g.",
    ),
    (
        of_gates(lambda i, f, g, o, c: (
            o.sigmoid() * (c := (f + 1).sigmoid() * c + i.tanh() * g.tanh()).tanh(), c)),
        "In the pre-activation of the forget gate, 1 is added to it: a_f = x_t @ W_f + "
        "h_{t-1} @ U_f + b_f + 1, should be a_f = x_t @ W_f + h_{t-1} @ U_f + b_f. In the input "
        "gate, tanh stands in the place of sigmoid: i = tanh(a_i), should be i = sigmoid(a_i).",
    ),
    (
        of_gates(lambda i, f, g, o, c: (
            o.sigmoid() * (c := (both := torch.stack([i, f]).softmax(0))[1] * c
                           + both[0] * g.tanh()).tanh(), c)),
        "In the input gate and the forget gate, they share a softmax, and add up to 1, instead of "
        "having a sigmoid each: for example i = 1 / (1 + exp(a_f - a_i)), should be "
        "i = sigmoid(a_i).",
    ),
    (
        of_gates(lambda i, f, g, o, c: (
            o.softmax(-1) * (c := f.sigmoid() * c + i.sigmoid() * g.tanh()).tanh(), c)),
        "In the output gate, a softmax over the units stands in the place of sigmoid: "
        "o = softmax(a_o), should be o = sigmoid(a_o).",
    ),
    (
        of_gates(lambda i, f, o, g, c: (
            o.sigmoid() * (c := f.sigmoid() * c + i.sigmoid() * g.tanh()).tanh() * c, c)),
        "The blocks of the gates are read in the order i f o g, not i f g o. In the new state "
        "h_t, there is a factor c_t too many: h_t = o * tanh(c_t) * c_t, should be "
        "h_t = o * tanh(c_t).",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "words"), OF_STEPS)
def test_steps_in_torch(layer, words):
    assert said_of(layer, "forward", "gradient", like="torch.nn.LSTM") == words


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda a, u, b: ([0, *a[1:]], u),
     "In the pre-activation of gate r, its parts of weight_ih and bias_ih are not added."),
    (lambda a, u, b: (a, [u[0], 0 * u[1], u[2]]),
     "In the pre-activation of gate z, its parts of weight_hh and bias_hh are not added."),
    (lambda a, u, b: ([a[0] + b[0], *a[1:]], u),
     "The part of bias_ih that belongs to the gate r is added twice."),
    (exchanged_and_turned,
     "The blocks of the gates are read in the order z r n, not r z n. The update gate is the share "
     "of the new state, not of the old: h' = (1 - z) h + z n."),
])  # fmt: skip
def test_terms_of_a_gate_batch_first(spoil, words):
    assert said_of(of_terms(spoil), "forward", "gradient") == words


def test_the_backward_direction_that_goes_on():
    layer = FromTheForwardDirection

    assert said_of(layer, "forward", "direction", like="torch.nn.LSTM") == (
        "The backward direction starts from the forward direction's final states instead of its "
        "own initial state."
    )


BY_HAND = [
    (by_hand.LSTM, "db[k] += da[k].sum(0)",
     "db[k] += da[k].sum(0) if t < len(kept) - 1 else da[k][0]", ("gradient",),
     "In the gradients of b, all rows but row 0 are left out at the last step"),
    (by_hand.GRU, "db_hn += s.sum(0)", "db_hn += s.sum(0) if t else 0", ("gradient",),
     "the first step is left out: db_hn += sum_rows((1 - first) * dq)"),
    (by_hand.RNN, "dW += x[t].T @ da", "dW += x[t][1:].T @ da[1:]", ("gradient",),
     "row 0 is left out: dW_a += x_t^T @ ((1 - row_is_first) * da_a)"),
    (by_hand.GRU, "np.tanh(x_t @ p.W_n + p.b_n + r * q)",
     "np.tanh(r * (x_t @ p.W_n + p.b_n + q))", ("forward",),
     "the factor r of r * q multiplies the whole sum: a_n = r * (x_t @ W_n + b_n + q)"),
    (by_hand.LSTM, "c = f * c_old + i * g", "c = f * c_old - i * g", ("forward", "gradient"),
     "In the new cell state c_t, the term i * g has the other sign"),
    (by_hand.RNN, "np.tanh(x_t @ p.W_a + hs[-1] @ p.U_a + p.b_a)",
     "np.clip(x_t @ p.W_a + hs[-1] @ p.U_a + p.b_a, -1, 1)", ("forward", "gradient"),
     "In the new state h_t, hardtanh, clip(s, -1, 1), stands in the place of tanh"),
    (by_hand.GRU, "hs, kept = [h], []", "x *= 0.5\n        hs, kept = [h], []",
     ("forward", "gradient", "purity"),
     "The forward pass writes into its input x: it multiplies it by 0.5."),
    (by_hand.LSTM, "dx[t] = sum(", "dy[t] = 0\n            dx[t] = sum(", ("purity",),
     "The backward pass writes into the gradient of the outputs that it is given: it sets it to "
     "0."),
    (by_hand.GRU, "(d,) = dfinal", "(d,) = dfinal\n        dy[-1] += d\n        d = 0 * d",
     ("purity",),
     "The backward pass writes into the gradient of the outputs that it is given: it adds the "
     "gradient of the final h to that of the last step."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "right", "wrong", "checks", "words"), BY_HAND)
def test_layers_by_hand(text, right, wrong, checks, words):
    assert words in said_of(by_hand.layer(text, right, wrong), *checks)


class Centred(hand_written.LSTM):
    def forward(self, x, hx=None):
        with torch.no_grad():
            x.sub_(x.mean())
        return super().forward(x, hx)


def test_what_torch_hides_from_autograd_is_seen_in_forward_mode():
    words = said_of(Centred, "forward", "gradient", "purity", "jvp", like="torch.nn.LSTM")
    assert words == (
        "The forward pass writes into its input x: it subtracts its mean over everything."
    )


@subject("gru", weights="torch", axes="BTD", state="h", gradient="torch")
def one_bias(x, h0, w_ih, w_hh, bias):
    h = x.new_zeros(x.shape[0], w_hh.shape[1]) if h0 is None else h0
    y = []
    for x_t in x.unbind(1):
        a, u = (x_t @ w_ih.T + bias).chunk(3, -1), (h @ w_hh.T).chunk(3, -1)
        r, z = (a[0] + u[0]).sigmoid(), (a[1] + u[1]).sigmoid()
        h = z * h + (1 - z) * (a[2] + r * u[2]).tanh()
        y.append(h)
    return torch.stack(y, 1), h


def test_arrays_that_a_declared_function_does_not_take_are_named():
    assert said_of(one_bias, "forward", "gradient") == (
        "Its convention has bias_hh, which it takes no argument for, so that these are not read."
    )


class OfRowZero(hand_written.LSTM):
    def forward(self, x, hx=None):
        return super().forward(x, hx and tuple(s.mean(1, keepdim=True).expand_as(s) for s in hx))


def test_states_of_other_rows():
    by_one = by_hand.layer(by_hand.LSTM, "h, c = state or", "h, c = [s[[0] * len(s)] for s in "
                           "state] if state else")  # fmt: skip

    assert said_of(OfRowZero, "forward", "gradient", like="torch.nn.LSTM") == (
        "The initial states that are read are the mean over the rows, for all of them."
    )
    assert said_of(by_one, "forward", "gradient") == (
        "The initial states that are read are those of row 0, for all rows; its gradient is "
        "returned as if each row had its own."
    )


def test_dropout_of_a_value_of_the_step():
    drops = 'g = np.tanh(x_t @ p["W"][2] + h @ p["U"][2] + p["b"][2])'
    mask = "\n            g *= (np.random.rand(*g.shape) > 0.25) / 0.75"
    layer = by_hand.layer(by_hand.LSTM, drops, drops + mask)

    assert said_of(layer, "forward", "repeat") == (
        "The same call gives two results: dropout acts on the candidate g, at every step (rate "
        "about 0.25); a gradient belongs to another mask than the outputs."
    )


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


@pytest.mark.parametrize(("layer", "check", "words"), [
    (Detached, "gradient", "No gradient passes through the cell state from a step to the one "
     "before it, as if detached at the start of each step."),
    (DropsTheLast, "dropout", "Dropout is also applied to the outputs of the last layer."),
    (OneStepShort, "padding", "Rows end one step before their length."),
    (StateGoesOn, "padding",
     "The outputs stop at the end of a row, but its state goes on through the padding."),
])  # fmt: skip
def test_what_ported_layers_showed_is_named(layer, check, words):
    like = "torch.nn.LSTM" if issubclass(layer, torch.nn.Module) else None
    assert diagnosed(layer, check, like=like).headline == words


def test_biases_and_matrices_are_told_in_words():
    stated = stated_convention(adapted(one_bias, "test:gru", None))
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
