"""Observations of a layer: the calls that a check made of it, and their results.

An experiment is a check on one case. Its calls can be repeated with any other layer, so that the
subject can be compared with a hypothesis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.layouts import RAGGED
from ..checks import check_named
from ..checks.oracle import expected, expected_gradients, expected_jvp, state_names
from ..checks.quantities import by_name
from ..numbers.bounded import Bounded
from ..numbers.ledger import Mismatch
from ..subjects.called import (
    Call,
    NotOffered,
    SubjectCrashed,
    SubjectUnderTest,
    layer_of,
    under_test,
)
from ..subjects.inputs import draw_cotangents, draw_inputs
from ..subjects.protocol import Subject

MARGIN = 64.0
"""The factor by which bounds are widened for other programs, which round differently than the
reference. The gap between explanations that fit and others is many orders of magnitude, and is
reported."""

NEGLIGIBLE = 2.0**-20
"""The share of the largest number's roundoff that is ignored: subnormals may be flushed."""

BLIND = {"float64": 2.0**-20, "float32": 2.0**-8}
"""The share of the largest number above which a level is too wide for a comparison."""

LARGER = 2.0**10
"""The ratio to the right numbers above which the rounding of other terms is assumed."""

OVERFLOW = {8: 1e150, 4: 1e18, 2: 1e3}
"""The size of numbers, by their bytes, beyond which a growing sequence has overflowed."""

Key = tuple[int, int, str]
"""The number of a call, the number of a pair of cotangents, the name of a quantity."""


VALUES = "values"
"""The name of a single call in the place of a check, with gradients if offered."""

OUTPUTS = "outputs"
"""The name of a single call without gradients, for long sequences."""


@dataclass(frozen=True)
class Experiment:
    """A check, or ``VALUES``, and a case."""

    check: str
    case: Case

    def __str__(self) -> str:
        return f"{self.check} {self.case.to_json()}"


@dataclass
class Observation:
    """The subject's calls and results in one experiment.

    By key: ``seen`` holds the subject's numbers and ``right`` those of the equations; ``levels``
    the rounding differences of right programs (nan for numbers that are not compared); ``rounding``
    the largest level of each quantity, even where masks are drawn; ``varying`` the entries that
    differ from run to run. ``words`` is the check's message for a failure other than a deviation,
    "" if there is none; ``wrong``: whether the check failed.
    """

    experiment: Experiment
    calls: list[Call]
    words: str = ""
    wrong: bool = False
    levels: dict[Key, Floats] = field(default_factory=dict)
    right: dict[Key, Floats] = field(default_factory=dict)
    seen: dict[Key, Floats] = field(default_factory=dict)
    varying: dict[Key, Floats] = field(default_factory=dict)
    rounding: dict[Key, float] = field(default_factory=dict)

    @property
    def has_lengths(self) -> bool:
        """Whether a call has lengths; schedules have lengths of their own."""
        return any(c.inputs and c.inputs.lengths is not None for c in self.calls)

    def scale(self, key: Key) -> float:
        """Return the largest level of a quantity."""
        return float(np.nanmax(self.levels[key], initial=0.0))

    @cached_property
    def deviating(self) -> frozenset[Key]:
        """The keys of numbers that deviate from the equations."""
        return frozenset(
            key for key, array in self.seen.items()
            if not residual(array, self.right[key], self.levels[key]) <= 1
        )  # fmt: skip


def observe(subject: Subject, experiment: Experiment) -> Observation:
    """Run a check on its case, and return its calls with the right numbers."""
    tested = under_test(subject)
    wrong, words = run_check(tested, experiment)
    calls = list(_with_states(tested.calls))
    return enter_results(subject, Observation(experiment, calls, words, wrong))


def _with_states(calls: Sequence[Call]) -> Iterator[Call]:
    """Yield the calls with complete initial states, even if kept or partial.

    Other layers are called with these, so that they need not keep or complete states.
    """
    ended: dict[int, Sequence[Floats]] = {}
    for call in calls:
        layer, inputs = call.layer, call.inputs
        state = None if inputs is None else inputs.state
        if inputs is not None and inputs.kept:
            state = tuple(ended.get(id(layer.built), ())) or None
        elif inputs is not None and state is not None and any(s is None for s in state):
            start = layer_of(layer.subject, layer.case).initial_state(inputs.x, layer.case.B)
            state = tuple(b if s is None else s for s, b in zip(state, start, strict=True))
        if call.results:
            ended[id(layer.built)] = call.results[-1].final
        if inputs is None or state is inputs.state:
            yield call
        else:
            case = replace(layer.case, state=True)
            stated = replace(inputs, state=state, kept=False)
            yield replace(call, layer=replace(layer, case=case), inputs=stated)


def enter_results(subject: Subject, observation: Observation) -> Observation:
    """Enter the results of calls and the right numbers into an observation."""
    experiment, calls = observation.experiment, observation.calls
    masked = masked_calls(calls)
    states = state_names(subject, experiment.case)
    for number, call in enumerate(calls):
        for k, (result, want) in enumerate(zip(call.results, _wanted(call), strict=False)):
            wanted = by_name(states, want)
            for name, array in by_name(states, result).items():
                if name not in wanted or np.asarray(array).dtype.kind not in "fiuV":
                    continue  # objects and complex numbers; V: bfloat16
                key, bounded = (number, k, name), wanted[name]
                observation.seen[key], observation.right[key] = np.asarray(array), bounded.value
                level = _level(experiment.case, bounded, np.asarray(array))
                observation.rounding[key] = float(np.nanmax(level, initial=0.0))
                observation.levels[key] = (
                    np.full(level.shape, np.nan) if number in masked else level
                )
    return observation


def masked_calls(calls: Sequence[Call]) -> set[int]:
    """Return the numbers of calls that draw dropout masks, which differ between layers."""
    masked, training = set(), {}
    for number, call in enumerate(calls):
        layer = id(call.layer.built)
        if call.inputs is None:
            training[layer] = call.training
        elif call.layer.case.dropout and training.get(layer, True):
            masked.add(number)
    return masked


def run_check(subject: SubjectUnderTest, experiment: Experiment) -> tuple[bool, str]:
    """Return whether the check fails, and its message unless it compares numbers."""
    wrong, words = _run_check(subject, experiment)
    if not experiment.case.dropout:
        return wrong, words
    outputs = (r.y for k in masked_calls(subject.calls) for r in subject.calls[k].results)
    return wrong, f"{words}; outputs of 0" if any((y == 0).any() for y in outputs) else words


def _run_check(subject: SubjectUnderTest, experiment: Experiment) -> tuple[bool, str]:
    try:
        if experiment.check in (VALUES, OUTPUTS):
            _call(subject, experiment.case, gradient=experiment.check == VALUES)
            return False, ""
        ledger = check_named(experiment.check).run(subject, experiment.case)
    except (Mismatch, SubjectCrashed, NotOffered) as error:
        return True, without_numbers(str(error))
    if experiment.case.dropout:  # masks differ, and so do numbers; name the quantities at least
        return bool(ledger.failed), " ".join(sorted({c.quantity for c in ledger.failed}))
    return bool(ledger.failed), ""


def _call(subject: SubjectUnderTest, case: Case, *, gradient: bool) -> None:
    called, inputs = subject.build(case), draw_inputs(subject, case)
    if gradient and subject.options.gradient:
        dy, dfinal = draw_cotangents(subject, case)
        nothing = tuple(None for _ in dfinal)
        only = [
            tuple(d if k == j else None for k, d in enumerate(dfinal)) for j in range(len(dfinal))
        ]
        called.gradients(inputs, [(dy, dfinal), (dy, nothing), *((None, ends) for ends in only)])
    else:
        called.forward(inputs)


def without_numbers(text: str) -> str:
    """Replace numbers and lines in a sentence, which differ from case to case."""
    return re.sub(r"\([^)]*line \d+[^)]*\)|(?<!\w)[-+]?(\d[\d.e+-]*|nan|inf)", "#", text)


def _wanted(call: Call) -> Iterator[object]:
    """Yield the right results of a call, Bounded."""
    subject, case = call.layer.subject, call.layer.case
    if call.inputs is None:
        return
    if call.tangents is not None:
        yield expected_jvp(subject, case, call.inputs, call.tangents)
    elif call.cotangents is None:
        yield expected(subject, case, call.inputs)
    else:
        yield from expected_gradients(subject, case, call.inputs, call.cotangents)


def _level(case: Case, right: Bounded, array: Floats) -> Floats:
    """Return the largest rounding difference of each entry; nan if too large for a comparison.

    A wrong layer's numbers may be larger than the right ones by orders of magnitude; then the
    relative accuracy of the right ones applies.
    """
    value, bound = right.value, right.bound
    if array.shape != value.shape:
        array = value
    with np.errstate(all="ignore"):
        finite = np.isfinite(value) & np.isfinite(bound)
        sizes = np.maximum(np.abs(value), np.where(np.isfinite(array), np.abs(array), 0.0))
        scale = float(np.max(sizes, where=finite, initial=0.0))
        relative = bound[finite & (value != 0)] / np.abs(value[finite & (value != 0)])
        near = np.maximum(bound, np.median(bound[finite]) if finite.any() else np.nan)
        accuracy = np.median(relative) if relative.size else np.finfo(case.dtype).eps
        near = np.maximum(near, accuracy * sizes)
        if scale > LARGER * float(np.max(np.abs(value), where=finite, initial=0.0)):
            near = np.maximum(near, accuracy * scale)
        level = MARGIN * near + NEGLIGIBLE * np.finfo(case.dtype).eps * scale
    if scale == 0:  # exact zeros may be nearly 0 in another program
        level = np.maximum(level, MARGIN * np.finfo(case.dtype).eps)
        scale = 1.0
    return np.where(finite & (level <= BLIND[case.dtype] * scale), level, np.nan)


def residual(actual: Floats, predicted: Floats, level: Floats) -> float:
    """Return the largest difference in units of the level; inf for unequal shapes."""
    if actual.shape != predicted.shape:
        return float("inf")
    if level.shape != actual.shape:  # both have the same wrong shape
        level = np.full(actual.shape, np.nanmax(level, initial=0.0))
    with np.errstate(all="ignore"):
        first, second = (a.astype(np.float64, copy=False) for a in (actual, predicted))
        off = np.abs(first - second) / level
        worst = float(off.max(initial=0.0))
        if math.isfinite(worst):  # as nearly always
            return worst
        largest = np.abs(actual[np.isfinite(actual)]).max(initial=0)
        overflown = largest > OVERFLOW[actual.dtype.itemsize]  # inf or inf - inf: by rounding
        alike = overflown | (np.isnan(actual) == np.isnan(predicted))
        both = ~np.isfinite(actual) & ~np.isfinite(predicted) & alike
        off = np.where(np.isnan(level) & np.isfinite(actual), 0.0, np.where(both, 0.0, off))
        off = np.where(np.isfinite(off), off, np.inf)
    return float(np.max(off, initial=0.0))


DISTINCT = Case(T=4, B=3, D=2, H=5)
"""A case of mutually different sizes, so that no axis can be taken for another."""


def plain_case(subject: Subject, dtype: str, **sizes: Any) -> Case:
    """Return a case of one layer, with a state and a projection if the subject has them."""
    P = sizes.pop("P", 2) if subject.cells[0] == "lstm-projected" else 0
    return replace(DISTINCT, dtype=dtype, **{"state": subject.options.state, **sizes, "P": P})


def deep_case(subject: Subject, plain: Case, **sizes: Any) -> Case:
    """Return a case with layers, directions and lengths if the subject offers them."""
    offered = subject.options
    return replace(
        plain, layers=2 if offered.layers else 1, bidirectional=offered.bidirectional,
        lengths=offered.lengths, **sizes,
    )  # fmt: skip


SHUFFLED = 37
"""A seed with which sorting rows by their lengths moves them in cycles of more than three rows."""


def basic(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield plain experiments: one layer; then depth, lengths, calls in a row, tangents.

    Failing cases show what is wrong; passing ones exclude explanations that say too much.
    """
    offered, plain = subject.options, plain_case(subject, dtype)
    yield Experiment(VALUES, plain)
    yield Experiment(VALUES, deep_case(subject, plain, B=4, seed=1))
    if plain.state and offered.default_state:
        yield Experiment(VALUES, replace(plain, T=2, state=False, seed=20))
    yield Experiment("reweight", replace(plain, T=2, seed=2))
    if offered.jvp:
        yield Experiment("jvp", replace(plain, T=3, seed=16))


def thorough(subject: Subject, dtype: str) -> Iterator[Experiment]:
    """Yield more experiments, to distinguish explanations that still agree."""
    offered, plain = subject.options, plain_case(subject, dtype)
    experiments = [
        Experiment(VALUES, replace(plain, H=7, D=3, seed=3)),
        Experiment(VALUES, replace(plain, T=3, B=3, seed=4)),
        Experiment(VALUES, replace(plain, D=5, H=5, seed=5)),
        Experiment(VALUES, replace(plain, D=5, H=5, layers=2, seed=17)),
        Experiment(VALUES, replace(plain, state=False, seed=6)),
        Experiment(VALUES, replace(plain, lengths=True, seed=7)),
        Experiment(VALUES, replace(plain, lengths=True, B=6, T=8, seed=SHUFFLED)),
        *(
            Experiment(VALUES, replace(plain, lengths=True, layout=name, B=5, T=7, seed=18))
            for name in RAGGED
        ),
        Experiment(VALUES, replace(plain, bidirectional=True, seed=8)),
        Experiment(VALUES, replace(plain, layers=3, seed=9)),
        Experiment(VALUES, replace(plain, bias=False, seed=10)),
        Experiment(VALUES, replace(plain, scale="large", T=2, seed=11)),
        Experiment(VALUES, replace(plain, T=2, H=70, D=33, seed=12)),
        Experiment(VALUES, replace(plain, T=40, B=2, scale="tiny", seed=13)),
        Experiment(VALUES, replace(plain, T=130, B=1, H=3, scale="tiny", seed=14)),
        Experiment(VALUES, replace(plain, T=1010, B=1, H=3, scale="tiny", seed=15)),
    ]
    yield from (e for e in experiments if not offered.lacking(e.case))
    if not offered.missing(("dropout", "layers")):
        yield from (
            Experiment("dropout", case) for case in check_named("dropout").forced(subject, dtype)
        )
