"""What an exception says, even where asking for it raises."""

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.runs.exception_text import exception_text
from gatewise.verify.subjects import adapted
from plain_numpy import LSTM


class Odd(Exception):
    """Its message cannot be had."""

    def __str__(self):
        raise RuntimeError("no words")


def test_words():
    assert exception_text(ValueError("a b")) == "ValueError: a b"
    assert exception_text(Odd()) == "Odd (its message cannot be read: that raises, too)"


class RightAtFirst(LSTM):
    """Right while it is tried out; then it raises."""

    calls = 0

    def unrolled(self, params, x, state, lengths):
        RightAtFirst.calls += 1
        if RightAtFirst.calls > FIRST:
            raise Odd
        return super().unrolled(params, x, state, lengths)


FIRST = 8


def test_a_layer_that_raises_so_has_crashed():
    subject = adapted(RightAtFirst, "a:L", None)
    RightAtFirst.calls = FIRST
    verdict = hold(subject, check_named("forward"), "float64", budget=Budget(2, 0))

    assert verdict.status == "crashed"
    assert verdict.message.startswith("Odd (its message cannot be read")
