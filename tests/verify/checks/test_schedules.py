"""Schedules: right layers pass; wrong ones fail, and the shortest schedule is told."""

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from gatewise.verify.cases.case import Case
from gatewise.verify.cases.schedule import FORCED, NUMBERS, UNEVEN, parsed, text_of
from gatewise.verify.checks import check_named
from gatewise.verify.execution.channel import Question, receive, send
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.execution.remote import RemoteLayer
from gatewise.verify.mutants import mutant_named, right_subject
from gatewise.verify.subjects import subjects
from gatewise.verify.subjects.called import SubjectCrashed, under_test
from gatewise.verify.subjects.explicit import explicit
from gatewise.verify.subjects.inputs import draw_inputs

CHECK = check_named("schedule")
BUDGET = Budget(20, 3)


def held(subject, dtype="float64", case=None):
    return hold(subject, CHECK, dtype, budget=BUDGET, case=case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["torch:LSTM", "torch:GRU"])
def test_torch_layers(name, dtype):
    pytest.importorskip("torch")
    verdict = held(subjects()[name], dtype)

    assert verdict.status == "passed", verdict.message
    assert verdict.cases >= 8
    assert verdict.blind_cases == 0


@pytest.mark.parametrize("cell", ["mingru", "qrnn-fo-2", "lstm-phased", "zoneout-lstm"])
def test_other_cells(cell):
    verdict = held(right_subject(cell))
    assert verdict.status == "passed", verdict.message
    assert verdict.blind_cases == 0


class Layer:
    """A tanh RNN that is fed in pieces, right."""

    cell = "rnn"

    def forward(self, params, x, state, lengths=None):
        (h,) = state or (np.zeros((x.shape[1], params["b"].shape[-1]), x.dtype),)
        y = np.zeros((len(x), *h.shape), x.dtype)
        for t, x_t in enumerate(x):
            new = np.tanh(x_t @ params.W_a + h @ params.U_a + params.b_a)
            goes = True if lengths is None else (t < lengths)[:, None]
            y[t], h = np.where(goes, new, 0), np.where(goes, new, h)
        return y, (h,)

    def reorder(self, state, rows):
        return tuple(s[rows] for s in state)


class Buffered(Layer):
    """Returns one buffer every time."""

    def __init__(self):
        self.held = {}

    def forward(self, *given, **more):
        y, (h,) = super().forward(*given, **more)
        buffer = self.held.setdefault(h.shape, np.zeros_like(h))
        buffer[:] = h
        return y, (buffer,)


class Forgetful(Layer):
    """Takes the last state that it had of so many rows, not the one that is given."""

    def __init__(self):
        self.last = {}

    def forward(self, params, x, state, lengths=None):
        state = self.last.get(x.shape[1], state) if state else state
        y, self.last[x.shape[1]] = super().forward(params, x, state, lengths)
        return y, self.last[x.shape[1]]


class Unordered(Layer):
    """Lets rows stay where they are."""

    def reorder(self, state, rows):
        return tuple(s[np.arange(len(rows)) % len(s)] for s in state)


class Padded(Layer):
    """Lets padding enter the state."""

    def forward(self, params, x, state, lengths=None):
        y, _ = super().forward(params, x, state, lengths)
        return y, super().forward(params, x, state)[1]


class Dropping(Layer):
    """Leaves the last step of a longer call out of the state."""

    def forward(self, params, x, state, lengths=None):
        y, final = super().forward(params, x, state, lengths)
        left = super().forward(params, x[:-1], state)[1] if len(x) > 1 else final
        return y, left


class Twice(Layer):
    """Decodes the last step of a longer call twice."""

    def forward(self, params, x, state, lengths=None):
        y, final = super().forward(params, x, state, lengths)
        return y, final if len(x) < 2 else super().forward(params, x[-1:], final)[1]


def test_what_is_right_passes():
    verdict = held(explicit(Layer, "layer"))
    assert verdict.status == "passed", verdict.message
    assert verdict.blind_cases == 0


@pytest.mark.parametrize(("layer", "longest", "word"), [
    (Buffered, 4, "keep"), (Forgetful, 5, "back"), (Unordered, 3, "rows"),
    (Padded, 1, "padded"), (Dropping, 1, "prefill"), (Twice, 1, "prefill"),
])  # fmt: skip
def test_what_is_wrong_fails_and_the_shortest_schedule_is_told(layer, longest, word):
    verdict = held(explicit(layer, "layer"))

    assert verdict.wrong
    told = parsed(Case.from_json(verdict.case).schedule)
    assert word in {operation.word for operation in told}
    assert len(told) <= longest, text_of(told)
    assert verdict.message.startswith(text_of(told))


def test_a_case_with_a_schedule_says_what_it_is():
    text = "prefill 2; keep; decode; back; rows 1,0; decode; join 1; padded 1,2"
    case = Case(6, 2, 3, 4, schedule=text)

    assert Case.from_json(case.to_json()) == case
    assert text_of(parsed(text)) == text
    assert held(right_subject("gru"), case=case).status == "passed"
    assert CHECK.refuses(Case(6, 2, 3, 4)) == "expected a schedule, in one direction"


@pytest.mark.parametrize("text", ["decode 2", "prefill", "rows", "rows a", "fill 3", "join 1,2",
                                  "prefill -1"])  # fmt: skip
def test_what_is_no_schedule_is_refused_in_a_sentence(text):
    with pytest.raises(ValueError, match="schedule: "):
        Case.from_json(f'{{"T": 2, "B": 1, "D": 1, "H": 1, "schedule": "{text}"}}')


def test_the_forced_schedules_do_everything():
    words = {operation.word for text in (*FORCED, *UNEVEN.values()) for operation in parsed(text)}
    assert words == NUMBERS.keys()


@pytest.mark.parametrize("id", ["V01", "V03", "V07"])
def test_without_rounding_to_hide_behind_float32_sees_it_too(id):
    subject = mutant_named(f"mutant:{id}")
    assert held(subject, "float32").wrong


@pytest.mark.parametrize("id", ["V07", "V08"])
def test_a_row_that_goes_on_twice_is_wrong_and_no_crash(id):
    case = Case(12, 2, 3, 4, schedule="prefill 3; rows 1,0,1; decode")
    assert CHECK.run(under_test(mutant_named(f"mutant:{id}")), case).failed


def test_what_follows_a_back_is_another_sequence():
    """A layer that returns what it returned for the same step would else pass."""
    calls = []
    subject = under_test(right_subject("rnn"), calls)
    case = Case(4, 1, 2, 3, schedule="decode; keep; decode; back; decode; rows 0; decode")
    CHECK.run(subject, case).assert_within()
    read = [call.inputs.x for call in calls]

    assert len(read) == 4
    assert not any(np.array_equal(a, b) for a, b in pairwise(read))


class Wire:
    """The way to another process: what is asked is kept as it comes out there."""

    def ask(self, question):
        stream = io.BytesIO()
        send(stream, 1, question)
        self.asked = receive(io.BytesIO(stream.getvalue()), 1, Question)[1]
        raise SubjectCrashed


@pytest.mark.parametrize("said", [
    {"rows": (1, 0)}, {"layout": "packed"}, {"kept": True},
], ids=str)  # fmt: skip
def test_what_a_call_says_of_its_rows_reaches_another_process(said):
    case, wire = Case(2, 2, 3, 4, lengths=True), Wire()
    inputs = replace(draw_inputs(right_subject("lstm"), case), **said)
    with pytest.raises(SubjectCrashed):
        RemoteLayer(wire, 0).forward(inputs)
    there = wire.asked.arguments.inputs

    for name in ("rows", "layout", "kept"):
        assert getattr(there, name) == getattr(inputs, name)
    for name in ("x", "lengths"):
        np.testing.assert_array_equal(getattr(there, name), getattr(inputs, name))
