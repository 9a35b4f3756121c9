"""Layers in coarse arithmetic: right for what they compute in, or wrong beside that."""

from dataclasses import replace

import numpy as np
import pytest

import coarse_cells as coarse
import other_cells
from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis.arithmetic import fixed_point as fixed_points
from gatewise.verify.diagnosis.arithmetic import grid as grids
from gatewise.verify.diagnosis.arithmetic.grid import Grid, Staircase, candidates, on_a_grid
from gatewise.verify.diagnosis.observation import Experiment, basic
from gatewise.verify.diagnosis.search import Explainer, observations
from gatewise.verify.mutants import Mutant, mutant_subject, right_subject
from gatewise.verify.mutants.held_out import UNKNOWN_MISTAKES
from gatewise.verify.subjects.explicit import explicit

LSTM, GRU = other_cells.Layer, other_cells.GRU


UNKNOWN = {m.id: m for m in UNKNOWN_MISTAKES}


def examined(layer, dtype="float64"):
    if isinstance(layer, Mutant):
        return on_a_grid(explainer(mutant_subject(layer, layer.cells[0]), dtype))
    return on_a_grid(explainer(explicit(layer, "coarse"), dtype))


def explainer(subject, dtype="float64"):
    return Explainer(subject, dtype, list(observations(subject, basic(subject, dtype))))


RIGHT = [
    (coarse.rounding(LSTM, lambda w: coarse.scaled(w, 127)),
     "8 bits, one scale for each matrix (its largest magnitude / 127)"),
    (coarse.rounding(LSTM, lambda w: coarse.scaled(w, 7, (1, 2))),
     "4 bits, one scale for each gate of each matrix"),
    (coarse.rounding(GRU, lambda w: coarse.scaled(w, 7, 1)),
     "4 bits, one scale for each unit of each gate"),
    (coarse.rounding(LSTM, lambda w: coarse.in_range(w, 255)),
     "8 bits, one scale for each matrix (its range / 255)"),
    (coarse.shared(LSTM), "8 bits, one scale for the matrices of x and h of each pass"),
    (coarse.rounding(LSTM, lambda w: np.round(w * 256) / 256), "multiples of 2^-8:"),
    (coarse.rounding(LSTM, lambda w: np.floor(w * 64) / 64), "multiples of 2^-6 (down):"),
    (coarse.rounding(GRU, lambda w: np.round(w * 100) / 100), "multiples of 0.01:"),
    (coarse.fixed_gru(12), "fixed point with 12 fractional bits, 17 in all"),
    (coarse.fixed_gru(9, np.floor), "fixed point with 9 fractional bits"),
    (coarse.fixed_rnn(10), "fixed point with 10 fractional bits"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "words"), RIGHT)
def test_what_is_right_for_its_arithmetic_is_no_mistake(layer, words):
    (explanation,) = examined(layer).explanations
    assert explanation.variant
    assert words in explanation.statements[0]
    assert "not wrong" in explanation.statements[0]


@pytest.mark.parametrize(("layer", "words"), [RIGHT[0], RIGHT[5], RIGHT[8]])
def test_in_float32_as_well(layer, words):
    (explanation,) = examined(layer, "float32").explanations
    assert explanation.variant
    assert words in explanation.statements[0]


MISTAKES = [
    (UNKNOWN["weights_rounded"], "multiples of 2^-6, those of x alone"),
    (coarse.rounding(LSTM, coarse.half), "Its weights are rounded to float16"),
    (coarse.storing(GRU), "Every output is rounded to float16"),
    (coarse.storing(LSTM, state=True), "State h and state c are rounded to float16"),
    (coarse.rounding(coarse.ForgetForOutput, lambda w: coarse.scaled(w, 127)),
     "The blocks of the gates are read in the order i o g f"),
    (coarse.rounding(other_cells.NoTanh, lambda w: coarse.scaled(w, 7, (1, 2))),
     "The new h is o c'"),
    (coarse.fixed_gru(12, polarity=True), "The update gate has the wrong polarity"),
    (coarse.fixed_rnn(10, bias=False), "The bias is never added"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "words"), MISTAKES)
def test_mistakes_are_named_in_coarse_arithmetic(layer, words):
    (explanation,) = examined(layer).explanations
    assert not explanation.variant
    assert words in explanation.statements[0]


def test_what_is_coarse_beside_a_mistake_is_a_note():
    found = examined(coarse.fixed_gru(12, polarity=True))
    assert "computes in fixed point with 12 fractional bits" in found.notes[0]
    found = examined(coarse.rounding(coarse.ForgetForOutput, lambda w: coarse.scaled(w, 127)))
    assert "Its weights are rounded to 8 bits, one scale for each matrix" in found.notes[0]


def test_what_is_too_coarse_is_not_judged():
    found = examined(coarse.fixed_rnn(3))

    assert not found.explanations
    assert found.notes == (
        "Its outputs are multiples of 2^-3: that is too coarse for its equations to be judged.",
    )


def test_a_mistake_that_nobody_knows_is_not_explained_by_coarseness():
    found = examined(coarse.rounding(other_cells.DoubledForget, lambda w: coarse.scaled(w, 127)))

    assert not found.explanations
    assert found.notes == (
        "Its weights are rounded to 8 bits, one scale for each matrix (its largest magnitude / "
        "127).",
    )


def test_a_rounding_under_which_nothing_can_be_told_explains_nothing():
    """Cut off, the largest weight may be one level or the next, so that every mistake fits."""
    layer = coarse.rounding(other_cells.NoTanh, lambda w: coarse.scaled(w, 127))
    subject = explicit(layer, "coarse")
    cases = Case(T=4, B=2, D=2, H=3), Case(T=2, B=3, D=4, H=5), Case(T=3, B=2, D=3, H=4)
    experiments = map(Experiment, ("dtype", "gate-limits", "forward"), cases)
    seen = Explainer(subject, "float64", list(observations(subject, experiments)))

    assert grids._wrong_too(Grid("scale", "matrix", 127, rounding="zero"), seen) is None
    assert grids._wrong_too(Grid("scale", "matrix", 127), seen).explanations


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_layers_get_no_story(cell, dtype):
    found = on_a_grid(explainer(right_subject(cell), dtype))
    assert (found.explanations, found.notes) == ([], ())


def test_bounds_that_hold_everything_are_noticed(monkeypatch):
    """With bounds as wide as all numbers, a wrong layer in fixed point passes."""
    wrong = coarse.fixed_gru(12, polarity=True)
    right = fixed_points.FixedPoint.arithmetic.fget
    wide = property(lambda self: replace(right(self), tiny=1.0))
    monkeypatch.setattr(fixed_points.FixedPoint, "arithmetic", wide)
    monkeypatch.setattr(fixed_points, "TELLING", np.inf)
    assert examined(wrong).explanations[0].variant


def test_a_comparison_that_sees_nothing_is_noticed(monkeypatch):
    """If every grid agrees, a mistake that nobody knows is explained by its rounded weights."""
    monkeypatch.setattr(grids.Staircase, "agree", lambda *given: True)
    monkeypatch.setattr(grids, "_residual", lambda *given: 0.0)
    wrong = coarse.rounding(other_cells.DoubledForget, lambda w: coarse.scaled(w, 127))
    assert examined(wrong).explanations[0].variant


def test_gradients_that_are_of_no_rounding_are_told_apart(monkeypatch):
    monkeypatch.setattr(grids, "_residual", lambda *given: np.inf)
    found = examined(RIGHT[0][0])
    assert not found.explanations
    assert "outputs are right for the rounded weights" in found.notes[0]


@pytest.mark.parametrize(("part", "lowest", "words"), [
    ("weight", None, "all matrices of all layers and directions share one scale (the largest of"),
    ("_l0", None, "later layers and directions take the scale of the first one's matrices"),
    ("_l0", -128, "later layers and directions take the scale of the first one's matrices"),
])  # fmt: skip
def test_a_scale_that_layers_share_is_a_mistake(part, lowest, words):
    pytest.importorskip("torch")
    import hand_written
    from gatewise.verify.subjects import adapted

    class Shared(hand_written.LSTM):
        def part(self, name, suffix):
            whole = super().part(name, suffix)
            if "bias" in name:
                return whole
            named = [(n, p.detach()) for n, p in self.named_parameters() if "weight" in n]
            weights = [p for n, p in named if part in n and (part != "_l0" or n.endswith(part))]
            step = max(w.abs().max() for w in weights) / 127
            levels = (whole / step).round()
            levels = levels if lowest is None else levels.clamp(lowest, 127)
            return whole + (levels * step - whole).detach()

    found = on_a_grid(explainer(adapted(Shared, "shared", "torch.nn.LSTM")))
    (explanation,) = found.explanations
    assert not explanation.variant
    assert words in explanation.statements[0]


def test_the_width_of_a_step_is_measured():
    subject = explicit(coarse.rounding(LSTM, lambda w: np.round(w * 32) / 32), "coarse")
    stairs = Staircase(subject, "float64")
    places = list(stairs.places())
    widths = {place: stairs.step(place)[1] for place in places}

    np.testing.assert_allclose(list(widths.values()), 1 / 32, rtol=1e-4)
    assert next(candidates(stairs, widths)) == Grid("step", step=1 / 32)
