"""A class in the place of torch.nn.LSTM: no adapter needed, whatever it offers has to be right."""

import functools
import re
from functools import partial

import pytest
import torch

import hand_written
import refusing
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.loader import UnknownSubject
from judgements import verdict_is

CHECKS = {check.id: check for check in subject_checks() if not check.problems}


@functools.cache
def like(layer, what="LSTM"):
    return adapted(layer, f"hand:{layer.__name__}", f"torch.nn.{what}")


def held(layer, check, dtype="float64", what="LSTM"):
    return hold(like(layer, what), CHECKS[check], dtype, budget=Budget(4, 2), seed_value=5)


@pytest.fixture(scope="module")
def subject():
    return like(hand_written.LSTM)


def test_what_it_offers_is_found_out(subject):
    options, reasons = subject.options, dict(subject.options.reasons)

    offered = ("layers", "bidirectional", "bias", "batch_first", "state", "default_state", "jvp")
    assert all(getattr(options, name) for name in offered)
    refused = ("dropout", "projection", "lengths", "no_steps", "unbatched", "zero_length")
    assert not any(getattr(options, name) for name in refused)
    assert reasons["dropout"] == "its constructor takes no dropout"
    assert reasons["projection"] == "its constructor takes no proj_size"
    assert "PackedSequence" in reasons["lengths"]
    assert reasons.keys() == set(refused)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_passes_what_it_offers(subject, dtype):
    for check in (each for each in CHECKS.values() if each.concerns(subject)):
        verdict = hold(subject, check, dtype, budget=Budget(2, 1), seed_value=5)
        missing = subject.options.missing(check.needs)
        assert verdict.status == ("not supported" if missing else "passed"), verdict.message
        assert verdict.message == (subject.options.why(missing) if missing else "")


@pytest.mark.parametrize("layer", [hand_written.SigmoidByTanh, hand_written.OneProduct],
                         ids=lambda layer: layer.__name__)  # fmt: skip
@pytest.mark.parametrize("check", ["forward", "gradient", "extreme", "dtype", "wide"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_honest_roundings_pass(layer, check, dtype):
    verdict_is(held(layer, check, dtype), "passed")


@pytest.mark.parametrize(("layer", "message"), [
    (hand_written.IgnoresBidirectional, r"parameter \w+_l0_reverse: expected .* got none"),
    (hand_written.IgnoresNumLayers, r"parameter \w+_l1: expected .* as torch.nn.LSTM, got none"),
    (hand_written.AlwaysHasABias, r"parameter bias_hh_l0: expected none .* got \(4,\)"),
])  # fmt: skip
def test_an_option_that_is_ignored_shows(layer, message):
    """It is taken without a word, so it has to make torch's parameters."""
    verdict = held(layer, "parameters")
    assert verdict.status == "failed"
    assert re.fullmatch(message, verdict.message)


def test_other_parameters_than_torchs_do_not_run():
    verdict_is(held(hand_written.OtherNames, "smoke"), "crashed",
               "parameter kernel_hh_l0: expected none as torch.nn.LSTM, got (")  # fmt: skip


@pytest.mark.parametrize(("layer", "check", "place"), [
    (hand_written.SwapsGates, "forward", "row 0, unit 0"),
    (hand_written.SwapsGates, "gradient", "gate "),
    (hand_written.DropsTheBackwardState, "forward", "backward"),
])  # fmt: skip
def test_a_wrong_class_is_caught(layer, check, place):
    verdict = held(layer, check)
    assert verdict.status == "failed"
    assert place in verdict.place


def test_only_torchs_layers_and_cells_can_be_stood_for():
    with pytest.raises(UnknownSubject, match=r"--like torch\.nn\.Linear: expected one of"):
        like(hand_written.LSTM, "Linear")


def test_what_forward_refuses_is_not_offered():
    """By NotImplementedError, or by a raise or an assert that names it; the rest is judged."""
    subject = like(refusing.Raises)
    options, reasons = subject.options, dict(subject.options.reasons)

    refused = ("projection", "layers", "bidirectional", "lengths")
    assert not any(getattr(options, name) for name in refused)
    assert options.bias
    assert options.gradient
    assert options.batch_first
    assert "proj_size (refusing.py, line" in reasons["projection"]
    for check in ("forward", "gradient", "final"):
        assert held(refusing.Raises, check).status == "passed"


def test_what_a_class_inherits_and_never_names_is_no_promise():
    """Whoever derives from torch.nn.LSTM gets proj_size with it."""
    options = like(refusing.NeverThoughtOfIt).options
    assert not options.projection
    assert "sizes do not match" in dict(options.reasons)["projection"]
    assert options.bidirectional


@pytest.mark.parametrize(("layer", "option"), [
    (refusing.Trips, "bidirectional"), (refusing.TripsOverLengths, "lengths"),
    (refusing.ChecksItself, "bidirectional"),
])  # fmt: skip
def test_an_accident_is_no_refusal(layer, option):
    """It takes the option, and raises as it does not mean to: that is a failure, not a gap."""
    assert getattr(like(layer).options, option)
    verdict = held(layer, "forward")
    assert verdict.status == "crashed"
    assert re.match(r"IndexError|ValueError: sizes do not match", verdict.message)


def test_a_refused_case_does_not_hide_the_others():
    every = Budget(8)
    verdict = hold(like(refusing.OneRow), CHECKS["shapes"], "float64", budget=every, seed_value=5)
    verdict_is(verdict, "passed", "cases were not judged: refused: a state for")
    assert held(refusing.OneRow, "forward").status == "passed"


def test_where_every_case_is_refused_nothing_is_judged():
    verdict = held(refusing.Everything, "smoke")
    assert (verdict.status, verdict.cases) == ("not supported", 0)


def test_a_layer_whose_backward_raises_is_judged_forward():
    """Its gradients fail for the reason that it gives; all else is compared."""
    checks = ("smoke", "forward", "final", "carry", "gradient")
    verdicts = {check: held(refusing.BackwardRaises, check) for check in checks}

    assert [verdicts[check].status for check in checks[:-1]] == ["passed"] * 4
    assert verdicts["gradient"].status == "crashed"
    assert "modified by an inplace operation" in verdicts["gradient"].message


def test_a_backward_that_is_not_there_is_not_supported():
    subject = like(refusing.NoBackward)
    assert not subject.options.gradient
    assert "inference only (refusing.py, line" in dict(subject.options.reasons)["gradient"]
    assert held(refusing.NoBackward, "forward").status == "passed"


class ReluByDefault(torch.nn.RNN):
    """As torch's RNN, with another default."""

    def __init__(self, input_size, hidden_size, num_layers=1, nonlinearity="relu"):
        super().__init__(input_size, hidden_size, num_layers, nonlinearity=nonlinearity)


def test_a_layer_like_rnn_is_held_with_its_own_nonlinearity():
    """The other is said not to be tested; partial() gives it."""
    of_tanh = partial(ReluByDefault, nonlinearity="tanh")
    for layer, cell in ((ReluByDefault, "rnn-relu"), (of_tanh, "rnn")):
        subject = adapted(layer, "hand:layer", "torch.nn.RNN")
        assert subject.cells[0] == cell
        assert "its default; the other nonlinearity is not tested" in subject.version()
        verdict = hold(subject, CHECKS["gradient"], "float64", budget=Budget(2, 1), seed_value=5)
        verdict_is(verdict, "passed")
