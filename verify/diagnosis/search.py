"""The search of hypotheses that compute the same numbers as the subject."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby, islice, permutations, product

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..subjects.called import under_test
from ..subjects.protocol import Built, Subject
from .deadline import Deadline
from .hypotheses import NOTHING_WRONG, Conversions, Guess, Hypothesis
from .observation import Experiment, Key, Observation, masked_calls, observe, residual, run_check
from .replay import first_residual, largest_residual, signature
from .stand_in import StandIn

PLAIN_CASE = Case(1, 1, 1, 1)
"""A case without options."""

NEAR = 10.0
"""The largest deviation, in levels of rounding, of a mistake that is mentioned without fitting.

Mistakes that fit deviate by less than 1, which includes a margin for other programs' rounding; the
others deviate by 1e3 to 1e12. A value in between suggests a mistake that fits up to an unforeseen
rounding.
"""

LONG = 200
"""The number of steps, over all passes, above which shorter experiments are compared first."""

ENOUGH = 8
"""The number of fitting pairs that ends their search."""

MASKS = 16
"""The most draws of masks until most rows of the subject have been matched."""

Comparison = Callable[[Subject, Callable[[Case], Built], Observation], float]
"""A function that returns a residual of another layer in an observation of the subject."""

Place = tuple[int, Key]
"""The index of an observation, and the key of a number in it."""


@dataclass
class Search:
    """The hypotheses that fit all observations, and the nearest other one.

    ``near`` are those that hardly miss: another order of operations may round more than foreseen.

    ``residual``, the largest of those that fit, and ``runner_up``, that of the nearest other, are
    in units of the rounding level; ``complete``: whether all hypotheses were tried in time.
    """

    fits: list[Hypothesis] = field(default_factory=list)
    residual: float = 0.0
    runner_up: float = float("inf")
    runner_up_name: str = ""
    tried: int = 0
    complete: bool = True
    near: list[Hypothesis] = field(default_factory=list)

    def note(self, hypothesis: Hypothesis, off: float) -> bool:
        """Count a hypothesis with its deviation; return whether it fits."""
        self.tried += 1
        if off <= 1:
            self.fits.append(hypothesis)
            self.residual = max(self.residual, off)
            return True
        if off < NEAR:
            self.near.append(hypothesis)
        if off < self.runner_up:
            self.runner_up, self.runner_up_name = off, " ".join(hypothesis.statements)
        return False


class Remembered:
    """Hypotheses that are computed once, when they are first wanted."""

    def __init__(self, hypotheses: Iterator[Hypothesis | None]) -> None:
        self._known: list[Hypothesis | None] = []
        self._rest = hypotheses

    def __iter__(self) -> Iterator[Hypothesis | None]:
        for k in count():
            if k == len(self._known):
                self._known += islice(self._rest, 1)
            if k == len(self._known):
                return
            yield self._known[k]


@dataclass
class Explainer:
    """A subject with its observations in one dtype; it compares hypotheses with them.

    ``measured`` is a mistake with a constant measured on this subject, ``suspected`` are mistakes
    suggested by its writes into arguments; ``bases`` are conventions identified by its single
    steps, ``of_outputs_alone`` explain everything except gradients.
    """

    subject: Subject
    dtype: str
    observations: list[Observation]
    on_try: Callable[[str], None] = lambda name: None
    deadline: Deadline = field(default_factory=lambda: Deadline(math.inf))
    measured: Hypothesis | None = None
    suspected: tuple[Hypothesis, ...] = ()
    bases: tuple[Hypothesis, ...] = ()
    of_outputs_alone: Sequence[Hypothesis] = ()
    transposed: bool = False
    _order: tuple[list[Observation], list[Observation]] | None = None
    _conversions: Conversions = field(default_factory=dict)
    _remembered: dict[str, Remembered] = field(default_factory=dict)

    def of(self, subject: Subject, experiments: Sequence[Experiment]) -> Explainer:
        """Return an explainer of a subject in these experiments, with the same deadline."""
        observed = [*observations(subject, experiments)]
        return Explainer(subject, self.dtype, observed, self.on_try, self.deadline)

    def once(self, name: str, hypotheses: Iterator[Hypothesis | None]) -> Remembered:
        """Return hypotheses about the subject, whatever is observed; each is computed once."""
        return self._remembered.setdefault(name, Remembered(hypotheses))

    def with_conventions(self, candidates: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
        """Yield the hypotheses combined with each identified convention."""
        for hypothesis in candidates if self.bases else ():
            yield from (base + hypothesis for base in self.bases)

    def consider(self, candidates: Iterable[Hypothesis], search: Search) -> None:
        """Compare hypotheses and note them in ``search``, until the deadline."""
        for hypothesis in candidates:
            if self.deadline.passed:
                search.complete = False
                return
            self.on_try(hypothesis.name)
            search.note(hypothesis, self.residual_of(hypothesis))

    def sift(self, search: Search, more: Sequence[Experiment], *, until: int = 0) -> None:
        """Run more experiments, and keep the hypotheses that fit them as well.

        The experiment that refutes the last of them joins the observations. End when those that
        remain say ``until`` different things or fewer, or at the deadline.
        """
        observations_before = self.observations
        for experiment in more:
            distinct = {hypothesis.explanation for hypothesis in search.fits}
            if len(distinct) <= until or (until and self.deadline.passed):
                break
            self.observations = list(observations(self.subject, [experiment]))
            fits, search.fits = search.fits, []
            for hypothesis in fits:
                search.note(hypothesis, self.residual_of(hypothesis))
            if not search.fits:
                observations_before = [*observations_before, *self.observations]
        self.observations = observations_before

    def residual_of(self, hypothesis: Hypothesis) -> float:
        """Return the largest residual of a hypothesis, or the first over 1; inf if it refutes."""
        guess, worst = self._guess(hypothesis), 0.0
        for comparison, observation in self._comparisons():
            worst = max(worst, comparison(self.subject, guess.build, observation))
            if worst > 1:
                return worst
        alike = all(
            _varies_alike(self.subject, guess.build, observation)
            and _masks_alike(self.subject, guess.build, observation)
            and _worded_alike(guess.as_subject, observation)
            for observation in self.observations
        )
        return worst if alike else float("inf")

    def _comparisons(self) -> Iterator[tuple[Comparison, Observation]]:
        """Yield the comparisons, those that refute most at the least cost first.

        Where gradients alone deviate, outputs refute few hypotheses.
        """
        for _, part in groupby(self._ordered(), key=_is_long):
            first, *others = part
            groups = ([first, *others],) if self.outputs_deviate else ([first], others)
            for group, comparison in product(groups, (first_residual, largest_residual)):
                yield from ((comparison, observation) for observation in group)

    def in_words_of_convention(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return a mistake in the words of an identified convention that computes the same.

        These name the order, constant or function, while the catalogue's are general.
        """
        if hypothesis.reading or hypothesis.ignored or len(hypothesis.ids) != 1:
            return hypothesis
        for base in self.bases:
            if self.residual_of(base) <= 1:
                return replace(hypothesis, statements=base.statements, fixes=base.fixes)
        return hypothesis

    def of_outputs(self) -> Explainer:
        """Return an explainer that compares everything except gradients."""
        without_gradients = [
            replace(
                observation,
                levels={
                    key: np.full_like(level, np.nan) if is_gradient(key) else level
                    for key, level in observation.levels.items()
                },
            )
            for observation in self.observations
        ]
        return replace(self, observations=without_gradients, _order=None)

    def widened(self, factor: float) -> Explainer:
        """Return an explainer that allows differences that are larger by a factor."""
        return self.with_observations([
            replace(o, levels={key: factor * level for key, level in o.levels.items()})
            for o in self.observations
        ])  # fmt: skip

    def with_observations(self, observations: Sequence[Observation]) -> Explainer:
        """Return an explainer of some of the observations."""
        return replace(self, observations=list(observations), _order=None)

    def possible(self, hypothesis: Hypothesis) -> bool:
        """Whether all deviating observations use the options that a hypothesis needs."""
        return not any(
            not _has(observation, need)
            for need in hypothesis.needs
            for observation in self.observations
            if observation.deviating
        )

    @property
    def deviates(self) -> bool:
        """Whether any number deviates, apart from those that depend on masks."""
        return any(observation.deviating for observation in self.observations)

    @property
    def outputs_deviate(self) -> bool:
        """Whether any output deviates, as opposed to gradients and tangents."""
        return any(
            not is_gradient(key) and observation.calls[key[0]].tangents is None
            for observation in self.observations
            for key in observation.deviating
        )

    def _ordered(self) -> list[Observation]:
        """Return the observations, those that refute most at the least cost first."""
        if self._order is None or self._order[0] is not self.observations:
            self._order = self.observations, sorted(self.observations, key=_effort)
        return self._order[1]

    def _guess(self, hypothesis: Hypothesis) -> Guess:
        return Guess(self.subject, hypothesis, self.transposed, self._conversions)

    def pairs(self, catalogue: Sequence[Hypothesis], search: Search) -> Iterator[Hypothesis]:
        """Yield pairs of mistakes, those that the single mistakes suggest first, until some fit."""
        right = self._signatures(NOTHING_WRONG)
        effects = [
            _Effect.of(hypothesis, self._signatures(hypothesis), right, self.observations)
            for hypothesis in catalogue if not self.deadline.passed
        ]  # fmt: skip
        wrong = frozenset((k, key) for k, o in enumerate(self.observations) for key in o.deviating)
        tried, fitting = set(), set()
        for strict in (True, False):
            for first, second in permutations(effects, 2):
                both = first.hypothesis + second.hypothesis
                if both.ids in tried or frozenset(both.ids) in fitting:
                    continue
                if not _may_explain(first, second, wrong, strict=strict):
                    continue
                tried.add(both.ids)
                yield both
                if both in search.fits:
                    fitting.add(frozenset(both.ids))
                if len(search.fits) >= ENOUGH:
                    return
            if search.fits:
                return

    def _signatures(self, hypothesis: Hypothesis) -> list[Mapping[Key, Array]]:
        build = self._guess(hypothesis).build
        return [signature(self.subject, build, observation) for observation in self.observations]


@dataclass(frozen=True)
class _Effect:
    """The effect of a single hypothesis: the numbers it changes, and those it explains."""

    hypothesis: Hypothesis
    affects: frozenset[Place]
    matches: frozenset[Place]

    @classmethod
    def of(
        cls,
        hypothesis: Hypothesis,
        signatures: Sequence[Mapping[Key, Array]],
        right: Sequence[Mapping[Key, Array]],
        observations: Sequence[Observation],
    ) -> _Effect:
        affects, matches = set(), set()
        for k, observation in enumerate(observations):
            for key, array in observation.seen.items():
                level, mine = observation.levels[key], signatures[k].get(key)
                if mine is None or key not in right[k]:
                    affects.add((k, key))
                    continue
                if not residual(mine, right[k][key], level) <= 1:
                    affects.add((k, key))
                if residual(array, mine, level) <= 1:
                    matches.add((k, key))
        return cls(hypothesis, frozenset(affects), frozenset(matches))


def _may_explain(first: _Effect, second: _Effect, wrong: frozenset[Place], *, strict: bool) -> bool:
    """Whether two hypotheses may together explain the observations.

    Together they must change every wrong number. With ``strict``, numbers that only one of them
    changes must match it; this usually holds, but one may influence the effect of the other.
    """
    if not wrong <= first.affects | second.affects:
        return False
    if not strict:
        return bool(first.affects and second.affects)
    only_first = first.affects - second.affects
    only_second = second.affects - first.affects
    return only_first <= first.matches and only_second <= second.matches


def is_gradient(key: Key) -> bool:
    """Whether a key is that of a gradient."""
    return key[2].startswith("gradient of ")


def _effort(observation: Observation) -> tuple[bool, bool, bool, int]:
    """Return a key that sorts observations, those that refute most at the least cost first.

    Hypotheses about long sequences alone are nearly always refuted by short ones that are right.
    """
    case, calls = observation.experiment.case, len(observation.calls)
    steps = max(case.T, 1) * case.layers * case.directions
    pushed = any(call.tangents is not None for call in observation.calls)
    return (
        _is_long(observation),
        not observation.deviating,
        pushed,
        calls * steps * (1 + (case.B * case.H > 64)),
    )


def _has(observation: Observation, need: str) -> bool:
    """Whether an experiment uses an option."""
    padded = need == "lengths" and observation.has_lengths
    return padded or getattr(observation.experiment.case, need) != getattr(PLAIN_CASE, need)


def _is_long(observation: Observation) -> bool:
    case = observation.experiment.case
    return case.T * case.layers * case.directions > LONG


def _varies_alike(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> bool:
    """Whether a layer's numbers vary from run to run where the subject's do, and hardly elsewhere.

    Two draws may agree in an entry by chance, in the subject and in the other layer. Calls that
    draw masks are left out: rows may draw the same mask twice.
    """
    masked = masked_calls(observation.calls)
    expected = {key: array for key, array in observation.varying.items() if key[0] not in masked}
    if not expected:
        return True
    runs = [signature(subject, _drawn(build, number), observation) for number in range(DRAWS)]
    for key, varying in expected.items():
        if any(key not in run for run in runs):
            return False
        first, *others = (run[key] for run in runs)
        apart = [varies(first, another, observation.rounding[key]) for another in others]
        ever = np.logical_or.reduce(apart)
        if (varying & ~ever).any() or varying.sum() < LIKELY * np.mean([a.sum() for a in apart]):
            return False
    return True


SMALL_MASKS = 4
"""The number of runs in which masks of few units are hardly ever all the same."""

DRAWS, LIKELY = 8, 1 / 4
"""The number of runs after which nearly every entry of a random layer has varied; and the share of
the entries that vary on average between two runs that the subject must reach."""


def _drawn(build: Callable[[Case], Built], number: int) -> Callable[[Case], Built]:
    """Return a builder of layers that draw masks from the stream of this number."""

    def built(case: Case) -> Built:
        layer = build(case)
        if number:
            layer.layer.rng = np.random.default_rng(number)  # type: ignore[attr-defined]
        return layer

    return built


@dataclass(frozen=True)
class _Redrawn(StandIn):
    """A guess that draws masks from the stream of a number."""

    number: int

    def build(self, case: Case) -> Built:
        """Return the layer."""
        return _drawn(self.subject.build, self.number)(case)


def _worded_alike(guess: Subject, observation: Observation) -> bool:
    """Whether the check words its finding in a guess as in the subject.

    Masks hide different numbers in each draw, so several are tried.
    """
    dropout = observation.experiment.case.dropout
    if not observation.words and not dropout:
        return True
    draws = (_Redrawn(guess, number).as_subject for number in range(DRAWS if dropout else 1))
    experiment = observation.experiment
    return any(run_check(under_test(d), experiment)[1] == observation.words for d in draws)


def _masks_alike(
    subject: Subject, build: Callable[[Case], Built], observation: Observation
) -> bool:
    """Whether most of the subject's rows in training are rows of another layer, too.

    The check of dropout gives all rows the same input, so a row shows a mask. There may be more
    masks than rows: the other layer draws until it has matched most rows, or none in a draw.
    """
    if observation.experiment.check != "dropout":
        return True
    met = np.False_
    for number in range(MASKS):
        alike = _rows_alike(observation, signature(subject, _drawn(build, number), observation))
        if alike is None or not alike.any():
            return alike is None
        met = met | alike
        if np.mean(met) > 1 / 2:
            return True
    return False


def _rows_alike(observation: Observation, arrays: Mapping[Key, Array]) -> Array | None:
    """Return which rows in training are rows of another layer; None without such rows."""
    masked = masked_calls(observation.calls)
    keys = [key for key in observation.seen if key[0] in masked and key[2] == "y"]
    if not keys or any(key not in arrays for key in keys):
        return np.zeros(1, bool) if keys else None
    mine, others = (
        np.concatenate([a[key].swapaxes(0, 1).reshape(a[key].shape[1], -1) for key in keys])
        for a in (observation.seen, arrays)
    )
    level = max(observation.rounding[key] for key in keys)
    apart = varies(mine[:, None], others[None], level)
    return np.asarray((~apart).all(axis=2).any(axis=1))


def varies(first: Array, second: Array, level: float) -> Array:
    """Return which entries of two runs differ by more than rounding."""
    with np.errstate(invalid="ignore"):
        near = (np.abs(first - second) <= level) | (first == second)
        same = near | (np.isnan(first) & np.isnan(second))
    return np.asarray(~same)


def observations(subject: Subject, experiments: Sequence[Experiment]) -> Iterator[Observation]:
    """Run every experiment, and repeat its calls; numbers that differ then are random.

    If any number is random, or may be by a mask, the calls are repeated more often, since small
    masks may be equal by chance.
    """
    for experiment in experiments:
        first = observe(subject, experiment)
        masked = masked_calls(first.calls)
        enough = SMALL_MASKS if experiment.case.dropout else 1
        for number in range(DRAWS):
            if number >= enough and all(key[0] in masked for key in first.varying):
                break
            again = signature(subject, subject.build, first)
            for key, array in first.seen.items():
                if key not in again or again[key].shape != array.shape:
                    continue
                varying = varies(array, again[key], first.rounding[key])
                varying = varying | first.varying.get(key, False)
                if varying.any():
                    first.varying[key] = varying
                    first.levels[key] = np.where(varying, np.nan, first.levels[key])
        yield first
