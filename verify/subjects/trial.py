"""Trials of users' code on small cases, which tell the options that it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..cases.case import Case
from .called import with_care
from .inputs import draw_inputs
from .loader import UnknownSubject
from .protocol import Subject

LONGEST_REASON = 200
"""The longest reason, in characters, for which an option is not offered."""


def dtypes_of(value: Any) -> tuple[str, ...]:
    """Return the dtypes that code declares, by default the usual ones."""
    return tuple(getattr(value, "dtypes", ("float64", "float32")))


def run(subject: Subject, case: Case) -> None:
    """Build a subject for a case, and run it."""
    subject.build(case).forward(draw_inputs(subject, case))


def working_options(
    trials: Mapping[str, Callable[[], object]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return whether each option works, and the reasons of those whose trial raises."""
    offered: dict[str, Any] = dict.fromkeys(trials, True)
    reasons: dict[str, str] = {}
    for option, trial in trials.items():
        try:
            with_care(trial)
        except Exception as error:
            offered[option], reasons[option] = False, str(error)[:LONGEST_REASON]
    return offered, reasons


def reset_method(value: Any, subject: str, name: str) -> str:
    """Return the name of the method that resets a layer; UnknownSubject if it has none."""
    if callable(getattr(value, name, None)):
        return name
    raise UnknownSubject(
        f"subject {subject!r}: stateful says that it keeps its state between calls; expected a "
        f"method {name}() that resets it, or the name of that method as reset"
    )
