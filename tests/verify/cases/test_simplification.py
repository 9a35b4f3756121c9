"""A failing case is simplified one step at a time, as long as it fails in the same way."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import miniatures
from gatewise.verify.cases import simplification
from gatewise.verify.cases.case import Case
from gatewise.verify.cases.options import Options
from gatewise.verify.cases.simplification import simplify
from gatewise.verify.checks import check_named
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.subjects.inputs import draw_inputs

ALL = Options(zero_length=True, projection=True, batch_first=True, unbatched=True, dropout=True)
ANY = Case(
    6, 5, 4, 7, P=3, layers=2, bidirectional=True, bias=True, lengths=True, zero_length=True,
    state=True, layout="batch-first", dropout=0.5, scale="large", seed=9,
)  # fmt: skip
PLAINEST = Case(1, 1, 1, 1, bias=False, state=False, seed=9)
PARTS = ("x", "state h", "weight")


def simplified(fails, case=ANY, options=ALL):
    seen = []

    def judged(candidate):
        seen.append(candidate)
        assert not options.lacking(candidate), "a case that the subject cannot take"
        assert Case.from_json(candidate.to_json()) == candidate, "a case that cannot be read back"
        return fails(candidate)

    found = simplify(case, judged, options)
    assert fails(found)
    assert len(seen) < 400
    return found


def test_what_fails_anyway_becomes_the_plainest_case():
    assert simplified(lambda case: True) == PLAINEST


@pytest.mark.parametrize(("fails", "needed"), [
    (lambda c: c.T >= 3, {"T": 3}),
    (lambda c: c.T >= 3 and c.layers == 2, {"T": 3, "layers": 2}),
    (lambda c: c.bidirectional and not c.B < 2, {"bidirectional": True, "B": 2}),
    (lambda c: c.H == 7, {"H": 7}),
    (lambda c: c.H % 2 == 1 and c.H > 1, {"H": 3}),
    (lambda c: c.lengths, {"lengths": True}),
    (lambda c: c.P > 0, {"P": 3, "H": 4}),
    (lambda c: c.bias, {"bias": True}),
    (lambda c: c.layout == "batch-first" and c.state, {"layout": "batch-first", "state": True}),
    (lambda c: c.scale == "large" and c.D > 1, {"scale": "large", "D": 2}),
    (lambda c: c.dropout > 0, {"dropout": 0.5}),
])  # fmt: skip
def test_what_is_needed_stays(fails, needed):
    assert simplified(fails) == replace(PLAINEST, **needed)


def test_what_the_subject_does_not_offer_is_not_tried():
    options = Options(bias=False, default_state=False)
    case = Case(4, 3, 2, 5, lengths=True)
    found = simplified(lambda case: True, case, options)
    assert found == Case(1, 1, 1, 1, bias=True, state=True)


def test_the_result_cannot_be_simplified_further():
    """Sizes that depend on each other: no single step from the result fails."""

    def fails(case):
        return case.T * case.B >= 12 and case.T > case.H

    found = simplified(fails, Case(7, 6, 5, 4))
    assert found == simplified(fails, found)
    assert found.T * found.B >= 12
    assert found.D == found.H == 1


@pytest.mark.parametrize(("needed", "zeroed", "rounded"), [
    (lambda numbers: numbers["x"].all(), "state h,weight", "x"),
    (lambda numbers: (numbers["x"] * 8 % 1 != 0).any(), "state h,weight", ""),
    (lambda numbers: numbers["x"].all() and numbers["weight"].any(), "state h", "weight,x"),
    (lambda numbers: True, "state h,weight,x", ""),
])  # fmt: skip
def test_numbers_become_0_or_round(needed, zeroed, rounded):
    def fails(case):
        return needed({part: case.normal(part, (3,)) for part in PARTS})

    found = simplified(fails, PLAINEST)
    assert (found.zeroed, found.rounded) == (zeroed, rounded)


def test_a_slow_subject_keeps_a_larger_case(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(simplification, "time", clock)

    def fails(case):
        clock.now += 2.0
        return case.H > 2

    found = simplify(ANY, fails, ALL)
    at_the_end = 3 * 2.0  # its parts are drawn once more
    assert clock.now < simplification.TIME_LIMIT + at_the_end
    assert found.H > 2
    assert found != ANY


class WrongInTheThirdStep(miniatures.Right):
    """Off from the third step on, in the second row, as long as its input is not 0."""

    def forward(self, case, inputs):
        result = super().forward(case, inputs)
        result.y[2:, 1:] *= 1 + 1e-6 * np.any(inputs.x)
        return result


def test_a_failing_subject_is_told_on_the_simplest_case():
    subject = WrongInTheThirdStep()
    verdict = hold(subject, check_named("forward"), "float64", budget=Budget(20), seed_value=1)
    case = Case.from_json(verdict.case)

    assert verdict.status == "failed"
    assert (case.T, case.B, case.D, case.H, case.layers) == (3, 2, 1, 1, 1)
    assert not (case.bidirectional)
    assert not (case.lengths)
    assert not (case.state)
    assert not case.bias
    assert verdict.place == "step 2, row 1, unit 0"
    named = {*case.zeroed.split(","), *case.rounded.split(",")}
    assert {"x", *subject.parameter_map(case).shapes()} <= named
    inputs = draw_inputs(subject, case)
    for array in (inputs.x, *inputs.parameters.values()):
        assert np.array_equal(array * 8, np.round(array * 8))


class RaisesOrFails(miniatures.Right):
    """Wrong for two rows and more, and raising for one."""

    def forward(self, case, inputs):
        if inputs.x.shape[1] == 1:
            raise RuntimeError("one row")
        result = super().forward(case, inputs)
        return replace(result, y=result.y * 1.001)


def test_a_failure_is_not_simplified_into_another():
    """A wrong number stays a wrong number where fewer rows would raise."""
    verdict = hold(RaisesOrFails(), check_named("forward"), "float64", budget=Budget(20),
                   seed_value=1)  # fmt: skip
    assert verdict.status == "failed"
    assert Case.from_json(verdict.case).B == 2
