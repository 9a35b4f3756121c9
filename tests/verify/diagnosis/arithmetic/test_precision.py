"""A layer that computes in less than it claims is told so, whatever it hands through or returns."""

import pytest

from gatewise.bench.scores import other_hands
from gatewise.bench.scores.diagnosis import examined

FLOAT32 = "It computes in float32 or coarser, and claims float64; the equations are right."


@pytest.mark.parametrize("style", [other_hands.LOOP, other_hands.NUMPY])
def test_a_state_over_no_steps_and_gradients_are_rounded_too(style):
    """An RNN in float32: by torch's autograd, and by hand, where gradients come back in it."""
    if style == other_hands.LOOP:
        pytest.importorskip("torch")
    _, diagnosis, _ = examined(
        other_hands.written(other_hands.Hand(style, "rnn", "D01")), "float64"
    )
    assert FLOAT32 in [said for each in diagnosis.explanations for said in each.statements]
    assert "that is not all" not in diagnosis.headline
