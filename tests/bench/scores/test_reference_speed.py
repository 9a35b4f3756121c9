"""The reference beside torch.nn.LSTM: both have proven right, or there is no ratio."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from gatewise.bench.cost.shape import Shape
from gatewise.bench.scores import reference_speed
from gatewise.bench.scores.reference_speed import Case, NotTimedError, Row, compared
from gatewise.bench.speed import registry
from wrong_rungs import WRONG

pytest.importorskip("torch")

SMALL = Case("float64", Shape(3, 2, 4, 5), 1e-3)


def test_both_take_turns():
    row = compared(SMALL, seed=0)
    assert row.comparison.pairs >= 20
    assert row.ok
    assert not Row(replace(SMALL, required=1e6), row.comparison).ok


def test_what_is_wrong_has_no_ratio(monkeypatch):
    spoilt = replace(WRONG["dc not read"], name=reference_speed.OURS).contender()
    known = registry.package_contenders() | {reference_speed.OURS: spoilt}
    monkeypatch.setattr(registry, "package_contenders", lambda: known)

    with pytest.raises(NotTimedError, match=r"numpy-fast:lstm T3-B2-D4-H5 float64: gradient of "):
        compared(SMALL, seed=0)


@pytest.mark.parametrize(("required", "code"), [(1e-3, 0), (1e6, 1)])
def test_a_ratio_that_is_missed_is_exit_code_1(monkeypatch, required, code):
    monkeypatch.setattr(reference_speed, "CASES", (replace(SMALL, required=required),))
    told = CliRunner().invoke(reference_speed.main, ["--json"])
    assert told.exit_code == code
    assert [row["ok"] for row in json.loads(told.stdout)["rows"]] == [code == 0]
