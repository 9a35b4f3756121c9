"""Classes that take the named arrays of a cell which is given its gates."""

import re

import numpy as np
import pytest
import torch

from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import UnknownSubject, adapted
from gatewise.verify.subjects.called import under_test
from judgements import verdict_is

CHECKS = ("smoke", "forward", "gradient", "carry-gradient", "no-steps")


class ByTorch:
    """Gated DeltaNet in a loop over time, differentiated by torch."""

    cell, axes, gradient = "gated-delta", "BTD", "torch"

    def forward(self, q, k, v, g, beta, state=None):
        S = q.new_zeros(*q.shape[:1], *q.shape[2:], v.shape[-1]) if state is None else state
        outputs = [v[:, :0]]
        for t in range(q.shape[1]):
            S = S * g[:, t, :, None, None].exp()
            u = beta[:, t, :, None] * (v[:, t] - (k[:, t, :, :, None] * S).sum(-2))
            S = S + k[:, t, :, :, None] * u[:, :, None]
            outputs.append((q[:, t, :, :, None] * S).sum(-2)[:, None] / q.shape[-1] ** 0.5)
        return torch.cat(outputs, 1), S


class HeadsFirst(ByTorch):
    """The same with heads before time."""

    axes = "BHTD"

    def forward(self, q, k, v, g, beta, state=None):
        o, S = super().forward(*(a.transpose(1, 2) for a in (q, k, v, g, beta)), state)
        return o.transpose(1, 2), S


class ByHand:
    """Linear attention with RetNet's decay, and its own way back."""

    cell = "retnet"

    def forward(self, q, k, v, state=None, lengths=None):
        S = self.start(k, v, state)
        outputs = np.zeros(v.shape, v.dtype)
        for t in range(len(q)):
            new = self.gamma(S) * S + k[t][..., None] * v[t][..., None, :]
            active = np.True_ if lengths is None else (t < lengths)[:, None, None, None]
            S = np.where(active, new, S)
            read = self.scaled(q[t])[..., None, :] @ new
            outputs[t] = np.where(active, read, np.zeros_like(read))[..., 0, :]
        return outputs, S

    def vjp(self, q, k, v, state, lengths, dy, dstate):
        if lengths is not None:
            within = (np.arange(len(q))[:, None] < lengths)[:, :, None, None]
            q, k, v = (np.where(within, a, np.zeros_like(a)) for a in (q, k, v))
        states = [self.start(k, v, state)]
        for t in range(len(q)):
            states.append(self.forward(q[: t + 1], k[: t + 1], v[: t + 1], state, lengths)[1])
        d = {"q": np.zeros_like(q), "k": np.zeros_like(k), "v": np.zeros_like(v)}
        for t in reversed(range(len(q))):
            active = np.ones(q.shape[1], bool) if lengths is None else t < lengths
            rows = active[:, None, None, None].astype(q.dtype)
            dS = dstate * rows
            dS = dS + rows * self.scaled(q[t])[..., None] * dy[t][..., None, :]
            d["q"][t] = rows[..., 0] * self.scaled((states[t + 1] @ dy[t][..., None])[..., 0])
            d["k"][t] = (dS @ v[t][..., None])[..., 0]
            d["v"][t] = (k[t][..., None, :] @ dS)[..., 0, :]
            dstate = self.gamma(dS) * dS + dstate * (1 - rows)
        return d, dstate

    def start(self, k, v, state):
        return np.zeros((*k.shape[1:], v.shape[-1]), k.dtype) if state is None else state

    def gamma(self, S):
        return (1 - 2.0 ** (-5 - np.arange(S.shape[1])))[:, None, None].astype(S.dtype)

    def scaled(self, q):
        return q / np.sqrt(q.dtype.type(q.shape[-1]))


class ForwardAlone:
    cell = "retnet"

    def forward(self, q, k, v, state=None):
        return ByHand().forward(q, k, v, state)


def verdict(value, check, dtype="float64"):
    return hold(adapted(value, "it", None), check_named(check), dtype, budget=Budget(3, 2))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("value", [ByTorch, HeadsFirst])
def test_a_class_of_torch_is_held(value, check):
    verdict_is(verdict(value, check, "float32"), "passed")


@pytest.mark.parametrize("check", [*CHECKS, "padding", "zero-length"])
def test_a_class_with_its_own_way_back_is_held(check):
    verdict_is(verdict(ByHand(), check), "passed")


@pytest.mark.parametrize("check", ["transition", "gradient-window"])
def test_steps_go_from_the_state_that_was_returned(check):
    subject = under_test(adapted(ByTorch, "it", None))
    ledger = check_named(check).run(subject, Case(9, 2, 3, 4))
    ledger.assert_within()
    assert ledger.comparisons


@pytest.mark.parametrize(("check", "given", "equation", "place"), [
    ("forward", lambda g: 2 * g, "delta.decay", ""),
    ("gradient", lambda g: g.detach(), "", r"step \d+, row \d+, g\[\d\]"),
])  # fmt: skip
def test_a_wrong_one_is_not(check, given, equation, place):
    class Wrong(ByTorch):
        def forward(self, q, k, v, g, beta, state=None):
            return super().forward(q, k, v, given(g), beta, state)

    answer = verdict(Wrong, check)

    assert answer.status == "failed"
    assert not equation or equation in answer.equations
    assert re.search(place, answer.place), answer.place


@pytest.mark.parametrize(("change", "said"), [
    ({"forward": lambda self, q, k, v, state: None}, "its forward takes no g, beta"),
    ({"axes": "DBT"}, "axes='DBT': expected one of 'TBD', 'BTD', 'BHTD'"),
    ({"gradient": "tf"}, "gradient='tf': expected one of"),
])  # fmt: skip
def test_what_is_no_such_class_is_refused_in_a_sentence(change, said):
    with pytest.raises(UnknownSubject, match=said):
        adapted(type("Bad", (ByTorch,), change), "bad", None)


def test_what_is_left_out_is_not_offered():
    plain = adapted(ForwardAlone, "it", None)

    assert not plain.options.gradient
    assert not plain.options.lengths
    assert plain.options.no_steps
    assert plain.options.default_state


def unsaid(q, k, v, state=None):
    """RetNet, in a function that does not say so."""
    return ByHand().forward(q, k, v, state)


def test_what_does_not_say_its_cell_is_held_to_one():
    for value in (unsaid, type("Unsaid", (), {"forward": staticmethod(unsaid)})):
        subject = adapted(value, "it", "gatewise.retnet")
        verdict_is(hold(subject, check_named("forward"), "float64", budget=Budget(2, 1)), "passed")
    with pytest.raises(UnknownSubject, match="deltanet is given q, k, v, beta, and its forward"):
        adapted(unsaid, "it", "gatewise.deltanet")
    with pytest.raises(
        UnknownSubject, match=r"--like gatewise\.retnett: expected gatewise\. and one"
    ):
        adapted(unsaid, "it", "gatewise.retnett")
