"""A layer that does not what it declares: what it does instead is named."""

from dataclasses import replace

import numpy as np
import pytest

import coarse_cells
import other_cells
from gatewise.verify.checks import check_named
from gatewise.verify.conventions.weight_grid import Grid, declaration, grid_of
from gatewise.verify.diagnosis.arithmetic.declared import (
    alternatives,
    fixed_point_of,
    other_arithmetic,
)
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.mutants.quantised import (
    QUANTISATION_MUTANTS,
    RIGHT,
    FixedPoint,
    Integers,
    quantised_subject,
)
from gatewise.verify.numbers.quantisation import ROUNDINGS, Quantisation
from gatewise.verify.numbers.quantisation import FixedPoint as Format
from gatewise.verify.subjects.explicit import explicit
from gatewise.verify.subjects.quantised import in_arithmetic

NAMED = {
    "The largest weight is divided by 128": "the largest weight divided by 128, not the largest",
    "Both matrices share one scale.": "one scale for the matrices of x and h of each pass, not",
    "Scales for each channel": "one scale for each input of each gate, not one scale for each unit",
    "There is one scale for each matrix": "one scale for each matrix, not one scale for each unit",
    "Each row has a range": "a range for each row, not activations with a range for each call",
    "All rows share one range": "a range for each call, not activations with a range for each row",
    "The hidden state is multiplied": "activations of x quantised, not activations of x and h",
    "The scale of the cell state": "fixed point c:<16,4>, not states in fixed point c:<16,5>",
    "Fixed point is cut off": "rounding down, not rounding to the nearest, ties to even",
    "Ties are rounded away": "rounding to the nearest, ties away from 0, not",
    "What is too large wraps": "too large wrap, not numbers that are too large saturate",
    "Products are rescaled": "rescaled with rounding once, not integers rescaled with rounding",
    "Each product is rounded": "each product rounded, not sums of products rounded once",
}
"""Beginnings of statements of mistakes, and what is said of them."""


def diagnosis(subject, *checks):
    dtype = subject.dtypes[0]
    failing = [
        hold(subject, check_named(check), dtype, budget=BUDGETS["quick"], shrink=False)
        for check in checks or ("forward",)
    ]
    assert {verdict.status for verdict in failing} == {"failed"}
    return diagnose(subject, dtype, failing)


@pytest.mark.parametrize(("statement", "says"), NAMED.items(), ids=lambda text: text[:20])
def test_what_another_arithmetic_explains_is_named(statement, says):
    (mutant,) = (m for m in QUANTISATION_MUTANTS if m.statement.startswith(statement))
    subject, dtype = mutant.subject(), mutant.subject().dtypes[0]
    ties = "tie-rounding" if "ties away" in says else "forward"
    ties = "extreme" if "wrap" in says else ties
    failing = [hold(subject, check_named(ties), dtype, budget=BUDGETS["quick"], shrink=False)]
    (explanation,) = other_arithmetic(subject, dtype, failing).explanations

    assert says in explanation.statements[0]
    assert not explanation.variant


@pytest.mark.parametrize("check", ["batch-single", "causality", "carry"])
def test_a_range_of_the_whole_call_is_named(check):
    """With how far a row moves; where anything else is wrong, too, that is looked for first."""
    said = diagnosis(quantised_subject(Integers), check)
    assert "one range for all rows, and all steps, of a call" in said.headline
    assert "moves by up to" in said.headline
    assert "range of the call" not in diagnosis(wrong_levels(), "batch-single").explanations[0].ids


def wrong_levels():
    """A layer that fails the same check, and divides weights by 128 beside that."""
    return next(m for m in QUANTISATION_MUTANTS if m.statement.startswith("The largest")).subject()


def test_what_rounds_nothing_is_told_so():
    """It is right in the arithmetic of its dtype."""
    subject = in_arithmetic(explicit(other_cells.Layer, "test:Layer"), "weights=8")
    assert "It rounds nothing" in diagnosis(subject).headline


def test_a_mistake_beside_declared_weights_is_named():
    """Also where checks fail that only a declared arithmetic has."""
    layer = coarse_cells.rounding(other_cells.NoTanh, lambda w: coarse_cells.scaled(w, 127))
    subject = in_arithmetic(explicit(layer, "test:Layer"), "weights=8")

    said = diagnosis(subject, "tie-rounding", "forward", "shapes")

    assert "tanh is not applied to c_t" in said.headline


def test_no_other_arithmetic_explains_wrong_equations():
    """So that f and o exchanged are looked for among mistakes, and found there."""

    class Swapped(FixedPoint):
        def forward(self, p, x, state):
            p = {n: np.stack([a[0], a[3], a[2], a[1]]) for n, a in p.items()}
            return FixedPoint.forward(self, p, x, state)

    subject = quantised_subject(Swapped)
    failing = [hold(subject, check_named("forward"), "float64", budget=BUDGETS["quick"])]

    assert failing[0].status == "failed"
    assert not other_arithmetic(subject, "float64", failing).explanations


class KeepsDigits:
    """An RNN in fixed point whose state keeps, from step to step, what should be rounded away."""

    cell, quantised = "rnn", "fixed=<16,6>"

    def forward(self, params, x, state):
        def fixed(v):
            return np.clip(np.rint(v * 1024) / 1024, -32, 32 - 1 / 1024)

        W, U, b = (fixed(params[name][0]) for name in ("W", "U", "b"))
        h = fixed(state[0]) if state else np.zeros((x.shape[1], len(U)), x.dtype)
        y = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(fixed(x)):
            h = np.tanh(fixed(x_t @ W + h @ U + b))
            y[t] = fixed(h)
        return y, (fixed(h),)


def test_fixed_point_that_is_declared_is_not_the_answer():
    """That it computes in fixed point is known; that some of it is not rounded is said."""
    said = diagnosis(in_arithmetic(explicit(KeepsDigits, "test:Layer"), KeepsDigits.quantised))

    assert "is not rounded, or not cut off, as declared" in said.headline
    assert "fixed=<16,6>" in said.explanations[0].fixes[0]


def test_alternatives_are_arithmetics_and_none_is_the_declared_one():
    for layer in RIGHT:
        declared = Quantisation.parse(layer.quantised)
        every = list(alternatives(declared))

        assert len(every) > 10
        assert declared not in every


@pytest.mark.parametrize("rounding", ["even", "down"])
def test_how_a_layer_in_fixed_point_rounds_is_measured(rounding):
    """So that it can be told how to declare it."""
    parts = {"nearest": lambda self, v: ROUNDINGS[rounding](v)}
    layer = explicit(type("Layer", (FixedPoint,), parts), "test:Layer")
    way = fixed_point_of(layer, "float64", Format(16, 6))

    assert way == Quantisation(fixed="<16,6>", rounding=rounding)
    assert fixed_point_of(layer, "float64", Format(16, 5)) is None
    assert fixed_point_of(layer, "float64", Format(40, 6)) is None


def test_a_measured_grid_is_declared_by_what_makes_it():
    for text in ("weights=4", "weights=8, per=channel", "weights=8, weight_zero=yes, per=gate",
                 "weights=8, weight_levels=127.5", "weights=8, matrices=x"):  # fmt: skip
        quantisation = Quantisation.parse(text)
        grid = replace(grid_of(quantisation), through_zero=False)

        assert declaration(grid) == quantisation
    assert declaration(Grid("step", step=0.5)) is None
