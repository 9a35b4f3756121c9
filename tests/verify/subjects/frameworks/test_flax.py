"""Flax's layers: the conventions are right, and a wrong one is seen."""

from dataclasses import replace

import pytest

pytest.importorskip("flax")

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named

CHECKS = {check.id: check for check in subject_checks()}
LAYERS = ("LSTM", "OptimizedLSTM", "GRU", "RNN")


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(2, 1), seed_value=5, shrink=False)


@pytest.mark.parametrize("name", [f"{api}:{k}" for api in ("flax-linen", "flax-nnx")
                                  for k in LAYERS])  # fmt: skip
def test_outputs_are_those_of_the_equations(name):
    """Two directions, lengths and a given state, in the forced case; others as drawn."""
    verdict = held(subject_named(name), "forward")

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize("check", ["gradient", "jvp", "unbatched", "batch-first", "no-steps"])
def test_a_layer_passes_what_it_offers(check):
    """float32 too, where arrays made without a dtype must not become float64."""
    verdict = held(subject_named("flax-nnx:GRU"), check, "float32")

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("flax-linen:LSTM", {"forget_offset": 1.0}),
    ("flax-nnx:OptimizedLSTM", {"order": "igfo"}),
    ("flax-nnx:GRU", {"order": "zrn"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """The equations are then held against other parameters than the layer has."""
    right = subject_named(name)
    verdict = held(replace(right, convention=replace(right.convention, **wrong)), "forward")

    assert verdict.status == "failed"


def test_the_two_grus_are_not_the_same():
    """The one of linen has b_hn, the one of nnx does not."""
    linen, nnx = subject_named("flax-linen:GRU"), subject_named("flax-nnx:GRU")

    assert linen.convention.bias == ("rzn", "m")
    assert nnx.convention.bias == ("rzn",)


def test_what_lies_in_the_padding_reaches_the_gradients():
    """Numbers do not, but NaN does: the layer runs on, and 0 times NaN goes back."""
    verdict = held(subject_named("flax-linen:LSTM"), "padding")

    assert verdict.status == "failed"
    assert "gradient of" in verdict.message
    assert "nan" in verdict.message
