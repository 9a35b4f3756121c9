"""Gradients that are cut off in both modes, as ``detach`` cuts them: named, with a note."""

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.diagnosis import examination
from gatewise.verify.diagnosis.gradients.tangents import NOTE
from gatewise.verify.diagnosis.hypotheses import NOTHING_WRONG, Guess, of_mutant
from gatewise.verify.mutants import mutants, right_subject
from gatewise.verify.subjects.inputs import draw_inputs
from judgements import diagnosed

KNOWN = {m.id: of_mutant(m) for m in mutants()}
CUT = KNOWN["G02"]
CASE = Case(3, 2, 2, 3)


def tangents_of(hypothesis, *, transposed):
    subject = right_subject("gru")
    built = Guess(subject, hypothesis, transposed).as_subject.build(CASE)
    along = draw_inputs(subject, Case(3, 2, 2, 3, seed=1))
    pushed = built.jvp(draw_inputs(subject, CASE), along)
    return np.concatenate([pushed.y.ravel(), *(s.ravel() for s in pushed.final)])


def test_the_transposed_of_a_right_way_back_is_forward_mode():
    right = tangents_of(NOTHING_WRONG, transposed=False)
    cut = tangents_of(CUT, transposed=True)

    assert np.allclose(tangents_of(NOTHING_WRONG, transposed=True), right, rtol=1e-12)
    assert np.allclose(cut[:18], right[:18], rtol=1e-12)
    assert not cut[18:].any()
    assert right[18:].all()


def test_a_mutant_knows_in_forward_mode_what_was_given():
    """This one does nothing where a state is given."""
    without, right = (tangents_of(h, transposed=False) for h in (KNOWN["S03"], NOTHING_WRONG))
    assert np.array_equal(without, right)


@pytest.fixture
def cut():
    return Guess(right_subject("rnn"), CUT, transposed=True).as_subject


def test_a_gradient_that_is_cut_off_in_both_modes_is_named(cut):
    found = diagnosed(cut, "gradient", "jvp", seconds=20)
    assert [e.name for e in found.explanations][:1] == ["G02"]
    assert NOTE in found.notes
    assert found.location.part == "gradients"


def test_it_is_forward_mode_that_refutes_it_else(cut, monkeypatch):
    monkeypatch.setattr(examination, "as_gradients", lambda subject, seen: False)
    monkeypatch.setattr(examination, "STAGES", examination.STAGES[:1])
    monkeypatch.setattr(examination, "EXAMINATIONS", ())
    monkeypatch.setattr(examination, "LAST_STAGES", ())
    found = diagnosed(cut, "gradient", "jvp", seconds=20)

    assert (found.explanations, NOTE in found.notes) == ([], False)
