"""The mutants are what they say: right where unchanged, wrong where changed, all of them there."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from gatewise.reference.cells import cell_named, cells
from gatewise.reference.layer import Layer
from gatewise.verify.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.mutants import (
    LEFT_OUT,
    equivalences,
    gated,
    mutant_named,
    mutant_subject,
    mutants,
    right_subject,
)
from gatewise.verify.oracle import draw_cotangents, draw_inputs
from gatewise.verify.subjects.loading import UnknownSubject

KNOWN = {"L": 12, "C": 8, "F": 15, "S": 13, "Q": 12, "G": 18, "M": 5, "D": 6}
"""How many faults of each family the survey of real defects lists."""

RICH = Case(
    4, 3, 2, 5, layers=2, bidirectional=True, lengths=True, zero_length=True, dropout=0.5, seed=1
)
PLAIN = Case(5, 3, 2, 4)
DEFAULT = replace(PLAIN, state=False)
LONG = replace(PLAIN, T=40, B=1)

SHOWN = {
    "F14": replace(PLAIN, T=260, B=2),
    "M04": replace(PLAIN, layers=2, dropout=1.0),
    "S03": DEFAULT, "S08": DEFAULT, "S14": DEFAULT, "S15": DEFAULT,
    "S13": replace(PLAIN, T=3),
    "Q16": replace(PLAIN, T=0),
    "W01": LONG, "W03": LONG,
    "W02": Case(2, 2, 2, 66), "W05": Case(2, 2, 2, 66), "W06": Case(2, 2, 2, 40),
    "W04": Case(1002, 1, 1, 2),
    "W07": Case(104, 1, 2, 3), "P09": Case(104, 1, 2, 3),
    "F17": replace(PLAIN, T=8, B=30),
    "D04": replace(PLAIN, scale="huge"),
}  # fmt: skip
"""Cases for faults that show in particular ones; all others show where what they need is there."""

NEEDED = {
    "layers": {"layers": 2},
    "dropout": {"dropout": 0.5},
    "batch_first": {"layout": "batch-first"},
    "unbatched": {"layout": "unbatched", "B": 1},
    "jvp": {},
}
"""What it takes to ask for an option that is no flag."""

LONG_ENOUGH = 200
"""Longer sequences are run forward, once."""

EVERY = [(m, cell) for m in mutants() for cell in m.cells]
RUNNABLE = [(m, cell) for m, cell in EVERY if not m.isolated]


def case_of(mutant, dtype):
    case = SHOWN.get(mutant.id, PLAIN)
    for option in mutant.needs if case is PLAIN else ():
        case = replace(case, **NEEDED.get(option, {option: True}))
    return replace(case, dtype=dtype)


def parts_of(result):
    """Everything in a result, by name."""
    named = {"y": result.y} | {f"final {k}": s for k, s in enumerate(result.final)}
    if hasattr(result, "parameters"):
        named |= {f"d{name}": d for name, d in result.parameters.items()} | {"dx": result.x}
        named |= {f"d0 {k}": d for k, d in enumerate(result.initial)}
    return named


def strided(dy):
    return np.ascontiguousarray(dy.swapaxes(0, 1)).swapaxes(0, 1)


def with_nan_in_the_padding(inputs):
    x = inputs.x.copy()
    if inputs.lengths is not None:
        x[np.arange(len(x))[:, None] >= inputs.lengths] = np.nan
    return x


def session(subject, case, *, forward_mode=False):
    """Call a layer in every way there is, and keep all that can be seen, in order."""
    built, seen = subject.build(case), []
    inputs = draw_inputs(subject, case)
    if inputs.state is not None:
        inputs = replace(inputs, state=(*inputs.state[:-1], inputs.state[-1] * 20))
    other = draw_inputs(subject, replace(case, seed=case.seed + 1))
    larger = draw_inputs(subject, replace(case, T=case.T + 1, B=case.B + 1))
    dy, dfinal = draw_cotangents(subject, case)
    dy = strided(dy)
    pairs = [(dy, dfinal), (None, dfinal), (dy, dfinal)]

    def see(result):
        seen.extend(np.array(a) for a in parts_of(result).values())

    first = built.forward(inputs)
    see(first)
    if case.T > LONG_ENOUGH:
        return seen
    see(built.forward(larger))
    for pulled in built.gradients(inputs, pairs):
        see(pulled)
    built.train(False)
    see(built.forward(inputs))
    see(built.forward(replace(inputs, x=with_nan_in_the_padding(inputs))))
    see(built.forward(replace(inputs, parameters=other.parameters)))
    see(first)
    if forward_mode:
        see(built.jvp(inputs, other))
    seen.extend([inputs.x, *(inputs.state or ()), dy])
    return seen


def same(one, other):
    return len(one) == len(other) and all(
        a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


def close(one, other, dtype):
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for a, b in zip(one, other, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@cache
def right_session(case, cell, *, forward_mode=False):
    return session(right_subject(cell), case, forward_mode=forward_mode)


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


def test_names_lead_back():
    for m, cell in EVERY:
        assert mutant_named(mutant_subject(m, cell).name) == mutant_subject(m, cell)
    assert mutant_named("mutant:none[gru]") == right_subject("gru")
    assert mutant_named("mutant:L01").cells == ("lstm",)
    for wrong in ("mutant:Z99[lstm]", "mutant:L01[rnn]"):
        with pytest.raises(UnknownSubject):
            mutant_named(wrong)


SMALL = (
    PLAIN,
    DEFAULT,
    replace(PLAIN, T=0),
    replace(PLAIN, T=1, B=1, D=1, H=2),
    replace(RICH, dropout=0.0),
    replace(RICH, dropout=0.0, bias=False, scale="large"),
    replace(PLAIN, scale="huge", lengths=True),
)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", cells())
def test_unchanged_it_is_the_references_layer(cell, dtype):
    """Values and gradients; without dropout the mode changes nothing."""
    subject = right_subject(cell)
    for small in SMALL:
        case = replace(small, dtype=dtype, P=small.H // 2 if cell == "lstm-projected" else 0)
        inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
        layer = Layer(cell_named(cell), case.sizes, case.layers, case.bidirectional)
        p = subject.to_reference(case, inputs.parameters)
        output = layer.forward(p, inputs.x, inputs.state, inputs.lengths)
        gradient = layer.vjp(p, output, dy, dfinal)
        named = subject.from_reference(case, gradient.parameters)
        built = subject.build(case)
        result, pulled = built.forward(inputs), built.gradients(inputs, [(dy, dfinal)])[0]
        close([pulled.y, *pulled.final], [output.y, *output.final], dtype)
        close(parts_of(result).values(), [output.y, *output.final], dtype)
        close(pulled.parameters.values(), [named[name] for name in pulled.parameters], dtype)
        close([pulled.x], [gradient.x], dtype)
        close(pulled.initial, gradient.initial if case.state else (), dtype)


@pytest.mark.parametrize("cell", cells())
def test_forward_mode_is_adjoint_to_the_way_back(cell):
    """<dy, J t> = <J^T dy, t>."""
    case, subject = replace(RICH, dropout=0.0), right_subject(cell)
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    along = draw_inputs(subject, replace(case, seed=2))
    built = subject.build(case)
    pushed, pulled = built.jvp(inputs, along), built.gradients(inputs, [(dy, dfinal)])[0]
    forward = inner([dy, *dfinal], [pushed.y, *pushed.final])
    named = [pulled.parameters[name] for name in along.parameters]
    back = inner([pulled.x, *pulled.initial, *named],
                 [along.x, *along.state, *along.parameters.values()])  # fmt: skip
    assert forward == pytest.approx(back)


def inner(one, other):
    return sum((a * b).sum() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_dropout_is_a_mask_between_the_levels(rate):
    """Two levels of the reference with the mask in between say the same, forward and back."""
    case = Case(4, 3, 2, 4, layers=2, dropout=rate)
    subject = right_subject("lstm")
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    built, masks = subject.build(case), []
    drawn = built.mask
    built.mask = lambda shape: masks.append(drawn(shape)) or masks[-1]
    pulled = built.gradients(inputs, [(dy, dfinal)])[0]
    mask = masks[0] if masks else np.ones((4, 3, 4))
    assert set(np.unique(mask)) <= {0.0, 1.0 if rate in (0, 1) else 1 / (1 - rate)}

    layer = Layer(cell_named("lstm"), case.sizes, 2)
    low, high = (Layer(layer.cell, sizes) for sizes in layer.pass_sizes)
    p = subject.to_reference(case, inputs.parameters)
    states = [tuple(s[k : k + 1] for s in inputs.state) for k in range(2)]
    below = low.forward(p[:1], inputs.x, states[0])
    above = high.forward(p[1:], below.y * mask, states[1])
    back = high.vjp(p[1:], above, dy, tuple(d[1:] for d in dfinal))
    dx = low.vjp(p[:1], below, back.x * mask, tuple(d[:1] for d in dfinal)).x
    close([pulled.y, pulled.x], [above.y, dx], "float64")
    built.train(False)
    plain = layer.forward(p, inputs.x, inputs.state)
    close([built.forward(inputs).y], [plain.y], "float64")


@pytest.mark.parametrize("cell", cells())
def test_a_traced_step_has_the_gradient_of_the_hand_derived_one(cell):
    """The tape finds by itself what the cell's own VJP says."""
    case, subject = replace(RICH, dropout=0.0), right_subject(cell)
    inputs, cotangents = draw_inputs(subject, case), draw_cotangents(subject, case)
    by_hand, traced = subject.build(case), subject.build(case)
    if cell.startswith("skip"):
        traced.step = lambda at, p, x, s: gated.skip_step(traced, p, x, s)
    else:
        traced.step = lambda at, p, x, s: traced.cell.step(p, x, s)[0]
    want, got = (built.gradients(inputs, [cotangents])[0] for built in (by_hand, traced))
    close(parts_of(got).values(), parts_of(want).values(), "float64")


def test_a_session_of_the_right_layer_is_the_same_each_time():
    for case in (RICH, DEFAULT):
        assert same(right_session(case, "lstm"), right_session(case, "lstm"))


@pytest.mark.parametrize(("mutant", "cell"), RUNNABLE, ids=lambda v: getattr(v, "id", v))
def test_a_mutant_is_not_the_right_layer(mutant, cell):
    """Something that a caller can see is another."""
    for dtype in mutant.dtypes:
        case, forward_mode = case_of(mutant, dtype), "jvp" in mutant.needs
        try:
            seen = session(mutant_subject(mutant, cell), case, forward_mode=forward_mode)
        except RuntimeError:
            assert mutant.id == "P01"
            continue
        assert not same(seen, right_session(case, cell, forward_mode=forward_mode))


NEEDING = [(m, m.cells[0], option) for m in mutants() for option in m.needs if option != "jvp"]
WITHOUT = {
    "layers": {"layers": 1},
    "dropout": {"dropout": 0.0},
    "batch_first": {},
    "unbatched": {},
}


@pytest.mark.parametrize(("mutant", "cell", "option"), NEEDING, ids=lambda v: getattr(v, "id", v))
def test_a_mutant_without_what_it_needs_is_right(mutant, cell, option):
    """Options that a fault is said to need, it needs."""
    case = replace(RICH, **WITHOUT.get(option, {option: False}))
    assert same(session(mutant_subject(mutant, cell), case), right_session(case, cell))


EQUAL = [(m, cell, dtype) for m in equivalences() for cell in m.cells for dtype in m.dtypes]


@pytest.mark.parametrize(("mutant", "cell", "dtype"), EQUAL, ids=lambda v: getattr(v, "id", v))
def test_an_equivalence_is_right(mutant, cell, dtype):
    """Up to rounding, everything is what the right layer says."""
    for plain in (replace(RICH, dropout=0.0), replace(DEFAULT, T=1), replace(PLAIN, T=0)):
        case = replace(plain, dtype=dtype)
        close(session(mutant_subject(mutant, cell), case), right_session(case, cell), dtype)


ALONE = """
import resource
from gatewise.verify.case import Case
from gatewise.verify.mutants import mutant_named
from gatewise.verify.oracle import draw_inputs
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
    """They exit, crash, or run out of memory."""
    with alone(id) as process:
        out, _ = process.communicate(timeout=120)
    assert (process.returncode, out) == (status, said)


def test_one_never_returns():
    """It begins, and then nothing happens."""
    with alone("P02") as process:
        assert process.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.kill()


def test_only_those_need_a_process_of_their_own():
    assert {m.id for m in mutants() if m.isolated} == {"P02", "P03", "P04", "P05"}
