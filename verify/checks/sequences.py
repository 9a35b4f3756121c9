"""Sequences: padding, empty rows, the direction of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis.strategies import SearchStrategy

from ...reference.forms import form_named
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import reverse
from ..cases.case import Case
from ..cases.layouts import LEFT_PADDED, PACKED
from ..cases.strategies import cases, varied
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .against_reference import BACK, outputs_and_gradients
from .check import SubjectCheck
from .oracle import (
    agree,
    agree_outputs,
    compare_outputs,
    compare_pulled,
    exact,
    expected,
    expected_gradient,
)


def padding(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Fill the padding with NaN, and its cotangents with noise; results must not change."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    beyond = _beyond(case, inputs)
    # NaN survives a multiplication by 0, by which many programs mask.
    x = np.where(beyond, np.nan, inputs.x).astype(case.number_type)
    with_nan = replace(inputs, x=x)
    called = subject.build(case)
    if not subject.options.gradient:
        want = expected(subject, case, inputs)
        got = called.forward(with_nan)
        compare_outputs(ledger, subject, case, got, want)
        return ledger
    dy, dfinal = draw_cotangents(subject, case)
    quiet = np.where(beyond, 0, dy).astype(case.number_type)
    want_gradient = expected_gradient(subject, case, inputs, (quiet, dfinal))
    pulled = compare_pulled(ledger, called, with_nan, (dy, dfinal), want_gradient)
    inside = np.where(beyond, pulled.x, 0)
    ledger.compare("gradient of x in the padding", inside, exact(case, np.zeros(inside.shape)))
    return ledger


def _beyond(case: Case, inputs: Inputs) -> Array:
    lengths = np.full(case.B, case.T) if inputs.lengths is None else inputs.lengths
    return (np.arange(case.T)[:, None] >= lengths)[:, :, None]


def causality(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Change all inputs after a step: earlier outputs stay, and their gradients there are 0."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    t = int(case.generator("present").integers(1, case.T))
    x = inputs.x.copy()
    x[t:] = case.normal("another future", x[t:].shape)
    called = subject.build(case)
    before, after = called.forward(inputs), called.forward(replace(inputs, x=x))
    agree(ledger, case, "y", after.y[:t], before.y[:t], want.y[:t])
    if subject.options.gradient:
        dy, dfinal = draw_cotangents(subject, case)
        dy[t:] = 0
        pulled = called.gradient(inputs, (dy, tuple(None for _ in dfinal)))
        later = pulled.x[t:]
        ledger.compare("gradient of x", later, exact(case, np.zeros(later.shape)), first=t)
    return ledger


def direction(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Reverse the input and exchange the directions: outputs are reversed and exchanged."""
    ledger, originals = Ledger(), draw_inputs(subject, case)
    p = subject.parameter_map(case).to_reference(originals.parameters)
    inputs = replace(originals, parameters=subject.parameter_map(case).pack(p))
    turned = replace(
        originals,
        parameters=subject.parameter_map(case).pack(_exchanged(case, p)),
        x=np.ascontiguousarray(reverse(originals.x, originals.lengths)),
        state=originals.state and tuple(map(_pairs_exchanged, originals.state)),
    )
    want = expected(subject, case, inputs)
    called = subject.build(case)
    straight, mirrored = called.forward(inputs), called.forward(turned)
    y = _halves_exchanged(reverse(mirrored.y, originals.lengths), axis=2)
    turned_back = Result(y, tuple(map(_pairs_exchanged, mirrored.final)))
    agree_outputs(ledger, subject, case, turned_back, straight, want)
    return ledger


def _exchanged(case: Case, p: Sequence[Parameters]) -> list[Parameters]:
    """Return the parameters with the two directions of every layer exchanged."""
    result = []
    for k in range(0, len(p), 2):
        for q in (p[k + 1], p[k]):
            arrays = dict(q)
            if k > 0:  # an upper layer reads both halves of the layer below
                arrays["W"] = _halves_exchanged(arrays["W"], axis=1)
            result.append(Parameters(q.shapes, arrays))
    return result


def _halves_exchanged(array: Array, axis: int) -> Array:
    return np.roll(array, array.shape[axis] // 2, axis=axis)


def _pairs_exchanged(state: Array) -> Array:
    pairs = state.reshape(-1, 2, *state.shape[1:])
    return np.ascontiguousarray(pairs[:, ::-1].reshape(state.shape))


CHUNK = 4
"""Chunk size, about whose multiples sequences end, if a layer names no other."""


def _in_layout(layout: str, subject: Subject, case: Case) -> Case:
    """Return a case with rows of different lengths in a layout."""
    state = case.state and (layout == PACKED or subject.options.left_padding_state)
    empty = subject.options.zero_length and case.zero_length
    return replace(
        case, lengths=True, layout=layout, zero_length=empty, bidirectional=False, state=state,
        B=max(case.B, 2),
    )  # fmt: skip


def _ragged_cases(layout: str, subject: Subject, dtype: str) -> SearchStrategy[Case]:
    return cases(subject, dtype, lengths=False).map(partial(_in_layout, layout, subject))


def _ragged_ends(layout: str, subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases in which one row ends near the end of a chunk, and another has length 1."""
    options = subject.options
    named = (*options.forms, *filter(None, [options.program]))
    sizes = {form_named(name).size for name in named} - {0} or {CHUNK}
    steps = sorted({T for C in sizes for T in (1, C, C + 1, 2 * C + 3)})
    for number, T in enumerate(steps):
        plain = Case(T, 3, 2, 4, dtype=dtype, state=options.state, seed=number)
        case = replace(plain, zero_length=number % 2 == 1)
        if not options.lacking(laid := _in_layout(layout, subject, case)):
            yield laid


def _refuses(layout: str, case: Case) -> str:
    suitable = case.layout == layout and case.lengths and not case.bidirectional
    return "" if suitable else f"expected lengths, and the layout {layout}"


def _of_rows(id: str, statement: str, layout: str, option: str) -> SubjectCheck:
    """Return the check of rows of different lengths in a layout."""
    return SubjectCheck(
        id,
        statement,
        outputs_and_gradients,
        cases=partial(_ragged_cases, layout),
        equations=BACK,
        needs=(option,),
        concerned=lambda subject: bool(getattr(subject.options, option)),
        share=0.5,
        refuses=partial(_refuses, layout),
        forced=partial(_ragged_ends, layout),
    )


CHECKS = (
    SubjectCheck(
        "padding",
        "What stands beyond a row's length, NaN included, has no influence on values or "
        "gradients; outputs and gradients there are 0.",
        padding,
        cases=partial(cases, lengths=True),
        equations=BACK,
        needs=("lengths",),
        share=0.5,
        refuses=lambda case: "" if case.lengths else "expected lengths",
        forced=partial(varied, lengths=True),
    ),
    SubjectCheck(
        "zero-length",
        "A row of length 0 has no outputs, ends in its initial state, and leaves the others alone.",
        outputs_and_gradients,
        cases=lambda subject, dtype: cases(subject, dtype, lengths=True).map(
            lambda case: replace(case, zero_length=True, B=max(case.B, 2))
        ),
        equations=BACK,
        needs=("lengths", "zero_length"),
        share=0.2,
        refuses=lambda case: "" if case.zero_length else "expected a row of length 0",
        forced=partial(varied, lengths=True, zero_length=True),
    ),
    _of_rows(
        "packed",
        "A call of sequences that stand one after another, with their boundaries cu_seqlens, "
        "returns what a call of each alone does: outputs, final states and gradients, from an "
        "initial state of its own.",
        PACKED,
        "packed",
    ),
    _of_rows(
        "left-padding",
        "Padding in front of a sequence, where the mask says so, has no influence: outputs, final "
        "states and gradients are those of the sequence alone.",
        LEFT_PADDED,
        "left_padding",
    ),
    SubjectCheck(
        "causality",
        "An output does not depend on later inputs, nor does it send them a gradient.",
        causality,
        cases=partial(cases, lengths=False, bidirectional=False),
        share=0.3,
        refuses=lambda case: (
            ""
            if case.T > 1 and not case.bidirectional and not case.lengths
            else "expected T > 1, one direction, no lengths"
        ),
    ),
    SubjectCheck(
        "direction",
        "The backward direction is the forward one on the reversed rows: reversing the input and "
        "exchanging the directions' parameters reverses and exchanges the outputs.",
        direction,
        cases=partial(cases, bidirectional=True),
        equations=("bidirectional", "sequence.reversed"),
        needs=("equations", "bidirectional"),
        share=0.4,
        refuses=lambda case: "" if case.bidirectional else "expected two directions",
        forced=partial(varied, bidirectional=True),
    ),
)
