"""Layers of packages that compute cells beyond LSTM and GRU, where their packages are installed."""

import numpy as np
import pytest

from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import subjects
from gatewise.verify.subjects.declared import Named
from gatewise.verify.subjects.frameworks.ncps import LTC_PARAMETERS, ltc
from gatewise.verify.subjects.protocol import SubjectUnavailable
from judgements import verdict_is

RIGHT = ("minGRU-pytorch:minGRU", "minGRU-pytorch:minLSTM", "ncps:CfCCell", "ncps:LTCCell",
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
    verdict_is(hold(subject, check_named(check), subject.dtypes[0], budget=Budget(4, 3)), "passed")


@pytest.mark.parametrize(("name", "check"), WRONG)
def test_what_is_known_to_be_wrong_still_is(name, check):
    subject = installed(name)
    assert hold(subject, check_named(check), subject.dtypes[0], budget=Budget(8, 3)).wrong


def test_an_ltc_without_synapses_leaks_in_six_steps():
    """Each step moves the potential to that of the leak by the share g / (6 c + g)."""
    p = Named({name: np.zeros([2] * len(axes.split())) for name, axes in LTC_PARAMETERS.items()})
    p |= {"log_w": np.full((2, 2), -np.inf), "sensory_log_w": np.full((2, 2), -np.inf)}
    p |= {"log_cm": np.log([0.5, 2.0]), "log_gleak": np.log([1.0, 3.0]), "vleak": np.array([1, -1])}
    v, x = np.array([[0.5, 0.25]]), np.ones((1, 2))
    kept = np.array([3 / 4, 12 / 15]) ** 6

    np.testing.assert_allclose(ltc(p, x, (v,))[0], p.vleak + kept * (v - p.vleak), rtol=1e-14)


def test_an_ltc_moves_towards_the_potential_of_its_open_synapses():
    """One that is open, far stronger than all else, sets the potential to its own in a step."""
    p = Named({name: np.zeros([2] * len(axes.split())) for name, axes in LTC_PARAMETERS.items()})
    p |= {"sensory_log_w": np.array([[60.0, 0], [0, 60.0]]), "sensory_sigma": np.full((2, 2), 1e3)}
    p |= {"sensory_erev": np.array([[0.75, 9], [9, -0.5]])}

    (v,) = ltc(p, np.ones((1, 2)), (np.zeros((1, 2)),))
    np.testing.assert_allclose(v, [[0.75, -0.5]], rtol=1e-12)
