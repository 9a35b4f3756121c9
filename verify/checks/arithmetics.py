"""The check of the arithmetic: whether that of the claimed dtype explains the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.strategies import one_layer
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import CoarserArithmetic, Ledger, Mismatch, in_bounds
from ..subjects.called import SubjectUnderTest
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result, Subject
from .check import SubjectCheck, catalogued
from .formed import formed
from .oracle import state_names
from .own_answer import SHARP, narrowed
from .quantities import by_name, evaluated

USUAL = 4
"""The root mean square of rounding errors stays below so many units of roundoff."""

COARSER = {
    "float64": ("float32", "tf32", "float16", "bfloat16"),
    "float32": ("tf32", "float16", "bfloat16"),
    "tf32": (),
    "float16": (),
    "bfloat16": (),
}
"""Arithmetics that a layer may use instead of the claimed one, the finest first.

Those of TF32 and below cannot be told apart: the bound on float16 holds results in bfloat16.
"""

MANY = 4096
"""Products in a sum; adding them in float16 loses more than storing the sum."""


def honest_dtype(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare outputs in the arithmetic of their dtype; on failure name a coarser one."""
    ledger, inputs = Ledger(share=SHARP.get(case.dtype)), draw_inputs(subject, case)
    states = state_names(subject, case)
    outputs = by_name(states, subject.build(case).forward(inputs))

    def expected_in(arithmetic: str) -> Mapping[str, Bounded]:
        return by_name(states, _expected(subject, case, inputs, arithmetic))

    claimed = expected_in(case.arithmetic.name)
    if catalogued(subject) is None:
        claimed = narrowed(subject, case, inputs, claimed)
    for name, want in claimed.items():
        ledger.compare(name, outputs[name], want)
    if ledger.failed:
        worst = ledger.failed[0]
        error = f"{worst.quantity} is off by {worst.ratio:.3g} times the bound of {case.dtype}"
        for arithmetic in COARSER[case.dtype]:
            coarse = expected_in(arithmetic)
            if all(_explains(arithmetic, outputs[name], want) for name, want in coarse.items()):
                raise CoarserArithmetic(
                    f"{case.dtype} is claimed, but only {arithmetic} or coarser explains the "
                    f"results: {error}", arithmetic,
                )  # fmt: skip
        raise Mismatch(f"no arithmetic explains the results, so the equations differ: {error}")
    return ledger


def _explains(arithmetic: str, got: Floats, want: Bounded) -> bool:
    """Return whether all errors are within their bounds and of the usual size.

    The bounds of a coarse arithmetic also hold results of wrong equations; but those deviate by
    more than a few units of roundoff.
    """
    error = got.astype(np.float64) - want.value
    within = bool((in_bounds(got.astype(np.float64), want.value, want.bound) <= 1).all())
    u = max(ARITHMETICS[arithmetic].roundoff, ARITHMETICS[arithmetic].product_roundoff)
    usual = USUAL * u * float(np.sqrt(np.mean(want.value**2)))
    return within and float(np.sqrt(np.mean(error**2))) <= usual


def _expected(subject: Subject, case: Case, inputs: Inputs, arithmetic: str) -> Result:
    coarser = arithmetic in COARSER[case.dtype]

    def lifted(array: Floats) -> Bounded:
        """Return numbers of the case's dtype, rounded to a coarser arithmetic."""
        value = np.asarray(array, np.float64)
        bound = np.abs(value) * ARITHMETICS[arithmetic].roundoff if coarser else 0.0
        return Bounded(value, bound, ARITHMETICS[arithmetic])

    return evaluated(formed(subject, case), subject.parameter_map(case), inputs, lifted)


def _some_steps(subject: Subject, dtype: str) -> st.SearchStrategy[Case]:
    """Draw enough steps for a coarser state to drift."""
    return one_layer(subject, dtype, T=(4, 16), B=(2, 3), D=(2, 6), H=(3, 12))


def _long_sums(subject: Subject, dtype: str) -> Iterator[Case]:
    """Yield, for halves, a step that adds many products."""
    if dtype in ("float16", "bfloat16"):
        yield Case(1, 2, MANY, 4, state=subject.options.state, dtype=dtype, seed=1)


CHECKS = (
    SubjectCheck(
        "dtype",
        "The arithmetic of the claimed dtype explains the results; no coarser one is needed.",
        honest_dtype,
        cases=_some_steps,
        needs=("equations",),
        forced=_long_sums,
        share=0.2,
        shrinks=False,
    ),
)
