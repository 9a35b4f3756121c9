"""Diagnosis of recorded arrays: one example of a call, without a program that can be run again.

Every known mistake is computed on the example under every convention whose arrays have its shapes,
the likeliest conventions first. All mistakes that reproduce the example are reported, since no
further example can distinguish them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice, product

import numpy as np

from ..checks.location import place
from ..checks.quantities import by_name
from ..conventions import Convention
from ..conventions.comparison import IDENTIFIED, identity
from ..identification.explanation import Explanation, Fit, compare, compared, with_loss
from ..identification.recorded import Recorded
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.ledger import Comparison
from ..runs.diagnosis import Diagnosis, Location
from ..subjects import subjects
from ..subjects.called import Call, Called, under_test
from .deadline import Deadline
from .examination import Stage, cuts, misplaced, outputs_first
from .formulas.measurement import measurement_of_call
from .formulas.relations import computing
from .hypotheses import NOTHING_WRONG, Guess, Hypothesis, hypotheses
from .misplaced.slots import exchanged
from .observation import VALUES, Experiment, Observation, enter_results
from .search import Explainer, Search, is_gradient

SECONDS = 60.0
"""The default duration of a search."""

STEPS, ROWS = 6, 3
"""Steps and rows of the part of a large example on which mistakes are tried first."""

FORMULAS = 12
"""The most edits of formulas that are compared in full, of those that reproduce the example."""

OUTLIERS = 0.1
"""The share of deviating numbers above which a coarser arithmetic may be the cause."""

SCALES = {2.0: ("doubled", "halve it"), 0.5: ("halved", "double it"),
          -1.0: ("negated", "change its sign")}  # fmt: skip
"""Factors of wrong gradients: the word for each, and the remedy."""

COARSER = ("float32", "tf32", "float16, inside float32", "bfloat16, inside float32")
"""Arithmetics coarser than the dtype of an example in which it may have been computed."""


@dataclass(frozen=True)
class Reading:
    """An example under one convention, with explainers for a part of it and for all of it."""

    recorded: Recorded
    deadline: Deadline
    on_try: Callable[[str], None] = lambda name: None

    @cached_property
    def complete(self) -> Explainer:
        """The explainer of the complete example."""
        return self._explainer(self.recorded)

    @cached_property
    def first(self) -> Explainer:
        """The explainer of a part of a large example, if outputs deviate in that part."""
        part = replace(self.recorded, example=self.recorded.example.part(STEPS, ROWS))
        small = self._explainer(part)
        return small if small.outputs_deviate else self.complete

    def _explainer(self, part: Recorded) -> Explainer:
        dtype = part.example.dtype
        return Explainer(part, dtype, [observed(part)], self.on_try, self.deadline)

    @property
    def right(self) -> bool:
        """Whether the example deviates by no more than rounding, so that no mistake can show."""
        return self.complete.residual_of(NOTHING_WRONG) <= 1

    def try_stage(self, stage: Stage, search: Search) -> list[Mistake]:
        """Return the mistakes of a stage that reproduce the example; count trials in ``search``."""
        first, trial = self.first, Search()
        first.consider(stage(first, trial), trial)
        search.tried += trial.tried
        search.complete &= trial.complete
        if trial.runner_up < search.runner_up:
            search.runner_up, search.runner_up_name = trial.runner_up, trial.runner_up_name
        residuals = [(fit, self.complete.residual_of(fit)) for fit in trial.fits]
        return [Mistake(self.recorded, fit, off) for fit, off in residuals if off <= 1]


@dataclass(frozen=True)
class Mistake:
    """A mistake that reproduces an example under a convention, with its largest deviation."""

    recorded: Recorded
    hypothesis: Hypothesis
    off: float


@dataclass
class Mistakes:
    """The mistakes that explain an example that no convention explains.

    ``fits`` holds every mistake under every convention that reproduces it, the likeliest first.
    """

    fits: list[Mistake] = field(default_factory=list)
    search: Search = field(default_factory=Search)
    conventions: int = 0
    coarser: str = ""
    unsought: str = ""

    @property
    def by_name(self) -> dict[str, list[Mistake]]:
        """The mistakes by name, each with its conventions: one example cannot distinguish them."""
        named: dict[str, list[Mistake]] = {}
        for fit in self.fits:
            named.setdefault(fit.hypothesis.name, []).append(fit)
        return named

    @property
    def message(self) -> str:
        """The reason why nothing explains the example, "" if something does."""
        if self.fits:
            return ""
        return self.unsought or "no convention gives these numbers, nor one with a known mistake"

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fields in which the conventions of the likeliest mistake differ."""
        first = next(iter(self.by_name.values()), [])
        conventions = [fit.recorded.convention for fit in first]
        return tuple(n for n in IDENTIFIED if len({getattr(c, n) for c in conventions}) > 1)


def mistakes(
    explanation: Explanation,
    seconds: float = SECONDS,
    on_try: Callable[[str], None] = lambda name: None,
) -> Mistakes:
    """Search the mistakes that explain an example that no convention explains."""
    result = Mistakes()
    example = explanation.nearest.example
    result.coarser = coarser(explanation.nearest)
    result.fits = scaled(explanation.nearest)
    if result.fits:
        result.conventions = 1
        return result
    if example.dtype not in ("float32", "float64"):
        result.unsought = (
            f"mistakes are sought in float64 and float32 alone, not in {example.dtype}"
        )
        return result
    deadline = Deadline(seconds)
    near = [_recorded(fit) for fit in explanation.comparisons if fit.convention.cell]
    if any(Reading(recorded, deadline).right for recorded in near):
        result.unsought = "the numbers are so near that no known mistake can be told from them"
        return result
    groups = [
        [Reading(recorded, deadline, on_try) for recorded in group]
        for group in _groups(explanation)
    ]
    if not groups:
        result.unsought = "the reference has no cell for any convention with these arrays"
    for stages, readings in product((STAGES, LAST_STAGES), groups):
        if stages is STAGES:
            result.conventions += len(readings)
        _seek(stages, readings, result)
        if result.fits or not result.search.complete:
            break
    return result


def _seek(stages: Sequence[Stage], readings: Sequence[Reading], result: Mistakes) -> None:
    """Try stage after stage under every reading, up to the first stage that explains the example.

    In one example a misplaced number may look like a wrong equation, so both are tried.
    """
    for stage in stages:
        for reading in readings:
            result.fits += reading.try_stage(stage, result.search)
            if not result.search.complete:
                return
        if result.fits:
            first = next(r for r in readings if r.recorded is result.fits[0].recorded)
            if misplaced in stages[stages.index(stage) + 1 :]:
                result.fits += first.try_stage(misplaced, result.search)
            return


def _groups(explanation: Explanation) -> list[list[Recorded]]:
    """Return the conventions under which mistakes are tried, in groups, the likeliest first.

    These are the conventions that explain the outputs, if there are any; otherwise all that have a
    cell of the reference, those of frameworks first, then by the number of unusual choices.
    """
    outputs = [fit for fit in explanation.comparisons if fit.outputs_fit]
    if outputs:
        return [[_recorded(fit) for fit in outputs if fit.convention.cell]]
    usual = {identity(convention) for convention in _usual_conventions()}
    groups: dict[int, list[Recorded]] = {}
    for candidate, example in explanation.ranking:
        convention = candidate.convention
        if convention.cell:
            rank = 0 if identity(convention) in usual else 1 + _oddity(convention)
            recorded = Recorded(candidate, with_loss(example))
            groups.setdefault(rank, []).append(recorded)
    return [groups[rank] for rank in sorted(groups)]


def _usual_conventions() -> Iterator[Convention]:
    """Yield the conventions of all frameworks."""
    stated = (getattr(subject, "convention", None) for subject in subjects().values())
    yield from (convention for convention in stated if convention is not None)


def unusual(explanation: Explanation) -> Mistakes | None:
    """Return the wrong activations of conventions that fit, if no framework has such a convention.

    None if one that fits is usual. The right convention is the usual one with the fewest other
    activations.
    """
    fits = explanation.fits
    usual_activations = {(c.family, c.candidate, c.output) for c in _usual_conventions()}
    if not fits or any(_activations(fit.convention) in usual_activations for fit in fits):
        return None
    result = Mistakes(conventions=len(fits))
    for fit in fits:
        base = fit.candidate.base
        ours = _activations(base)
        usual = [theirs for theirs in usual_activations if theirs[0] == base.family]
        near = min(usual, key=lambda a: (_changes(ours, a), a[1:] != ("tanh", "tanh")))
        convention = replace(base, candidate=near[1], output=near[2])
        recorded = _recorded(replace(fit, candidate=replace(fit.candidate, base=convention)))
        result.fits.append(Mistake(recorded, _stand_in(base, convention), fit.ratio))
    return result


def _activations(c: Convention) -> tuple[str, str, str]:
    """Return the family and its activations; those of gates vary, so they are left out."""
    return c.family, c.candidate, c.output


def _changes(ours: Sequence[str], theirs: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


def _stand_in(ours: Convention, right: Convention) -> Hypothesis:
    """Return the mistake of activations that stand in the place of others."""
    places = {"candidate": "candidate", "output": "output h_t, of c_t"}
    pairs = {name: (getattr(ours, name), getattr(right, name)) for name in places}
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    statements = tuple(
        f"In the {places[name]}, {theirs} is missing: the numbers are those without it."
        if got == "identity"
        else f"In the {places[name]}, {got} stands in the place of {theirs}."
        for name, (got, theirs) in wrong.items()
    )
    fixes = tuple(f"apply {theirs} in the {places[n]}" for n, (_, theirs) in wrong.items())
    ids = tuple(f"{name} {got}" for name, (got, _) in wrong.items())
    return Hypothesis(ids, statements, (), fixes)


def _oddity(convention: Convention) -> int:
    """Return the number of unusual choices of a convention, apart from its order of gates."""
    mixed = convention.recurrent_layout not in ("", convention.layout)
    odd = convention.forget_offset != 0, convention.candidate == "sigmoid"
    return sum(odd) + mixed + (convention.layout == "interleaved")


def _recorded(fit: Fit) -> Recorded:
    return Recorded(fit.candidate, with_loss(fit.example, fit.loss))


def observed(recorded: Recorded) -> Observation:
    """Return a recorded call as an observation; values that were not recorded are not compared."""
    case, inputs = recorded.case, recorded.inputs
    right = Called(under_test(recorded), case, Guess(recorded, NOTHING_WRONG).build(case))
    pairs = [recorded.cotangents] if recorded.example.gradients else None
    call = Call(right, inputs, pairs, [recorded.result(0.0)])
    observation = enter_results(recorded, Observation(Experiment(VALUES, case), [call]))
    for name, array in by_name(recorded.states, recorded.result(np.nan)).items():
        key = (0, 0, name)
        observation.levels[key] = np.where(np.isnan(array), np.nan, observation.levels[key])
    if recorded.example.printed is not None:
        _widen(observation, recorded)
    return observation


def _widen(observation: Observation, recorded: Recorded) -> None:
    """Widen the levels of an observation to the precision of its printed numbers."""
    example = recorded.example
    for name, _, want in compared(recorded.candidate, example, example.dtype):
        key = (0, 0, name)
        observation.levels[key] = np.maximum(observation.levels[key], want.bound)
    for key in filter(is_gradient, observation.levels):
        observation.levels[key] = np.full_like(observation.levels[key], np.nan)


def _singles(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield the mistakes of the catalogue, except orders of gates, which conventions cover."""
    catalogue = hypotheses(explainer.subject, explainer.dtype)
    yield from (h for h in catalogue if not h.name.startswith("order "))
    yield from cuts(explainer, search)


def _formulas(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield single edits of the step and of its backward pass that reproduce the example."""
    return _edits(explainer, together=False)


def _pairs_of_formulas(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield two edits that reproduce the example together."""
    return _edits(explainer, together=True)


def _edits(explainer: Explainer, *, together: bool) -> Iterator[Hypothesis]:
    recorded = explainer.subject
    assert isinstance(recorded, Recorded)  # noqa: S101 - a reading's explainer has no other
    example = recorded.example
    if example.y is None or example.lengths is not None:
        return
    with np.errstate(all="ignore"):
        measured = measurement_of_call(
            recorded, recorded.case, recorded.inputs, recorded.cotangents, recorded.result()
        )
    edits = computing(
        [measured],
        lambda: explainer.deadline.passed,
        together=together,
        orders=False,  # each is a convention of its own
    )
    yield from islice(edits, FORMULAS)


def _biases(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield gates exchanged in one of two biases: they are few, and no convention has them."""
    yield from exchanged(explainer.subject)


STAGES: tuple[Stage, ...] = (_biases, _singles, _formulas, misplaced, outputs_first)
"""The stages of a search under one group of conventions after the other, in order."""

LAST_STAGES: tuple[Stage, ...] = (_pairs_of_formulas,)
"""The stages that take long, when the others have failed under every convention."""


def coarser(fit: Fit) -> str:
    """Return a coarser arithmetic whose rounding explains the deviations, "" if there is none."""
    if fit.off <= OUTLIERS * fit.entries:
        return ""
    claimed = _roundoff(fit.example.dtype)
    for name in COARSER:
        if _roundoff(name) > claimed:
            coarse = compare(fit.candidate, replace(fit.example, dtype=name), name)
            if coarse.ratio <= 1 and coarse.ledger.sharp:
                return name
    return ""


def _roundoff(arithmetic: str) -> float:
    kind = ARITHMETICS[arithmetic]
    return max(kind.roundoff, kind.product_roundoff)


def scaled(fit: Fit) -> list[Mistake]:
    """Return the mistake that all deviating gradients are multiples of the right ones."""
    deviating = [c.quantity for c in fit.ledger.failed if is_gradient((0, 0, c.quantity))]
    if not fit.outputs_fit or not deviating:
        return []
    if fit.loss and len(deviating) == len(fit.example.gradients):
        return []  # without dy it may be another loss
    words_by_quantity: dict[str, tuple[str, str]] = {}
    worst = 0.0
    recorded = _recorded(fit)
    for scale, words in SCALES.items():
        arrays = {n: a / np.asarray(scale, a.dtype) for n, a in fit.example.gradients.items()}
        rescaled = compare(fit.candidate, replace(recorded.example, gradients=arrays))
        for c in rescaled.ledger.comparisons:
            if c.quantity in deviating and c.ratio <= 1 and c.sharp:
                words_by_quantity.setdefault(c.quantity, words)
                worst = max(worst, c.ratio)
    if len(words_by_quantity) < len(deviating):
        return []
    names = {quantity: quantity.removesuffix("_l0") for quantity in words_by_quantity}
    hypothesis = Hypothesis(
        tuple(f"{names[q]} {word}" for q, (word, _) in words_by_quantity.items()),
        tuple(f"The {names[q]} is {word}." for q, (word, _) in words_by_quantity.items()),
        (),
        tuple(f"{word} ({names[q]})" for q, (_, word) in words_by_quantity.items()),
    )
    return [Mistake(recorded, hypothesis, worst)]


def shown(explanation: Explanation, result: Mistakes) -> Fit:
    """Return the example's deviations under the convention of the likeliest mistake."""
    if not result.fits:
        return explanation.nearest
    recorded = result.fits[0].recorded
    cotangents = explanation.nearest.example.cotangents
    return compare(recorded.candidate, replace(recorded.example, cotangents=cotangents))


def diagnosis(explanation: Explanation, result: Mistakes) -> Diagnosis:
    """Return the mistakes as a diagnosis."""
    fit = shown(explanation, result)
    explanations = [mistake[0].hypothesis.explanation for mistake in result.by_name.values()]
    search = result.search
    return Diagnosis(
        "arrays", fit.example.dtype,
        status="explained" if explanations else "unexplained",
        explanations=explanations, location=_location(fit), tried=search.tried,
        residual=max((mistake.off for mistake in result.fits), default=0.0),
        complete=search.complete, experiments=1,
        message=result.message,
    )  # fmt: skip


def _location(fit: Fit) -> Location:
    deviating = fit.ledger.failed
    first = next((c for c in fit.ledger.comparisons if c in deviating), None)
    if first is None:
        return Location()
    gradients = all(is_gradient((0, 0, c.quantity)) for c in deviating)
    return Location(
        "gradients" if gradients else "outputs",
        quantities=tuple(sorted(c.quantity.removesuffix("_l0") for c in deviating)),
        place=where(fit, first),
    )


def where(fit: Fit, comparison: Comparison) -> str:
    """Return the place of the first deviating number, or of the largest deviation."""
    first = comparison if comparison.first else replace(comparison, first=comparison.where)
    if fit.convention.cell is None:
        names = ("step", "row", "unit") if comparison.quantity == "y" else ("", "row", "unit")
        return ", ".join(f"{n} {k}" for n, k in zip(names, first.first or (), strict=False) if n)
    recorded = Recorded(fit.candidate, fit.example)
    return place(recorded, recorded.case, first)
