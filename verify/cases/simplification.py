"""Simplification of a failing case: fewer options, smaller sizes, numbers of 0 or 1/8.

Hypothesis shrinks what it draws, and cases that are drawn have mutually different sizes and
random numbers. Neither is needed any more once a case has failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ...reference.arrays import Floats
from .case import Case
from .options import Options

NO_OPTIONS = {
    "layout": "time-first",
    "dropout": 0.0,
    "P": 0,
    "layers": 1,
    "bidirectional": False,
    "zero_length": False,
    "lengths": False,
    "bias": False,
    "state": False,
    "scale": "unit",
}
"""The values that turn a case's options off, the larger simplifications first."""

TIME_LIMIT = 5.0
"""Seconds; a slow subject keeps a larger case."""


def simplify(case: Case, fails: Callable[[Case], bool], options: Options) -> Case:
    """Return a failing case whose simplifications all pass, or the best after ``TIME_LIMIT``."""
    deadline = time.monotonic() + TIME_LIMIT
    simpler = True
    while simpler and time.monotonic() < deadline:
        simpler = False
        for candidate in (*_plainer(case), *_smaller(case)):
            if not options.lacking(candidate) and fails(candidate):
                case, simpler = candidate, True
                break
            if time.monotonic() > deadline:
                return case
    parts: set[str] = set()

    def record_part(case: Case, part: str, numbers: Floats) -> Floats:
        parts.add(part)
        return numbers

    fails(replace(case, source=record_part))
    return _with_simple_numbers(case, fails, sorted(parts), deadline)


def _plainer(case: Case) -> Iterator[Case]:
    """Yield the case with one option off, or with one operation fewer or shorter."""
    for name, value in NO_OPTIONS.items():
        if getattr(case, name) != value:
            yield replace(case, **{name: value})  # type: ignore[arg-type]
    operations = case.schedule.split("; ")
    for k, operation in enumerate(operations):
        rest = [*operations[:k], *operations[k + 1 :]]
        if rest:
            yield replace(case, schedule="; ".join(rest))
        if operation.startswith("prefill"):
            yield replace(
                case, schedule="; ".join([*operations[:k], "decode", *operations[k + 1 :]])
            )


def _smaller(case: Case) -> Iterator[Case]:
    """Yield smaller sizes: 1, half, one less."""
    for name in "TBHD":
        size = getattr(case, name)
        least = case.P + 1 if name == "H" else 1
        for smaller in dict.fromkeys((least, size // 2, size - 1)):
            if least <= smaller < size:
                yield replace(case, **{name: smaller})


def _with_simple_numbers(
    case: Case, fails: Callable[[Case], bool], parts: Sequence[str], deadline: float
) -> Case:
    """Set each part of the inputs to 0, or else to multiples of 1/8, where the case still fails."""
    for part in parts:
        for name in ("zeroed", "rounded"):
            if time.monotonic() > deadline:
                return case
            names = ",".join(filter(None, (getattr(case, name), part)))
            candidate = replace(case, **{name: names})  # type: ignore[arg-type]
            if fails(candidate):
                case = candidate
                break
    return case
