"""Layers that compute in chunks: their own bounds, and the check that holds forms together."""

import pytest
import torch

from gatewise.reference.errors import InputError
from gatewise.reference.forms import form_named
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.checks.formed import FormedLayer, formed
from gatewise.verify.checks.forms import chunk_cases
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import FORM, UnknownSubject, adapted, in_form, require_like

BUDGET = Budget(2)


class Linear:
    """GLA in chunks of one or three steps that divide by the decay."""

    cell, axes, gradient, forms = "gla", "BHTD", "torch", ("quotient:1", "quotient:3")

    def forward(self, q, k, v, g, state=None, form="quotient:1"):
        S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]) if state is None else state
        size = int(form.partition(":")[2] or 1)
        outputs = [v[:, :, :0]]
        for start in range(0, q.shape[2], size):
            parts = [a[:, :, start : start + size] for a in (q, k, v, g)]
            o, S = self.chunk(*parts, S, self.state_seen(S, start, form))
            outputs.append(o)
        return torch.cat(outputs, 2), S

    def state_seen(self, S, start, form):
        return S

    def chunk(self, q, k, v, g, S, seen):
        c = g.cumsum(-2)
        q, kept = q * c.exp() / q.shape[-1] ** 0.5, k * (c[:, :, -1:] - c).exp()
        o = q @ seen + (q @ (k * (-c).exp()).transpose(-1, -2)).tril() @ v
        return o, c[:, :, -1, :, None].exp() * S + kept.transpose(-1, -2) @ v


class IgnoresTheStart(Linear):
    """The outputs of the first chunk are read from zeros, in chunks of three."""

    def state_seen(self, S, start, form):
        return 0 * S if start == 0 and form == "quotient:3" else S


class PadsTheLastChunk(Linear):
    """The steps that fill the last chunk up decay."""

    def chunk(self, q, k, v, g, S, seen):
        o, S = super().chunk(q, k, v, g, S, seen)
        return o, S * 0.5 if q.shape[2] == 2 else S


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

    answer = verdict(wrong, "forms")
    assert answer.status == "failed"
    assert "quotient:3" in answer.message


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
