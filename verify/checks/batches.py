"""The batch axis: rows are independent, and the position of the axis makes no difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.strategies import cases, coinciding, varied
from ..numbers.ledger import Ledger
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .against_reference import BACK, outputs_and_gradients
from .check import SubjectCheck
from .oracle import Expected, agree_outputs, expected


def batch_single(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare each row of a batch with that row alone, without its padding."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    together = subject.build(case).forward(inputs)
    for b in range(case.B):
        steps = case.T if inputs.lengths is None else int(inputs.lengths[b])
        if steps == 0:
            continue
        row = _rows(inputs, [b], steps)
        alone = replace(case, B=1, T=steps, lengths=False, zero_length=False)
        single = subject.build(alone).forward(row)
        results = (_rows_of(single, 0, steps), *(_rows_of(r, b, steps) for r in (together, want)))
        agree_outputs(ledger, subject, case, *results, prefix=f"row {b} alone: ")
    return ledger


def batch_permutation(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a run with one whose rows are in another order, which is not its own inverse."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    want = expected(subject, case, inputs)
    order = np.roll(np.arange(case.B), 1)
    called = subject.build(case)
    straight = called.forward(inputs)
    permuted = called.forward(_rows(inputs, order, case.T))
    others = (_rows_of(result, order, case.T) for result in (straight, want))
    agree_outputs(ledger, subject, case, permuted, *others)
    return ledger


def _rows_of(result: Result | Expected, rows: int | Floats, steps: int) -> Result:
    """Return the first steps and the final states of some rows."""
    return Result(result.y[:steps, rows], tuple(s[:, rows] for s in result.final))


def _rows(inputs: Inputs, rows: Sequence[int] | Floats, steps: int) -> Inputs:
    alone = len(rows) == 1
    state = inputs.state and tuple(np.ascontiguousarray(s[:, rows]) for s in inputs.state)
    lengths = None if inputs.lengths is None or alone else inputs.lengths[rows]
    return Inputs(inputs.parameters, np.ascontiguousarray(inputs.x[:steps, rows]), state, lengths)


def _laid_out(subject: Subject, dtype: str, layout: str) -> st.SearchStrategy[Case]:
    """Draw cases of one layout, also with equal sizes."""
    ordinary = cases(subject, dtype, lengths=False if layout == "unbatched" else None)
    same = st.sampled_from(list(coinciding(subject, dtype)))
    sizes = {"B": 1} if layout == "unbatched" else {}
    return st.one_of(ordinary, same).map(lambda case: replace(case, layout=layout, **sizes))  # type: ignore[arg-type]


def _transposed(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield cases in which a reshape is no transposition: B > 2, T mod B neither 0 nor 1.

    Parameters of layers above the first can be confused only from the third layer on.
    """
    offered = subject.options
    plain = Case(5, 3, 4, 6, state=offered.state, dtype=dtype, layout="batch-first")
    yield plain
    if offered.layers or offered.bidirectional:
        yield replace(plain, layers=3 if offered.layers else 1, bidirectional=offered.bidirectional)


CHECKS = (
    SubjectCheck(
        "batch-single",
        "Each row of a batch gives the same result as that row alone, without padding.",
        batch_single,
        share=0.3,
        forced=varied,
    ),
    SubjectCheck(
        "batch-permutation",
        "Rows in another order give the same results in that order.",
        batch_permutation,
        cases=lambda subject, dtype: cases(subject, dtype).map(
            lambda case: replace(case, B=max(case.B, 3))
        ),
        share=0.3,
        refuses=lambda case: "" if case.B > 2 else "expected B > 2",
    ),
    SubjectCheck(
        "batch-first",
        "With the batch axis first, values and gradients are the same; states keep their axes.",
        outputs_and_gradients,
        cases=lambda subject, dtype: _laid_out(subject, dtype, "batch-first"),
        equations=BACK,
        needs=("batch_first",),
        share=0.3,
        forced=_transposed,
        refuses=lambda case: "" if case.layout == "batch-first" else "expected batch-first",
    ),
    SubjectCheck(
        "unbatched",
        "Without a batch axis, values and gradients are those of a batch of one.",
        outputs_and_gradients,
        cases=lambda subject, dtype: _laid_out(subject, dtype, "unbatched"),
        equations=BACK,
        needs=("unbatched",),
        share=0.2,
        refuses=lambda case: "" if case.layout == "unbatched" else "expected unbatched input",
    ),
)
