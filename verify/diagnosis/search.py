"""Search the hypotheses for those that do exactly what the subject did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, permutations, product

import numpy as np

from ...reference.functions import Array
from ..cases.case import Case
from ..subjects.called import under_test
from ..subjects.protocol import Built, Subject
from .deadline import Deadline
from .hypotheses import NOTHING_WRONG, Guess, Hypothesis
from .observation import Experiment, Key, Observation, masked_calls, observe, residual, run_check
from .replay import differs, first_differs, signature
from .stand_in import StandIn

PLAIN_CASE = Case(1, 1, 1, 1)
"""A case without options."""

LONG = 200
"""Steps of an experiment, of all passes, that is made only where no shorter one refutes."""

ENOUGH = 8
"""Pairs that fit, beyond which no more are looked for."""

MASKS = 16
"""Times that masks are drawn anew until most rows of another program have been met."""

Place = tuple[int, Key]
"""A number that was seen: in which observation, and which."""


@dataclass
class Search:
    """Which hypotheses fit everything that was seen, and how far off the nearest other one is.

    ``residual`` of those that fit and ``runner_up`` are in units of what rounding explains;
    ``complete``: whether all hypotheses were tried, in time.
    """

    fits: list[Hypothesis] = field(default_factory=list)
    residual: float = 0.0
    runner_up: float = float("inf")
    runner_up_name: str = ""
    tried: int = 0
    complete: bool = True

    def note(self, hypothesis: Hypothesis, off: float) -> bool:
        """Take a hypothesis in, or remember how far off it is; return whether it fits."""
        self.tried += 1
        if off <= 1:
            self.fits.append(hypothesis)
            self.residual = max(self.residual, off)
        elif off < self.runner_up:
            self.runner_up, self.runner_up_name = off, " ".join(hypothesis.statements)
        return off <= 1


@dataclass
class Explainer:
    """A subject, and everything that it was seen to do in one dtype.

    ``measured`` is a mistake whose measure was read off this subject, ``suspected`` are those that
    what it writes into its arguments suggests; ``bases`` are conventions by
    which single steps of it go, ``of_outputs_alone`` explain all but gradients.
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

    def beyond(self, candidates: Iterable[Hypothesis]) -> Iterator[Hypothesis]:
        """Yield hypotheses together with each convention by which the subject turned out to go."""
        for hypothesis in candidates if self.bases else ():
            yield from (base + hypothesis for base in self.bases)

    def consider(self, candidates: Iterable[Hypothesis], search: Search) -> None:
        """Try hypotheses until the time is over, or enough of them fit."""
        for hypothesis in candidates:
            if self.deadline.passed:
                search.complete = False
                return
            self.on_try(hypothesis.name)
            search.note(hypothesis, self.off(hypothesis))

    def sift(self, search: Search, more: Sequence[Experiment], *, until: int = 0) -> None:
        """Ask for more, and keep the hypotheses that fit that as well.

        What refutes the last of them is kept among the observations. It ends when so few are left
        as ``until``, or when the time is over.
        """
        before = self.observations
        for experiment in more:
            if len(search.fits) <= until or (until and self.deadline.passed):
                break
            self.observations = list(observations(self.subject, [experiment]))
            fits, search.fits = search.fits, []
            for hypothesis in fits:
                search.note(hypothesis, self.off(hypothesis))
            if not search.fits:
                before = [*before, *self.observations]
        self.observations = before

    def off(self, hypothesis: Hypothesis) -> float:
        """Return the largest residual of a hypothesis, or of the first that refutes it."""
        build, worst = self._builder(hypothesis), 0.0
        parts = [[*part] for _, part in groupby(self._ordered(), key=_is_long)]
        for part, comparison in product(parts, (first_differs, differs)):
            for seen in part:
                worst = max(worst, comparison(self.subject, build, seen))
                if worst > 1:
                    return worst
        guess = Guess(self.subject, hypothesis, self.transposed).as_subject
        for seen in self.observations:
            if not _varies_alike(self.subject, build, seen):
                return float("inf")
            if not _masks_alike(self.subject, build, seen):
                return float("inf")
            if not _put_alike(guess, seen):
                return float("inf")
        return worst

    def in_words_of_convention(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return a mistake of the catalogue, in the words of the convention that is the same.

        These say which order, constant or function it is, where the catalogue's are of a kind.
        """
        if hypothesis.reading or hypothesis.ignored or len(hypothesis.ids) != 1:
            return hypothesis
        for base in self.bases:
            if self.off(base) <= 1:
                return replace(hypothesis, statements=base.statements, fixes=base.fixes)
        return hypothesis

    def of_outputs(self) -> Explainer:
        """Return one that compares everything but gradients."""
        seen = [
            replace(
                each,
                levels={
                    key: np.full_like(level, np.nan) if is_gradient(key) else level
                    for key, level in each.levels.items()
                },
            )
            for each in self.observations
        ]
        return replace(self, observations=seen, _order=None)

    def possible(self, hypothesis: Hypothesis) -> bool:
        """Whether a hypothesis by itself may do something wherever something is wrong."""
        return not any(
            not _has(seen, need)
            for need in hypothesis.needs
            for seen in self.observations
            if seen.deviating
        )

    @property
    def deviates(self) -> bool:
        """Whether any number is wrong that is not up to a mask."""
        return any(seen.deviating for seen in self.observations)

    @property
    def outputs_deviate(self) -> bool:
        """Whether anything beside derivatives is wrong: gradients, and what is pushed forward."""
        return any(
            not is_gradient(key) and seen.calls[key[0]].tangents is None
            for seen in self.observations
            for key in seen.deviating
        )

    def _ordered(self) -> list[Observation]:
        """Return observations with those first that refute most, and cost least."""
        if self._order is None or self._order[0] is not self.observations:
            self._order = self.observations, sorted(self.observations, key=_effort)
        return self._order[1]

    def _builder(self, hypothesis: Hypothesis) -> Callable[[Case], Built]:
        return Guess(self.subject, hypothesis, self.transposed).build

    def pairs(self, known: Sequence[Hypothesis], search: Search) -> Iterator[Hypothesis]:
        """Yield two mistakes together, those pairs first that the parts suggest, until some fit."""
        right = self._signatures(NOTHING_WRONG)
        alone = [
            _Alone.of(hypothesis, self._signatures(hypothesis), right, self.observations)
            for hypothesis in known if not self.deadline.passed
        ]  # fmt: skip
        wrong = frozenset((k, key) for k, o in enumerate(self.observations) for key in o.deviating)
        tried, fitting = set(), set()
        for strict in (True, False):
            for first, second in permutations(alone, 2):
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
        build = self._builder(hypothesis)
        return [signature(self.subject, build, seen) for seen in self.observations]


@dataclass(frozen=True)
class _Alone:
    """What a hypothesis does by itself: which numbers it changes, and which are as seen."""

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
    ) -> _Alone:
        affects, matches = set(), set()
        for k, seen in enumerate(observations):
            for key, array in seen.seen.items():
                level, mine = seen.levels[key], signatures[k].get(key)
                if mine is None or key not in right[k]:
                    affects.add((k, key))
                    continue
                if not residual(mine, right[k][key], level) <= 1:
                    affects.add((k, key))
                if residual(array, mine, level) <= 1:
                    matches.add((k, key))
        return cls(hypothesis, frozenset(affects), frozenset(matches))


def _may_explain(first: _Alone, second: _Alone, wrong: frozenset[Place], *, strict: bool) -> bool:
    """Whether two hypotheses may together do what was seen.

    Between them they change every number that is wrong. Mostly, that is ``strict``, a number that
    only one of them changes is as this one makes it; but one may bring the other out.
    """
    if not wrong <= first.affects | second.affects:
        return False
    if not strict:
        return bool(first.affects and second.affects)
    alone_first = first.affects - second.affects
    alone_second = second.affects - first.affects
    return alone_first <= first.matches and alone_second <= second.matches


def is_gradient(key: Key) -> bool:
    """Whether a number is of a gradient."""
    return key[2].startswith("gradient of ")


def _effort(seen: Observation) -> tuple[bool, bool, bool, int]:
    """Return what observations are ordered by: those that refute most, and cost least, first.

    What is wrong in long sequences alone is nearly always refuted by short ones that are right.
    """
    case, calls = seen.experiment.case, len(seen.calls)
    steps = max(case.T, 1) * case.layers * case.directions
    pushed = any(call.tangents is not None for call in seen.calls)
    return _is_long(seen), not seen.deviating, pushed, calls * steps * (1 + (case.B * case.H > 64))


def _has(seen: Observation, need: str) -> bool:
    """Whether an option is used in an experiment; a schedule has lengths of its own."""
    padded = need == "lengths" and any(
        c.inputs and c.inputs.lengths is not None for c in seen.calls
    )
    return padded or getattr(seen.experiment.case, need) != getattr(PLAIN_CASE, need)


def _is_long(seen: Observation) -> bool:
    case = seen.experiment.case
    return case.T * case.layers * case.directions > LONG


def _varies_alike(subject: Subject, build: Callable[[Case], Built], seen: Observation) -> bool:
    """Whether a layer's numbers vary from run to run where the subject's do, and not much else.

    Two draws may agree in an entry by chance, in the subject and in the other layer. Where masks
    are drawn, which rows happen to have the same twice says nothing.
    """
    masked = masked_calls(seen.calls)
    expected = {key: array for key, array in seen.varying.items() if key[0] not in masked}
    if not expected:
        return True
    runs = [signature(subject, _drawn(build, number), seen) for number in range(DRAWS)]
    for key, varying in expected.items():
        if any(key not in run for run in runs):
            return False
        first, *others = (run[key] for run in runs)
        apart = [varies(first, other, seen.rounding[key]) for other in others]
        ever = np.logical_or.reduce(apart)
        if (varying & ~ever).any() or varying.sum() < LIKELY * np.mean([a.sum() for a in apart]):
            return False
    return True


SMALL_MASKS = 4
"""Runs of a layer with dropout in which masks of few units hardly ever are all the same."""

DRAWS, LIKELY = 8, 1 / 4
"""Runs of a random layer after which nearly every entry has varied; share of the entries that vary
between two runs on average, below which what was seen varies too little."""


def _drawn(build: Callable[[Case], Built], number: int) -> Callable[[Case], Built]:
    """Return what builds a layer whose masks are drawn from a stream of that number."""

    def built(case: Case) -> Built:
        layer = build(case)
        if number:
            layer.layer.rng = np.random.default_rng(number)  # type: ignore[attr-defined]
        return layer

    return built


@dataclass(frozen=True)
class _Redrawn(StandIn):
    """A guess whose masks are drawn from a stream of some number."""

    number: int

    def build(self, case: Case) -> Built:
        """Return the layer."""
        return _drawn(self.subject.build, self.number)(case)


def _put_alike(guess: Subject, seen: Observation) -> bool:
    """Whether the check puts what it finds in a guess as it does in the subject.

    What masks happen to hide differs from draw to draw, so several are tried.
    """
    dropout = seen.experiment.case.dropout
    if not seen.words and not dropout:
        return True
    draws = (_Redrawn(guess, number).as_subject for number in range(DRAWS if dropout else 1))
    return any(run_check(under_test(one), seen.experiment)[1] == seen.words for one in draws)


def _masks_alike(subject: Subject, build: Callable[[Case], Built], seen: Observation) -> bool:
    """Whether rows in training, each with a mask of its own, are mostly rows of another layer, too.

    The check of dropout gives all rows the same input, so a row is a mask. There may be more masks
    than rows: the other layer draws until it had most of them, or gets no further.
    """
    if seen.experiment.check != "dropout":
        return True
    met = np.False_
    for number in range(MASKS):
        alike = _rows_alike(seen, signature(subject, _drawn(build, number), seen))
        if alike is None or not alike.any():
            return alike is None
        met = met | alike
        if np.mean(met) > 1 / 2:
            return True
    return False


def _rows_alike(seen: Observation, other: Mapping[Key, Array]) -> Array | None:
    """Return which rows in training are rows of another layer; None if there are none."""
    masked = masked_calls(seen.calls)
    keys = [key for key in seen.seen if key[0] in masked and key[2] == "y"]
    if not keys or any(key not in other for key in keys):
        return np.zeros(1, bool) if keys else None
    mine, others = (
        np.concatenate([a[key].swapaxes(0, 1).reshape(a[key].shape[1], -1) for key in keys])
        for a in (seen.seen, other)
    )
    level = max(seen.rounding[key] for key in keys)
    apart = varies(mine[:, None], others[None], level)
    return np.asarray((~apart).all(axis=2).any(axis=1))


def varies(first: Array, second: Array, level: float) -> Array:
    """Return which entries of two runs are further apart than rounding explains."""
    with np.errstate(invalid="ignore"):
        near = (np.abs(first - second) <= level) | (first == second)
        same = near | (np.isnan(first) & np.isnan(second))
    return np.asarray(~same)


def observations(subject: Subject, experiments: Sequence[Experiment]) -> Iterator[Observation]:
    """Run every experiment, and make its calls once more; what differs then is random.

    Where anything is, or may be by a mask, the calls are made more often: small masks are the same
    twice by chance.
    """
    for experiment in experiments:
        first = observe(subject, experiment)
        masked = masked_calls(first.calls)
        enough = SMALL_MASKS if experiment.case.dropout else 1
        for number in range(DRAWS):
            if number >= enough and all(key[0] in masked for key in first.varying):
                break
            again = signature(subject, subject.build, first)
            for key, seen in first.seen.items():
                if key not in again or again[key].shape != seen.shape:
                    continue
                varying = varies(seen, again[key], first.rounding[key])
                varying = varying | first.varying.get(key, False)
                if varying.any():
                    first.varying[key] = varying
                    first.levels[key] = np.where(varying, np.nan, first.levels[key])
        yield first
