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
    """Compare two calls without a state with one run, and a call after a reset with the first."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    names, k = state_names(subject, case), split(case)
    early, late = replace(case, T=k), replace(case, T=case.T - k)
    earlier, later = part(inputs, None, k), part(inputs, k, None)
    want, run = expected(subject, case, inputs), subject.build(case).forward(inputs)
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
        remembered = _source(subject, early, earlier, second, again, ())
        ledger.require(
            "a call after the reset", not remembered,
            f"begins {_from(remembered)} of the call before; expected to begin anew",
        )  # fmt: skip
    joined = Result(np.concatenate([first.y, second.y]), second.final)
    agree_outputs(ledger, subject, case, joined, run, want, prefix="two calls without a state: ")
    bounds = expected(subject, early, earlier)
    agree_outputs(ledger, subject, early, again, first, bounds, prefix="after the reset: ")
    return ledger


def _source(
    subject: SubjectUnderTest,
    case: Case,
    inputs: Inputs,
    before: Result,
    got: Result,
    likely: tuple[str, ...],
) -> tuple[str, ...] | None:
    """Return the states of the previous call from which a call began, None if none explain it.

    If several choices of states do, ``likely`` is preferred.
    """
    start = layer_of(subject, case).initial_state(inputs.x, case.B)
    names = state_names(subject, case)
    places = range(len(names))
    subsets = chain.from_iterable(combinations(places, n) for n in range(len(names) + 1))
    for choice in sorted(subsets, key=lambda choice: len(choice) != len(likely)):
        state = tuple(before.final[j] if j in choice else start[j] for j in places)
        if _same(subject, case, replace(inputs, state=state), got):
            return tuple(names[j] for j in choice)
    return None


def _same(subject: SubjectUnderTest, case: Case, inputs: Inputs, got: Result) -> bool:
    """Return whether the results of a call are those of a new layer with these inputs."""
    stated = replace(case, state=inputs.state is not None)
    want, new = expected(subject, stated, inputs), subject.build(stated).forward(inputs)
    arrays = zip((got.y, *got.final), (new.y, *new.final), (want.y, *want.final), strict=True)
    return all(np.all(in_bounds(a, b, 2 * w.bound) <= 1) for a, b, w in arrays)


def _from(names: Collection[str] | None) -> str:
    return f"from {_and(names)}" if names else "anew"


def _and(names: Collection[str]) -> str:
    alone = " alone" if len(names) == 1 else ""
    return " and ".join(names) + alone


def partial_state(subject: SubjectUnderTest, case: Case) -> Ledger:
    """Compare a call with one state alone with a run in which the others are zeros."""
    ledger, inputs = Ledger(), draw_inputs(subject, case)
    names = state_names(subject, case)
    start: Sequence[Array] = layer_of(subject, case).initial_state(inputs.x, case.B)
    for k, (name, state) in enumerate(zip(names, inputs.state or (), strict=True)):
        others = _and([n for n in names if n != name]).removesuffix(" alone")
        filled = tuple(state if j == k else s for j, s in enumerate(start))
        want = by_name(names, expected(subject, case, replace(inputs, state=filled)))
        partial = tuple(state if j == k else None for j in range(len(names)))
        got = subject.build(case).forward(replace(inputs, state=partial))
        zeros_for_others, all_zeros = (replace(inputs, state=s) for s in (filled, tuple(start)))
        ignored = not _same(subject, case, zeros_for_others, got) and _same(
            subject, case, all_zeros, got
        )
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
