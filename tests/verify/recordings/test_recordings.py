"""What a layer computed, recorded, is judged elsewhere as it would be here."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gatewise
from commands import invoke, refused
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import check_named, subject_checks
from gatewise.verify.conventions.parameter_map import ExplicitMap
from gatewise.verify.execution.judge import hold
from gatewise.verify.execution.recording_tasks import record
from gatewise.verify.execution.tasks import Named
from gatewise.verify.mutants import mutant_named, right_subject
from gatewise.verify.recordings import files
from gatewise.verify.recordings.record import form_of, trace_of
from gatewise.verify.recordings.replayed import UNANSWERED, Replayed
from gatewise.verify.recordings.table import FORCED_CASES, FROM_THE_SUBJECT, cases_to_record
from gatewise.verify.recordings.trace import Store
from gatewise.verify.recordings.visibility import recording_in_memory
from gatewise.verify.subjects import subject_named
from gatewise.verify.subjects.inputs import draw_inputs
from gatewise.verify.subjects.torch_like import torch_like
from judgements import verdict_is

SHORT = Case(4, 3, 2, 5)
LACKING = {*UNANSWERED, "zero-length", "no-steps"}
"""What no recording can answer, and what torch does not offer."""


def recorded(name, folder, **options):
    """Record a subject with all of its cases, in a process of its own."""
    return list(record(Named(name), folder, command="gatewise record", **options))


def in_memory(subject, *choices):
    """Record some cases in this process, and return the recording."""
    return recording_in_memory(subject, {c: files.encoded(trace_of(subject, *c)) for c in choices})


WELL_CONDITIONED = 9
"""A seed whose gradients have, in bfloat16, bounds that mean something; not all have."""


def verdict(subject, check, case):
    return hold(subject, check_named(check), case.dtype, case=case)


@pytest.fixture(scope="module")
def lstm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings") / "lstm"
    recorded("torch:LSTM", folder)
    return folder


def test_a_right_layer_is_right_when_replayed(lstm):
    outcome = gatewise.check(f"recording:{lstm}")

    assert outcome, str(outcome)
    for dtype in ("float64", "float32"):
        said = {v.check: v for v in outcome.verdicts if v.dtype == dtype}
        passed = {name for name, v in said.items() if v.status == "passed"}
        lacking = said.keys() - passed
        assert lacking - {"jvp"} == LACKING  # torch's float32 kernel may have no forward mode
        assert 0 < said["forward"].worst_ratio < 1
        assert "recorded 20" in said["forward"].version
        assert "a recording cannot answer it" in said["purity"].message


@pytest.mark.parametrize(("name", "dtype"), [("torch:GRU", "float32"), ("torch:RNN", "float64")])
def test_other_layers_too(name, dtype, tmp_path):
    entries = recorded(name, tmp_path / "there", dtype=dtype)
    outcome = gatewise.check(f"recording:{tmp_path / 'there'}")

    assert outcome, str(outcome)
    assert {v.dtype for v in outcome.verdicts} == {dtype}
    assert len({e.check for e in entries}) > 25


def test_a_recording_is_small(lstm):
    size = sum(path.stat().st_size for path in lstm.iterdir())
    assert size < 20e6
    assert not list(lstm.parent.glob("*.part"))


def test_every_check_has_a_case_or_a_reason():
    for cell in ("lstm", "gru", "rnn", "lstm-projected"):
        subject = right_subject(cell)
        have = {check for check, _ in cases_to_record(subject, "float64")}
        offered = {
            c.id for c in subject_checks()
            if c.concerns(subject) and not subject.options.missing(c.needs)
        }  # fmt: skip
        assert offered - have == offered & UNANSWERED.keys()


def test_the_replayed_verdict_is_the_live_one():
    """To the bit: the same numbers are compared with the same bounds."""
    for name in ("mutant:L01[lstm]", "mutant:G01[lstm]", "mutant:none[gru]"):
        subject = mutant_named(name)
        choices = [("forward", SHORT), ("gradient", SHORT)]
        for choice in choices:
            live, there = verdict(subject, *choice), verdict(in_memory(subject, choice), *choice)
            assert (live.status, live.worst_ratio, live.worst, live.message) == (
                there.status, there.worst_ratio, there.worst, there.message
            )  # fmt: skip


def test_a_recorded_mutant_fails_on_the_command_line(here):
    done = invoke("record mutant:L01[lstm] -o wrong")
    assert done.exit_code == 0, done.output
    assert "gatewise verify recording:wrong" in done.output

    asked = ["verify", "recording:wrong", "--check", "forward", "--dtype", "float64"]
    said = invoke(*asked, "--json")
    assert said.exit_code == 1
    (failed,) = [v for v in json.loads(said.stdout) if v["check"] == "forward"]
    assert failed["status"] == "failed"
    assert failed["place"]
    again = invoke(*asked, "--case", failed["case"], "--json")
    assert again.exit_code == 1


def test_a_check_is_refused_a_case_that_was_not_recorded(lstm):
    said = verdict(subject_named(f"recording:{lstm}"), "forward", replace(SHORT, seed=12345))
    verdict_is(said, "not supported", "does not hold this case")


def test_calls_that_were_not_recorded_are_not_made_up():
    """A check that calls with other numbers than it did is not answered with the old results."""
    subject = right_subject("lstm")
    recording = in_memory(subject, ("forward", SHORT))
    key = ("forward", SHORT.to_json())
    trace = recording.traces[key]()
    x = trace.calls[0].inputs.x
    drawn = {k: a for k, a in trace.drawn.items() if a is not x}
    assert len(drawn) < len(trace.drawn)
    trace.calls[0].inputs.x = 2 * x
    recording.traces[key] = lambda: replace(trace, drawn=drawn)

    verdict_is(verdict(recording, *("forward", SHORT)), "not supported", "record it again")


def test_the_recorded_inputs_are_those_that_the_equations_get(monkeypatch):
    """Where this machine draws other numbers, the recording's count."""
    subject = right_subject("gru")
    recording = in_memory(subject, ("gradient", SHORT))
    right, generator = draw_inputs(subject, SHORT), Case.generator
    monkeypatch.setattr(Case, "generator", lambda case,
                        part: generator(replace(case, seed=case.seed + 1), part))  # fmt: skip
    assert not np.array_equal(draw_inputs(subject, SHORT).x, right.x)
    assert verdict(recording, "gradient", SHORT).status == "passed"


class Raises:
    """An LSTM that cannot."""

    cell = "lstm"

    def forward(self, params, x, state):
        raise OSError("no disk, no state")


def test_what_raised_raises_again():
    subject = gatewise.verify.subjects.adapted(Raises(), "mine.py:Raises", None)
    live = verdict(subject, "forward", SHORT)
    there = verdict(in_memory(subject, ("forward", SHORT)), "forward", SHORT)
    assert live.status == there.status == "crashed"
    assert live.message.partition(" (")[0] == "OSError: no disk, no state"
    assert there.message == live.message


def test_what_ends_its_process_is_recorded(tmp_path):
    entries = recorded("mutant:P03[lstm]", tmp_path / "ends")
    outcome = gatewise.check(f"recording:{tmp_path / 'ends'}")
    assert [e.check for e in entries] == ["smoke"]
    assert not outcome
    assert "exit code" in str(outcome)


def test_a_class_like_torchs_is_replayed_without_it():
    torch = pytest.importorskip("torch")
    subject = torch_like(torch.nn.GRU, "gone.py:GRU", "torch.nn.GRU")
    assert form_of(subject) == files.Form("like", "torch.nn.GRU")
    header = {"subject": "gone.py:GRU", "form": form_of(subject), "cells": ("gru",)}
    base = files.base(Path("x"), type("R", (), {**header, "dtypes": ("float64",)}), subject.options)
    assert base.parameter_map(SHORT).shapes() == subject.parameter_map(SHORT).shapes()


def test_coarse_numbers_are_named_when_replayed():
    """The arithmetic of a layer is told from what it returned."""

    class Coarse:
        cell = "gru"

        def forward(self, params, x, state):
            layer = gatewise.Layer(gatewise.cell_named("gru"), gatewise.Sizes(D=2, H=5))
            p = ExplicitMap("gru", SHORT).to_reference(
                {f"{n}_l0": a.astype(np.float32) for n, a in params.items()}
            )
            start = tuple(s[None].astype(np.float32) for s in state)
            out = layer.forward(p, x.astype(np.float32), start)
            return out.y.astype(x.dtype), tuple(s[0].astype(x.dtype) for s in out.final)

    subject = gatewise.verify.subjects.adapted(Coarse, "mine.py:Coarse", None)
    said = verdict(in_memory(subject, ("dtype", SHORT)), "dtype", SHORT)
    assert said.status == "failed"
    assert "only float32 or coarser" in said.message


def test_numbers_that_safetensors_lacks_are_held_exactly():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    store = Store()
    numbers = np.array([1.5, -0.0078125, np.inf]).astype(ml_dtypes.bfloat16)
    name = store.keep(numbers)
    assert store.other == {name: "bfloat16"}
    assert store.arrays[name].dtype == np.float32
    assert (store.arrays[name] == numbers.astype(np.float32)).all()


def test_what_is_of_no_known_dtype_is_named():
    """A file has its numbers and the name of its dtype, and what answers cannot make it again."""
    subject, case = right_subject("lstm"), SHORT
    trace = trace_of(subject, "forward", case)
    for call in trace.calls:
        for result in call.results:
            result.y = result.y.astype(np.uint8)
    data = files.encoded(trace)
    said = verdict(recording_in_memory(subject, {("forward", case): data}), "forward", case)
    verdict_is(said, "failed", "expected arrays of a dtype of NumPy, got one of uint8")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "tf32"])
@pytest.mark.parametrize("check", ["forward", "gradient", "transition"])
def test_halves_and_tf32_are_replayed(check, dtype):
    """As the layer itself is judged: through files, which hold bfloat16 as float32."""
    case = Case(40 if check == "transition" else 1, 2, 3, 4, dtype=dtype, seed=WELL_CONDITIONED)
    layer = subject_named("torch:GRU")
    data = files.encoded(trace_of(layer, check, case))
    held = {(check, case.to_json()): lambda: files.parse_trace(Path("recorded"), data)}
    subject = Replayed("recording:x", layer, layer.options, (dtype,), layer.cells, "", held)
    replay, live = verdict(subject, check, case), verdict(layer, check, case)

    assert (replay.status, replay.worst_ratio) == (live.status, live.worst_ratio)
    assert replay.status in ("passed", "blind"), replay.message
    assert replay.worst_ratio > 0


def test_other_seeds_record_other_numbers():
    subject = right_subject("lstm")
    one, other = (list(cases_to_record(subject, "float64", seed)) for seed in (0, 1))
    pairs = zip(one, other, strict=True)
    kept = [check for (check, a), (_, b) in pairs if a.seed == b.seed]
    # dropout goes by the masks that can be told apart, schedules are written down
    assert Counter(kept) == dict.fromkeys(FROM_THE_SUBJECT, FORCED_CASES)


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    done = invoke("record mutant:none[rnn] -o", mine)
    refused(done, 2, "holds something else than a recording")
    assert [p.name for p in mine.iterdir()] == ["thesis.txt"]


def test_a_recording_is_replaced(tmp_path, lstm):
    folder = tmp_path / "again"
    shutil.copytree(lstm, folder)
    recorded("mutant:none[rnn]", folder, dtype="float32")
    assert files.read(folder).subject == "mutant:none[rnn]"
    assert {p.name for p in folder.iterdir()} == {
        "recording.json", *(e.file for e in files.read(folder).entries)
    }  # fmt: skip


@pytest.mark.parametrize(("name", "code", "words"), [
    ("torch:Nothing", 2, "is not known"),
    ("nowhere.py:Layer", 2, "there is no file"),
    ("recording:nowhere", 2, "there is no such file"),
])  # fmt: skip
def test_what_cannot_be_recorded_is_said(name, code, words, here):
    done = invoke("record", name, "-o", "there")
    refused(done, code, words)
    assert not list(here.iterdir())


def test_a_recording_cannot_be_recorded(lstm, tmp_path):
    done = invoke("record", f"recording:{lstm}", "-o", tmp_path / "copy")
    refused(done, 3, "can be recorded")
    assert not (tmp_path / "copy").exists()
