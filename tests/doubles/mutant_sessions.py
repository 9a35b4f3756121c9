"""What the tests of mutants share: cases in which faults show, and everything a layer does."""

from dataclasses import replace
from functools import cache
from itertools import zip_longest

import numpy as np

from gatewise.verify.cases.case import Case
from gatewise.verify.mutants import (
    right_subject,
)
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs

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
    "K33": replace(PLAIN, T=1),
    "W01": LONG, "W03": LONG,
    "W02": Case(2, 2, 2, 66), "W05": Case(2, 2, 2, 66), "W06": Case(2, 2, 2, 40),
    "W04": Case(1002, 1, 1, 2),
    "W07": Case(104, 1, 2, 3), "P09": Case(104, 1, 2, 3),
    "F17": replace(PLAIN, T=8, B=30),
    "D04": replace(PLAIN, scale="huge"),
    "D05": replace(PLAIN, D=8),  # two terms have one sum, unless a processor fuses one product
}  # fmt: skip
"""Cases for faults that show in particular ones; all others show where what they need is there."""

NEEDED = {
    "layers": {"layers": 2},
    "dropout": {"dropout": 0.5},
    "batch_first": {"layout": "batch-first"},
    "unbatched": {"layout": "unbatched", "B": 1},
    "reorders": {},
    "packed": {"layout": "packed", "lengths": True},
    "left_padding": {"layout": "left-padded", "lengths": True},
    "jvp": {},
}
"""What it takes to ask for an option that is no flag."""

LONG_ENOUGH = 200
"""Longer sequences are run forward, once."""


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
    """Call a layer in every way there is, and yield all that can be seen, in order."""
    built = subject.build(case)
    inputs = draw_inputs(subject, case)
    if inputs.state is not None:
        inputs = replace(inputs, state=(*inputs.state[:-1], inputs.state[-1] * 20))
    other = draw_inputs(subject, replace(case, seed=case.seed + 1))
    larger = draw_inputs(subject, replace(case, T=case.T + 1, B=case.B + 1))
    dy, dfinal = draw_cotangents(subject, case)
    dy = strided(dy)
    pairs = [(dy, dfinal), (None, dfinal), (dy, dfinal)]

    first = built.forward(inputs)
    yield from seen(first)
    if case.T > LONG_ENOUGH:
        return
    yield from seen(built.forward(larger))
    for pulled in built.gradients(inputs, pairs):
        yield from seen(pulled)
    built.train(False)
    yield from seen(built.forward(inputs))
    unknown = replace(inputs, x=with_nan_in_the_padding(inputs))
    yield from seen(built.forward(unknown))
    if inputs.lengths is not None:
        yield from seen(built.gradients(unknown, pairs[:1])[0])
    yield from seen(built.forward(replace(inputs, parameters=other.parameters)))
    yield from seen(first)
    if inputs.state is not None and len(inputs.x):
        one = replace(inputs, x=inputs.x[:1], state=first.final, lengths=None)
        turned = tuple(np.roll(range(case.B), 1).tolist())
        for step in (one, replace(one, rows=turned), replace(one, x=inputs.x)):
            yield from seen(built.forward(step))
    if forward_mode:
        yield from seen(built.jvp(inputs, other))
    yield from (inputs.x, *(inputs.state or ()), dy)


def seen(result):
    """Return copies of all that a result shows now."""
    return [np.array(a) for a in parts_of(result).values()]


def same(one, other):
    """Whether sessions are equal bit for bit; no more of them is computed than it takes."""
    return all(
        a is not None
        and b is not None
        and a.shape == b.shape
        and a.dtype == b.dtype
        and np.array_equal(a, b, equal_nan=True)
        for a, b in zip_longest(one, other)
    )


def close(one, other, dtype):
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for a, b in zip(one, other, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@cache
def right_session(case, cell, *, forward_mode=False):
    return [*session(right_subject(cell), case, forward_mode=forward_mode)]
