"""``gatewise.check``: an outcome says why it is false, once, wherever it is shown."""

import pytest

import gatewise
from gatewise.verify.api import Outcome
from gatewise.verify.mutants.quantised import FixedPoint
from gatewise.verify.runs.verdict import STATUSES, Verdict


class Raises:
    cell = "rnn"

    def forward(self, params, x, state):
        raise ValueError("no kernel")


class Forgets:
    cell = "rnn"

    def forward(self, params, x, state):
        import numpy as np

        y = np.tanh(x @ params.W_a + params.b_a)
        return y, (y[-1],)


def test_a_layer_that_does_not_run_says_why_and_where():
    outcome = gatewise.check(Raises, budget="quick")

    assert not outcome
    assert str(outcome) == repr(outcome)
    assert "the layer does not run: ValueError: no kernel" in str(outcome)
    assert "test_api.py, line" in str(outcome)
    assert str(outcome).count("no kernel") == 1


def test_a_wrong_layer_says_what_failed():
    outcome = gatewise.check(Forgets, checks="smoke,forward,influence", budget="quick",
                             dtype="float64")  # fmt: skip

    assert not outcome
    first, cause, *rest = repr(outcome).splitlines()
    assert first.endswith("Forgets does not conform: 2 of 3 checks failed")
    assert len(first) <= 80
    assert "what is wrong" in cause
    assert "first failure   forward (float64): " in "\n".join(rest)
    assert "also failed     influence" in "\n".join(rest)


class OffersNothing:
    cell = "rnn"

    def forward(self, params, x, state):
        raise NotImplementedError("later")


def test_where_nothing_passed_nothing_is_fine():
    outcome = gatewise.check(OffersNothing, budget="quick")

    assert not outcome
    assert "the layer does not run" in str(outcome)
    for lacking in ({"dtype": "float16"}, {"checks": "gradient", "dtype": "float64"}):
        assert not gatewise.check(Forgets, **lacking), f"{lacking}: nothing was run, yet it is fine"


@pytest.mark.parametrize(("arguments", "message"), [
    ({"budget": "fast"}, "budget 'fast': expected one of quick"),
    ({"checks": "forwards"}, "check 'forwards' is not known"),
    ({"like": "torch.nn.Linear"}, "--like torch.nn.Linear: expected one of"),
])  # fmt: skip
def test_mistakes_are_sentences(arguments, message):
    with pytest.raises(ValueError, match=message):
        gatewise.check(Forgets, **arguments)


@pytest.mark.parametrize("status", STATUSES)
def test_what_is_fine(status):
    verdicts = [Verdict("s", "lstm", "forward", "", [], "float64", 0, status=s)
                for s in ("passed", status)]  # fmt: skip
    outcome = Outcome(tuple(verdicts))

    fine = status in ("passed", "known deviation", "not supported")
    assert bool(outcome) is fine, f"passed and {status}: expected {fine}"
    assert bool(outcome.wrong) is (status in ("failed", "crashed", "timeout"))


def test_a_layer_that_refuses_everything_is_not_fine():
    """Not judged is not right."""
    outcome = gatewise.check(OffersNothing, checks="forward,final", budget="quick")
    assert not outcome
    assert "OffersNothing: not everything was tested" in str(outcome)
    assert "refused: later" in " ".join(str(outcome).split())


def test_a_class_declares_its_arithmetic_or_the_caller_does():
    """In Python as on the command line; without it the same layer is wrong."""
    declared = gatewise.check(FixedPoint, checks=["forward"], budget="quick")
    other = gatewise.check(
        FixedPoint, quantised={"fixed": "<16,5>"}, checks=["forward"], budget="quick", explain=False
    )

    assert [v.status for v in declared.verdicts] == ["passed"]
    assert [v.status for v in other.verdicts] == ["failed"]
    assert "--quantised 'fixed=<16,5>'" in other.verdicts[0].reproduce
