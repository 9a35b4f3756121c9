"""What raises is narrowed to its condition; what fails for one cause is told once."""

import re
from dataclasses import replace
from functools import partial

import pytest

import conditional
import hand_written
import refusing
from gatewise.verify.diagnosis import examination
from gatewise.verify.diagnosis.causes import crash, writes
from gatewise.verify.diagnosis.causes.cause import unexplained
from gatewise.verify.execution.judge import Budget
from gatewise.verify.mutants import mutant_subject, mutants
from gatewise.verify.runs.diagnosis import Explanation
from gatewise.verify.runs.verdict import cause
from gatewise.verify.subjects import adapted
from judgements import failing


def subject_of(layer):
    like = None if issubclass(layer, conditional.plain_numpy.LSTM) else "torch.nn.LSTM"
    return adapted(layer, f"of:{layer.__name__}", like)


failures = partial(failing, budget=Budget(8), seed_value=1)


CONDITIONS = [
    (conditional.OneStep, ("shapes", "forward"), "with one step"),
    (conditional.TwoLayers, ("forward",), "with more than one layer"),
    (conditional.GivenState, ("forward", "carry"), "with more than 2 rows, when a state is given"),
    (conditional.SquareWeights, ("shapes",), "where D = H"),
    (conditional.ManySteps, ("forward",), "with more than 4 steps"),
    (conditional.OneRowBackward, ("shapes", "gradient"), "in the backward, for B = 1"),
    (refusing.BackwardRaises, ("gradient",), "in the backward"),
    (refusing.Trips, ("forward",), "in two directions"),
    (refusing.TripsOverLengths, ("forward", "padding"), "with lengths (packed input)"),
]


@pytest.mark.parametrize(("layer", "checks", "where"), CONDITIONS,
                         ids=lambda value: getattr(value, "__name__", None))  # fmt: skip
def test_a_crash_is_narrowed_to_its_condition(layer, checks, where):
    subject = subject_of(layer)
    failing = failures(subject, *checks)
    (found,) = crash.crashes(subject, "float64", failing)

    assert failing
    assert len(found.verdicts) == len(failing)
    (statement,) = found.explanation.statements
    assert re.match(r"It raises \w+: ", statement)
    assert statement.endswith(f", only {where}.")
    assert found.explanation.fixes[0]


def test_a_crash_in_one_dtype_says_so():
    subject = subject_of(conditional.SinglePrecision)
    (found,) = crash.crashes(subject, "float32", failures(subject, "forward", dtype="float32"))
    assert "only with more than one step, in float32." in found.explanation.statements[0]


def test_two_crashes_are_two_causes():
    """Each with its own condition; the other's failures are no sign of it."""
    subject = subject_of(conditional.OneStepOrOneRow)
    found = list(crash.crashes(subject, "float64", failures(subject, "shapes", "forward")))
    only = sorted(each.explanation.statements[0].partition(", only ")[2] for each in found)
    assert only == ["for B = 1.", "with one step."]


def test_the_line_of_the_layer_is_named():
    """Not a line of torch or NumPy that it called."""
    subject = subject_of(conditional.OneRowBackward)
    (found,) = crash.crashes(subject, "float64", failures(subject, "shapes"))

    assert "(conditional.py, line" in found.explanation.statements[0]
    assert re.match(
        r"line \d+ of conditional\.py: keep axes of length 1", found.explanation.fixes[0]
    )


def test_an_operation_in_place_is_found():
    """Torch names no line in the backward; the forward line whose result was changed is."""
    subject = subject_of(refusing.BackwardRaises)
    (found,) = crash.crashes(subject, "float64", failures(subject, "gradient"))

    (statement,) = found.explanation.statements
    assert re.search(r"; it is needed by refusing\.py, line \d+, in step, only in the", statement)
    assert "in place" in found.explanation.fixes[0]


@pytest.mark.parametrize(("layer", "said"), [
    (conditional.CellInFloat32,
     "The final h and final c come back in float32 for float64 input, only when a state is given."),
    (conditional.RowsFirst,
     "The final h comes back in shape (3, 1, 6), not (1, 3, 6): the batch axis stands first "
     "instead of the layers' axis."),
])  # fmt: skip
def test_what_comes_back_otherwise_is_one_cause(layer, said):
    """However many checks say it, and each of another size."""
    subject = subject_of(layer)
    failing = failures(subject, "forward", "gradient", "carry", "final", "repeat")
    (found,) = crash.crashes(subject, "float64", failing)

    assert len(found.verdicts) == len(failing) >= 4
    assert found.explanation.statements == (said,)


@pytest.mark.parametrize("checks", [("forward",), ("batch-single",), ("shapes", "forward")])
def test_a_crash_and_wrong_numbers_are_both_told(checks):
    """A check tells one failure, and hides the other, whichever it is."""
    subject = subject_of(conditional.OneRowAndSwapped)
    failing = failures(subject, *checks)
    found = examination.diagnose(subject, "float64", failing)

    crashed, _, numbers = found.headline.partition("only for B = 1.")
    assert crashed.startswith("It raises IndexError")
    assert "gates" in numbers
    assert found.failed == tuple(v.check for v in failing) == checks


@pytest.mark.parametrize(("layer", "said"), [
    (hand_written.AlwaysHasABias,
     "It makes a parameter bias_hh_l0 that it should not have, only without biases."),
    (hand_written.IgnoresNumLayers,
     "It makes no parameter weight_hh_l1, only with more than one layer."),
])  # fmt: skip
def test_an_option_that_is_ignored_is_a_cause(layer, said):
    """Also where a failure asks for writes into the arguments, in a case that cannot be built."""
    subject = subject_of(layer)
    failing = failures(subject, "forward", "gradient", "purity", "shapes")
    found = examination.diagnose(subject, "float64", failing)
    assert found.headline == said


def test_where_nothing_raises_there_is_no_cause():
    subject = subject_of(hand_written.SwapsGates)
    failing = failures(subject, "forward", "gradient")
    assert list(crash.crashes(subject, "float64", failing)) == []
    assert unexplained(failing, []) == failing


@pytest.mark.parametrize(("one", "other"), [
    ("ValueError: 3 rows (a.py, line 4, in f)", "ValueError: 5 rows (a.py, line 4, in f)"),
    ("RuntimeError: [torch.DoubleTensor [1, 2]] is at version 3",
     "RuntimeError: [torch.FloatTensor [2]] is at version 4"),
    ("y: expected dtype float64, got float32", "row 2: y: expected dtype float64, got float32"),
    ("gradient of W: expected shape (2,), got (3,)", "gradient of x: expected shape (2,), got ()"),
    ("parameter b: expected none as torch.nn.GRU, got (3,)", "parameters: otherwise named"),
])  # fmt: skip
def test_messages_of_one_cause(one, other):
    assert cause(one) == cause(other) != ""


@pytest.mark.parametrize(("one", "other"), [
    ("ValueError: a (a.py, line 4, in f)", "ValueError: a (a.py, line 5, in f)"),
    ("ValueError: a (a.py, line 4, in f)", "TypeError: a (a.py, line 4, in f)"),
    ("y: expected dtype float64, got float32", "final h: expected dtype float64, got float32"),
    ("y: expected dtype float64, got float32", "y: expected shape (1,), got (2,)"),
])  # fmt: skip
def test_messages_of_two_causes(one, other):
    assert cause(one) != cause(other)


def test_numbers_are_no_cause():
    assert cause("y[0, 1] = 0.5, expected 0.25 ± 1e-16 (error is 3e+14 times the bound)") == ""


@pytest.fixture
def overwriting():
    (mutant,) = (m for m in mutants() if m.id == "G12")
    return mutant_subject(mutant, "rnn")


def test_a_crash_that_follows_from_a_mistake_is_not_one_of_its_own(overwriting, monkeypatch):
    """Who writes into a cotangent raises where that may not be written into."""
    failing = failures(overwriting, "purity", "strided")
    found = examination.diagnose(overwriting, "float64", failing, seconds=20)
    monkeypatch.setattr(examination.writes, "refused", lambda cause: False)
    twice = examination.diagnose(overwriting, "float64", failing, seconds=20)

    assert [v.status for v in failing] == ["failed", "crashed"]
    assert ([e.ids for e in found.explanations], found.failed) == (
        [("G12",)],
        ("purity", "strided"),
    )
    assert [e.ids for e in twice.explanations] == [("ValueError", "G12")]


def test_a_crash_for_another_reason_is_a_mistake_of_its_own(overwriting):
    failing = failures(overwriting, "purity", "strided")
    (raised,) = crash.crashes(overwriting, "float64", failing)

    assert writes.refused(raised)
    other = Explanation(("ValueError",), ("It raises ValueError: no such size.",), ())
    assert not writes.refused(replace(raised, explanation=other))


class Squeezed(hand_written.LSTM):
    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return y.squeeze(), final


def test_all_sizes_whose_axis_is_lost_are_named():
    """One mistake, whatever raises because of it."""
    failing = failures(subject_of(Squeezed), "shapes", "batch-single")
    (raised,) = crash.crashes(subject_of(Squeezed), "float64", failing)

    assert raised.explanation.statements[0].endswith(
        "an axis of length 1 is missing, wherever T = 1, B = 1 or H = 1."
    )
    assert set(map(id, raised.verdicts)) == set(map(id, failing))
