"""What a shell learns of a run: 0 conforms, 1 differs, 3 says nothing."""

import pytest

from gatewise.cli import common
from gatewise.verify.runs.conclusion import conclusion
from gatewise.verify.runs.status import STATUSES
from gatewise.verify.runs.verdict import Verdict

ALONE = {
    "passed": 0, "known deviation": 0, "failed": 1, "crashed": 1, "timeout": 1,
    "fallback": 3, "blind": 3, "not tested": 3, "not supported": 3,
}  # fmt: skip


def verdict(check, status, dtype="float64", subject="s", message=""):
    return Verdict(subject, "lstm", check, "", [], dtype, 0, status=status, message=message)


@pytest.mark.parametrize("status", STATUSES)
def test_verify(status):
    beside = 0 if status == "not supported" else ALONE[status]
    for others, expected in (([], ALONE[status]), (["passed"], beside), (["failed"], 1)):
        for statuses in ([*others, status], [status, *others]):
            code = conclusion([verdict("forward", each) for each in statuses]).code
            assert code == expected, f"exit code of {statuses}: expected {expected}, got {code}"


def test_nothing_is_not_success():
    assert conclusion([]).code == 3
    assert (common.CONFORMS, common.DIFFERS, common.COULD_NOT_RUN) == (0, 1, 3)


def test_what_was_not_judged_is_no_success():
    ending = conclusion([
        verdict("smoke", "passed"), verdict("final", "passed"),
        verdict("forward", "not supported", message="no proj_size"),
    ])  # fmt: skip

    assert ending.code == 3
    assert ending.reason == "s: forward was not judged: no proj_size"


def test_gradients_that_are_not_offered_are_not_missed():
    """A layer for inference conforms; where gradients were chosen, it does not."""
    verdicts = [verdict("forward", "passed"), verdict("gradient", "not supported")]
    assert conclusion(verdicts).code == 0
    assert conclusion(verdicts, ["forward", "gradient"]).code == 3


def test_each_subject_and_each_chosen_check_has_to_pass():
    """In one dtype at least; another subject's pass is no help."""
    verdicts = [
        verdict("jvp", "passed", "float64", "a"), verdict("jvp", "not supported", "float32", "a"),
        verdict("jvp", "not supported", "float64", "b"),
    ]  # fmt: skip

    assert conclusion(verdicts[:2], ["jvp"]).code == 0
    assert "b: jvp was not judged" in conclusion(verdicts, ["jvp"]).reason
