"""The mutants are what they say: right where unchanged, wrong where changed, all of them there."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gatewise.reference.cells import cells
from gatewise.reference.cells.delta import DeltaFamily
from gatewise.verify.checks import subject_checks
from gatewise.verify.mutants import (
    LEFT_OUT,
    equivalences,
    mutant_named,
    mutant_subject,
    mutants,
    right_subject,
)
from gatewise.verify.mutants.state import unpacked
from gatewise.verify.subjects.loader import UnknownSubject
from mutant_sessions import DEFAULT, PLAIN, RICH, case_of, close, right_session, same, session

KNOWN = {"L": 12, "C": 8, "F": 15, "S": 13, "Q": 12, "G": 18, "M": 5, "D": 6}
"""How many faults of each family the survey of real defects lists."""

EVERY = [(m, cell) for m in mutants() for cell in m.cells]
RUNNABLE = [(m, cell) for m, cell in EVERY if not m.isolated]


def test_every_known_fault_has_a_mutant_or_a_reason():
    ids = {m.id for m in mutants()}
    known = {f"{family}{k:02}" for family, count in KNOWN.items() for k in range(1, count + 1)}
    assert known - ids == LEFT_OUT.keys()


def test_what_a_mutant_says_of_itself():
    checks = {check.id for check in subject_checks()}
    for m in (*mutants(), *equivalences()):
        assert m.statement.endswith("."), m.id
        assert set(m.cells) <= cells().keys(), m.id
        assert set(m.killed_by) <= checks, m.id
        assert not m.models or re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", m.models), m.id
        assert set(m.dtypes) <= {"float64", "float32"}, m.id


def test_every_mutant_says_what_to_do_instead():
    fixes = {m.id: m.fix for m in mutants()}
    assert len(set(fixes.values())) == len(fixes)
    for id, fix in fixes.items():
        assert 0 < len(fix) < 160, id
        assert not fix.endswith("."), id


def test_names_lead_back():
    for m, cell in EVERY:
        assert mutant_named(mutant_subject(m, cell).name) == mutant_subject(m, cell)
    assert mutant_named("mutant:none[gru]") == right_subject("gru")
    assert mutant_named("mutant:L01").cells == ("lstm",)
    for wrong in ("mutant:Z99[lstm]", "mutant:L01[rnn]"):
        with pytest.raises(UnknownSubject):
            mutant_named(wrong)


def test_a_session_of_the_right_layer_is_the_same_each_time():
    for case in (RICH, DEFAULT):
        assert same(session(right_subject("lstm"), case), right_session(case, "lstm"))


@pytest.mark.parametrize(("mutant", "cell"), RUNNABLE, ids=lambda v: getattr(v, "id", v))
def test_a_mutant_is_not_the_right_layer(mutant, cell):
    for dtype in mutant.dtypes:
        case, forward_mode = case_of(mutant, dtype), "jvp" in mutant.needs
        right = right_session(case, cell, forward_mode=forward_mode)
        shown = session(mutant_subject(mutant, cell), case, forward_mode=forward_mode)
        try:
            is_right = same(shown, right)
        except RuntimeError:
            assert mutant.id == "P01"
            continue
        assert not is_right


NEEDING = [
    (m, m.cells[0], option)
    for m in mutants()
    for option in m.needs
    if option not in ("jvp", "reorders")
]
WITHOUT = {
    "layers": {"layers": 1}, "dropout": {"dropout": 0.0}, "batch_first": {}, "unbatched": {},
    "packed": {}, "left_padding": {},
}  # fmt: skip


@pytest.mark.parametrize(("mutant", "cell", "option"), NEEDING, ids=lambda v: getattr(v, "id", v))
def test_a_mutant_without_what_it_needs_is_right(mutant, cell, option):
    case = replace(RICH, **WITHOUT.get(option, {option: False}))
    assert same(session(mutant_subject(mutant, cell), case), right_session(case, cell))


EQUAL = [(m, cell, dtype) for m in equivalences() for cell in m.cells for dtype in m.dtypes]


@pytest.mark.parametrize(("mutant", "cell", "dtype"), EQUAL, ids=lambda v: getattr(v, "id", v))
def test_an_equivalence_is_right(mutant, cell, dtype):
    for plain in (replace(RICH, dropout=0.0), replace(DEFAULT, T=1), replace(PLAIN, T=0)):
        case = replace(plain, dtype=dtype)
        close(session(mutant_subject(mutant, cell), case), right_session(case, cell), dtype)


ALONE = """
import resource
from gatewise.verify.cases.case import Case
from gatewise.verify.mutants import mutant_named
from gatewise.verify.subjects.inputs import draw_inputs
subject, case = mutant_named("mutant:{id}"), Case(5, 3, 2, 4)
built, inputs = subject.build(case), draw_inputs(subject, case)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28,) * 2)
print("begins", flush=True)
try:
    built.forward(inputs)
except MemoryError:
    print("memory")
else:
    print("returned")
"""


def alone(id):
    """Start a mutant in a process of its own."""
    command = [sys.executable, "-c", ALONE.format(id=id)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize(
    ("id", "status", "said"),
    [("P03", 0, "begins\n"), ("P04", -11, "begins\n"), ("P05", 0, "begins\nmemory\n")],
)
def test_some_end_their_process(id, status, said):
    with alone(id) as process:
        out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (status, said)


def test_one_never_returns():
    with alone("P02") as process:
        assert process.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()


def test_only_those_need_a_process_of_their_own():
    assert {m.id for m in mutants() if m.isolated} == {"P02", "P03", "P04", "P05"}


def test_mistakes_of_a_family_are_those_of_all_its_members():
    """What is named in one delta rule has to be named in the others."""
    members = {name for name, cell in cells().items() if isinstance(cell, DeltaFamily)}
    by_id = {m.id: set(m.cells) for m in mutants()}

    assert len(members) == 5
    assert by_id["K06"] == by_id["K07"] == by_id["K08"] == members
    assert by_id["K09"] == {name for name in members if cells()[name].corrects}


def test_packed_input_comes_back_without_what_it_had_no_place_for():
    x = np.arange(1.0, 9.0).reshape(4, 2, 1)
    assert unpacked(x, None) is x
    assert unpacked(x, np.array([1, 3]))[..., 0].tolist() == [[1, 2], [0, 4], [0, 6]]
