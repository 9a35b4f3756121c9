"""Layers in fixed point: outputs and all values in between are multiples of a power of two.

Every operation then deviates by up to a step, absolutely; the reference, run with bounds of such an
arithmetic, returns the largest deviation of the outputs. Wrong equations deviate by more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....reference.arrays import Floats
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...checks.oracle import state_names
from ...checks.quantities import by_name
from ...numbers.arithmetic import FLOAT64, Arithmetic
from ...numbers.bounded import Bounded
from ...numbers.quantisation import FixedPoint as Format
from ...numbers.quantisation import Quantisation
from ...runs.diagnosis import Explanation
from ...subjects.called import layer_of
from ...subjects.protocol import Inputs, Result, Subject
from ..discovery import Discovery
from ..hypotheses import NOTHING_WRONG, Guess, Hypothesis, hypotheses
from ..observation import (
    OUTPUTS,
    Experiment,
    Observation,
    deep_case,
    plain_case,
)
from ..other_cells.step import REFUSALS, StepExperiment
from ..replay import signature
from ..search import Explainer, Search, observations
from .declared import fixed_point_of

FEWEST, MOST = 2, {"float64": 30, "float32": 14}
"""The fewest and the most fractional bits of a grid; numbers of the dtype itself have more."""

ENOUGH, DIFFERENT = 64, 8
"""The fewest numbers that must lie on the grid, and the fewest different ones."""

TELLING = 1 / 8
"""The share of the largest number up to which a bound is meaningful."""

BLIND = "that is too coarse for its equations to be judged"
GRADIENTS = "Its gradients are not judged: only its outputs were held to fixed point."

CLOSE = 4.0
"""The multiple of the best explanation's distance within which others are as good."""


@dataclass(frozen=True)
class FixedPoint:
    """A format: fractional ``bits``, and the largest number; 0 if no limit was reached."""

    bits: int
    largest: float = 0.0

    @property
    def arithmetic(self) -> Arithmetic:
        """The arithmetic: every result may deviate by a step, as truncation does."""
        return replace(FLOAT64, name=f"{self.bits} fractional bits", tiny=2.0**-self.bits)

    @property
    def format(self) -> Format | None:
        """The format for a declaration; None if no limit was reached."""
        if not self.largest:
            return None
        whole = round(float(np.log2(self.largest + 2.0**-self.bits))) + 1
        return Format(self.bits + whole, whole)

    @property
    def words(self) -> str:
        """The format in words."""
        text = f"fixed point with {self.bits} fractional bits"
        if self.format is None:
            return text
        return f"{text}, {self.format.bits} in all (numbers end at {self.largest:.7g})"

    def expected(self, subject: Subject, case: Case, inputs: Inputs) -> Result:
        """Return the results of the equations, Bounded."""
        step, layer = 2.0**-self.bits, layer_of(subject, case)

        def read(array: Floats) -> Bounded:
            value = np.asarray(array, np.float64)
            off = np.where(value / step == np.round(value / step), 0.0, step)
            return Bounded(value, off, self.arithmetic)

        named = {n: read(a) for n, a in inputs.parameters.items()}
        p: Sequence[Parameters] = subject.parameter_map(case).to_reference(named)
        state = None if inputs.state is None else tuple(read(s) for s in inputs.state)
        output = layer.forward(p, read(inputs.x), state, inputs.lengths)
        return Result(output.y, output.final)


def fractional_bits(observed: Sequence[Observation], dtype: str) -> int:
    """Return the fractional bits of all observed outputs; 0 if they are on no grid."""
    arrays = [
        np.asarray(array, np.float64).ravel()
        for observation in observed
        for key, array in observation.seen.items()
        if not key[2].startswith(("gradient of ", "derivative of ")) and np.isfinite(array).all()
    ]
    entries = np.concatenate(arrays) if arrays else np.zeros(0)
    numbers = np.unique(entries)
    if entries.size < ENOUGH or numbers.size < DIFFERENT:
        return 0
    for bits in range(FEWEST, MOST[dtype] + 1):
        scaled = numbers * 2.0**bits
        if np.array_equal(scaled, np.round(scaled)):
            return bits
    return 0


def fixed_point(explainer: Explainer) -> Discovery:
    """Return the explanations of a layer whose outputs are on a grid of a power of two."""
    bits = fractional_bits(explainer.observations, explainer.dtype)
    if not bits:
        return Discovery()
    subject = explainer.subject
    try:
        form = FixedPoint(bits, _largest(subject, explainer.dtype))
        observed = list(_observed(form, subject, explainer.dtype))
    except REFUSALS:
        return Discovery()
    if not telling(observed[0]):
        return Discovery(notes=(f"Its outputs are multiples of 2^-{bits}: {BLIND}.",))
    judge = Explainer(subject, explainer.dtype, observed, explainer.on_try, explainer.deadline)
    notes = (GRADIENTS,) if subject.options.gradient else ()
    if (worst := judge.residual_of(NOTHING_WRONG)) <= 1:
        return Discovery(
            [_confirmation(subject, explainer.dtype, form)],
            notes,
            residual=worst,
            experiments=len(observed),
        )
    fits = _best(judge, known_mistakes(judge))
    coarse = f"It computes in {form.words}, too; that is not what is wrong."
    if not fits:
        coarse = f"Its outputs are multiples of 2^-{bits}, but fixed point does not explain them."
    worst = max(map(judge.residual_of, fits), default=0.0)
    return Discovery(
        [h.explanation for h in fits], (coarse, *notes), residual=worst, experiments=len(observed)
    )


def known_mistakes(judge: Explainer) -> list[Hypothesis]:
    """Return the known mistakes that explain all observations."""
    search = Search()
    judge.consider(hypotheses(judge.subject, judge.dtype), search)
    return search.fits


def telling(observation: Observation) -> bool:
    """Whether the arithmetic's error leaves most numbers comparable."""
    levels = np.concatenate([level.ravel() for level in observation.levels.values()])
    return bool(np.isfinite(levels).mean() > 1 / 2)


def _confirmation(subject: Subject, dtype: str, form: FixedPoint) -> Explanation:
    stated: Quantisation | None = getattr(subject, "quantisation", None)
    if stated is not None and stated.fixed:
        return Explanation(
            ("fixed point",),
            (f"It computes in {form.words} and its equations are right, but something that it "
             "stores is not rounded, or not cut off, as declared.",),
            ("round and cut off each sum, gate and state when it is stored, as "
             f"{stated.text} says",),
        )  # fmt: skip
    way = form.format and fixed_point_of(subject, dtype, form.format)
    declared = f": declare it, --quantised '{way.text}'" if way else ""
    return Explanation(
        ("fixed point",),
        (
            f"It computes in {form.words}; all outputs are within that arithmetic's own error, "
            "so its equations are not wrong.",
        ),
        (f"nothing, if fixed point is meant{declared}",),
        variant=True,
    )


def _largest(subject: Subject, dtype: str) -> float:
    """Return the largest state to which far larger ones are cut off; 0 if they are not."""
    experiment = StepExperiment(subject, dtype)
    if not experiment.case.state:
        return 0.0
    states = [
        max(float(np.abs(s).max()) for s in experiment.run(old=tuple(
            0 * s + far for s in experiment.old
        )).new)
        for far in (2.0**24, 2.0**25)
    ]  # fmt: skip
    return states[0] if states[0] == states[1] and states[0] > 1 else 0.0


def _observed(form: FixedPoint, subject: Subject, dtype: str) -> Iterator[Observation]:
    """Yield outputs of plain runs, with levels of the fixed-point arithmetic."""
    bias = subject.options.bias
    plain = plain_case(subject, dtype, T=1, B=8, D=3, H=5, bias=bias, seed=31)
    deep = deep_case(subject, plain, T=2, B=4, seed=32)
    for case in (plain, replace(plain, T=3, B=3, D=2, H=4, seed=33), deep):
        for observation in observations(subject, [Experiment(OUTPUTS, case)]):
            _widen(form, subject, observation)
            yield observation


def _widen(form: FixedPoint, subject: Subject, observation: Observation) -> None:
    """Set the levels of an observation to the rounding differences of fixed point."""
    (call,) = (call for call in observation.calls if call.inputs is not None)
    case = observation.experiment.case
    assert call.inputs is not None  # noqa: S101 - chosen so
    wanted = by_name(state_names(subject, case), form.expected(subject, case, call.inputs))
    for key, right in observation.right.items():
        bound = wanted[key[2]].bound
        level = 2 * np.maximum(bound, np.median(bound))
        telling = level <= TELLING * max(1.0, float(np.abs(right).max(initial=0.0)))
        observation.levels[key] = np.where(telling, level, np.nan)
        observation.rounding[key] = float(np.nanmax(observation.levels[key], initial=0.0))


def _best(judge: Explainer, fits: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Return the nearest explanations, since coarse bounds may include others as well."""

    def distance(hypothesis: Hypothesis) -> float:
        build, total, count = Guess(judge.subject, hypothesis).build, 0.0, 0
        for observation in judge.observations:
            other = signature(judge.subject, build, observation)
            for key, array in observation.seen.items():
                total += float(((array - other[key]) ** 2).sum())
                count += array.size
        return float(np.sqrt(total / max(count, 1)))

    distances = [distance(h) for h in fits]
    nearest = min(distances, default=0.0)
    return [h for h, d in zip(fits, distances, strict=True) if d <= CLOSE * nearest]
