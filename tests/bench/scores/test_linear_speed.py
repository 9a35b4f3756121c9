"""The naive forms in torch compute what the reference does; how fast is nobody's test."""

import pytest

pytest.importorskip("torch")

from gatewise.bench.scores import linear_speed


@pytest.mark.parametrize("cell", linear_speed.NAIVE)
def test_both_agree_and_are_timed(cell, monkeypatch):
    monkeypatch.setattr(linear_speed, "ROUNDS", 1)
    row = linear_speed.compared(cell, (3, 2, 2, 3), 0)
    assert row.ours > 0
    assert row.torch > 0


def test_what_does_not_agree_is_not_timed(monkeypatch):
    wrong = lambda torch, a, S: linear_speed.ssd(torch, {**a, "dt": 2 * a["dt"]}, S)  # noqa: E731
    monkeypatch.setitem(linear_speed.NAIVE, "ssd", wrong)
    with pytest.raises(ValueError, match="the two do not agree"):
        linear_speed.compared("ssd", (3, 2, 2, 3), 0)
