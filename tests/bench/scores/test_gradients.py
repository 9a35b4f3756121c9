"""Edits of right backward passes: made at a known place, kept where they change a gradient."""

import ast
import json
import re

import numpy as np
import pytest

from gatewise.bench.scores import edits, gradients, score
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation, Location
from judgements import verdict_is

SMALL = '''
def backward(x, h_prev, h_new, dz, dh):
    for t in reversed(range(3)):  # at: time
        dh = dh + dz * (1 - h_new)  # at: path h
        dU = h_prev.T @ dz  # at: U
    return [dh * 2, dz * 3]
'''  # fmt: skip


def edited(source, kind):
    return {e.after for e in edits.edits(source) if e.kind == kind}


def test_every_kind_of_edit_is_made_of_a_small_pass():
    assert edited(SMALL, edits.BOUNDS) == {
        "for t in range(3):",
        "for t in reversed(range(1, 3)):",
        "for t in reversed(range(3 - 1)):",
    }
    assert "dh = dh" in edited(SMALL, edits.TERM)
    assert "dh = dh + dz" in edited(SMALL, edits.FACTOR)
    assert "dh = dh - dz * (1 - h_new)" in edited(SMALL, edits.SIGN)
    assert "dh = dh + (dz * 1 - h_new)" in edited(SMALL, edits.PARENTHESIS)
    assert edited(SMALL, edits.TRANSPOSE) == {"dU = h_prev @ dz"}
    assert "dU = h_new.T @ dz" in edited(SMALL, edits.STATE)
    assert "dU = h_prev.T @ dh" in edited(SMALL, edits.NAME)


def test_edits_stay_in_statements_with_a_place_and_carry_it():
    for edit in edits.edits(SMALL):
        assert edit.line in (3, 4, 5)
        assert edit.places == {3: ("time",), 4: ("path h",), 5: ("U",)}[edit.line]
        assert edit.after in edit.source
        assert edit.before not in ast.unparse(ast.parse(edit.source))
        assert "return [dh * 2, dz * 3]" in edit.source


def test_an_entry_of_a_list_has_the_place_of_its_own():
    source = "def vjp(i, f, d):\n    a = np.stack([d * i, d * f])  # at: gate i | gate f\n"
    for edit in edits.edits(source):
        first = edit.after.removeprefix("a = np.stack([").partition(",")[0] != "d * i"
        assert edit.places == (("gate i",) if first else ("gate f",)), edit


def test_every_statement_that_computes_a_gradient_says_where():
    for name in gradients.names():
        for line in gradients.source(name).splitlines():
            if re.search(r"\bd\w* \+= |^ *for t in .*(reversed|-1)", line):
                assert "# at: " in line, f"{name}: {line}"
        for comment in re.findall("# at: (.*)", gradients.source(name)):
            places = {word.strip() for word in re.split("[,|]", comment)}
            assert places <= gradients.NAMES.keys(), f"{name}: {comment}"


@pytest.mark.parametrize("name", gradients.names())
def test_the_passes_are_right(name):
    held = gradients.subject(name, gradients.source(name))
    for check in ("forward", "gradient", "cotangents", "no-steps"):
        verdict_is(hold(held, check_named(check), "float64", budget=BUDGETS["quick"]), "passed")


def test_there_are_more_than_200_edits_that_change_a_gradient():
    living = [
        e
        for e in gradients.edits_of("gru_before_lists")
        if gradients.changes(*("gru_before_lists", e))
    ]
    assert len(living) > 200
    assert {e.kind for e in living} >= set(edits.KINDS) - {edits.TRANSPOSE, edits.FUNCTION}


def test_an_edit_that_changes_nothing_or_raises_does_not_count():
    (same,) = [
        e for e in edits.edits("def vjp(x):\n    y = x.T  # at: x\n") if e.kind == edits.TRANSPOSE
    ]
    source = gradients.source("rnn_lists")
    nothing = edits.Edit(0, "", 1, "", "", (), source)
    raising = edits.Edit(0, "", 1, "", "", (), source.replace("dbh += ", "dbh += missing + "))
    wider = edits.Edit(0, "", 1, "", "", (), source.replace('"b": dbh[None]', '"b": dbh'))
    assert same.after == "y = x"
    assert not any(gradients.changes("rnn_lists", e) for e in (nothing, raising, wider))


def told(statement="", **fields):
    explanations = [Explanation(("G",), (statement,), ())] if statement else []
    return Diagnosis("s", "float64", explanations=explanations, **fields)


def test_a_place_is_named_in_words_or_by_the_only_arrays_that_are_off():
    assert gradients.located(told("The factor f of the forget gate is missing."), ["gate f"])
    assert not gradients.located(told("The gradient of U is of one row."), ["gate f"])
    assert not gradients.located(told("The input gate's slope is missing."), ["x"])
    of_u = Location("gradients", quantities=("gradient of U_l0",))
    both = Location("gradients", quantities=("gradient of U_l0", "gradient of x"))
    assert gradients.located(told(location=of_u), ["gate f", "U"])
    assert not gradients.located(told(location=both), ["U"])
    first = Location("gradients", place="gate f, unit 0")
    assert gradients.located(told(location=first), ["gate f"])
    assert not gradients.located(told(location=Location("gradients", place="step 0")), ["time"])


def test_who_names_all_gates_names_none():
    every = "dh is the sum of dz_i U_i, dz_f U_f, dz_g U_g and dz_o U_o."
    assert not gradients.names_any(every, ["gate f"])
    assert gradients.names_any(every, ["gate f", "path h"])
    assert gradients.names_any("dz_i and dz_f are exchanged.", ["gate f"])


def test_a_row_of_a_catalogued_edit_is_caught_located_and_explained():
    found = next(e for e in gradients.edits_of("rnn_lists") if e.after == "dWhh += hs[t].T @ dhraw")
    row = gradients.row("rnn_lists", found.number)
    assert (row.caught, row.located, row.explained, row.wrong_story) == (True, True, True, False)
    assert row.places == ("U",)
    assert not row.missed


def test_samples_take_groups_in_turns_and_are_the_same_for_a_seed():
    entries = ["a1", "a2", "a3", "b1", "c1"]
    mixed = list(score.in_turns(entries, lambda e: e[0], 3))
    assert sorted(mixed) == entries
    assert {e[0] for e in mixed[:3]} == set("abc")
    assert mixed == list(score.in_turns(entries, lambda e: e[0], 3))


def made(explained, wrong_story):
    return gradients.Row(
        name="p", number=0, kind=edits.TERM, line=1, before="a | b", after="b", places=("U",),
        caught=True, located=False, explained=explained, wrong_story=wrong_story, said="x",
        seconds=2.0, check_seconds=1.0, cpu_seconds=1.5,
    )  # fmt: skip


def test_totals_count_wrong_stories_apart():
    totals = gradients.totals([made(True, True)])
    assert totals["wrong stories"] == 1
    assert totals["explained"] == "0 (0 %)"
    assert totals["caught"] == "1 (100 %)"
    assert np.isclose(totals["median seconds with checks"], 3.0)
    assert made(True, True).result == "WRONG STORY"


@pytest.mark.parametrize("as_json", [True, False])
def test_misses_are_kept_as_a_table(tmp_path, capsys, as_json):
    misses = tmp_path / "misses.md"
    score.tell("edits", gradients.COLUMNS, [made(False, False)], {"edits": 1},
               missed=lambda r: r.missed, misses=misses, as_json=as_json)  # fmt: skip
    text = misses.read_text(encoding="utf-8")
    told = capsys.readouterr().out
    assert "1 of 1 missed" in text
    assert "`a \\| b` → `b`" in text
    assert json.loads(told)["rows"][0]["name"] == "p" if as_json else "edits: edits 1" in told
