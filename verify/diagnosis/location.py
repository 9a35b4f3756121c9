"""The location of a mistake: the results, options, sizes and steps in which a layer is wrong."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ..cases.case import Case
from ..cases.simplification import NO_OPTIONS
from ..checks import check_named
from ..runs.diagnosis import Location
from ..runs.verdict import Verdict
from ..subjects.called import under_test
from ..subjects.protocol import Subject
from .observation import OUTPUTS, VALUES, Experiment, Key, Observation, observe, residual, run_check
from .replay import signature

SMALL = 8
"""The size above which the simplest failing case suggests a mistake that depends on size."""

SHORT = 64
"""The most steps of cases that are run again without their options."""

ENOUGH = 8
"""The number of simplest cases that are run without an option, beside the checks."""

MOST_STEPS, MOST_UNITS = 1100, 140
"""The most steps and units of a threshold."""

TRAINING = ("dropout", "modes")

LONG = {"transition": "outputs", "gradient-window": "gradients"}
"""Checks of long sequences, for which bounds on all numbers are useless, and their parts."""

WORDS = {
    "layers": "more than one layer",
    "bidirectional": "two directions",
    "lengths": "different lengths",
    "zero_length": "a row of length 0",
    "dropout": "dropout",
    "layout": "input",
    "state": "an initial state",
    "bias": "biases",
    "scale": "weights",
}
"""The words for options in a location; the layout's and the scale's follow the value."""


def locate(
    subject: Subject, failing: Sequence[Verdict], observations: Sequence[Observation]
) -> Location:
    """Locate a layer's mistake by its failing checks on their simplest cases."""
    simplest = min(failing, key=complexity)
    case = Case.from_json(simplest.case)
    part, quantities = _part(subject, failing, observations)
    return Location(
        part,
        tuple(_needs(subject, failing)),
        quantities,
        simplest.place,
        from_size(subject, case, part) if max(case.T, case.H, case.B) > SMALL else "",
    )


def listed(names: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def complexity(verdict: Verdict) -> tuple[int, int]:
    """Return a key that sorts cases, the simplest first."""
    case = Case.from_json(verdict.case)
    options = sum(getattr(case, name) != value for name, value in NO_OPTIONS.items())
    return options, case.T * case.B * case.H * case.D


def _part(
    subject: Subject, failing: Sequence[Verdict], observations: Sequence[Observation]
) -> tuple[str, tuple[str, ...]]:
    """Return the wrong part, and its wrong quantities in the first observation that has any."""
    checks = {v.check for v in failing}
    off = [{key[2]: None for key in sorted(observation.deviating)} for observation in observations]
    anything = tuple(next(filter(None, off), ()))
    if checks <= set(TRAINING):
        return "training", anything
    if not all(v.compared for v in failing):
        return "program", anything
    wrong: dict[str, dict[str, None]] = {}
    for number, observation in enumerate(observations):
        for part, name in _wrong_alone(subject, observation):
            wrong.setdefault(part, {})[f"{number} {name}"] = None
    for part in ("outputs", "gradients", "tangents"):
        if part in wrong:
            names = [name.split(" ", 1) for name in wrong[part]]
            return part, tuple(name for number, name in names if number == names[0][0])
    for check, part in LONG.items():
        if check in checks:
            return part, anything
    return "training" if checks & set(TRAINING) else "calls", anything


def _wrong_alone(subject: Subject, observation: Observation) -> Iterator[tuple[str, str]]:
    """Yield part and quantity of numbers that are wrong in the only call of a new layer."""
    wrong: dict[tuple[int, int], list[Key]] = {}
    dtype = observation.experiment.case.dtype
    promoted = {key for key, array in observation.seen.items() if array.dtype != dtype}
    for key in sorted(observation.deviating | observation.varying.keys() | promoted):
        wrong.setdefault(key[:2], []).append(key)
    for (number, pair), keys in wrong.items():
        call = observation.calls[number]
        modes = [
            c for c in observation.calls[:number] if c.layer is call.layer and c.inputs is None
        ][-1:]
        pulled = call.cotangents and [call.cotangents[pair]]
        alone = replace(observation, calls=[*modes, replace(call, cotangents=pulled)])
        again = signature(subject, subject.build, alone)
        for key in keys:
            level, name = observation.levels[key], key[2]
            level = np.where(observation.varying.get(key, False), observation.scale(key), level)
            got = again.get((len(modes), 0, name))
            right = observation.right[key]
            if got is None or got.dtype != dtype or not residual(got, right, level) <= 1:
                gradient = "gradients" if name.startswith("gradient of ") else "outputs"
                yield "tangents" if call.tangents is not None else gradient, name


def _needs(subject: Subject, failing: Sequence[Verdict]) -> Iterator[str]:
    """Yield the words for options that every failing case has, and without which none fails.

    Long cases are left out: running them again without each option would take too long.
    """
    cases = [
        (v.check, Case.from_json(text))
        for v in sorted(failing, key=complexity)
        for text in dict.fromkeys((v.case, v.drawn or v.case))
    ]
    short = [(check, case) for check, case in cases if case.T <= SHORT]
    for name, words in WORDS.items() if short else ():
        value = getattr(short[0][1], name)
        needed = all(getattr(case, name) != NO_OPTIONS[name] for _, case in cases)
        if needed and _passes_without(subject, short, name):
            yield f"{value} {words}" if name in ("layout", "scale") else words


def _passes_without(subject: Subject, short: Sequence[tuple[str, Case]], name: str) -> bool:
    """Whether values are right without an option, and the checks that do not need it pass."""
    plain = [(c, replace(case, **{name: NO_OPTIONS[name]})) for c, case in short]  # type: ignore[arg-type]
    possible = [(c, case) for c, case in plain if not subject.options.lacking(case)]
    able = dict.fromkeys(
        Experiment(c, case) for c, case in possible if not check_named(c).refuses(case)
    )
    if not possible or any(run_check(under_test(subject), experiment)[0] for experiment in able):
        return False
    return not any(
        wrong(subject, case) for case in [*dict.fromkeys(c for _, c in possible)][:ENOUGH]
    )


def from_size(subject: Subject, case: Case, part: str) -> str:
    """Return a clause with the size from which a layer is wrong, "" if there is none."""
    plain = Case(T=2, B=1, D=2, H=3, state=subject.options.state, dtype=case.dtype, scale="tiny")
    if case.H > SMALL:
        wide = replace(plain, scale="unit")
        H = threshold(lambda n: wrong(subject, replace(wide, H=n)), MOST_UNITS)
        if H is not None and H > 1:
            return f"right up to {H - 1} hidden units, wrong from {H}"
    if case.T > SMALL:
        experiment = VALUES if part == "gradients" else OUTPUTS
        T = threshold(lambda n: wrong(subject, replace(plain, T=n), experiment), MOST_STEPS)
        if T is not None and T > 1:
            return f"right up to {T - 1} steps, wrong from {T}"
    return ""


def first_wrong_size(subject: Subject, case: Case, experiment: str, most: int) -> int | None:
    """Return the smallest number of steps with which a layer is wrong; None if none is."""
    return threshold(lambda n: wrong(subject, replace(case, T=n), experiment), most)


def wrong(subject: Subject, case: Case, experiment: str = VALUES) -> bool:
    """Whether a layer deviates, raises, or drops outputs of its last layer."""
    observation = observe(subject, Experiment(experiment, case))
    dropped = (
        ((y == 0) & (observation.right[key] != 0)).any()
        for key, y in observation.seen.items()
        if case.dropout and key[2] == "y" and y.shape == observation.right[key].shape
    )
    return bool(observation.deviating or observation.wrong or any(dropped))


def threshold(wrong: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest size that is wrong, where all larger ones are; None if none is.

    Sizes of 2**n + 1 are tried, since those of 2**n are whole chunks of 2, 4, 8, ...
    """
    low, high = 0, 1
    while not wrong(high):
        low, high = high, min(2 * high - (high > 1), most)
        if low == most:
            return None
    return low + 1 + bisect_left(range(low + 1, high), True, key=wrong)
