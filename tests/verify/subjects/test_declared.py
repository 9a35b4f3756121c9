"""Ordinary code with a declaration: functions, cells, other axes, packed weights, autograd."""

import numpy as np
import pytest
import torch

import gatewise
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.declared import Declaration
from gatewise.verify.subjects.loader import UnknownSubject
from plain_numpy import sigmoid


@gatewise.subject("lstm", weights="keras", axes="BD", returns="state")
def keras_cell(x, state, kernel, recurrent_kernel, bias):
    """A step (B, D) with Keras' packed arrays."""
    h, c = state
    i, f, g, o = np.split(x @ kernel + h @ recurrent_kernel + bias, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@gatewise.subject("gru", weights="keras", axes="BTD", state="h", gradient="torch")
def keras_gru(x, h, kernel, recurrent_kernel, bias):
    """Both biases stand in one array (2, 3H), as Keras has them."""
    h, y = x.new_zeros(len(x), len(recurrent_kernel)) if h is None else h, []
    for x_t in x.unbind(1):
        (z, r, n), (uz, ur, un) = (
            s.chunk(3, -1) for s in (x_t @ kernel + bias[0], h @ recurrent_kernel + bias[1])
        )
        z, r = torch.sigmoid(z + uz), torch.sigmoid(r + ur)
        h = z * h + (1 - z) * torch.tanh(n + r * un)
        y.append(h)
    return torch.stack(y, 1), h


class RowByRow:
    """An RNN over (T, D), declared by attributes, which returns its outputs alone."""

    cell, weights, axes, state, returns = "rnn", "torch", "TD", "h", "y"

    def forward(self, x, h, w, u, b, d):
        h = np.zeros(u.shape[0], x.dtype) if h is None else h
        y = []
        for x_t in x:
            h = np.tanh(w @ x_t + b + u @ h + d)
            y.append(h)
        return np.stack(y)


class WithVjp:
    """An RNN over (B, T, D) with a gradient by hand, in its own axes."""

    cell, weights, axes, state, gradient = "rnn", "torch", "BTD", "h", "vjp"

    def forward(self, params, x, state):
        h = np.zeros((len(x), len(params["bias_ih"])), x.dtype) if state is None else state
        y = []
        for t in range(x.shape[1]):
            h = np.tanh(x[:, t] @ params["weight_ih"].T + params["bias_ih"]
                        + h @ params["weight_hh"].T + params["bias_hh"])  # fmt: skip
            y.append(h)
        return np.stack(y, 1), h

    def vjp(self, params, x, state, dy, dstate):
        y, _ = self.forward(params, x, state)
        start = np.zeros_like(y[:, 0]) if state is None else state
        before = np.concatenate([start[:, None], y[:, :-1]], axis=1)
        d = {name: np.zeros_like(a) for name, a in params.items()}
        dx, dh = np.zeros_like(x), dstate
        for t in reversed(range(x.shape[1])):
            da = (dy[:, t] + dh) * (1 - y[:, t] ** 2)
            d["weight_ih"] += da.T @ x[:, t]
            d["weight_hh"] += da.T @ before[:, t]
            d["bias_ih"] += da.sum(0)
            d["bias_hh"] += da.sum(0)
            dx[:, t], dh = da @ params["weight_ih"], da @ params["weight_hh"]
        return d, dx, dh


class Halved(WithVjp):
    """A wrong one: see that what is declared is really called."""

    def vjp(self, params, x, state, dy, dstate):
        d, dx, dh = super().vjp(params, x, state, dy, dstate)
        return d, dx / 2, dh


class StepsLast(WithVjp):
    """The same over (D, B, T), with states (H, B)."""

    axes = "DBT"

    def forward(self, params, x, state):
        y, h = super().forward(params, x.transpose(1, 2, 0), None if state is None else state.T)
        return y.transpose(2, 0, 1), h.T

    def vjp(self, params, x, state, dy, dstate):
        d, dx, dh = WithVjp.vjp(
            Forward(), params, x.transpose(1, 2, 0), None if state is None else state.T,
            dy.transpose(1, 2, 0), dstate.T,
        )  # fmt: skip
        return d, dx.transpose(2, 0, 1), dh.T


class Forward(WithVjp):
    """WithVjp's own forward, for what derives from it."""


def torch_gru(gradient="torch", **declared):
    torch = pytest.importorskip("torch")

    def gru(x, h0, w_ih, w_hh, b_ih, b_hh):
        h = x.new_zeros(x.shape[0], w_hh.shape[1]) if h0 is None else h0
        y = []
        for x_t in x.unbind(1):
            of_x, of_h = (x_t @ w_ih.T + b_ih).chunk(3, -1), (h @ w_hh.T + b_hh).chunk(3, -1)
            r, z = (torch.sigmoid(a + b) for a, b in zip(of_x[:2], of_h[:2], strict=True))
            h = z * h + (1 - z) * torch.tanh(of_x[2] + r * of_h[2])
            y.append(h)
        return torch.stack(y, 1), h

    return gatewise.subject("gru", axes="BTD", state="h", gradient=gradient, **declared)(gru)


def held(value, *checks):
    return gatewise.check(
        value, checks=("smoke", "forward", "carry", *checks), budget="quick", explain=False
    )


@pytest.mark.parametrize("value", [keras_cell, keras_gru, RowByRow])
def test_code_without_gradients_is_held_forward(value):
    outcome = held(value)
    assert outcome, outcome


def test_a_gradient_by_hand_is_held_in_its_own_axes():
    for right in (WithVjp, StepsLast):
        outcome = held(right, "gradient")
        assert outcome, outcome
    wrong = held(Halved, "gradient")
    assert [v.check for v in wrong.wrong] == ["gradient"] * 2
    assert "gradient of x" in wrong.wrong[0].message


def test_torchs_own_differentiation_is_held():
    outcome = held(torch_gru(), "gradient", "cotangents")
    assert outcome, outcome


def test_jaxs_own_differentiation_is_held():
    jax = pytest.importorskip("jax")

    @gatewise.subject("rnn", weights="torch", state="h", gradient="jax")
    def rnn(x, h0, w, u, b, d):
        start = jax.numpy.zeros((x.shape[1], len(b)), x.dtype) if h0 is None else h0

        def step(h, x_t):
            h = jax.numpy.tanh(x_t @ w.T + b + h @ u.T + d)
            return h, h

        h, y = jax.lax.scan(step, start, x)
        return y, h

    outcome = held(rnn, "gradient")
    assert outcome, outcome


def test_a_declared_order_is_that_of_the_biases_too():
    """Unless they are declared; the candidate of an LSTM may be called c."""
    gru = gatewise.subject("gru", order="zrn")(lambda x, h0, a, b, c, d: x)
    assert gru.__gatewise__.convention.bias == ("zrn", "zrm")
    lstm = gatewise.subject("lstm", weights="keras", order="ifoc")(lambda x, state, a, b, c: x)
    assert (lstm.__gatewise__.convention.order, lstm.__gatewise__.convention.bias) == (
        "ifog", ("ifog",)
    )  # fmt: skip
    stated = gatewise.subject("gru", order="zrn", bias=("rzn", "rzm"))(lambda x, h0, a, b, c, d: x)
    assert stated.__gatewise__.convention.bias == ("rzn", "rzm")


def test_another_order_is_another_convention():
    declared = {"order": "zrn", "bias": ("zrn", "zrm")}
    assert not held(torch_gru(**declared), "gradient")
    assert held(torch_gru(), "gradient")


@pytest.mark.parametrize(("fields", "message"), [
    ({"cell": "gru", "axes": "DTB"}, "axes='DTB': expected one of 'TBD', 'BTD'"),
    ({"cell": "lstm", "state": "h"}, "an LSTM has the states h and c"),
    ({"cell": "cnn"}, "cell='cnn': expected one of 'rnn', 'lstm', .*; of another kind: None"),
    ({"cell": 3}, "cell=3: expected one of 'rnn'"),
    ({"cell": "gru", "gradient": "autograd"}, "gradient='autograd'"),
])  # fmt: skip
def test_what_is_no_declaration_is_a_sentence(fields, message):
    with pytest.raises(ValueError, match=message):
        Declaration(**fields)


def test_a_framework_that_states_no_convention_is_a_sentence():
    with pytest.raises(ValueError, match="weights='tensorflux': it states no convention of a gru"):
        gatewise.subject("gru", weights="tensorflux")
    layer = type("Layer", (), {"cell": "gru", "weights": "nobody", "forward": lambda *a: a})
    with pytest.raises(UnknownSubject, match="weights='nobody'"):
        adapted(layer, "layer", None)


class Masked:
    """An RNN in NumPy that stops rows at their lengths, forward and back."""

    cell, weights, axes, state, gradient, bias = "rnn", "torch", "BTD", "h", "vjp", ("a",)

    def forward(self, x, h0, W, U, b, lengths=None):
        h = np.zeros((len(x), len(U)), x.dtype) if h0 is None else h0
        self.cache, y = [], []
        for t in range(x.shape[1]):
            inside = np.ones((len(x), 1), bool) if lengths is None else (lengths > t)[:, None]
            x_t = np.where(inside, x[:, t], 0)
            new = np.tanh(x_t @ W.T + h @ U.T + b)
            self.cache.append((inside, x_t, h, new))
            y.append(np.where(inside, new, 0))
            h = np.where(inside, new, h)
        return np.stack(y, 1), h

    def vjp(self, p, x, h0, dy, dh, lengths=None):
        self.forward(x, h0, *p.values(), lengths=lengths)
        W, U, b = p.values()
        dW, dU, db, dx = map(np.zeros_like, (W, U, b, x))
        for t in reversed(range(x.shape[1])):
            inside, x_t, h, new = self.cache[t]
            da = np.where(inside, (dy[:, t] + dh) * (1 - new**2), 0)
            dW, dU, db = dW + da.T @ x_t, dU + da.T @ h, db + da.sum(0)
            dx[:, t] = da @ W
            dh = np.where(inside, da @ U, dh)
        return (dW, dU, db), dx, dh


class WithoutLengthsBack(Masked):
    def vjp(self, p, x, h0, dy, dh):
        return super().vjp(p, x, h0, dy, dh)


def test_the_way_back_is_given_the_lengths():
    held = hold(adapted(Masked, "test:masked", None), check_named("padding"), "float64",
                budget=BUDGETS["quick"])  # fmt: skip
    assert held.status == "passed", held.message


def test_a_way_back_that_knows_no_lengths_is_refused():
    with pytest.raises(UnknownSubject, match="it takes lengths and its vjp does not"):
        adapted(WithoutLengthsBack, "test:masked", None)
