"""The catalogue in other hands: right layers are right, each text is the mutant it stands for."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.bench.scores import diagnosis, other_hands
from gatewise.bench.scores.hands import filled, layer, places
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.hypotheses import NOTHING_WRONG, Guess, of_mutant
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.mutants import mutants
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")

KNOWN = {m.id: m for m in mutants()}
PLAIN = Case(4, 3, 2, 5)
CASES = {
    "no state": replace(PLAIN, state=False),
    "square": Case(3, 3, 3, 3),
    "one row": Case(1, 1, 2, 3),
    "lengths": replace(PLAIN, B=7, lengths=True),
    "row of length 0": replace(PLAIN, lengths=True, zero_length=True),
    "no steps": Case(0, 2, 2, 3),
    "deep": replace(PLAIN, layers=2, bidirectional=True, lengths=True),
    "two directions": replace(PLAIN, bidirectional=True),
    "batch first": replace(PLAIN, layout="batch-first"),
    "no batch": Case(5, 1, 2, 5, layout="unbatched"),
    "wide": Case(34, 2, 2, 67),
    "many": Case(140, 4, 1, 2),
}

LONG = ("F14", "W07", "W03", "W05", "W02", "W06", "W01", "P09")
RAISES = ("P01",)
RANDOM = ("Q09", "S15")
HIDDEN = ("D03", "D04", "G12", "M10", "P08", "L11", "P07", "S08", "W04", "D02", "D01", "D05", "Q13",
          "Q17")  # fmt: skip
"""Seen in several calls, with NaN or large numbers, other dtypes or very long input: not here."""


def numbers(built, inputs, pair):
    with np.errstate(all="ignore"):
        (pulled,) = built.gradients(inputs, [pair])
    finals = {f"final {k}": a for k, a in enumerate(pulled.final)}
    initial = {f"initial {k}": a for k, a in enumerate(pulled.initial)}
    return {"y": pulled.y, "x": pulled.x, **finals, **initial, **pulled.parameters}


def alike(one, other):
    return {
        name: np.allclose(one[name], other[name], rtol=1e-9, atol=1e-9, equal_nan=True)
        for name in one
    }


def held_like_its_mutant(hand):
    """Whether a layer returns its mutant's numbers, and whether these differ from right ones."""
    held, differs = other_hands.written(hand), False
    chosen = [PLAIN, *CASES.values()]
    for case in chosen if hand.id in LONG else chosen[:-2]:
        if held.options.lacking(case):
            continue
        given = draw_inputs(held, case), draw_cotangents(held, case)
        mutant, right = (
            Guess(held, edit).as_subject.build(case)
            for edit in (of_mutant(KNOWN[hand.id]), NOTHING_WRONG)
        )
        mine, theirs = numbers(held.build(case), *given), numbers(mutant, *given)
        same = alike(theirs, mine)
        assert all(same.values()), f"{hand} {case}: {same}"
        differs = differs or not all(alike(theirs, numbers(right, *given)).values())
    return differs


def written(style, *cells):
    apart = {*RAISES, *RANDOM, *HIDDEN}
    masks = {id for id, mutant in KNOWN.items() if "dropout" in mutant.needs}
    return [
        hand
        for hand in other_hands.hands()
        if hand.style == style and hand.cell in cells and hand.id not in apart | masks
    ]


@pytest.mark.parametrize("cell", other_hands.CELLS)
def test_every_numpy_text_is_its_mutant(cell):
    for hand in written(other_hands.NUMPY, cell):
        assert held_like_its_mutant(hand), f"{hand} changes nothing"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_torch_texts_of_a_cell_are_its_mutants(cell):
    pytest.importorskip("torch")
    of_cells = layer("torch_loop").mistakes.values()
    for hand in written(other_hands.LOOP, cell):
        if len({str(mistakes.get(hand.id)) for mistakes in of_cells}) > 1:
            assert held_like_its_mutant(hand), f"{hand} changes nothing"


def test_the_torch_texts_of_any_cell_are_their_mutants():
    pytest.importorskip("torch")
    for hand in written(other_hands.LOOP, "rnn"):
        assert held_like_its_mutant(hand), f"{hand} changes nothing"


@pytest.mark.parametrize(
    ("style", "cell"), sorted({(hand.style, hand.cell) for hand in other_hands.hands()})
)
def test_layers_without_a_mistake_are_right(style, cell):
    if style != other_hands.NUMPY:
        pytest.importorskip("torch")
    held = other_hands.subject(style, cell)
    for id in ("forward", "gradient", "no-steps", "dropout", "modes", "batch-first", "zero-length"):
        check = check_named(id)
        if not held.options.missing(check.needs):
            verdict = hold(held, check, "float64", budget=BUDGETS["quick"])
            if check.concerns(held) and verdict.status != "not supported":
                assert verdict.status == "passed", f"{id}: {verdict.message}"


@pytest.mark.parametrize("id", ["M03", "M05", "M06", "M07", "M08", "M09", "G05"])
def test_mistakes_in_masks_are_caught(id):
    pytest.importorskip("torch")
    held = other_hands.written(other_hands.Hand(other_hands.LOOP, "rnn", id))
    check = check_named(KNOWN[id].killed_by[0])
    assert hold(held, check, "float64", budget=BUDGETS["quick"], shrink=False).wrong


def test_a_compiled_layer_with_a_text_computes_what_the_loop_does():
    pytest.importorskip("torch")
    for cell, id in (("lstm", "F05"), ("gru", "C07"), ("rnn", "S07")):
        hand = other_hands.Hand(other_hands.COMPILED, cell, id)
        source = other_hands.source(hand.style, cell, other_hands.texts(hand.style, cell)[id])
        assert ("torch.jit.script" in source) == (cell != "gru")
        assert ("torch.vmap" in source) == (cell == "gru")
        assert held_like_its_mutant(hand)


def test_every_mutant_is_written_or_has_a_reason():
    for mutant in mutants():
        wrote = any(hand.id == mutant.id for hand in other_hands.hands())
        assert wrote != bool(other_hands.why_not(mutant)), mutant.id
    assert {hand.style for hand in other_hands.hands()} == set(other_hands.STYLES)
    assert {hand.id for hand in other_hands.hands()} <= KNOWN.keys()


def test_places_take_one_line_or_several():
    template = "if x:\n    «first: pass»\n    y = f(«inner: 1», 2)\n«last»\n"
    assert places(template) == {"first", "inner", "last"}
    assert filled(template, {}) == "if x:\n    pass\n    y = f(1, 2)\n\n"
    made = filled(template, {"first": "a = 1\nif a:\n    b", "inner": "3", "last": "z"})
    assert made == "if x:\n    a = 1\n    if a:\n        b\n    y = f(3, 2)\nz\n"
    with pytest.raises(KeyError, match="no such place: other"):
        filled(template, {"other": "1"})


def test_a_mutant_in_numpy_is_named():
    row = other_hands.row(other_hands.NUMPY, "rnn", "G18")
    assert (row.caught, row.named, row.result) == (True, True, "named"), row
    assert 0 < row.cpu_seconds
    assert 0 < row.seconds


def test_a_diagnosis_that_raises_is_a_row_that_says_so(monkeypatch):
    def raising(*arguments):
        raise ValueError("one row")

    monkeypatch.setattr(diagnosis, "diagnose", raising)
    row = other_hands.row(other_hands.NUMPY, "rnn", "G16")
    assert (row.caught, row.result) == (True, "UNEXPLAINED")
    assert "could not be diagnosed: ValueError: one row" in row.said


def test_other_names_count_where_they_are_the_same():
    assert other_hands.equal(KNOWN["L01"]) == {"L01", "order figo", "convention"}
    assert other_hands.equal(KNOWN["D01"]) == {"D01", "arithmetic float32"}
    assert other_hands.equal(KNOWN["G18"]) == {"G18"}
    assert other_hands.names(KNOWN["G16"], ["G16", "J01"])
    assert not other_hands.names(KNOWN["G16"], ["J01"])
    assert not other_hands.names(KNOWN["G16"], ["G16", "G06"])
    row = other_hands.Row(
        id="G18", cell="rnn", style="numpy", caught=True, named=False, explanations=("G06",),
        said="s", failed=(), seconds=1.0, check_seconds=2.0, cpu_seconds=0.5,
    )  # fmt: skip
    assert row.result == "OTHERWISE"
    assert replace(row, explanations=()).result == "UNEXPLAINED"
    assert other_hands.totals([row, replace(row, named=True)])["named"] == "1 (50 %)"


def test_numpy_sources_have_the_texts_in_them():
    text = layer("numpy_loop").source("gru", layer("numpy_loop").mistakes["gru"]["F07"])
    assert "np.tanh(x @ W[2] + b[2] + s)" in text
    assert "dr, ds = 0 * dr, dn" in text
    assert "«" not in text
