"""Right layers in integers pass in the arithmetic that they declare; every mistake is seen."""

import re
from dataclasses import replace

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named, subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.mutants.quantised import (
    HELD_TO,
    QUANTISATION_MUTANTS,
    RIGHT,
    CellState,
    Fixed,
    Integers,
    quantised_subject,
)
from gatewise.verify.subjects.inputs import draw_inputs

OF_QUANTISATION = ("tie-rounding", "saturation", "zero-point", "channel-scale", "row-scale",
                   "state-scale")  # fmt: skip
ORDINARY = [(5, 3, 5, 4), (8, 2, 3, 6), (4, 4, 8, 8)]
"""Sizes of inputs with which somebody would compare such a layer: T, B, D, H."""


def verdict(subject, check, drawn=3):
    return hold(subject, check_named(check), subject.dtypes[0], budget=Budget(drawn, 2),
                shrink=False)  # fmt: skip


def outputs(subject, case):
    """Outputs with parameters as torch.nn.LSTM draws them, between -1/√H and 1/√H."""
    drawn, rng = draw_inputs(subject, case), np.random.default_rng(case.seed)
    end = case.H**-0.5
    named = {n: rng.uniform(-end, end, a.shape).astype(a.dtype)
             for n, a in drawn.parameters.items()}  # fmt: skip
    result = subject.build(case).forward(replace(drawn, parameters=named))
    return np.concatenate([np.ravel(a) for a in (result.y, *result.final)])


@pytest.mark.parametrize("layer", RIGHT, ids=lambda layer: layer.__name__)
def test_right_layers_pass_in_their_own_arithmetic(layer):
    subject = quantised_subject(layer)
    for check in (*HELD_TO, "batch-permutation", "gate-limits"):
        seen = verdict(subject, check, 6)
        wanted = ("passed", "not supported") if check == "state-scale" else ("passed",)
        assert seen.status in wanted, f"{check}: {seen.status} {seen.message}"


@pytest.mark.parametrize("mutant", QUANTISATION_MUTANTS, ids=lambda mutant: mutant.id)
def test_every_mistake_is_killed_and_a_usual_tolerance_sees_none(mutant):
    """Within 1e-2 the outputs are those of the right layer; within derived bounds they are not."""
    subject, right = mutant.subject(), quantised_subject(mutant.layer)
    for T, B, D, H in ORDINARY:
        P = 3 if mutant.cells == ("lstm-projected",) else 0
        case = Case(T, B, D, H, P=P, dtype=subject.dtypes[0], seed=T)
        np.testing.assert_allclose(outputs(subject, case), outputs(right, case), 1e-2, 1e-2)

    (check,) = mutant.killed_by
    assert verdict(subject, check, 12).status == "failed"


def test_there_are_twenty():
    assert len(QUANTISATION_MUTANTS) >= 20
    assert {check for m in QUANTISATION_MUTANTS for check in m.killed_by} == {*HELD_TO}
    assert len({m.statement for m in QUANTISATION_MUTANTS}) == len(QUANTISATION_MUTANTS)


@pytest.mark.parametrize("page", ["CHANGELOG.md", "docs/tolerances.md"])
def test_their_number_stands_where_it_is_told(root, page):
    told = " ".join((root / page).read_text(encoding="utf-8").split())
    (number,) = re.findall(r"(\d+) (?:that|layers) \[?quantise wrongly", told)
    assert int(number) == len(QUANTISATION_MUTANTS)


def test_a_row_of_a_batch_is_held_to_that_row_alone():
    """With one range for all rows a row depends on the others; with one for each it does not."""
    by_name = {layer.__name__: quantised_subject(layer) for layer in RIGHT}
    assert verdict(by_name["Integers"], "batch-single").status == "failed"
    assert verdict(by_name["PerRow"], "batch-single").status == "passed"


def test_checks_of_quantisation_concern_quantised_subjects_alone():
    """Who declares nothing is not told of checks that are not for him."""
    subject = quantised_subject(RIGHT[0])
    of_it = {c.id for c in subject_checks() if c.concerns(subject)}
    of_others = {c.id for c in subject_checks() if c.concerns(subject.subject)}
    assert of_it - of_others == set(OF_QUANTISATION)


UNSEEN = {
    "zero-point": (Integers, {"ends": lambda self, a, letter: (
        a.min(keepdims=True), a.max(keepdims=True))}),
    "saturation": (Integers, {"sums": lambda self, a, w: np.clip(a @ w, -(2**15), 2**15 - 1)}),
    "state-scale": (CellState, {
        "state_stored": lambda self, c: np.clip(
            CellState.state_stored(self, c), np.float32(-8), np.float32(8))}),
    "tie-rounding": (Fixed, {"nearest": lambda self, v: np.copysign(np.floor(abs(v) + 0.5), v)}),
}  # fmt: skip
"""Checks, and parts of a layer that are wrong only where these checks look."""


@pytest.mark.parametrize("check", UNSEEN)
def test_a_check_sees_what_ordinary_numbers_do_not_show(check):
    layer, parts = UNSEEN[check]
    subject = quantised_subject(type("Wrong", (layer,), parts))
    ordinary = hold(subject, check_named("forward"), "float32", case=Case(5, 3, 5, 4, seed=2,
                    dtype="float32"))  # fmt: skip

    assert ordinary.status == "passed"
    assert verdict(subject, check, 6).status == "failed"
