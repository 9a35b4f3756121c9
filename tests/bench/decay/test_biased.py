"""Cells that are given their gates, measured with a bias on the gate that keeps the state."""

import numpy as np
import pytest

from gatewise.bench.decay.adjoint import log_norms
from gatewise.bench.decay.plan import plan
from gatewise.bench.decay.problem import Setting, draw, keeping_gate, measured_cell
from gatewise.reference.cells import cells
from gatewise.reference.gated_by_input import GatedByInput
from gatewise.reference.parameters import Parameters
from gatewise.reports.sections import decay_figures

GIVEN = [name for name, cell in cells().items() if isinstance(cell, GatedByInput)]
BIASED = [name for name in GIVEN if keeping_gate(measured_cell(name))]
SMALL = 1e-6


def setting(name, b=0.7, **options):
    return Setting(name, 3, 1.0, b if name in BIASED else None, **options)


@pytest.mark.parametrize("name", GIVEN)
def test_its_gradients_are_those_of_its_step(name):
    problem, rng = draw(setting(name), 0), np.random.default_rng(1)
    cell, p = problem.cell, problem.p
    x, state, gates, new = next(problem.wander(3))
    d = tuple(rng.standard_normal(s.shape) for s in new)
    dp, dx, dstate = cell.vjp(p, x, state, gates, new, d)
    along = [{n: rng.standard_normal(a.shape) for n, a in p.items()}, rng.standard_normal(x.shape),
             [rng.standard_normal(s.shape) for s in state]]  # fmt: skip

    def loss(t):
        moved = Parameters(p.shapes, {n: a + t * along[0][n] for n, a in p.items()})
        states = tuple(s + t * v for s, v in zip(state, along[2], strict=True))
        ahead, _ = cell.step(moved, x + t * along[1], states)
        return sum(np.vdot(a, b) for a, b in zip(ahead, d, strict=True))

    slope = sum(np.vdot(dp[n], v) for n, v in along[0].items()) + np.vdot(dx, along[1])
    slope += sum(np.vdot(a, b) for a, b in zip(dstate, along[2], strict=True))
    assert (loss(SMALL) - loss(-SMALL)) / (2 * SMALL) == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_all_that_are_given_a_decay_have_a_bias():
    assert set(GIVEN) - set(BIASED) == {"retnet", "deltanet"}


@pytest.mark.parametrize("name", sorted(set(BIASED) - {"slstm"}))  # which feeds its h back
def test_at_rest_the_share_that_stays_is_the_sigmoid_of_the_bias(name):
    problem = draw(setting(name, at_rest=True), 0)
    logs = log_norms(problem.follow(12, 0), problem.cotangent, [0, 5, 10])[:, -1]
    assert np.diff(logs) == pytest.approx(-5 * np.log1p(np.exp(-0.7)), rel=1e-12)


def test_what_a_delta_rule_corrects_is_forgotten_faster():
    """Keys are 8 wide, and half of the error at one of them is written in every step."""
    ends = {}
    for name in ("gla", "gated-delta"):
        problem = draw(setting(name, 6.0), 0)
        ends[name] = log_norms(problem.follow(100, 0), problem.cotangent, [100])[0, -1]
    assert ends["gla"] > -1
    assert ends["gated-delta"] < -4


def test_they_are_swept_where_they_are_named():
    planned = {piece.id for piece in plan(cells=["gla", "deltanet"], forget_biases=[3]).pieces}
    assert {"decay/gla/H32/g1/b3", "decay/deltanet/H32/g1"} <= planned
    assert not any(id.startswith("decay/gla") for id in {p.id for p in plan().pieces})


def test_many_cells_have_panels_of_their_own(monkeypatch):
    pytest.importorskip("altair", reason="figures need Altair: pip install 'gatewise[figures]'")
    monkeypatch.setattr(decay_figures, "_half_lives", lambda row: [
        {"cell": row.cell, "b": row.forget_bias, "path": "all paths", "steps": 2.0, "low": 1.0,
         "high": 3.0}
    ])  # fmt: skip
    rows = {f"cell {k}": [setting("gla", b) for b in (0.0, 2.0)] for k in range(9)}
    chart = decay_figures._by_bias(rows).to_dict()
    assert chart["facet"]["sort"] == list(rows)
    assert "facet" not in decay_figures._by_bias(dict(list(rows.items())[:8])).to_dict()
