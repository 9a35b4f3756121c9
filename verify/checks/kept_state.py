"""State that is kept between calls, and one of several states without the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, combinations

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.strategies import cases
from ..numbers.ledger import Ledger, in_bounds
from ..subjects.called import SubjectUnderTest, layer_of
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result
from .check import SubjectCheck
from .oracle import agree_outputs, expected, state_names
from .quantities import by_name
from .states import forward_cases, one_direction, part, split


def kept_state(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Call twice without a state and compare with one run; reset, and call once more."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    names, k = state_names(subject, case), split(case)
    early, late = replace(case, T=k), replace(case, T=case.T - k)
    earlier, later = part(inputs, None, k), part(inputs, k, None)
    want, whole = expected(subject, case, inputs), subject.build(case).forward(inputs)
    called = subject.build(early)
    first = called.forward(earlier)
    second = replace(called, case=late).forward(replace(later, kept=True))
    again = called.forward(earlier)
    if subject.options.state:
        source = _source(subject, late, later, first, second, names)
        ledger.require(
            "a second call without a state", source in (None, names),
            f"begins {_from(source)}; expected to begin {_from(names)} of the first call's end",
        )  # fmt: skip
        kept = _source(subject, early, earlier, second, again, ())
        ledger.require(
            "a call after the reset", not kept,
            f"begins {_from(kept)} of the call before; expected to begin anew",
        )  # fmt: skip
    joined, what = Result(np.concatenate([first.y, second.y]), second.final), "without a state: "
    agree_outputs(ledger, subject, case, joined, whole, want, prefix=f"two calls {what}")
    bounds = expected(subject, early, earlier)
    agree_outputs(ledger, subject, early, again, first, bounds, prefix="after the reset: ")
    return ledger


def _source(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    before: Result,
    got: Result,
    right: tuple[str, ...],
) -> tuple[str, ...] | None:
    """Return which states of the call before a call began from: the right ones, if they explain it.

    None if none do.
    """
    start = layer_of(subject, case).initial_state(inputs.x, case.B)
    names = state_names(subject, case)
    every = range(len(names))
    subsets = chain.from_iterable(combinations(every, n) for n in range(len(names) + 1))
    for taken in sorted(subsets, key=lambda taken: len(taken) != len(right)):
        state = tuple(before.final[j] if j in taken else start[j] for j in every)
        if _same(subject, case, replace(inputs, state=state), got):
            return tuple(names[j] for j in taken)
    return None


def _same(subject: SubjectUnderTest, case: Case, inputs: Inputs, got: Result) -> bool:
    """Whether a call returns what a layer made anew does with these inputs."""
    stated = replace(case, state=inputs.state is not None)
    want, other = expected(subject, stated, inputs), subject.build(stated).forward(inputs)
    arrays = zip((got.y, *got.final), (other.y, *other.final), (want.y, *want.final), strict=True)
    return all(np.all(in_bounds(a, b, 2 * w.bound) <= 1) for a, b, w in arrays)


def _from(names: Collection[str] | None) -> str:
    return f"from {_and(names)}" if names else "anew"


def _and(names: Collection[str]) -> str:
    alone = " alone" if len(names) == 1 else ""
    return " and ".join(names) + alone


def partial_state(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Give each state alone, and compare with a run in which the others are given as zeros."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    names = state_names(subject, case)
    start: Sequence[Array] = layer_of(subject, case).initial_state(inputs.x, case.B)
    for k, (name, state) in enumerate(zip(names, inputs.state or (), strict=True)):
        others = _and([other for other in names if other != name]).removesuffix(" alone")
        filled = tuple(state if j == k else s for j, s in enumerate(start))
        want = by_name(names, expected(subject, case, replace(inputs, state=filled)))
        given = tuple(state if j == k else None for j in range(len(names)))
        got = subject.build(case).forward(replace(inputs, state=given))
        right, none = (replace(inputs, state=s) for s in (filled, tuple(start)))
        ignored = not _same(subject, case, right, got) and _same(subject, case, none, got)
        ledger.require(f"{name} without {others}", not ignored, f"{name} is ignored")
        for quantity, array in by_name(names, got).items():
            ledger.compare(f"{name} without {others}: {quantity}", array, want[quantity])
    return ledger


CHECKS = (
    SubjectCheck(
        "kept-state",
        "A layer that keeps its state goes on in a call without one where the last call ended, and "
        "begins anew after a reset.",
        kept_state,
        cases=partial(forward_cases, state=False),
        needs=("default_state", "kept_state"),
        concerned=lambda subject: subject.options.kept_state,
        share=0.3,
        shrinks=False,
        refuses=lambda case: one_direction(case) or ("expected no state" if case.state else ""),
    ),
    SubjectCheck(
        "partial-state",
        "Where one of several initial states is given alone, the others are zeros.",
        partial_state,
        cases=partial(cases, state=True),
        needs=("state", "partial_state"),
        # Of several states, even if it then says that it wants them all.
        concerned=lambda subject: (
            subject.options.partial_state or "partial_state" in dict(subject.options.reasons)
        ),
        share=0.3,
        refuses=lambda case: "" if case.state else "expected a state",
    ),
)
