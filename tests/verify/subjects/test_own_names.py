"""Parameters with names of their own: their meaning is found, and the layer is held by it."""

import functools
import re

import pytest
import torch

import own_names as layers
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.diagnosis.conventions import other_conventions
from gatewise.verify.diagnosis.misplaced.passes import passes
from gatewise.verify.diagnosis.observation import VALUES, Experiment
from gatewise.verify.diagnosis.search import Explainer, observations
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.recordings.record import form_of
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.gate_names import gate_of
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import diagnosed

CHECKS = {check.id: check for check in subject_checks() if not check.problems}
LSTM = "torch.nn.LSTM"
EVERY = ("smoke", "forward", "gradient", "carry", "carry-gradient", "final", "dtype", "influence",
         "unit-permutation", "gate-limits", "transition")  # fmt: skip


@functools.cache
def like(layer):
    return adapted(layer, f"own:{layer.__name__}", f"torch.nn.{layer.kind}")


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(4, 2), seed_value=5)


RIGHT = {
    layers.LinearPerGate: "x_r.weight is W_r, x_r.bias is b_r, .*h_n.bias is b_n .*r acts before",
    layers.WithoutBias: "x_n.weight is W_n, h_n.weight is U_n .found",
    layers.ResetAfter: "x_n.bias is b_n, .*h_n.bias is b_hn .found by experiments.$",
    layers.Joint: r"gates.weight is \[W_f,W_i,W_o,W_g; U_f,U_i,U_o,U_g\], gates.bias is \[b_f,b_i,",
    layers.StateFirst: r"gates.weight is \[U_f,U_i,U_o,U_g; W_f,W_i,W_o,W_g\]",
    layers.JointPerGate: r"forget_gate.weight is \[U_f; W_f\], forget_gate.bias is b_f",
    layers.TwoLinears: r"gates.weight is \[W_z,W_r; U_z,U_r\].*z is the share of the new state",
    layers.Packed: r"kernel is \[W_g,W_o,W_i,W_f\], recurrent is \[U_g,U_o,U_i,U_f\], bias is",
    layers.Transposed: r"W is \[W_i,W_f,W_g,W_o\].*1 is added to the sum of f",
    layers.ParameterPerGate: "^W_c is W_g, U_c is U_g, b_c is b_g .found",
    layers.Elman: "i2h.weight is W_a, i2h.bias is b_a, h2h.weight is U_a, h2h.bias is b_a",
    layers.BatchFirst: "gates.weight is",
    layers.BatchFirstByDefault: "gates.weight is",
    layers.BatchFirstUnsaid: "gates.weight is",
}
READINGS = (layers.LinearPerGate, layers.WithoutBias, layers.Joint, layers.Elman)
"""One of each kind: those of a kind differ in which array is which alone, which two checks show."""


@pytest.mark.parametrize("layer", RIGHT, ids=lambda layer: layer.__name__)
def test_the_mapping_is_found_and_the_layer_passes(layer):
    """Gradients by its own names included; the version says what each array is."""
    subject = like(layer)

    assert re.search(RIGHT[layer], subject.own.text)
    assert subject.own.text in subject.version()
    checks = EVERY if layer in READINGS else ("forward", "gradient")
    for check in (each for each in checks if CHECKS[each].concerns(subject)):
        verdict = held(subject, check)
        unbiased = check == "gate-limits" and layer is layers.WithoutBias
        assert verdict.status == ("not supported" if unbiased else "passed"), verdict.message
    if layer is layers.Packed:
        assert held(subject, "forward", "float32").status == "passed"


WRONG = {
    layers.SwapsInputAndForget: ("forward", "against what it computes: it uses forget_gate.weight"),
    layers.SigmoidCandidate: ("forward", "W_c is W_g.*by their names alone"),
    layers.OutputWithoutTanh: ("forward", "by their names alone"),
    layers.ResetsNothing: ("forward", "x_r.weight is W_r.*by their names alone"),
    layers.IgnoresTheState: ("forward", "found by experiments"),
    layers.WrongGradient: ("gradient", "found by experiments"),
    layers.WrongWithoutNames: (
        "forward",
        r"W is \[W_i,W_f,W_g,W_o\].*by their names alone.*in the order of torch.nn.LSTM",
    ),
}


@pytest.mark.parametrize("layer", WRONG, ids=lambda layer: layer.__name__)
def test_a_wrong_layer_is_held_by_what_its_names_tell(layer):
    """Its equations fit no mapping, or one against its names: the check fails, and runs."""
    check, text = WRONG[layer]
    subject = like(layer)

    assert re.search(text, subject.own.text), subject.own.text
    assert held(subject, "smoke").status in ("passed", "failed")
    assert held(subject, check).status == "failed"


@pytest.mark.parametrize(
    "layer", [layers.InputGateUnused, layers.OutputWithoutTanh, layers.WrongWithoutNames]
)
def test_no_name_tells_an_offset_of_the_forget_gate(layer):
    """Its mistake would be two then."""
    own = like(layer).own
    assert "by their names alone" in own.text
    assert own.convention.forget_offset == 0


@pytest.mark.parametrize(("layer", "message"), [
    (layers.Nameless, "their names do not say which belongs to which gate of torch.nn.GRU"),
    (layers.WithAHead, r"head.weight \[7, 6\] is no array of a recurrent layer with 11 inputs"),
])  # fmt: skip
def test_what_is_not_known_is_refused_with_code_to_write(layer, message):
    with pytest.raises(SubjectUnavailable, match=message) as refusal:
        like(layer)
    assert "@gatewise.subject(" in str(refusal.value)
    assert "gatewise new " in str(refusal.value)


@pytest.mark.parametrize(("kind", "name", "letter"), [
    ("gru", "x_r.weight", "r"), ("gru", "W_h", "n"), ("gru", "Whz", "z"),
    ("gru", "U_h.weight", "n"),
    ("gru", "update_gate.weight", "z"), ("gru", "weight_hr", "r"), ("gru", "h_n.bias", "n"),
    ("lstm", "Wxi", "i"), ("lstm", "forget_input.weight", "f"), ("lstm", "W_input_gate", "i"),
    ("lstm", "W_ic", "g"), ("lstm", "b_o", "o"), ("lstm", "candidate.weight", "g"),
    ("lstm", "linear1.weight", ""), ("lstm", "inp.weight", "i"), ("gru", "updategate.bias", "z"),
    ("lstm", "fgate", "f"), ("rnn", "W", "a"),
    ("gru", "W.upd", "z"), ("gru", "b.rst", "r"), ("lstm", "U.frgt", "f"),
    ("lstm", "ct.weight", ""),
])  # fmt: skip
def test_names_of_gates(kind, name, letter):
    assert gate_of(kind, name) == letter


@pytest.mark.parametrize(("layer", "reset"), [
    (layers.ResetsTheInput, "after"), (layers.SigmoidGRU, "before"),
    (layers.ResetsTheOldStateToo, "before"),
])  # fmt: skip
def test_on_which_side_of_a_product_r_acts_is_seen_in_a_wrong_layer(layer, reset):
    assert like(layer).own.convention.reset == reset


def test_a_submodule_that_is_called_for_another_is_named():
    subject = like(layers.CallsAnother)
    seen = [*observations(subject, [Experiment(VALUES, Case(2, 2, 2, 3))])]
    explainer = Explainer(subject, "float64", seen)
    found = [h for h in passes(subject, gradients=False) if explainer.residual_of(h) <= 1]
    assert [h.statements for h in found] == [("x_z is called in the place of x_n.",)]


def test_no_recording_is_made_of_them():
    """Another machine would read its arrays as torch.nn's."""
    assert form_of(like(layers.Packed)) is None


def test_a_diagnosis_looks_for_no_other_reading():
    """All were tried, and what is stated of torch.nn's arrays says nothing of these."""
    assert not list(other_conventions(like(layers.SigmoidCandidate)))


class OfOwnOrder(torch.nn.Module):
    """Gates in an order that nothing tells, in products of [x, h]; wrong: h = o c."""

    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.both = torch.nn.Linear(input_size + hidden_size, 4 * hidden_size)
        self.hidden_size = hidden_size

    def forward(self, x, state=None):
        zeros = x.new_zeros(x.shape[1], self.hidden_size)
        h, c = (zeros, zeros) if state is None else (s[0] for s in state)
        y = []
        for x_t in x:
            f, i, o, g = self.both(torch.cat([x_t, h], -1)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c
            y.append(h)
        return torch.stack(y), (h[None], c[None])


def test_an_order_that_may_be_meant_is_no_second_mistake():
    """And x stands first: what x multiplies is not read where x is 0."""
    assert "both.weight is [W_i,W_f,W_g,W_o; U_i" in adapted(OfOwnOrder, "a", LSTM).own.text
    found = diagnosed(OfOwnOrder, "forward", like=LSTM)

    assert found.headline.startswith("In the new state h_t, tanh is not applied to c_t")
    assert found.notes == ("Its gates stand in the order f i o g.",)
