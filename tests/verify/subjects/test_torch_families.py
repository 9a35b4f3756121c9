"""Layers of packages that compute cells beyond LSTM and GRU, where their packages are installed."""

import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subjects
from gatewise.verify.subjects.protocol import SubjectUnavailable

RIGHT = ("minGRU-pytorch:minGRU", "minGRU-pytorch:minLSTM", "ncps:CfCCell",
         "recurrentgemma:RecurrentGemmaRglru")  # fmt: skip
"""sru compiles as it is imported: ``nox -s packages`` alone holds it."""

WRONG = (("minGRU-pytorch:minLSTM-scan", "carry"), ("minGRU-pytorch:minGRU-scan", "gradient"))


def installed(name):
    subject = subjects()[name]
    try:
        subject.version()
    except SubjectUnavailable as missing:
        pytest.skip(str(missing))
    return subject


@pytest.mark.parametrize("check", ["forward", "gradient", "schedule"])
@pytest.mark.parametrize("name", RIGHT)
def test_they_conform(name, check):
    subject = installed(name)
    verdict = hold(subject, check_named(check), subject.dtypes[0], budget=Budget(4, 3))

    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(("name", "check"), WRONG)
def test_what_is_known_to_be_wrong_still_is(name, check):
    subject = installed(name)

    assert hold(subject, check_named(check), subject.dtypes[0], budget=Budget(8, 3)).wrong
