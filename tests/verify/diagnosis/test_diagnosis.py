"""Wrong layers are diagnosed: the mistake, its place, and nothing where nothing is known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import hand_written
import plain_numpy
from commands import invoke
from gatewise.bench.scores.diagnosis import mutant_row, pair_of
from gatewise.bench.scores.true_location import part
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis import replay as replaying
from gatewise.verify.diagnosis import search as explaining
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.diagnosis.gradients.truncation import truncation
from gatewise.verify.execution import diagnosis_tasks as asking
from gatewise.verify.execution import session
from gatewise.verify.execution.tasks import Named
from gatewise.verify.mutants import mutant_subject, mutants, right_subject
from gatewise.verify.mutants.held_out import UNKNOWN_MISTAKES
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.records import typed
from gatewise.verify.runs.verdict import Verdict
from gatewise.verify.subjects import adapted
from judgements import diagnosed

MUTANTS = {m.id: m for m in mutants()}
UNKNOWN = {m.id: m for m in UNKNOWN_MISTAKES}


@pytest.mark.parametrize(("id", "cell", "place"), [
    ("L05", "lstm", "outputs"),
    ("C05", "gru", "outputs"),
    ("F01", "lstm", "outputs"),
    ("Q01", "rnn", "outputs (final h, y); only with different lengths"),
    ("Q03", "rnn", "outputs (y); only with two directions"),
    ("S01", "rnn", "outputs"),
    ("G11", "rnn", "gradients (gradient of b_l0"),
    ("G08", "lstm", "gradients (gradient of U_l0"),
    ("G13", "rnn", "gradients"),
    ("J01", "rnn", "tangents (final h, y); only with an initial state"),
    ("M08", "rnn", "training"),
    ("S08", "rnn", "calls"),
    ("D02", "rnn", "outputs"),
    ("P01", "rnn", "program"),
])  # fmt: skip
def test_mutants_are_named_and_located(id, cell, place):
    """The place is the one that a simulation finds, and options are named where they are needed."""
    row = mutant_row(id, cell)
    assert (row.result, row.misplaced) == ("first", "")
    assert row.location.startswith(place)


@pytest.mark.parametrize(("one", "other"), [("G11", "S06"), ("C04", "Q15")])
def test_two_mistakes_together_are_named(briefly, one, other):
    subject = mutant_subject(pair_of(MUTANTS[one], MUTANTS[other], "rnn"), "rnn")
    found = diagnosed(subject, "forward")

    assert {one, other} in [set(e.ids) for e in found.explanations]
    assert MUTANTS[one].statement in found.headline
    assert MUTANTS[other].statement in found.headline


STORIES = (
    ("sigmoid_of_softsign", "forward"),
    ("first_step_twice", "forward"),
    ("last_input_gradient_doubled", "gradient"),
    ("update_gate_of_the_mean_unit", "forward"),
    ("bias_grows_with_calls", "repeat"),
)
"""Mistakes that are not in the catalogue, and a check that each fails."""


def tell_no_story(id, check):
    mistake = UNKNOWN[id]
    subject = mutant_subject(mistake, mistake.cells[0])
    found = diagnosed(subject, check)

    assert (found.status, found.explanations) == ("unexplained", [])
    assert found.message == "no known mistake explains this, nor two together"
    assert (found.runner_up, found.runner_up_name) == (None, "")


@pytest.mark.parametrize(("id", "check"), STORIES)
def test_unknown_mistakes_are_not_explained(briefly, id, check):
    tell_no_story(id, check)


def without_gradients(*given, right=replaying.predictions):
    return ((key, array) for key, array in right(*given) if not key[2].startswith("gradient of "))


@pytest.mark.parametrize(("planted", "story"), [
    ((replaying, "residual", lambda seen, predicted, level: 0.0), STORIES[0]),
    ((replaying, "predictions", without_gradients), STORIES[2]),
    ((explaining.Explainer, "residual_of", lambda self, hypothesis: 0.5), STORIES[1]),
])  # fmt: skip
def test_a_comparison_that_sees_nothing_is_noticed(briefly, monkeypatch, planted, story):
    """With a mistake planted in the comparison itself, an unknown mistake is explained."""
    monkeypatch.setattr(*planted)
    with pytest.raises(AssertionError):
        tell_no_story(*story)


def test_unknown_mistakes_are_mistakes():
    sizes = Case(4, 3, 2, 5, dropout=0.5, layers=2, lengths=True)
    for mistake in UNKNOWN.values():
        subject = mutant_subject(mistake, mistake.cells[0])
        cases = [replace(sizes, T=3, B=2), replace(sizes, state=False, lengths=False), sizes]
        assert part(subject, cases), mistake.id
        assert mistake.statement.endswith(".")
        assert "\n" not in mistake.statement
    assert len(UNKNOWN) == 50
    assert not UNKNOWN.keys() & MUTANTS.keys()


def test_nothing_is_wrong_with_a_right_layer():
    found = diagnose(right_subject("lstm"), "float64", [])
    assert (found.status, found.explanations, found.headline) == (
        "conforms", [], "no check failed",
    )  # fmt: skip


class Single(plain_numpy.LSTM):
    """It computes in float32, whatever comes in."""

    def unrolled(self, params, x, state, lengths):
        single = {name: array.astype(np.float32) for name, array in params.items()}
        state = None if state is None else tuple(s.astype(np.float32) for s in state)
        ys, steps, end = super().unrolled(single, x.astype(np.float32), state, lengths)
        return ys.astype(x.dtype), steps, tuple(s.astype(x.dtype) for s in end)


def test_a_coarser_arithmetic_is_named():
    subject = adapted(Single, "test:Single", None)
    found = diagnosed(subject, "forward", "dtype")

    assert [e.name for e in found.explanations] == ["arithmetic float32"]
    assert found.location.part == "outputs"
    assert typed(Diagnosis, json.loads(json.dumps(asdict(found)))) == found


class Truncated(hand_written.LSTM):
    """Nothing is learnt from more than 16 steps ago."""

    def forward(self, x, hx=None):
        first, *chunks = x.split(16)
        y, hx = super().forward(first, hx)
        ys = [y]
        for chunk in chunks:
            y, hx = super().forward(chunk, tuple(s.detach() for s in hx))
            ys.append(y)
        return hand_written.torch.cat(ys), hx


def test_how_far_back_gradients_reach():
    truncated = adapted(Truncated, "test:Truncated", "torch.nn.LSTM")
    right = adapted(hand_written.LSTM, "test:LSTM", "torch.nn.LSTM")
    assert truncation(truncated, "float64").words == "no cotangent passes a multiple of 16 steps"
    assert truncation(right, "float64").words == ""


KERAS = """
import sys
sys.path.insert(0, {tests!r})
import torch
from hand_written import LSTM


class Keras(LSTM):
    def gates(self, x, h, suffix):
        i, f, o, g = super().gates(x, h, suffix).chunk(4, dim=1)
        return torch.cat([i, f, g, o], dim=1)
"""


@pytest.fixture
def tell(here, monkeypatch):
    """Run ``gatewise diagnose`` in an empty folder, on few checks."""
    few = tuple(map(check_named, ("smoke", "forward")))
    monkeypatch.setattr(session, "subject_checks", lambda: few)
    named = ("--dtype", "float64", "--jobs", "1")
    return lambda *given: invoke("diagnose", *given, *named)


def test_diagnose_says_what_to_change(tell, tmp_path, root):
    (tmp_path / "keras.py").write_text(KERAS.format(tests=str(root / "tests" / "doubles")))
    result = tell("keras.py:Keras", "--like", "torch.nn.LSTM")

    assert result.exit_code == 1
    order = "The blocks of the gates are read in the order i f o g, not i f g o."
    words = " ".join(result.stdout.split())
    assert f"what is wrong {order}" in words
    assert "read the blocks as i f g o" in words
    assert "outputs (final c, final h, y)" in words


def test_diagnose_tells_how_a_process_ended(tell, root):
    result = tell(f"{root}/tests/doubles/faulty.py:Segfaults")

    assert result.exit_code == 1
    words = " ".join(result.stdout.split())
    assert "(the process was ended by SIGSEGV)." in words
    assert "program; first: check forward" in words


def test_diagnose_of_a_right_layer(tell, root):
    result = tell(f"{root}/tests/doubles/plain_numpy.py:LSTM", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == []


class TestEndedProcesses:
    """What the end of a process says; its own words are in the statement."""

    @pytest.mark.parametrize(("status", "message", "id", "words"), [
        ("timeout", "no answer after 40 s", "P02", "No answer after 40 s: it does not return"),
        ("crashed", "the process was ended by SIGSEGV; it said: x", "P04", "(the process was"),
        ("crashed", "the process was ended by SIGABRT; it said: x", "signal", "SIGABRT"),
        ("crashed", "the process was ended by SIGKILL", "SIGKILL", "The system ended"),
        ("crashed", "the process ended itself with exit code 3", "P03", "exit code 3"),
        ("crashed", "forward raised MemoryError: 9 GiB", "P05", "until there is none"),
    ])  # fmt: skip
    def test_are_explained(self, status, message, id, words):
        (found,) = asking.diagnoses([ended(status, message)], [NAMED], memory=100)
        assert [one.name for one in found.explanations] == [id]
        assert words in found.headline

    def test_numbers_that_are_wrong_are_not_an_end(self, monkeypatch):
        """A failed check whose message has such words is diagnosed like any other."""
        monkeypatch.setattr(asking, "_diagnosis_by_process", lambda *given: "asked")
        wrong = ended("failed", "y is 3, expected 4: MemoryError no answer after 3 s")
        assert list(asking.diagnoses([wrong], [NAMED], memory=100)) == ["asked"]


NAMED = Named("mini:Bad")


def ended(status, message):
    return Verdict("mini:Bad", "lstm", "forward", "", [], "float64", 0, status, message=message)


def test_a_resumed_run_explains_what_is_not_explained_yet(here, monkeypatch):
    """What was explained before the interruption is told again, not looked for again."""
    (here / "bad.py").write_text(TWO_BAD.format(tests=str(Path(__file__).parents[2] / "doubles")))
    asked = []

    def interrupted(named, dtype, failing, *_others):
        asked.append(named.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        doubled = Explanation(("id",), ("y is twice what it should be.",), ("halve it",))
        return Diagnosis(named.name, dtype, "explained", tuple(v.check for v in failing),
                         explanations=[doubled])  # fmt: skip

    monkeypatch.setattr(asking, "_diagnosis_by_process", interrupted)
    command = ["verify", "bad.py:One", "bad.py:Two", "--like", "torch.nn.LSTM", "--check",
               "forward", "--dtype", "float64", "--budget", "quick", "--jobs", "1"]  # fmt: skip
    stopped = invoke(*command)
    assert stopped.exit_code == 3
    assert "interrupted while explaining failures; all verdicts are kept" in stopped.stderr
    (run,) = (here / "runs").iterdir()
    assert [one.subject for one in run_files.read(run).diagnoses] == ["bad.py:One"]

    done = invoke("verify --resume", run)
    assert asked == ["bad.py:One", "bad.py:Two", "bad.py:Two"]
    assert done.stdout.count("bad.py:One does not conform") == 1
    assert done.stdout.count("y is twice what it should be.") == 2
    assert [one.subject for one in run_files.read(run).diagnoses] == ["bad.py:One", "bad.py:Two"]


TWO_BAD = """
import sys
sys.path.insert(0, {tests!r})
from hand_written import LSTM

class One(LSTM):
    def forward(self, x, hx=None):
        y, final = super().forward(x, hx)
        return 2 * y, final

class Two(One):
    pass
"""


def test_long_sequences_are_run_only_where_short_ones_refute_nothing(monkeypatch):
    """Fewer than half of the mistakes are tried on what takes 1010 steps."""
    long, right = [], explaining.first_residual

    def counted(subject, build, seen):
        long.extend([1] * (seen.experiment.case.T > 200))
        return right(subject, build, seen)

    monkeypatch.setattr(explaining, "first_residual", counted)
    subject = mutant_subject(MUTANTS["F14"], "rnn")
    found = diagnosed(subject, "transition", seconds=60)

    assert [e.name for e in found.explanations] == ["F14"]
    assert 0 < len(long) < found.tried / 2
