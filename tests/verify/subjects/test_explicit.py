"""Layers by ``cell``, ``forward`` and ``vjp``: right ones pass, and offer what they have."""

import re

import numpy as np
import pytest
import torch

import gatewise
import plain_numpy
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.loader import UnknownSubject
from judgements import verdict_is

CHECKS = {check.id: check for check in subject_checks() if not check.problems}
LAYERS = (plain_numpy.LSTM, plain_numpy.GRU, plain_numpy.ForwardOnly, plain_numpy.StackedRNN)


def held(layer, check, dtype="float64", case=None):
    subject = adapted(layer, getattr(layer, "__name__", "object"), None)
    return hold(subject, CHECKS[check], dtype, budget=Budget(4, 2), seed_value=2, case=case)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_right_layers_pass(layer, dtype):
    subject = adapted(layer, layer.__name__, None)
    for name, check in CHECKS.items():
        if not check.concerns(subject) or (name, dtype) == ("gradient-window", "float32"):
            continue
        verdict = held(layer, name, dtype)
        missing = subject.options.missing(check.needs)
        told = f"{name}: {verdict.message}"
        assert verdict.status == ("not supported" if missing else "passed"), told
        assert verdict.message == (subject.options.why(missing) if missing else "")


class Differentiated:
    """A cell beyond RNN, LSTM and GRU in tensors, layer upon layer."""

    cell, gradient = "mingru", "torch"

    def __init__(self, layers=1):
        self.layers = layers

    def forward(self, params, x, state):
        finals = []
        for k, p in enumerate(params):
            z, n = torch.sigmoid(x @ p.W_z + p.b_z), x @ p.W_n + p.b_n
            h, y = x.new_zeros(x.shape[1], len(p.b_z)) if state is None else state[0][k], []
            for z_t, n_t in zip(z, n, strict=True):
                h = torch.lerp(h, n_t, z_t)
                y.append(h)
            x = torch.stack(y)
            finals.append(h)
        return x, torch.stack(finals)


@pytest.mark.parametrize("check", ["forward", "gradient", "cotangents", "carry", "dtype"])
def test_a_cell_of_a_family_may_compute_in_tensors(check):
    verdict_is(held(Differentiated, check), "passed")


@pytest.mark.parametrize(("layer", "gradient", "lengths"), [
    (plain_numpy.LSTM, True, True),
    (plain_numpy.GRU, True, False),
    (plain_numpy.ForwardOnly, False, False),
])  # fmt: skip
def test_what_is_offered_is_read_off_the_class(layer, gradient, lengths):
    """``vjp`` offers gradients, an argument ``lengths`` sequences of different lengths."""
    options = adapted(layer, "layer", None).options

    assert (options.gradient, options.lengths, options.zero_length) == (gradient, lengths, lengths)
    assert options.no_steps
    assert options.default_state
    assert not options.layers
    assert not options.bidirectional
    assert not options.dropout


class StackedLSTM:
    """Nothing but two directions, by another name of the layers' argument; no modes."""

    cell = "lstm"

    def __init__(self, layers=1, bidirectional=False, dropout=0.5):
        self.layers, self.directions = layers, 1 + bidirectional

    def forward(self, params, x, state):
        final = []
        for layer in range(self.layers):
            outputs = []
            for direction in range(self.directions):
                k, turn = layer * self.directions + direction, slice(None, None, 1 - 2 * direction)
                start = None if state is None else tuple(s[k] for s in state)
                ys, end = plain_numpy.LSTM().forward(params[k], x[turn], start)
                final.append(end)
                outputs.append(ys[turn])
            x = np.concatenate(outputs, axis=-1)
        return x, tuple(map(np.stack, zip(*final, strict=True)))


class OneDirection(StackedLSTM):
    def forward(self, params, x, state):
        if self.directions == 2:
            raise NotImplementedError("two directions are not written yet")
        return super().forward(params, x, state)


def test_what_is_offered_is_read_off_the_constructor():
    """And tried: what it refuses it does not offer, and dropout needs modes."""
    options = adapted(plain_numpy.StackedRNN, "layer", None).options
    assert (options.layers, options.bidirectional, options.dropout) == (True, True, True)

    options = adapted(StackedLSTM, "layer", None).options
    assert (options.layers, options.bidirectional, options.dropout) == (True, True, False)
    assert "train() and eval()" in options.why(("dropout",))

    options = adapted(OneDirection, "layer", None).options
    assert (options.layers, options.bidirectional) == (True, False)
    assert "two directions are not written yet" in options.why(("bidirectional",))


class TrainsByMethods(plain_numpy.StackedRNN):
    """Modes as methods without arguments."""

    def __init__(self, num_layers=1, dropout=0.0):
        super().__init__(num_layers, False, dropout)
        self.training, self.mode = None, "train"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "eval"

    def mask(self, y):
        self.training = self.mode == "train"
        return super().mask(y)


class TrainsByOneMethod(plain_numpy.StackedRNN):
    """Both modes by one method."""

    def train(self, training):
        self.training = training


@pytest.mark.parametrize("layer", [StackedLSTM, TrainsByMethods, TrainsByOneMethod])
@pytest.mark.parametrize("check", ["forward", "carry", "modes", "dropout"])
def test_right_layers_with_several_passes_pass(layer, check):
    needs_modes = layer is StackedLSTM and check in ("modes", "dropout")
    assert held(layer, check).status == ("not supported" if needs_modes else "passed")


class DropsInEvaluation(plain_numpy.StackedRNN):
    def mask(self, y):
        self.training = True
        return super().mask(y)


class NeverDrops(plain_numpy.StackedRNN):
    def mask(self, y):
        return np.ones_like(y)


class DropsAnew(plain_numpy.StackedRNN):
    """Its gradient runs forward once more, with other masks."""

    def vjp(self, params, x, state, dy, dstate):
        self.forward(params, x, state)
        return super().vjp(params, x, state, dy, dstate)


class FirstDirectionTwice(StackedLSTM):
    def forward(self, params, x, state):
        ys, final = super().forward(params, x, state)
        H = params[0]["U"].shape[-1]
        return np.concatenate([ys[..., :H]] * self.directions, axis=-1), final


class ForgetsAPass(plain_numpy.StackedRNN):
    def vjp(self, *arguments):
        d, dx, dstate = super().vjp(*arguments)
        return d[:1], dx, dstate


@pytest.mark.parametrize(("layer", "check", "message"), [
    (DropsInEvaluation, "modes", "y["),
    (NeverDrops, "dropout", "explained by none of 16 masks of rate 0.5"),
    (DropsAnew, "dropout", "gradient of "),
    (FirstDirectionTwice, "forward", "y["),
    (ForgetsAPass, "gradient", "gradients of passes' parameters: expected 2, got 1"),
])  # fmt: skip
def test_wrong_layers_with_several_passes_fail(layer, check, message):
    case = Case(5, 3, 2, 4, layers=2, dropout=0.5) if check == "modes" else None
    verdict_is(held(layer, check, case=case), "failed", message)


def test_without_vjp_gradients_are_not_supported():
    needing = {name for name, check in CHECKS.items() if "gradient" in check.needs}

    assert len(needing) >= 6
    for name in needing:
        verdict = held(plain_numpy.ForwardOnly, name)
        assert verdict.status == "not supported"
        assert verdict.message.startswith("the subject does not offer gradients")
    assert held(plain_numpy.ForwardOnly, "purity").status == "passed"
    assert held(plain_numpy.ForwardOnly, "strided").status == "passed"


def test_an_object_is_held_as_it_is():
    layer = plain_numpy.LSTM()
    layer.scale = 1.0
    assert held(layer, "gradient").status == "passed"


class OneState(plain_numpy.ForwardOnly):
    """A cell with one state may return it alone."""

    def forward(self, params, x, state):
        ys, (h,) = super().forward(params, x, state)
        return ys, h


class HalvesTheGradientOfU(plain_numpy.GRU):
    def vjp(self, *arguments):
        dp, dx, dstate = super().vjp(*arguments)
        return dp | {"U": dp["U"] / 2}, dx, dstate


class ForgetsAParameter(plain_numpy.GRU):
    def vjp(self, *arguments):
        dp, dx, dstate = super().vjp(*arguments)
        return {name: d for name, d in dp.items() if name != "b"}, dx, dstate


class ReturnsFloat64(plain_numpy.LSTM):
    def forward(self, *arguments, lengths=None):
        ys, final = super().forward(*arguments, lengths)
        return ys.astype(np.float64), final


class CarriesOnInThePadding(plain_numpy.LSTM):
    def forward(self, params, x, state, lengths=None):
        ys, final = super().forward(params, x, state, lengths)
        return ys, super().forward(params, x, state)[1] if lengths is not None else final


def test_one_state_may_stand_alone():
    """No tuple is needed where there is nothing to put into it."""
    assert held(OneState, "forward").status == "passed"


@pytest.mark.parametrize(("layer", "check", "dtype", "message"), [
    (HalvesTheGradientOfU, "gradient", "float64", "gradient of U_l0["),
    (ForgetsAParameter, "gradient", "float64",
     "gradient of b_l0: expected shape (3, 1), got none"),
    (ReturnsFloat64, "forward", "float32", "y: expected dtype float32, got float64"),
    (CarriesOnInThePadding, "padding", "float64", "final "),
])  # fmt: skip
def test_wrong_layers_fail(layer, check, dtype, message):
    verdict_is(held(layer, check, dtype), "failed", message)


def test_the_gate_of_a_wrong_gradient_is_named():
    """Where in the layer the first wrong entry stands, and again where the case says one unit."""
    verdict = held(HalvesTheGradientOfU, "gradient")
    assert re.fullmatch(r"gate [rzn], unit \d", verdict.place)
    assert Case.from_json(verdict.case).H == 1


@pytest.mark.parametrize(("layer", "message"), [
    (type("NoCell", (), {"cell": "lsmt", "forward": None}), "lsmt"),
    (type("NoForward", (), {"cell": "lstm"}), "expected a class with cell and forward"),
    (3, "expected a class with cell and forward"),
])  # fmt: skip
def test_what_is_no_layer(layer, message):
    with pytest.raises(UnknownSubject, match=message):
        adapted(layer, "layer", None)


def test_the_front_door():
    right = gatewise.check(plain_numpy.GRU, checks=["smoke", "forward"], budget="quick")
    wrong = gatewise.check(HalvesTheGradientOfU, checks=["smoke", "gradient"], dtype="float64",
                           budget="quick")  # fmt: skip

    assert right
    assert str(right).endswith("GRU: 4 of 4 checks passed")
    assert not wrong
    assert [v.check for v in wrong.wrong] == ["gradient"]
    assert "HalvesTheGradientOfU does not conform: 1 of 2 checks failed\n" in str(wrong)
    assert "first failure   gradient (float64): gradient of U_l0" in str(wrong)
    assert "test_explicit.py:HalvesTheGradientOfU --check gradient" in wrong.wrong[0].reproduce


def test_a_method_declares_nothing():
    """A layer may call a method of its own by a name under which others declare."""

    class Named(plain_numpy.LSTM):
        def weights(self, params):
            return params

    assert adapted(Named, "mine:Named", None).cells == ("lstm",)
