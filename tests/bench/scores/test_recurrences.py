"""Mistakes in recurrences without equations: each is in a layer, and does what is said of it."""

import pytest

import gatewise
from gatewise.bench.scores import recurrences, score
from gatewise.bench.scores.recurrences import LAYERS, Edit, Mistake, Row, mistakes

MISTAKES = mistakes()
NUMBERS = {(m.layer, m.what): number for number, m in enumerate(MISTAKES)}


def test_every_mistake_changes_its_layer_and_no_two_are_the_same():
    texts = [recurrences.wrong_source(m) for m in MISTAKES]
    assert len({*texts, *map(recurrences.source, LAYERS)}) == len(MISTAKES) + len(LAYERS)
    assert len(NUMBERS) == len(MISTAKES) >= 40
    assert {m.layer for m in MISTAKES if not m.provable} == {*LAYERS}


def test_a_piece_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="there is no 'nothing of the kind'"):
        recurrences.wrong_source(Mistake(LAYERS[0], "", (Edit("nothing of the kind", ""),)))


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layers_are_right(layer):
    right = score.layer_of_text(recurrences.source(layer))
    outcome = gatewise.check(right, budget="quick", explain=False)
    assert outcome, outcome


@pytest.mark.parametrize(("layer", "what", "seen_by"), [
    ("zoneout_lstm", "c is not returned: h twice", "carry"),
    ("zoneout_lstm", "the cotangent of the final c is ignored", "derivative"),
    ("minimal_gru", "outputs lag a step behind", "final"),
    ("conv_rnn", "outputs go on in the padding", "padding"),
    ("conv_rnn", "the noise stays on after training", "modes"),
    ("zoneout_lstm", "the bias is forgotten", "uses"),
    ("zoneout_lstm", "the gates stand in another order", ""),
    ("conv_rnn", "another activation", ""),
])  # fmt: skip
def test_a_mistake_is_seen_where_it_can_be(layer, what, seen_by):
    row = recurrences.row(NUMBERS[layer, what])
    assert seen_by in row.failed if seen_by else row.failed == ()
    assert row.result == ("seen" if seen_by else "unprovable")


def test_what_is_not_as_expected_is_named_so():
    rows = [Row("a", "x", True, ()), Row("a", "y", False, ("carry",)), Row("a", "z", False, ())]

    assert [r.missed for r in rows] == [True, False, False]
    assert recurrences.totals(rows) == {
        "mistakes": 3, "missed": 1, "seen, unexpectedly": 1, "unprovable": 1,
    }  # fmt: skip
