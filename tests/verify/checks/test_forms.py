"""Layers that compute in chunks: their own bounds, and the check that holds forms together."""

import pytest

from gatewise.reference.errors import InputError
from gatewise.reference.forms import form_named
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.checks.formed import FormedLayer, formed
from gatewise.verify.checks.forms import chunk_cases
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import FORM, UnknownSubject, adapted, in_form, require_like
from in_chunks import IgnoresTheStart, Linear, PadsTheLastChunk
from judgements import verdict_is

BUDGET = Budget(2)


class NotLinear:
    cell = "slstm"

    def forward(self, i, f, z, o, R, state):
        raise NotImplementedError


def verdict(value, check, dtype="float64"):
    return hold(adapted(value, "it", None), check_named(check), dtype, budget=BUDGET)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_forms_of_one_layer_agree(dtype):
    answer = verdict(Linear, "forms", dtype)
    assert answer.status == "passed", answer.message
    assert answer.cases >= 5


@pytest.mark.parametrize("wrong", [IgnoresTheStart, PadsTheLastChunk])
def test_a_form_that_is_wrong_shows(wrong):
    assert verdict(wrong, "forward").status == "passed"  # in its first form, that is
    verdict_is(verdict(wrong, "forms"), "failed", "quotient:3")


def test_cases_are_about_the_ends_of_chunks():
    subject = adapted(Linear, "it", None)
    assert [case.T for case in chunk_cases(subject, "float64")] == [1, 2, 3, 4, 5, 9]


def test_a_layer_is_held_to_its_form():
    one = adapted(type("One", (Linear,), {"forms": (), "form": "quotient:3"}), "it", None)
    case = Case(5, 2, 3, 4)

    assert isinstance(formed(one, case), FormedLayer)
    assert not isinstance(formed(in_form(one, "steps"), case), FormedLayer)
    assert not check_named("forms").concerns(one)
    assert not check_named("transition").concerns(one)
    assert check_named("transition").concerns(in_form(one, "steps"))


@pytest.mark.parametrize("name", ["chunk", "chunk:0", "chunk:x", "scan:3", "", "chunk:5000"])
def test_what_is_no_form_is_refused(name):
    with pytest.raises(InputError, match="form: expected steps, parallel, scan, chunk:C"):
        form_named(name)
    with pytest.raises(UnknownSubject, match="--form: form: expected"):
        require_like(FORM + name)


def test_a_form_that_a_layer_has_not_is_refused():
    with pytest.raises(UnknownSubject, match="its forms are quotient:1, quotient:3, not scan"):
        in_form(adapted(Linear, "it", None), "scan")
    with pytest.raises(UnknownSubject, match="slstm has no other form than steps"):
        in_form(adapted(NotLinear, "it", None), "scan")
