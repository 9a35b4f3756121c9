"""Layers that are other cells: what explains them is named, and what is measured is said."""

from dataclasses import replace

import numpy as np
import pytest

import hand_written
import other_cells
from gatewise.reference.cells import gating_cells
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.diagnosis.observation import basic
from gatewise.verify.diagnosis.other_cells import character as characters
from gatewise.verify.diagnosis.other_cells.character import character
from gatewise.verify.diagnosis.other_cells.mixture import fitted
from gatewise.verify.diagnosis.other_cells.normalisation import Norm
from gatewise.verify.diagnosis.other_cells.step import StepExperiment
from gatewise.verify.diagnosis.search import Explainer, observations
from gatewise.verify.diagnosis.stand_in import StandIn
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.mutants import right_subject
from gatewise.verify.numbers.tape import Tape
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.called import NotOffered
from gatewise.verify.subjects.explicit import explicit


def examined(layer, dtype="float64", like=None):
    subject = adapted(layer, "other", like) if like else explicit(layer, "other")
    explainer = Explainer(subject, dtype, list(observations(subject, basic(subject, dtype))))
    return character(explainer)


EXPLAINED = [
    (other_cells.mixed(0.25), True, (
        "The carried h is 0.25 of the old and 0.75 of the new one; c is not mixed: zoneout as "
        "evaluation has it, or a leaky state.",
    )),
    (other_cells.mixed(0.25, 0.5), True, ("c is 0.5 of the old and 0.5 of the new one",)),
    (other_cells.mixed(0.25, 0.5, output="new"), False, (
        "Outputs are the state before mixing, not the one that is carried.", "zoneout",
    )),
    (other_cells.ZoneoutGRU, True, ("zoneout", "h is 0.05 of the old and 0.95 of the new")),
    (other_cells.ResidualRNN, False, ("The output is the new h + x (a residual connection",)),
    (other_cells.HalvedGRU, False, ("The output is 0.5 the new h.",)),
    (other_cells.NoTanh, False, ("The new h is o c'.",)),
    (other_cells.Clipped, False, ("clipped to the range from -3 to 3, before it is shown",)),
    (other_cells.ClippedGRU, False, ("h_t is clipped to the range from -0.5 to 0.5",)),
    (other_cells.Cooled, False, (
        "Gate f: its pre-activation is multiplied by 0.5.",
        "Gate i: its pre-activation is multiplied by 0.5.",
        "Gate o: its pre-activation has -2 added to it.",
    )),
    (other_cells.NormalisedLSTM, True, (
        "with layer norm: W x + U h is normalised, and biases are added after, all gates together, "
        "to mean 0 and variance 1 (ε = 1e-05)",
        "the cell state is normalised where it is shown, h' = o tanh(norm(c')), to mean 0 and "
        "variance 1 (ε = 0.001)",
    )),
    (other_cells.NormalisedRNN, True, ("to a root mean square of 1 (ε = 1e-06)",)),
    (other_cells.NormalisedGRU, True, (
        "W x and U h are normalised apart", "r and z together, the candidate by itself",
    )),
    (other_cells.TenthLSTM, True, ("W x and U h are normalised apart", "times 0.1")),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "variant", "words"), EXPLAINED)
def test_relations_that_explain_everything_are_named(layer, variant, words):
    found = examined(layer)

    (explanation,) = found.explanations
    assert explanation.variant is variant
    for part in words:
        assert part in " ".join(explanation.statements)
    assert any("consistent in itself" in note for note in found.notes) is variant


def test_a_layer_without_modes_is_measured_where_it_refuses_them():
    """In a process of its own a layer says so by another exception."""

    class Built(StandIn):
        def train(self, training):
            raise NotOffered("it has no modes")

    class Refusing(StandIn):
        def build(self, case):
            return Built(self.subject.build(case))

    subject = Refusing(explicit(other_cells.mixed(0.25), "other")).as_subject
    seen = list(observations(subject, basic(subject, "float64")))

    (explanation,) = character(Explainer(subject, "float64", seen)).explanations
    assert "h is 0.25 of the old and 0.75 of the new one" in explanation.statements[0]


def test_in_float32_as_well():
    (explanation,) = examined(other_cells.mixed(0.25), "float32").explanations
    assert "h is 0.25 of the old and 0.75 of the new one" in explanation.statements[0]


@pytest.mark.parametrize(("layer", "likeness"), [
    (other_cells.UnscaledLSTM, "its weights are normalised, or lose their scale: multiplying the "
     "weights of h by 3 changes nothing"),
    (other_cells.GainedLSTM, "its pre-activations are normalised (layer norm): multiplying all "
     "weights by 3 changes nothing beyond"),
    (other_cells.Attentive, "rows of the batch have influence on each other"),
    (other_cells.TwoBack, "its steps carry more than its states: from step 1 on"),
    (other_cells.Foreseeing, "outputs depend on the future: the input of step 4 changes the output "
     "of step 3"),
    (other_cells.DoubledForget, "gate f does not lie in (0, 1)"),
    (other_cells.Affine, "h is not bounded"),
])  # fmt: skip
def test_what_makes_it_another_cell_is_said(layer, likeness):
    found = examined(layer)
    assert not found.explanations
    assert found.message.startswith("No known mistake computes this; it looks like another cell: ")
    assert likeness in found.message


def test_gains_of_its_own_are_measured():
    notes = examined(other_cells.GainedLSTM).notes
    (note,) = (note for note in notes if "gains" in note)
    assert "W x and U h are normalised apart" in note
    assert "that fits the pre-activations of o, f, i, g of a step" in note


def test_the_first_wrong_step_and_gate_are_said():
    assert "With one layer over 5 steps the first wrong output is at step 1, row 0." in (
        examined(other_cells.TwoBack).notes
    )
    doubled = examined(other_cells.DoubledForget).notes
    assert "those of o, i, g are right." in " ".join(doubled)
    assert any("affine in x" in note for note in examined(other_cells.Affine).notes)


@pytest.mark.parametrize("cell", sorted(gating_cells()))
def test_right_layers_get_no_story(cell):
    subject = right_subject(cell)
    seen = list(observations(subject, basic(subject, "float64")))
    found = character(Explainer(subject, "float64", seen))

    assert (found.explanations, found.likeness) == ([], "")
    assert found.notes == ("One step of the lowest layer is right.",)


def test_the_diagnosis_tells_it():
    subject = explicit(other_cells.Attentive, "other")
    failing = [hold(subject, check_named("forward"), "float64", budget=BUDGETS["quick"])]
    told = diagnose(subject, "float64", failing, seconds=20)

    assert told.status == "unexplained"
    assert "rows of the batch have influence on each other" in told.headline
    assert told.notes

    mixed = explicit(other_cells.mixed(0.1), "other")
    failing = [hold(mixed, check_named("forward"), "float64", budget=BUDGETS["quick"])]
    told = diagnose(mixed, "float64", failing)
    assert told.status == "explained"
    assert told.explanations[0].variant
    assert 0 < told.residual <= 1
    assert told.experiments >= 4


def test_a_relation_is_not_accepted_on_resemblance(monkeypatch):
    """What further steps do not show is a note; a comparison that is blind accepts it."""

    class Fading(other_cells.Layer):
        def forward(self, p, x, state=None):
            self.count = 0
            return super().forward(p, x, state)

        def show(self, new, old, x):
            self.count += 1
            return new[0] / self.count / 2

    found = examined(Fading)
    assert not found.explanations
    assert any(note.startswith("This fits one step, but not all") for note in found.notes)

    monkeypatch.setattr(characters, "_residual", lambda *given: (0.0, 1))
    assert examined(Fading).explanations


torch = pytest.importorskip("torch")


def zoneout(in_training, in_evaluation):
    """Return a torch LSTM with zoneout of h, at two rates."""

    class Zoneout(hand_written.LSTM):
        def step(self, x, h, c, suffix):
            i, f, g, o = self.gates(x, h, suffix).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            new = torch.sigmoid(o) * torch.tanh(c)
            rate = in_evaluation
            if self.training:
                rate = (torch.rand_like(h) < in_training).to(h)
            h = rate * h + (1 - rate) * new
            return h, c

    return Zoneout


def test_zoneout_that_is_random_in_training_is_judged_in_evaluation():
    found = examined(zoneout(0.3, 0.3), like="torch.nn.LSTM")
    (explanation,) = found.explanations

    assert explanation.variant
    assert explanation.statements == (
        "It is an LSTM with zoneout: in evaluation the carried h is 0.3 of the old and 0.7 of the "
        "new one; c is not mixed.",
    )
    assert any("which fits the rate in evaluation" in note for note in found.notes)


def test_zoneout_at_another_rate_in_training_is_a_mistake():
    found = examined(zoneout(0.7, 0.3), like="torch.nn.LSTM")
    (explanation,) = found.explanations

    assert not explanation.variant
    assert any("another rate than the 0.3 in evaluation" in note for note in found.notes)
    assert explanation.fixes[0].startswith("in training keep each entry")


@pytest.mark.parametrize("kind", ["variance", "deviation", "square"])
def test_the_gradient_of_a_norm_is_its_derivative(kind):
    rng = np.random.default_rng(1)
    z, d, dy = rng.standard_normal((3, 4, 5))
    norm, tape = Norm(kind, 1e-3, 0.5), Tape()
    leaf = tape.leaf(z)
    (pulled,) = tape.pull([norm(leaf)], [dy], [leaf])
    h = 1e-6

    slope = (norm(z + h * d) - norm(z - h * d)) / (2 * h)
    assert np.sum(pulled * d) == pytest.approx(np.sum(slope * dy), rel=1e-6)


def test_a_sum_is_found_with_the_fewest_terms():
    rng = np.random.default_rng(2)
    terms = dict(zip("abc", rng.standard_normal((3, 4, 5)), strict=True)) | {"1": np.ones((4, 5))}

    assert fitted(terms["b"], terms, 1e-12).factors == (("b", 1.0),)
    assert fitted(0.25 * terms["a"] - 2, terms, 1e-12).words == "0.25 a − 2"
    assert fitted(terms["a"] * terms["b"], terms, 1e-12) is None


def test_a_step_of_a_right_layer_is_right():
    experiment = StepExperiment(right_subject("lstm"), "float64")
    for got, want in zip(experiment.run().new, experiment.right(), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-14)
    moved = replace(experiment.run(), x=experiment.x + 1)
    assert not np.allclose(experiment.run(x=moved.x).y, experiment.run().y)
