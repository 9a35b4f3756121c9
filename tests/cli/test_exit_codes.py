"""What a shell learns of a run: 0 conforms, 1 differs, 3 says nothing."""

import pytest

from gatewise.cli import common
from gatewise.verify.runs.status import STATUSES, exit_code

ALONE = {
    "passed": 0, "known deviation": 0, "failed": 1, "crashed": 1, "timeout": 1,
    "fallback": 3, "blind": 3, "not tested": 3, "not supported": 3,
}  # fmt: skip


@pytest.mark.parametrize("status", STATUSES)
def test_verify(status):
    beside = 0 if status == "not supported" else ALONE[status]
    for others, expected in (([], ALONE[status]), (["passed"], beside), (["failed"], 1)):
        for statuses in ([*others, status], [status, *others]):
            code = exit_code(statuses)
            assert code == expected, f"exit code of {statuses}: expected {expected}, got {code}"


def test_nothing_is_not_success():
    assert exit_code([]) == 3
    assert (common.CONFORMS, common.DIFFERS, common.COULD_NOT_RUN) == (0, 1, 3)
