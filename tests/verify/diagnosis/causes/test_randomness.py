"""What is random is named, and where dropout acts; what is not random is none."""

from functools import partial

import pytest
import torch

import dropped
import hand_written
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.causes.randomness import PLACES, Probe, randomness
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.mutants import mutant_named
from gatewise.verify.subjects import adapted
from judgements import failing


def subject_of(layer):
    kind = next(k for k in ("LSTM", "GRU", "RNN") if issubclass(layer, getattr(torch.nn, k)))
    return adapted(layer, f"of:{layer.__name__}", f"torch.nn.{kind}")


failures = partial(failing, budget=Budget(8, 4))


RANDOM = [
    (dropped.RecurrentWeights, "recurrent weights (weight_hh), one mask for all steps", 0.3),
    (dropped.InputWeights, "input weights (weight_ih), one mask for all steps", 0.2),
    (dropped.StateInEvaluation, "the state that recurs (h), at every step", 0.5),
    (dropped.CellState, "the cell state that recurs (c), at every step", 0.4),
]


@pytest.mark.parametrize(("layer", "place", "rate"), RANDOM,
                         ids=lambda value: getattr(value, "__name__", None))  # fmt: skip
def test_masks_in_evaluation_are_named(layer, place, rate):
    subject = subject_of(layer)
    failing = failures(subject, "forward", "modes")
    (cause,) = randomness(subject, "float64", failing)

    assert cause.explanation.statements[0].startswith(
        f"In evaluation the same call gives two results: dropout acts on {place} (rate about "
        f"{rate}); a gradient belongs to another mask"
    )
    assert cause.verdicts == tuple(failing)
    assert len(failing) == 2
    assert diagnose(subject, "float64", failing).headline == cause.explanation.statements[0]


@pytest.mark.parametrize(("layer", "said"), [
    (dropped.RandomStart, ": the state that it starts from, when none is given, is drawn at "),
    (dropped.Noise, "; they are the same where weight_ih or x is 0."),
    (dropped.OneMaskOnInputs, ", only with more than 4 steps"),
])  # fmt: skip
def test_what_is_random_otherwise(layer, said):
    """No mask is named where none explains every number."""
    subject = subject_of(layer)
    (cause,) = randomness(subject, "float64", failures(subject, "forward", "modes"))
    assert said in cause.explanation.statements[0]


class Trembling(hand_written.LSTM):
    """Noise so small that rounding in float32 could explain much of it."""

    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return y + 1e-6 * torch.randn_like(y), final


def test_noise_below_the_bounds_of_float32_is_not_said_to_be_in_float64_alone():
    subject = adapted(Trembling, "of:Trembling", "torch.nn.LSTM")
    (cause,) = randomness(subject, "float64", failures(subject, "forward", "repeat"))
    assert "gives two results" in cause.explanation.statements[0]
    assert "float64" not in cause.explanation.statements[0]


def test_masks_in_training_alone_are_told_apart():
    """The layer is held in evaluation, where everything passes."""
    subject = subject_of(dropped.RecurrentWeightsInTraining)
    checks = ("forward", "gradient", "carry", "modes", "dropout")
    failing = failures(subject, *checks)
    found = diagnose(subject, "float64", failing)

    assert subject.evaluated
    assert ".eval()" in subject.caller(check_case())
    assert found.failed == ("modes", "dropout")
    assert found.headline == (
        "In training it drops by a rate of its own (about 0.3), also where dropout = 0: it acts "
        "on recurrent weights (weight_hh), one mask for all steps. In evaluation it does not, and "
        "what was checked there is right."
    )


def check_case():
    return next(iter(check_named("forward").forced(subject_of(dropped.GRU), "float64")))


@pytest.mark.parametrize(("layer", "place"), [
    (dropped.EveryState, "the state that recurs, in the last layer too, at every step"),
    (dropped.LowerStates, "the state that recurs, in all layers but the last, at every step"),
    (dropped.LastOutputs, "the outputs of the last layer, at every step"),
])  # fmt: skip
def test_dropout_in_another_place_is_named(layer, place):
    subject = subject_of(layer)
    failing = failures(subject, "forward", "dropout")
    found = diagnose(subject, "float64", failing)

    assert found.failed == ("dropout",)
    assert found.headline.startswith(f"In training dropout acts on {place}; it should act on the ")


@pytest.mark.parametrize("layer", [dropped.LSTM, dropped.GRU, dropped.RNN],
                         ids=lambda layer: layer.__name__)  # fmt: skip
def test_a_right_layer_is_not_random(layer):
    subject = subject_of(layer)

    assert not subject.evaluated
    assert failures(subject, "forward", "modes", "dropout") == []
    pretended = [hold(subject, check_named("dropout"), "float64", budget=Budget(2, 1))]
    assert list(randomness(subject, "float64", pretended)) == []


def test_wrong_equations_are_not_random():
    subject = adapted(hand_written.SwapsGates, "swaps", "torch.nn.LSTM")
    assert list(randomness(subject, "float64", failures(subject, "forward"))) == []


def test_a_mask_that_explains_nothing_is_refused():
    """Each place is tried on a layer whose mask is elsewhere."""
    subject = subject_of(dropped.StateInEvaluation)
    case = check_case().__class__(2, 2, 6, 6)
    probe = Probe.of(subject, case, training=False)
    explaining = [
        place.words for place in PLACES
        for every_step in (False, True)
        if probe.explained_by(place, 0.5, every_step=every_step)
    ]  # fmt: skip

    assert probe.random
    assert explaining == ["the state that recurs (h)"]


def test_memory_that_nobody_has_written_is_left_to_the_catalogue():
    """Outputs beyond a row's end that differ from call to call are no dropout."""
    subject = mutant_named("mutant:Q09[rnn]")
    failing = failures(subject, "padding", "repeat")

    assert failing
    assert list(randomness(subject, "float64", failing)) == []
    assert diagnose(subject, "float64", failing).explanations[0].ids == ("Q09",)
