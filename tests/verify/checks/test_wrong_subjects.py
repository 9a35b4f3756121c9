"""One wrong number in any part of a result is a failure."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import miniatures
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.checks.oracle import expected
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects import adapted
from gatewise.verify.subjects.called import under_test
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs
from judgements import verdict_is

CHECKS = {c.id: c for c in subject_checks() if not c.problems}
CASE = Case(12, 3, 2, 3, lengths=True)


def held(subject, check, case):
    return hold(subject, CHECKS[check], "float64", budget=Budget(1), case=case)


def spoilt(value):
    return value * (1 + 1e-6)


class Spoils(miniatures.Right):
    what = ("y", None)

    def spoil(self, result):
        name, k = self.what
        if name == "less":
            return replace(result, **{k: getattr(result, k)[:-1]})
        value = getattr(result, name)
        if value is None:
            return result
        if k is None:
            return replace(result, **{name: spoilt(value)})
        if isinstance(value, tuple):
            return replace(
                result, **{name: tuple(spoilt(v) if j == k else v for j, v in enumerate(value))}
            )
        return replace(result, **{name: {n: spoilt(v) if n == k else v for n, v in value.items()}})

    def forward(self, case, inputs):
        return self.spoil(super().forward(case, inputs))

    def gradient(self, case, inputs, dy, dfinal):
        return self.spoil(super().gradient(case, inputs, dy, dfinal))


WRONG = [
    ("forward", ("y", None), "y"),
    ("forward", ("final", 0), "final h"),
    ("forward", ("final", 1), "final c"),
    *(
        ("gradient", ("parameters", n), f"gradient of {n}")
        for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    ),
    ("gradient", ("x", None), "gradient of x"),
    ("gradient", ("initial", 0), "initial h"),
    ("gradient", ("initial", 1), "initial c"),
    ("gradient", ("less", "initial"), "gradients of initial states: expected 2, got 1"),
    ("forward", ("less", "final"), "final states: expected 2"),
    ("transition", ("y", None), "y"),
]


@pytest.mark.parametrize(("check", "what", "message"), WRONG)
def test_every_part_is_compared(check, what, message):
    subject = Spoils()
    object.__setattr__(subject, "what", what)
    verdict_is(held(subject, check, replace(CASE, lengths=check != "transition")), "failed",
               message)  # fmt: skip


def test_the_last_state_of_a_transition_is_compared():
    class Last(miniatures.Right):
        def forward(self, case, inputs):
            r = super().forward(case, inputs)
            return replace(r, final=(r.final[0], spoilt(r.final[1]))) if case.T == 12 else r

    verdict_is(held(Last(), "transition", replace(CASE, lengths=False)), "failed", "final c")


@pytest.mark.parametrize("what", ["y", "final"])
def test_a_cotangent_that_is_ignored_shows(what):
    class Ignores(miniatures.Right):
        def gradient(self, case, inputs, dy, dfinal):
            if what == "y":
                dy = 0 * dy
            else:
                dfinal = (0 * dfinal[0], dfinal[1])
            return super().gradient(case, inputs, dy, dfinal)

    assert held(Ignores(), "gradient", CASE).status == "failed"


def test_a_given_state_that_is_ignored_shows():
    class Ignores(miniatures.Right):
        def forward(self, case, inputs):
            return super().forward(case, replace(inputs, state=None))

    assert held(Ignores(), "forward", CASE).status == "failed"


def test_a_wrong_equation_is_no_coarse_arithmetic():
    """Within the bounds of bfloat16, but off by more than it usually is."""

    class Larger(miniatures.Right):
        def forward(self, case, inputs):
            r = super().forward(case, inputs)
            return replace(r, y=1.02 * r.y)

    verdict_is(held(Larger(), "dtype", Case(1, 3, 2, 3)), "failed",
               "no arithmetic explains the results, so the equations differ")  # fmt: skip


def test_a_prefix_that_rounds_differently_is_no_witness():
    class Rounds(miniatures.Right):
        def forward(self, case, inputs):
            r = super().forward(case, inputs)
            return (
                r
                if case.T == 12
                else replace(r, y=np.nextafter(r.y, 2), final=tuple(2 * s for s in r.final))
            )

    assert held(Rounds(), "transition", replace(CASE, lengths=False)).status == "passed"


def test_the_seed_is_followed():
    seen = {}

    class Sees(miniatures.Right):
        def forward(self, case, inputs):
            seen.setdefault(self.seed_, []).append(case)
            return super().forward(case, inputs)

    for s in (0, 1):
        subject = Sees()
        object.__setattr__(subject, "seed_", s)
        hold(subject, CHECKS["forward"], "float64", budget=Budget(5), seed_value=s)
    assert seen[0] != seen[1]


def test_lengths_differ_and_scales_do():
    from hypothesis import given

    drawn = []
    given(CHECKS["forward"].cases(miniatures.Right(), "float64"))(lambda case: drawn.append(case))()
    assert any(c.lengths and c.row_lengths().min() < c.T for c in drawn)
    assert {c.scale for c in drawn} == {"unit", "tiny", "large"}
    long = []
    given(CHECKS["transition"].cases(miniatures.Right(), "float64"))(
        lambda case: long.append(case)
    )()
    assert any(not c.bias for c in long)
    assert any(c.T > 100 for c in long)
    from gatewise.verify.checks.transitions import _sampled

    steps = [_sampled(c, SimpleNamespace(y=np.zeros((c.T, 1, 1)))) for c in long]
    assert any(len(s) > 3 for s in steps)
    assert all(s[-1] == c.T - 1 for s, c in zip(steps, long, strict=True))


def test_two_subjects_under_test_know_nothing_of_each_other():
    case = Case(3, 2, 4, 5)
    inputs = draw_inputs(miniatures.Right(), case)
    first, second = under_test(miniatures.Right()), under_test(miniatures.Right())
    layer, other = first.build(case), second.build(case)
    layer.forward(inputs)
    other.gradient(inputs, draw_cotangents(second, case))
    expected(first, case, inputs)
    layer.forward(inputs)

    assert [(c.layer, c.cotangents) for c in first.calls] == [(layer, None)] * 2
    assert [c.layer for c in second.calls] == [other]
    assert second.calls[0].cotangents is not None
    assert first.clock.oracle > 0 == second.clock.oracle
    assert first.clock.subject > 0 < second.clock.subject


class Keeps(miniatures.Right):
    """It goes by the weights of its first call, to what may be rounding."""

    kept = None

    def forward(self, case, inputs):
        if self.kept is None:
            object.__setattr__(self, "kept", inputs.parameters)
        kept = {n: k + 1e-15 * (inputs.parameters[n] - k) for n, k in self.kept.items()}
        return super().forward(case, replace(inputs, parameters=kept))


def test_rounding_alone_is_no_influence():
    verdict_is(held(Keeps(), "influence", replace(CASE, lengths=False, seed=3)), "failed",
               "W_i of pass 0: changing it changes nothing")  # fmt: skip


class UpdatesInPlace:
    """The new state is written into the initial one."""

    cell = "rnn"

    def forward(self, params, x, state):
        h = np.zeros((x.shape[1], params["b"].shape[1]), x.dtype) if state is None else state[0]
        y = []
        for x_t in x:
            h[:] = np.tanh(x_t @ params["W"][0] + h @ params["U"][0] + params["b"][0])
            y.append(h.copy())
        return np.stack(y), (h.copy(),)


def test_a_state_that_is_written_into_is_seen_in_every_budget():
    """Whatever is drawn, one case has an initial state."""
    subject = adapted(UpdatesInPlace, "test:layer", None)
    first = next(iter(CHECKS["purity"].forced(subject, "float64")))
    assert first.state
    verdict_is(held(subject, "purity", first), "failed", "forward wrote into state 0")
