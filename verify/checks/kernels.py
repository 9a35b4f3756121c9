"""Submissions to a benchmark of kernels: the output and the gradients of a problem's model.

Bounds are those of the reference, run on ``Bounded``. Parameters and inputs are drawn so that each
step, row, state, gate and weight changes the output far beyond its bound; those of a constructor
would not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, cast

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from ...reference.arrays import Floats
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.ledger import Ledger, Mismatch
from ..subjects.called import Called, SubjectUnderTest
from ..subjects.kernel import Submission
from ..subjects.kernel_embedding import embedded
from ..subjects.kernel_problems import (
    Problem,
    StateSpace,
    benchmark_sizes,
    leaves,
    long_runs,
    problem_numbered,
    sizes,
    small_case,
)
from ..subjects.protocol import Subject
from . import kernel_oracle as oracle
from .against_reference import BACK, DEPTH
from .check import SubjectCheck

CACHED = 64
"""Expected results in the cache: many submissions are compared on the same cases.

The keys name ``assumed`` apart, for cases that differ in it alone are equal.
"""


class _Call:
    """A submission built for a case; shapes and dtypes of its results are checked."""

    def __init__(self, subject: SubjectUnderTest, case: Case) -> None:
        self.problem, self.case = problem_of(subject), case
        self.called: Called = subject.build(case)
        self.submission = cast("Submission", self.called.built)

    def output(self, leaves: dict[str, Floats], case: Case | None = None) -> Floats:
        """Return the output for leaves of the case, or of another case of the same widths."""
        array: Floats = self.called.attempt(lambda: self.submission.output(leaves))
        self._require_form("output", array, self.problem.output_shape(case or self.case))
        return array

    def pulled(self, leaves: dict[str, Floats], cotangent: Floats) -> dict[str, Floats]:
        """Return the gradients of all leaves."""
        gradients = self.called.attempt(lambda: self.submission.pulled(leaves, cotangent))
        for name, array in gradients.items():
            self._require_form(f"gradient of {name}", array, leaves[name].shape)
        return gradients

    def _require_form(self, name: str, array: Floats, shape: tuple[int, ...]) -> None:
        if array.shape != shape:
            raise Mismatch(f"{name}: expected shape {shape}, got {array.shape}")
        if array.dtype != self.case.number_type:
            raise Mismatch(f"{name}: expected dtype {self.case.number_type}, got {array.dtype}")


def problem_of(subject: Any) -> Problem:
    """Return the problem of a submission."""
    problem: Problem = subject.problem
    return problem


def call_once(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Build and call a submission once; check the shape and dtype of its output."""
    ledger, problem = Ledger(), problem_of(subject)
    plain = replace(problem.case(3, 2, 4, 5), dtype=case.dtype)
    _Call(subject, plain).output(leaves(problem, plain))
    ledger.require("call", True, "")
    return ledger


@lru_cache(CACHED)
def _cached_output(number: int, case: Case, assumed: str) -> Bounded:
    problem = problem_numbered(number)
    expected: Bounded = oracle.output(problem, case, leaves(problem, case), oracle.bounded(case))
    return expected


@lru_cache(CACHED)
def _cached_gradients(number: int, case: Case, assumed: str) -> dict[str, Bounded]:
    problem = problem_numbered(number)
    numbers, cotangent = leaves(problem, case), _cotangent(problem, case)
    return oracle.pulled(problem, case, numbers, cotangent, oracle.bounded(case))[1]


def _expected_output(subject: SubjectUnderTest, case: Case) -> Bounded:
    with subject.clock.timing("oracle"):
        return _cached_output(problem_of(subject).number, case, case.assumed)


def _cotangent(problem: Problem, case: Case) -> Floats:
    return case.normal("cotangent", problem.output_shape(case))


def output(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the output with the reference's."""
    ledger = Ledger()
    got = _Call(subject, case).output(leaves(problem_of(subject), case))
    ledger.compare("output", got, _expected_output(subject, case))
    return ledger


def benchmark_size(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the output at the benchmark's sizes, in the units of a small problem inside."""
    ledger, problem = Ledger(), problem_of(subject)
    small = inside(problem, case)
    embedding = embedded(problem, case, small)
    large = embedding.leaves(leaves(problem, small), leaves(problem, case))
    got = _Call(subject, case).output(large)
    ledger.compare("output", embedding.output(got), _expected_output(subject, small))
    return ledger


WIDTHS = (8, 16)
"""Features and units of the small problem inside one of the benchmark's sizes."""


def inside(problem: Problem, case: Case) -> Case:
    """Return the small problem within a large one; the width of the head is the same."""
    if isinstance(problem, StateSpace):
        return replace(case, B=2, H=4, seed=case.seed + 1)
    D, H = (min(n, size) for n, size in zip(WIDTHS, (case.D, case.H), strict=True))
    return replace(case, D=D, H=H, seed=case.seed + 1)


def gradient(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare the gradients of the input, the initial states and all parameters."""
    ledger, problem = Ledger(), problem_of(subject)
    got = _Call(subject, case).pulled(leaves(problem, case), _cotangent(problem, case))
    with subject.clock.timing("oracle"):
        expected = _cached_gradients(problem.number, case, case.assumed)
    for name, want in expected.items():
        ledger.compare(f"gradient of {name}", got[name], want)
    return ledger


def calls(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Call one submission again with the same numbers, with others, and with another batch."""
    ledger, problem = Ledger(), problem_of(subject)
    following = replace(case, seed=case.seed + 1)
    longer = replace(following, T=case.T + 2 if problem.layout != "one step" else 1, B=case.B + 1)
    longer = replace(longer, seed=_seed_of_width(problem, case, longer.seed))
    following = replace(following, seed=longer.seed)
    call, first_leaves = _Call(subject, case), leaves(problem, case)
    before = call.submission.random_state()
    first = call.output(first_leaves)
    first_copy = first.copy()
    _require_same_bits(ledger, "the same call again", call.output(first_leaves), first_copy)
    second = call.output(leaves(problem, following))
    ledger.require("an earlier output", np.array_equal(first, first_copy, equal_nan=True),
                   "a later call wrote into it")  # fmt: skip
    ledger.compare("output after other numbers", second, _expected_output(subject, following))
    mixed = leaves(problem, following) | {
        n: a for n, a in first_leaves.items() if n in ("x", *problem.states)
    }
    want = oracle.output(problem, case, mixed, oracle.bounded(case))
    ledger.compare("output with other parameters", call.output(mixed), want)
    if call.submission.keeps_state:
        got = call.called.attempt(lambda: call.submission.continued_output(first_leaves["x"]))
        quantity = "output without a state, after another call"
        ledger.compare(quantity, got, _continuation(problem, case, mixed, first_leaves["x"]))
    if not isinstance(problem, StateSpace):  # whose parameters are as long as its input
        got = call.output(leaves(problem, longer), longer)
        ledger.compare("output of another batch", got, _expected_output(subject, longer))
    _require_same_bits(ledger, "the first call again", call.output(first_leaves), first_copy)
    ledger.require(
        "random numbers",
        call.submission.random_state() == before,
        "a call draws from them, or sets their seed; it should leave them as they are",
    )
    return ledger


def _continuation(problem: Problem, case: Case, before: dict[str, Floats], x: Floats) -> Any:
    """Return the output for x after a call whose final state is kept."""
    lift = oracle.bounded(case)
    end = oracle.output(replace(problem, returns="h", head=""), case, before, lift)
    return oracle.output(problem, case, before | {"x": x, problem.states[0]: end}, lift)


def _seed_of_width(problem: Problem, case: Case, seed: int) -> int:
    """Return the next seed for which the head is as wide as in a case."""
    return next(s for s in range(seed, seed + 9)  # widths of small cases repeat after 3
                if problem.width(replace(case, seed=s)) == problem.width(case))  # fmt: skip


def _require_same_bits(ledger: Ledger, quantity: str, got: Floats, before: Floats) -> None:
    same = np.array_equal(got, before, equal_nan=True)
    ledger.require(quantity, same, "not the same bits as before")


def own_work(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Look for forbidden modules in a submission, and forbidden operators that it runs."""
    ledger, problem = Ledger(), problem_of(subject)
    call, numbers = _Call(subject, case), leaves(problem, case)
    reason = call.called.attempt(lambda: call.submission.forbidden(numbers))
    ledger.require("own work", not reason, reason)
    return ledger


Choice = Callable[[Problem], Iterable[Case]]


def _forced(choose: Choice, subject: Subject, dtype: str) -> Iterator[Case]:
    return (replace(case, dtype=dtype) for case in choose(problem_of(subject)))


def _first(choose: Choice, subject: Subject, dtype: str) -> SearchStrategy[Case]:
    """Return a strategy of the first forced case alone."""
    return st.just(next(_forced(choose, subject, dtype)))


def _small(subject: Subject, dtype: str) -> SearchStrategy[Case]:
    return st.integers(0, 40).map(
        lambda seed: replace(small_case(problem_of(subject), seed), dtype=dtype)
    )


_check = partial(SubjectCheck, shrinks=False, problems=True)

CHECKS = (
    _check(
        "kernel-output",
        "The output is that of the problem's equations, in a few steps, at the benchmark's widths "
        "and at others.",
        output,
        cases=_small,
        equations=DEPTH,
        forced=partial(_forced, sizes),
        share=0.3,
    ),
    _check(
        "kernel-steps",
        "On a long sequence whose every step influences the output, the output is that of the "
        "problem's equations.",
        output,
        cases=partial(_first, long_runs),
        equations=DEPTH,
        forced=partial(_forced, long_runs),
        share=0.0,
    ),
    _check(
        "kernel-size",
        "At the benchmark's own sizes the output is that of the problem's equations.",
        benchmark_size,
        cases=partial(_first, benchmark_sizes),
        equations=DEPTH,
        forced=partial(_forced, benchmark_sizes),
        share=0.0,
    ),
    _check(
        "kernel-gradient",
        "The gradients of the input, of the initial states and of every parameter are those of "
        "the equations.",
        gradient,
        cases=_small,
        equations=BACK,
        needs=("gradient",),
        forced=partial(_forced, sizes),
        share=0.1,
    ),
    _check(
        "kernel-calls",
        "A call depends on its arguments and parameters alone, repeats the same bits, and changes "
        "nothing.",
        calls,
        cases=_small,
        share=0.1,
    ),
    _check(
        "kernel-own-work",
        "The submission contains and runs nothing that is forbidden.",
        own_work,
        cases=partial(_first, sizes),
        needs=("forbidden",),
        concerned=lambda subject: subject.options.forbidden,
        share=0.0,
    ),
)
