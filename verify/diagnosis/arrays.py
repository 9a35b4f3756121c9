"""Which mistake explains arrays alone: one recorded example, and no program to run again.

Every mistake, under every convention whose arrays have these shapes, is run on the one example, the
likeliest conventions first. What one example cannot tell apart is told: there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np

from ..checks.location import place
from ..checks.quantities import by_name
from ..conventions import Convention
from ..conventions.comparison import IDENTIFIED, identity
from ..identification.explanation import Explanation, Fit, compared, look, with_loss
from ..identification.recorded import Recorded
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.ledger import Comparison
from ..runs.diagnosis import Diagnosis, Location
from ..subjects import subjects
from ..subjects.called import Call, Called, under_test
from .deadline import Deadline
from .examination import Stage, cuts, misplaced, outputs_first
from .formulas.measurement import of_call
from .formulas.relations import computing
from .hypotheses import NOTHING_WRONG, Guess, Hypothesis, hypotheses
from .misplaced.slots import exchanged
from .observation import VALUES, Experiment, Observation, of_calls
from .search import Explainer, Search, is_gradient

SECONDS = 60.0
"""Seconds for a search, unless others are given."""

STEPS, ROWS = 6, 3
"""Steps and rows of the part of a large example that mistakes are tried on first."""

FORMULAS = 12
"""Edits of formulas that are handed on, of those that compute what was recorded."""

OUTLIERS = 0.1
"""A share of numbers off that is no rounding: a coarser arithmetic would show in most of them."""

SCALES = {2.0: ("doubled", "halve it"), 0.5: ("halved", "double it"),
          -1.0: ("negated", "change its sign")}  # fmt: skip
"""What a gradient may be multiplied by: what it then is, and what to do."""

COARSER = ("float32", "tf32", "float16, inside float32", "bfloat16, inside float32")
"""What a system may have computed in, though its numbers are finer."""


@dataclass(frozen=True)
class Reading:
    """An example read by one convention: its part that is looked at first, and the whole."""

    recorded: Recorded
    deadline: Deadline
    on_try: Callable[[str], None] = lambda name: None

    @property
    def whole(self) -> Explainer:
        """What looks at all of the example."""
        return self._explainer([self.recorded])

    @cached_property
    def first(self) -> Explainer:
        """What looks at a part of it, where it is large and outputs are wrong in that part."""
        part = replace(self.recorded, example=self.recorded.example.part(STEPS, ROWS))
        small = self._explainer([part])
        return small if small.outputs_deviate else self.whole

    def _explainer(self, parts: Sequence[Recorded]) -> Explainer:
        dtype = self.recorded.example.dtype
        seen = [observed(part) for part in parts]
        return Explainer(parts[0], dtype, seen, self.on_try, self.deadline)

    @property
    def right(self) -> bool:
        """Whether nothing is wrong but, at most, the rounding: then no mistake can be seen."""
        return self.whole.off(NOTHING_WRONG) <= 1

    def tried(self, stage: Stage, search: Search) -> list[Mistake]:
        """Return the mistakes of a stage that compute the whole example; ``search`` counts them."""
        first, own = self.first, Search()
        first.consider(stage(first, own), own)
        search.tried += own.tried
        search.complete &= own.complete
        if own.runner_up < search.runner_up:
            search.runner_up, search.runner_up_name = own.runner_up, own.runner_up_name
        whole = self.whole
        offs = [(fit, whole.off(fit)) for fit in own.fits]
        return [Mistake(self.recorded, fit, off) for fit, off in offs if off <= 1]


@dataclass(frozen=True)
class Mistake:
    """A mistake that computes an example under a convention, and how far off it is."""

    recorded: Recorded
    hypothesis: Hypothesis
    off: float


@dataclass
class Mistakes:
    """What explains an example that no convention does.

    ``fits``: every mistake under every convention that computes it, the likeliest first.
    """

    fits: list[Mistake] = field(default_factory=list)
    search: Search = field(default_factory=Search)
    conventions: int = 0
    coarser: str = ""
    unsought: str = ""

    @property
    def by_name(self) -> dict[str, list[Mistake]]:
        """The mistakes that one example cannot tell apart, each with its conventions."""
        named: dict[str, list[Mistake]] = {}
        for fit in self.fits:
            named.setdefault(fit.hypothesis.name, []).append(fit)
        return named

    @property
    def message(self) -> str:
        """Why nothing explains the example, "" if something does."""
        if self.fits:
            return ""
        return self.unsought or "no convention gives these numbers, nor one with a known mistake"

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fields in which the conventions of the likeliest mistake differ."""
        first = next(iter(self.by_name.values()), [])
        found = [fit.recorded.convention for fit in first]
        return tuple(n for n in IDENTIFIED if len({getattr(c, n) for c in found}) > 1)


def mistakes(
    explanation: Explanation,
    seconds: float = SECONDS,
    on_try: Callable[[str], None] = lambda name: None,
) -> Mistakes:
    """Return which mistakes explain an example that no convention does."""
    found = Mistakes()
    example = explanation.nearest.example
    found.coarser = coarser(explanation.nearest)
    found.fits = scaled(explanation.nearest)
    if found.fits:
        found.conventions = 1
        return found
    if example.dtype not in ("float32", "float64"):
        found.unsought = f"mistakes are sought in float64 and float32 alone, not in {example.dtype}"
        return found
    deadline = Deadline(seconds)
    near = map(_recorded, (fit for fit in explanation.looks if fit.convention.cell))
    if any(Reading(recorded, deadline).right for recorded in near):
        found.unsought = "the numbers are so near that no known mistake can be told from them"
        return found
    for group in _groups(explanation):
        found.conventions += len(group)
        _seek([Reading(each, deadline, on_try) for each in group], found)
        if found.fits or not found.search.complete:
            return found
    if not found.conventions:
        found.unsought = "the reference has no cell for any convention with these arrays"
    return found


def _seek(readings: Sequence[Reading], found: Mistakes) -> None:
    """Try stage after stage under every reading; end with the first that explains anything.

    What is in the wrong place may look like a wrong equation in one example, so both are tried.
    """
    for number, stage in enumerate(STAGES):
        for reading in readings:
            found.fits += reading.tried(stage, found.search)
            if not found.search.complete:
                return
        if found.fits:
            first = next(r for r in readings if r.recorded is found.fits[0].recorded)
            if number < STAGES.index(misplaced):
                found.fits += first.tried(misplaced, found.search)
            return


def _groups(explanation: Explanation) -> list[list[Recorded]]:
    """Return the conventions under which mistakes are tried, in groups, the likeliest first.

    They are those that explain the outputs; else all with a cell of the reference, first those that
    a framework has, then those with the least that is unusual.
    """
    outputs = [fit for fit in explanation.looks if fit.outputs_fit]
    if outputs:
        return [[_recorded(fit) for fit in outputs if fit.convention.cell]]
    known = {identity(convention) for convention in _known()}
    groups: dict[int, list[Recorded]] = {}
    for candidate, example in explanation.ranking:
        convention = candidate.convention
        if convention.cell:
            rank = 0 if identity(convention) in known else 1 + _oddity(convention)
            recorded = Recorded(candidate, with_loss(example))
            groups.setdefault(rank, []).append(recorded)
    return [groups[rank] for rank in sorted(groups)]


def _known() -> Iterator[Convention]:
    """Yield the conventions of all frameworks."""
    stated = (getattr(each, "convention", None) for each in subjects().values())
    yield from (convention for convention in stated if convention is not None)


def unusual(explanation: Explanation) -> Mistakes | None:
    """Return the mistake in conventions that fit, all with activations that no framework has.

    None if one that fits is usual. The right convention differs from the one that fits in as few
    activations as may be.
    """
    fits = explanation.fits
    known = {(c.family, c.candidate, c.output) for c in _known()}
    if not fits or any(_activations(fit.convention) in known for fit in fits):
        return None
    found = Mistakes(conventions=len(fits))
    for fit in fits:
        base = fit.candidate.base
        ours = _activations(base)
        usual = [each for each in known if each[0] == base.family]
        near = min(usual, key=lambda each: (_changes(ours, each), each[1:] != ("tanh", "tanh")))
        right = replace(base, candidate=near[1], output=near[2])
        candidate = replace(fit.candidate, base=right)
        recorded = Recorded(candidate, with_loss(fit.example, fit.loss))
        found.fits.append(Mistake(recorded, _stand_in(base, right), fit.ratio))
    return found


def _activations(c: Convention) -> tuple[str, str, str]:
    """Return the family and the functions that few choose; those of gates are a common option."""
    return c.family, c.candidate, c.output


def _changes(ours: Sequence[str], theirs: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


def _stand_in(ours: Convention, right: Convention) -> Hypothesis:
    """Return the mistake of one activation in the place of another."""
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
    """Return how many fields few programs have so; any order of the gates is as usual."""
    mixed = convention.recurrent_layout not in ("", convention.layout)
    odd = convention.forget_offset != 0, convention.candidate == "sigmoid"
    return sum(odd) + mixed + (convention.layout == "interleaved")


def _recorded(fit: Fit) -> Recorded:
    return Recorded(fit.candidate, with_loss(fit.example, fit.loss))


def observed(recorded: Recorded) -> Observation:
    """Return a recorded call as an observation; of what was not recorded nothing is compared."""
    case, inputs = recorded.case, recorded.inputs
    right = Called(under_test(recorded), case, Guess(recorded, NOTHING_WRONG).build(case))
    pairs = [recorded.cotangents] if recorded.example.gradients else None
    call = Call(right, inputs, pairs, [recorded.result(0.0)])
    seen = of_calls(recorded, Observation(Experiment(VALUES, case), [call]))
    for name, array in by_name(recorded.states, recorded.result(np.nan)).items():
        key = (0, 0, name)
        seen.levels[key] = np.where(np.isnan(array), np.nan, seen.levels[key])
    if recorded.example.printed is not None:
        _widen(seen, recorded)
    return seen


def _widen(seen: Observation, recorded: Recorded) -> None:
    """Enter how far numbers that are printed with few places may be from what was computed."""
    example = recorded.example
    for name, _, want in compared(recorded.candidate, example, example.dtype):
        key = (0, 0, name)
        seen.levels[key] = np.maximum(seen.levels[key], want.bound)
    for key in filter(is_gradient, seen.levels):
        seen.levels[key] = np.full_like(seen.levels[key], np.nan)


def _singles(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield every mistake of the catalogue; another order of the gates is another convention."""
    known = hypotheses(explainer.subject, explainer.dtype)
    yield from (h for h in known if not h.name.startswith("order "))
    yield from cuts(explainer, search)


def _formulas(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield edits of the step and of the way back that compute the example's own numbers."""
    recorded = explainer.subject
    assert isinstance(recorded, Recorded)  # noqa: S101 - a reading's explainer has no other
    example = recorded.example
    if example.y is None or example.lengths is not None:
        return
    with np.errstate(all="ignore"):
        measured = of_call(
            recorded, recorded.case, recorded.inputs, recorded.cotangents, recorded.result()
        )
    yield from islice(computing([measured], lambda: explainer.deadline.passed), FORMULAS)


def _of_biases(explainer: Explainer, search: Search) -> Iterator[Hypothesis]:
    """Yield gates that are exchanged in one of two biases: few, and no convention has them."""
    yield from exchanged(explainer.subject)


STAGES: tuple[Stage, ...] = (_of_biases, _singles, _formulas, misplaced, outputs_first)
"""What is tried, one after the other."""


def coarser(fit: Fit) -> str:
    """Return the arithmetic whose rounding explains what that of the dtype does not, "" if none."""
    if fit.off <= OUTLIERS * fit.entries:
        return ""
    own = ARITHMETICS[fit.example.dtype]
    for name in COARSER:
        kind = ARITHMETICS[name]
        if max(kind.roundoff, kind.product_roundoff) > max(own.roundoff, own.product_roundoff):
            coarse = look(fit.candidate, replace(fit.example, dtype=name), name)
            if coarse.ratio <= 1 and coarse.ledger.sharp:
                return name
    return ""


def scaled(fit: Fit) -> list[Mistake]:
    """Return the mistake that the gradients which are off are a multiple of the right ones."""
    off = [c.quantity for c in fit.ledger.failed if is_gradient((0, 0, c.quantity))]
    if not fit.outputs_fit or not off or (fit.loss and len(off) == len(fit.example.gradients)):
        return []  # all gradients off without dy: it may be another loss
    said: dict[str, tuple[str, str]] = {}
    worst = 0.0
    recorded = _recorded(fit)
    for scale, words in SCALES.items():
        arrays = {n: a / np.asarray(scale, a.dtype) for n, a in fit.example.gradients.items()}
        tried = look(fit.candidate, replace(recorded.example, gradients=arrays))
        for c in tried.ledger.comparisons:
            if c.quantity in off and c.ratio <= 1 and c.sharp:
                said.setdefault(c.quantity, words)
                worst = max(worst, c.ratio)
    if len(said) < len(off):
        return []
    names = {quantity: quantity.removesuffix("_l0") for quantity in said}
    hypothesis = Hypothesis(
        tuple(f"{names[q]} {what}" for q, (what, _) in said.items()),
        tuple(f"The {names[q]} is {what}." for q, (what, _) in said.items()),
        (),
        tuple(f"{what} ({names[q]})" for q, (_, what) in said.items()),
    )
    return [Mistake(recorded, hypothesis, worst)]


def shown(explanation: Explanation, found: Mistakes) -> Fit:
    """Return how far off the numbers are under the convention that the mistake goes with."""
    if not found.fits:
        return explanation.nearest
    recorded = found.fits[0].recorded
    given = explanation.nearest.example.cotangents
    return look(recorded.candidate, replace(recorded.example, cotangents=given))


def diagnosis(explanation: Explanation, found: Mistakes) -> Diagnosis:
    """Return what is wrong in the words of every other diagnosis."""
    fit = shown(explanation, found)
    explanations = [each[0].hypothesis.explanation for each in found.by_name.values()]
    search = found.search
    return Diagnosis(
        "arrays", fit.example.dtype,
        status="explained" if explanations else "unexplained",
        explanations=explanations, location=_location(fit), tried=search.tried,
        residual=max((each.off for each in found.fits), default=0.0),
        complete=search.complete, experiments=1,
        message=found.message,
    )  # fmt: skip


def _location(fit: Fit) -> Location:
    off = fit.ledger.failed
    first = next((c for c in fit.ledger.comparisons if c in off), None)
    if first is None:
        return Location()
    gradients = all(is_gradient((0, 0, c.quantity)) for c in off)
    return Location(
        "gradients" if gradients else "outputs",
        quantities=tuple(sorted(c.quantity.removesuffix("_l0") for c in off)),
        place=where(fit, first),
    )


def where(fit: Fit, comparison: Comparison) -> str:
    """Return where the first number that is off stands, or the farthest, where none is."""
    first = comparison if comparison.first else replace(comparison, first=comparison.where)
    if fit.convention.cell is None:
        names = ("step", "row", "unit") if comparison.quantity == "y" else ("", "row", "unit")
        return ", ".join(f"{n} {k}" for n, k in zip(names, first.first or (), strict=False) if n)
    recorded = Recorded(fit.candidate, fit.example)
    return place(recorded, recorded.case, first)
