"""What a shell learns of a run: 0 conforms, 1 differs, 3 says nothing."""

import pytest

from gatewise.cli import common
from gatewise.cli.verify import _exit
from gatewise.verify.runs.verdict import STATUSES
from made_runs import verdict

ALONE = {
    "passed": 0, "known deviation": 0, "failed": 1, "crashed": 1, "timeout": 1,
    "fallback": 3, "blind": 3, "not tested": 3, "not supported": 3,
}  # fmt: skip


def code(*statuses):
    try:
        _exit([verdict(status=status) for status in statuses])
    except SystemExit as end:
        return end.code
    return 0


@pytest.mark.parametrize("status", STATUSES)
def test_verify(status):
    assert code(status) == ALONE[status]
    beside = 0 if status == "not supported" else ALONE[status]
    assert code("passed", status) == code(status, "passed") == beside
    assert code("failed", status) == code(status, "failed") == 1


def test_nothing_is_not_success():
    assert code() == 3
    assert (common.CONFORMS, common.DIFFERS, common.COULD_NOT_RUN) == (0, 1, 3)
