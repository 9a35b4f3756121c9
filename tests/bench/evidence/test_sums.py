"""Published sums of cuDNN: all of them hold, and an error in the equations is named by its sums."""

import json
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke, refused
from gatewise.bench.evidence.plan import (
    PUBLISHED,
    Layer,
    case_of,
    cotangents_of,
    expected,
    half_unit,
    inputs_of,
    publication,
    rejected,
    sums_by,
)
from gatewise.reference.cells import gru_reset_after, lstm
from gatewise.verify.checks.oracle import expected_gradient
from gatewise.verify.mutants import mutants, right_subject
from gatewise.verify.numbers.bounded import Bounded
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.called import under_test

SETTING = publication(PUBLISHED)
LAYERS = [Layer(SETTING, group, cell) for group in SETTING.groups for cell in group.sums]
ONE = SETTING.groups[0]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_every_published_sum_is_within_its_bound(layer):
    ratios = {published.quantity: published.ratio for published in layer.sums}
    assert ratios.keys() == layer.group.sums[layer.cell].keys()
    assert max(ratios.values()) <= 1, ratios


def test_there_are_44_sums_39_of_them_distinct():
    printed = [text for layer in LAYERS for text in layer.group.sums[layer.cell].values()]
    assert len(printed) == 44
    assert len({*printed}) == 39


def test_half_a_unit_of_the_last_digit():
    assert half_unit("1.315793E+06") == pytest.approx(0.5)
    assert half_unit("4.501830E+00") == pytest.approx(5e-7)


def test_one_row_stands_for_all():
    """At a small size, where all rows can be computed: the same sums, and bounds that hold them."""
    small = replace(SETTING, steps=3, batch=4, input=5, hidden=6)
    subject, case = under_test(subject_named("torch:LSTM")), case_of(small, ONE, rows=4)
    whole = expected_gradient(subject, case, inputs_of(subject, case, ONE),
                              cotangents_of(subject, case))  # fmt: skip
    by_row = expected(small, ONE, "lstm")
    dw = whole.parameters.values()

    assert by_row["y"].value == pytest.approx(whole.y.value.sum(), rel=1e-12)
    assert by_row["y"].bound == pytest.approx(whole.y.bound.sum(), rel=1e-6)
    assert by_row["dw"].value == pytest.approx(sum(g.value.sum() for g in dw), rel=1e-12)
    assert by_row["dw"].bound >= sum(g.bound.sum() for g in dw)


def test_a_right_layer_is_not_rejected():
    """By the route that mutants take."""
    layer = next(one for one in LAYERS if one.name == "one direction: gru")
    assert rejected(layer.sums, sums_by(right_subject("gru"), SETTING, ONE, "gru")) == []


@pytest.mark.parametrize(("id", "quantities"), [
    ("C05", {"y", "hy", "dhx", "dw"}),  # the reset before the product: 1.6 % in y
    ("C06", {"y", "hy", "dx", "dhx", "dw"}),  # a bias counted once
])  # fmt: skip
def test_conventions_that_the_gru_does_not_have_are_rejected(id, quantities):
    layer = next(one for one in LAYERS if one.name == "one direction: gru")
    (mutant,) = (m for m in mutants() if m.id == id)
    assert quantities <= {*layer.row_of(mutant)["rejected_by"]}


@pytest.fixture
def held(tmp_path):
    """Hold one layer's sums by the command; return its exit code and what it says."""

    def run(cell):
        given = json.loads(PUBLISHED.read_text(encoding="utf-8"))
        group = given["groups"][0]
        given["groups"] = [group | {"sums": {cell: group["sums"][cell]}}]
        path = tmp_path / "sums.json"
        path.write_text(json.dumps(given), encoding="utf-8")
        return invoke("evidence --sums", path, "--runs", tmp_path / "runs")

    return run


def reset_before(p, x, h, r):
    return np.tanh(x @ p.W_n + p.b_n + (r * h) @ p.U_n + p.b_hn)


def test_a_reset_before_the_product_turns_the_command_red(held, monkeypatch):
    monkeypatch.setattr(gru_reset_after, "candidate_reset_after", reset_before)
    result = held("gru")
    assert result.exit_code == 1, result.output
    assert "Beyond them: one direction, gru: y; one direction, gru: hy" in result.output
    assert result.output.count("BEYOND THE BOUND") >= 2


def test_a_dropped_path_of_the_cell_state_turns_the_command_red(held, monkeypatch):
    """dc through h' alone: the outputs stay, the gradients do not."""
    real = lstm.cell_state_vjp
    monkeypatch.setattr(lstm, "cell_state_vjp", lambda f, c, i, g, dc: (
        real(f, c, i, g, dc)[0], 0.0 * real(f, c, i, g, dc)[1], *real(f, c, i, g, dc)[2:]
    ))  # fmt: skip
    result = held("lstm")
    assert result.exit_code == 1, result.output
    beyond = result.output.partition("Beyond them: ")[2].partition(".\n")[0]
    assert "one direction, lstm: dcx" in beyond
    assert "one direction, lstm: y" not in beyond


def test_a_bias_counted_once_turns_the_command_red(held, monkeypatch):
    """The layer's bias is halved: of two biases of 1 one is left."""
    real = Bounded.exact

    def halved(value, arithmetic):
        array = np.asarray(value, dtype=np.float64)
        is_recurrent_bias = array.ndim == 1 and array.size == 4 * 512 and next(counted) % 2
        return real(np.zeros_like(array) if is_recurrent_bias else array, arithmetic)

    counted = iter(range(10**6))
    monkeypatch.setattr(Bounded, "exact", staticmethod(halved))
    result = held("lstm")
    assert result.exit_code == 1, result.output
    assert "one direction, lstm: y" in result.output.partition("Beyond them: ")[2]


def test_the_command_says_how_many_and_all_are_within(held):
    result = held("rnn")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("5 of 5 published sums are within their derived bounds.")
    assert all(len(line) <= 80 for line in result.output.splitlines() if "run: " not in line)


def test_a_file_that_holds_something_else_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "sums.json"
    path.write_text('{"what": 3}', encoding="utf-8")
    refused(invoke("evidence --sums", path), 2, "sums.json")
