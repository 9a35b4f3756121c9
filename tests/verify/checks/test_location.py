"""Where a wrong number stands, in words: each index is that of its own axis."""

import pytest

import miniatures
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.checks.location import place, possible, touched
from gatewise.verify.numbers.ledger import Comparison

PLAIN = Case(9, 8, 7, 3)
DEEP = Case(9, 8, 7, 3, layers=2, bidirectional=True)


def told(quantity, first, case=PLAIN, where=(0, 0, 0)):
    comparison = Comparison(quantity, 2.0, where, first, 1.0, 0.0, 0.1, sharp=True)
    return place(miniatures.Right(), case, comparison)


@pytest.mark.parametrize(("quantity", "first", "case", "words"), [
    ("y", (5, 4, 2), PLAIN, "step 5, row 4, unit 2"),
    ("y", (5, 4, 2), DEEP, "step 5, row 4, unit 2, forward"),
    ("y", (5, 4, 4), DEEP, "step 5, row 4, unit 1, backward"),
    ("row 1 alone: y", (5, 4, 2), PLAIN, "step 5, row 4, unit 2"),
    ("y", (5, 4), PLAIN, ""),
    ("final c", (0, 4, 2), PLAIN, "row 4, unit 2"),
    ("final c", (1, 4, 2), DEEP, "row 4, unit 2, layer 0, backward"),
    ("final h", (2, 4, 2), DEEP, "row 4, unit 2, layer 1, forward"),
    ("gradient of x", (5, 4, 6), PLAIN, "step 5, row 4, feature 6"),
    ("gradient of initial h", (3, 4, 2), DEEP, "row 4, unit 2, layer 1, backward"),
    ("gradient of weight_ih_l0", (4, 6), PLAIN, "gate f, unit 1"),
    ("gradient of weight_ih_l1_reverse", (9, 2), DEEP, "gate o, unit 0, layer 1, backward"),
    ("gradient of something", (1, 1), PLAIN, ""),
])  # fmt: skip
def test_an_entry(quantity, first, case, words):
    assert told(quantity, first, case) == words


def test_on_the_way_back_the_worst_entry_counts():
    words = told("cotangent on y[7]: gradient of x", (1, 0, 0), where=(6, 5, 4))
    assert words == "step 6, row 5, feature 4"


def test_nothing_is_off():
    assert told("y", None) == ""


def test_equations_of_depth_are_touched_where_there_is_depth():
    check, right = check_named("forward"), miniatures.Right()
    of_depth = {"stacked", "bidirectional"}
    assert of_depth <= set(possible(right, check))
    assert of_depth <= set(touched(right, check, DEEP))
    assert not of_depth & set(touched(right, check, PLAIN))
    assert "lstm.forget_gate" in touched(right, check, PLAIN)
