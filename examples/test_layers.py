"""Tests of layers, as a library would have them: ``pytest examples/test_layers.py``."""

from lstm_numpy import LSTM

import gatewise


@gatewise.conforms(LSTM, budget="quick")
def test_the_lstm_conforms(verdict):
    """One test for each check and dtype."""
    assert verdict.status in ("passed", "not supported"), verdict.message


def test_its_gradients_are_right():
    outcome = gatewise.check(LSTM, budget="quick", checks="forward,gradient")
    assert outcome, outcome  # says what is wrong
