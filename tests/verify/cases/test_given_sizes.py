"""A user's own sizes, and large ones: beyond what is drawn, and every check that can has them."""

from dataclasses import replace

import pytest

import plain_numpy
from gatewise.verify.cases.case import Case
from gatewise.verify.cases.given_sizes import LARGE, GivenSizes
from gatewise.verify.checks import check_named, subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.execution.session import Request
from gatewise.verify.execution.tasks import Description, Named
from gatewise.verify.runs.verdict import UNSHARP
from gatewise.verify.subjects import adapted

FEW = Budget(2, 0)
RIGHT = adapted(plain_numpy.LSTM, "a:L", None)


class WrongBeyond(plain_numpy.LSTM):
    """Right below the sizes at which it is likely to be tried."""

    def unrolled(self, params, x, state, lengths):
        y, steps, final = super().unrolled(params, x, state, lengths)
        beyond = x.shape[0] >= 300 or x.shape[2] >= 140 or y.shape[2] >= 140
        return (y * x.dtype.type(0.9) if beyond else y), steps, final


def held(check, *sizes, of=WrongBeyond):
    return hold(adapted(of, "a:L", None), check_named(check), "float64", budget=FEW, sizes=sizes,
                shrink=False)  # fmt: skip


@pytest.mark.parametrize("text", ["T=400", "D=200,B=2", "H=150, T=2", "D=140,H=5,B=1,layers=1"])
def test_a_layer_that_is_wrong_at_given_sizes(text):
    sizes = GivenSizes.parse(text)

    assert held("forward").status == "passed"
    wrong, right = held("forward", sizes), held("forward", sizes, of=plain_numpy.LSTM)
    assert (wrong.status, right.status) == ("failed", "passed")
    case = Case.from_json(wrong.case)
    assert {n: getattr(case, n) for n in "TBDH"} == {n: getattr(sizes, n) for n in "TBDH"}
    assert right.cases == held("forward", of=plain_numpy.LSTM).cases + 2


@pytest.mark.parametrize("check", [c.id for c in subject_checks() if c.concerns(RIGHT)])
def test_every_check_takes_them_or_leaves_them(check):
    verdict = held(check, GivenSizes(T=6, B=1, D=3, H=9), GivenSizes(T=1, B=1, D=1, H=1),
                   of=plain_numpy.LSTM)  # fmt: skip
    assert verdict.status in ("passed", "not supported"), verdict.message


def test_those_of_the_drawn_cases_are_judged_that_a_check_takes():
    some = replace(check_named("forward"), refuses=lambda case: "its seed" * (case.seed % 5 != 3))
    without = hold(RIGHT, some, "float64", budget=FEW)
    verdict = hold(RIGHT, some, "float64", budget=FEW, sizes=[GivenSizes(T=5)])
    assert (verdict.status, verdict.cases) == ("passed", without.cases + 2)


def test_sizes_that_a_check_never_takes_are_soon_left_to_others():
    """Hypothesis alone would draw more than a thousand cases before it gives up."""
    refused = []
    none = replace(check_named("forward"), refuses=lambda case: refused.append(case) or "any")
    verdict = hold(RIGHT, none, "float64", budget=FEW, sizes=[GivenSizes(T=5)])
    assert verdict.status == "passed"
    assert 0 < len(refused) < 100


def test_sizes_that_show_nothing_are_told():
    """At these no bound in float32 is sharp; those that were drawn passed."""
    verdict = hold(RIGHT, check_named("forward"), "float32", budget=FEW,
                   sizes=[GivenSizes(T=300, H=60)])  # fmt: skip
    assert verdict.status == "passed"
    assert verdict.message == f"{UNSHARP}T=300, B=3, D=2, H=60, layers=1"


@pytest.mark.parametrize("text", [
    "", "T", "T=", "T=-1", "T=1.5", "T=1,T=2", "N=3", "T=0", "T=5000", "T=9999999999999", "B=0",
    "T=²", "layers=0", "T=1;B=2", "x" * 10**5,
])  # fmt: skip
def test_what_no_sizes_are(text):
    with pytest.raises(ValueError, match="sizes") as refused:
        GivenSizes.parse(text)
    assert len(str(refused.value)) < 300


def test_thorough_has_sizes_that_others_do_not():
    described = [Description(Named("a:L", None), ("lstm",))]

    def sizes(**options):
        request = Request.parse(["torch:LSTM"], checks=["forward"], **options)
        return {task.sizes for task in request.plan(described)}

    own = (GivenSizes(T=9),)
    assert sizes(budget="quick") == sizes(budget="standard") == {()}
    assert sizes(budget="thorough", sizes=own) == {own + LARGE}
    assert sizes(budget="quick", sizes=own) == {own}
    case = '{"T": 1, "B": 1, "D": 1, "H": 1}'
    assert sizes(budget="thorough", case=case, dtype="float64") == {()}


@pytest.mark.parametrize(("name", "drawn"), [("T", 60), ("B", 140), ("D", 70), ("H", 140)])
def test_large_sizes_are_beyond_every_drawn_one(name, drawn):
    """In steps, rows and widths: ``drawn`` is what the checks of a CPU's layer have at most."""
    assert max(getattr(each, name) for each in LARGE) > 2 * drawn
