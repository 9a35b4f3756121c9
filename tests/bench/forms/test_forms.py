"""What forms lose in rounding: measured, within their bounds, and where the quotient fails."""

import numpy as np
import pytest

from commands import invoke
from gatewise.bench import run
from gatewise.bench.forms.plan import linear_cell, measured, plan, rows, sequence
from gatewise.reference import forms
from gatewise.reports.sections import sections

SEEDS = 2


def points(cell, form, decays, dtype="float32", steps=48, seed=0):
    drawn = sequence(linear_cell(cell), np.repeat(decays, SEEDS), steps, seed)
    return measured(drawn, form, dtype, decays)


@pytest.mark.parametrize("form", ["steps", "chunk:24", "quotient:24", "scan"])
@pytest.mark.parametrize("cell", ["gla", "gated-delta", "ssd"])
def test_errors_lie_within_bounds(cell, form):
    for point in points(cell, form, (0.1, 1.0)):
        assert 0 < point.share < 1
        assert 0 < point.error < point.bound


@pytest.mark.parametrize(("dtype", "most"), [("float32", 88.7), ("float16", 11.1)])
def test_a_quotient_fails_where_its_chunk_decays_beyond_the_largest_number(dtype, most):
    decays = 0.6 * most / 48, 1.6 * most / 48
    there, gone = points("gla", "quotient:48", decays, dtype)
    assert there.share < 1
    assert (gone.error, gone.bound, gone.share) == (None, None, None)
    for point in points("gla", "chunk:48", decays, dtype):
        assert point.share < 1


def test_rounding_grows_with_what_a_chunk_sums_up():
    (short,), (long,) = (points("gla", f"chunk:{C}", (2.0,)) for C in (1, 48))
    assert long.error > 3 * short.error
    assert long.bound > 10 * short.bound


def test_a_decay_that_is_forgotten_is_far_beyond_the_bound(monkeypatch):
    """Or a bound could be anything."""
    right = forms.differences
    zeros = lambda sums: [0 * c for c in sums]  # noqa: E731
    monkeypatch.setattr(forms, "differences", lambda q, k, *c: right(q, k, *map(zeros, c)))
    for point in points("ssd", "chunk:8", (0.1, 1.0)):
        assert point.share > 100


def test_a_run_is_told_and_drawn(tmp_path):
    options = ["--cell", "gla", "--size", "1", "--size", "64", "--decay", "2", "--seeds", "1"]
    done = invoke("bench forms", *options, "--runs", tmp_path)
    assert done.exit_code == 0, done.output
    (folder,) = tmp_path.iterdir()
    found = run.read(folder)
    assert [(r.form, r.size, r.steps) for r in rows(found.rows)] == [
        ("chunk", 1, 128), ("chunk", 64, 128), ("quotient", 1, 128), ("quotient", 64, 128),
        ("scan", 1, 1), ("scan", 64, 64),
    ]  # fmt: skip
    (section,) = sections([found])
    share, error, table = section.parts
    assert [row[1] for row in table.rows] == ["chunk", "quotient", "scan"]
    assert [row[-1] for row in table.rows] == [None, 128.0, None]
    pytest.importorskip("altair", reason="figures need Altair: pip install 'gatewise[figures]'")
    for figure in (share, error):
        assert '"quotient"' in figure.chart().to_json()


def test_what_has_no_forms_is_refused():
    with pytest.raises(ValueError, match="gru is not linear in its state; those that are"):
        plan(cells=["gru"])
    with pytest.raises(ValueError, match="chunks of 129 steps: expected 1 to 128"):
        plan(sizes=[129])
