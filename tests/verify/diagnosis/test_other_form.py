"""A right layer that computes in chunks and does not say so is told which."""

import torch

from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from judgements import verdict_is


class Quotients:
    """GLA in chunks of four steps, with gradients that cancel in the place of being 0."""

    cell, axes, gradient = "gla", "BHTD", "torch"
    factor = 1.0

    def forward(self, q, k, v, g, state=None):
        S = q.new_zeros(*q.shape[:2], q.shape[-1], v.shape[-1]) if state is None else state
        outputs = [v[:, :, :0]]
        for part in zip(*(a.split(4, 2) for a in (q, k, v, g)), strict=True):
            qs, ks, vs, gs = part
            c = self.factor * gs.cumsum(-2)
            qs, kept = qs * c.exp() / q.shape[-1] ** 0.5, ks * (c[:, :, -1:] - c).exp()
            scores = (qs @ (ks * (-c).exp()).transpose(-1, -2)).tril()
            outputs.append(qs @ S + scores @ vs)
            S = c[:, :, -1, :, None].exp() * S + kept.transpose(-1, -2) @ vs
        return torch.cat(outputs, 2), S


def found(value):
    subject = adapted(value, "it", None)
    checks = [check_named(id) for id in ("forward", "gradient")]
    verdicts = [hold(subject, check, "float64", budget=Budget(12)) for check in checks]
    failing = [v for v in verdicts if v.status == "failed"]
    assert failing
    return diagnose(subject, "float64", failing, seconds=20)


def test_a_form_is_named():
    diagnosis = found(Quotients)

    (explanation,) = diagnosis.explanations
    assert explanation.variant
    assert explanation.ids[0].startswith("form ")
    assert "--form" in explanation.fixes[0]


def test_what_is_wrong_is_no_form():
    diagnosis = found(type("Wrong", (Quotients,), {"factor": 2.0}))
    assert all("form" not in each.ids[0] for each in diagnosis.explanations)


def test_in_its_form_it_is_right():
    subject = adapted(type("Said", (Quotients,), {"form": "quotient:4"}), "it", None)
    verdict_is(hold(subject, check_named("gradient"), "float64", budget=Budget(12)), "passed")
