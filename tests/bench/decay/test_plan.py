"""``gatewise bench decay``: what it plans, what its rows hold, and how it is told."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from commands import invoke
from gatewise.bench import run
from gatewise.bench.decay import measurement as measuring
from gatewise.bench.decay import plan
from gatewise.bench.decay.problem import Setting
from gatewise.bench.decay.rows import of_kind
from gatewise.bench.decay.validations import LAWS
from gatewise.bench.run import BenchRun
from gatewise.reference.cell import Cell
from gatewise.reference.cells import gating_cells
from gatewise.reference.parameters import Parameters
from gatewise.reports.section import Figure, Table
from gatewise.reports.sections.decay import section
from planted_in_decay import PLANTED

TINY = replace(
    plan.DEFAULT, steps=40, seeds=3, hidden=(6, 4), gains=(0.5, 1, 3), forget_biases=(0, 1),
    lyapunov_steps=40, horizon_steps=120, cost_steps=200, adjoint_memory=(100,),
    lyapunov_memory=(30,),
)  # fmt: skip
QUICK = ("gru-at-rest", "lstm-at-rest", "skipped-step")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(plan, "DEFAULT", TINY)
    few = [validation for validation in LAWS if validation.id in QUICK]
    monkeypatch.setattr(plan, "LAWS", few)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Run rnn, lstm and skip-lstm once."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "DEFAULT", TINY)
        few = [validation for validation in LAWS if validation.id in QUICK]
        patch.setattr(plan, "LAWS", few)
        told = invoke("bench decay rnn lstm skip-lstm --runs", runs)
    assert told.exit_code == 0, told.output
    (folder,) = runs.iterdir()
    return told.output, run.read(folder)


def test_every_cell_is_planned_and_only_some_are_swept():
    planned = [piece.id for piece in plan.plan().pieces]
    for name in gating_cells():
        assert any(id.startswith(f"decay/{name}/H6/g1") for id in planned), name
    assert "decay/lstm/H6/g3/b1" in planned
    assert "decay/lstm/H6/g1/b0" in planned
    assert "decay/lstm/H4/g1/b1" in planned
    assert not any(id.startswith("decay/lstm-phased/H6/g3") for id in planned)
    assert len(set(planned)) == len(planned)


def test_options_say_what_is_swept():
    planned = [
        piece.id
        for piece in plan.plan(cells=["gru"], gains=[2.0], hidden=[5], forget_biases=[3]).pieces
    ]
    assert [id for id in planned if id.startswith("decay")] == [
        "decay/gru/H5/g1/b1", "decay/gru/H5/g2/b1", "decay/gru/H5/g1/b3",
    ]  # fmt: skip
    assert [id for id in planned if id.startswith("clipping")] == ["clipping/gru/H32/g6/b1"]


def test_the_full_sweep_varies_every_cell():
    planned = [piece.id for piece in plan.plan(full=True).pieces]
    for name in gating_cells():
        assert sum(id.startswith(f"decay/{name}/") for id in planned) > 3, name


class Minimal(Cell):
    """h' = (1 - f) h + f tanh(x W + h U + b), f = 1/2: a cell that nobody has met."""

    name, title = "minimal", "A new cell"
    equations, gates, states = (), ("n",), ("h",)

    def step(self, p, x, state):
        (h,) = state
        n = np.tanh(x @ p.W_n + h @ p.U_n + p.b_n)
        return ((h + n) / 2,), {"n": n}

    def vjp(self, p, x, state, gates, new, cotangent):
        (h,), (d,), n = state, cotangent, gates["n"]
        dz = d / 2 * (1 - n * n)
        dp = {"W": (x.T @ dz)[None], "U": (h.T @ dz)[None], "b": dz.sum(axis=0)[None]}
        return Parameters(p.shapes, dp), dz @ p.W_n.T, (d / 2 + dz @ p.U_n.T,)


def test_a_new_cell_is_measured_without_a_change_here(monkeypatch):
    known = gating_cells() | {"minimal": Minimal()}
    for module in (plan, measuring, __import__("gatewise.bench.decay.problem", fromlist="x")):
        named = known.__getitem__
        for name, value in (
            ("gating_cells", lambda: known), ("gating_cell", named), ("cell_named", named)
        ):  # fmt: skip
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    pieces = {piece.id: piece for piece in plan.plan().pieces}

    row = pieces["decay/minimal/H6/g1"].measure()

    assert row["status"] == "OK"
    assert row["rates"]["joint"]["value"] < 0
    assert row["rest_theory"] is None


def test_rows_are_json_and_come_back(done):
    _, found = done
    assert not found.untested
    assert all(row["status"] == "OK" for row in found.rows)
    decays = of_kind(found.rows, "decay")
    rnn, lstm, skip = (decays[k] for k in range(3))
    assert (rnn.cell, set(rnn.bands)) == ("rnn", {"h", "joint"})
    assert set(lstm.rates) == {"h", "c", "joint"}
    assert set(skip.rates) == {"h", "c", "u", "joint"}
    assert len(lstm.spectrum.exponents) == 12
    assert abs(lstm.spectrum.residual) < 1e-9
    assert [loss.dtype for loss in rnn.losses] == ["float16", "float32", "float64"]
    assert rnn.bound is not None
    assert all(row.bound_excess <= 0 for row in decays if row.cell == "rnn")
    assert lstm.bound is None
    assert lstm.products[0].lag == 1
    (cost,) = of_kind(found.rows, "cost")
    assert cost.ratio == pytest.approx(cost.adjoint_step / cost.plain_step)
    assert all(row.passed for row in of_kind(found.rows, "validation"))


def test_what_is_told_has_rates_laws_and_dtypes(done):
    told = " ".join(done[0].split())  # lines break where the terminal ends
    for words in ("gru-at-rest", "holds", "lstm/H6/g1/b1", "float16", "plain step"):
        assert words in told


def test_a_law_that_does_not_hold_ends_in_exit_code_1(monkeypatch, tmp_path):
    (planted,) = (p for p in PLANTED if p.id == "hidden-block")
    monkeypatch.setattr(plan, "RIGHT", planted.methods)
    told = invoke("bench decay rnn --gains 1 --hidden 4 --runs", tmp_path)
    assert told.exit_code == 1
    assert "DOES NOT HOLD" in told.output


def test_json_is_the_rows(tmp_path):
    told = invoke("bench decay rnn --gains 1 --hidden 4 --json --runs", tmp_path)
    rows = json.loads(told.stdout)
    assert {row["what"] for row in rows} == {"validation", "decay", "clipping", "cost"}


@pytest.mark.parametrize(
    "arguments", [["rnm"], ["rnn", "--gains", "1,x"], ["rnn", "--hidden", "0"],
                  ["rnn", "--gains", "nan"], ["--seeds", "0"]],
)  # fmt: skip
def test_bad_options_are_usage_errors(arguments):
    told = invoke("bench decay", *arguments)
    assert told.exit_code == 2, told.output


def test_the_same_seed_measures_the_same_and_another_something_else():
    effort = measuring.Effort(20, 2, 20, 50)
    one, same, other = (
        measuring.measured(Setting("gru", 4, 1.0, 1.0), effort, seed, deep=True)
        for seed in (0, 0, 1)
    )
    assert one == same
    assert one.rates != other.rates


# The report.


def test_the_section_has_figures_with_texts_and_tables(done):
    _, found = done
    told = section([found])
    drawn = {part.id: part for part in told.parts if isinstance(part, Figure)}
    assert {"decay-lag", "decay-states", "decay-bias", "decay-gain", "decay-spectra",
            "decay-products", "decay-clipping"} == set(drawn)  # fmt: skip
    assert all(part.alt and part.caption for part in drawn.values())
    for table in (part for part in told.parts if isinstance(part, Table)):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headings)}
    assert "obeys 3" in told.intro[0]


def test_figures_show_what_was_measured(done):
    pytest.importorskip("altair", reason="figures need Altair")
    _, found = done
    parts = {part.id: part for part in section([found]).parts if isinstance(part, Figure)}
    specs = {id: part.chart().to_dict() for id, part in parts.items()}

    (rnn,) = (row for row in of_kind(found.rows, "decay") if row.id == "decay/rnn/H6/g1")
    shown = json.dumps(specs["decay-lag"])
    assert str(rnn.bands["joint"].median[-1] * (1 / math.log(10))) in shown
    assert "float16 ends" in shown or rnn.bands["joint"].low[-1] > -17
    assert "threshold" in json.dumps(specs["decay-gain"])


def test_a_section_of_an_unfinished_run_says_what_is_missing(done):
    _, found = done
    part = BenchRun(**{**vars(found), "rows": found.rows[:4]})
    told = section([part])
    assert f"Not tested: {len(found.planned) - 4}" in told.intro[-1]
    nothing = section([BenchRun(**{**vars(found), "rows": ()})])
    assert not nothing.parts


def test_a_law_that_does_not_hold_stands_first(done):
    _, found = done
    wrong = {**found.rows[0], "passed": False}
    told = section([BenchRun(**{**vars(found), "rows": (wrong, *found.rows[1:])})])
    assert f"IT DOES NOT OBEY: {wrong['statement']}" in told.intro[0]
