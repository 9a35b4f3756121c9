"""Keras's layers, on the backend that is there: the conventions are right, a wrong one is seen."""

import importlib.util
from dataclasses import replace

import pytest

from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.frameworks import keras as keras_layers

# looked for, not imported: Keras takes the backend that is named when it is imported
for package in ("keras", keras_layers.BACKEND):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)

CHECKS = {check.id: check for check in subject_checks()}
NAMES = ("keras:LSTM", "keras:GRU", "keras:GRU-reset-before", "keras:RNN")


def held(subject, check, dtype="float32"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(2, 1), seed_value=5, shrink=False)


def test_the_version_names_the_backend():
    """What is held is Keras on that backend."""
    assert f"({keras_layers.BACKEND} " in subject_named("keras:LSTM").version()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", ["forward", "gradient", "zero-length"])
def test_a_layer_is_that_of_the_equations(name, check):
    """Two directions and a mask in the forced case; others as drawn."""
    verdict = held(subject_named(name), check)

    expected = "passed"
    if check == "gradient" and keras_layers.BACKEND not in keras_layers.WITH_GRADIENTS:
        expected = "not supported"
    assert verdict.status == expected, verdict.message


@pytest.mark.parametrize(("name", "wrong"), [
    ("keras:LSTM", {"order": "igfo"}),
    ("keras:GRU", {"order": "rzn"}),
    ("keras:GRU-reset-before", {"update": "take"}),
])  # fmt: skip
def test_a_wrong_convention_fails(name, wrong):
    """The equations are then others, or held against other parameters than the layer has."""
    right = subject_named(name)
    verdict = held(replace(right, convention=replace(right.convention, **wrong)), "forward")

    assert verdict.status == "failed"


@pytest.mark.skipif(keras_layers.BACKEND == "tensorflow", reason="TensorFlow's float64 is one")
def test_float64_is_not_offered_where_it_is_computed_in_float32():
    """The layers would return float64 arrays of float32 numbers."""
    right = subject_named("keras:RNN")

    assert right.dtypes == ("float32",)
    assert held(right, "forward", "float64").status == "failed"
