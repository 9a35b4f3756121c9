"""Find out by which convention a layer computes, from nothing but what it returns.

The layer is run on random arrays, and every convention whose arrays have these shapes is tried. One
explains the layer if every number of every step lies within the bound that its own formula
has in the layer's arithmetic; the family itself is taken from the cell that the layer claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...reference.arrays import Floats
from ..conventions.comparison import IDENTIFIED, differing
from ..conventions.convention import RECURRENT_BIAS, Convention
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.ledger import in_bounds
from ..subjects.protocol import Subject
from .candidates import Candidate, distance, ranked_roles, structures, with_role
from .probe import Probe, Reading, Steps, readings

NEIGHBOURS = 2
"""Structures that do not explain the layer, among which the runner-up is looked for."""

DECIMALS = (0, 1, 2, 4, 8)
"""Decimals to which a forget offset is rounded, the simplest first."""


@dataclass(frozen=True)
class Identification:
    """Which conventions explain a layer, and how far the others are from it.

    ``fits`` are the conventions that explain it, all of them, as far as they were not told apart;
    ``undetermined`` the fields in which they differ; ``nearest`` the first, or the best of those
    that do not explain it. ``residual`` is its largest error, ``ratio`` that in units of its bound;
    ``separation`` how many times farther off the runner-up is than that error, or the bound if
    that is larger. ``unused`` are arrays without influence; ``swapped``: c comes before h.
    ``stated`` is what the adapter states. ``arrays``, for each of ``fits``: what the layer calls
    those of the convention, without the endings of passes. ``without_state``: it fits calls
    without an initial state alone: a given one is not read as it should.
    """

    subject: str
    dtype: str
    fits: tuple[Convention, ...]
    nearest: Convention
    residual: float
    ratio: float
    runner_up: Convention
    runner_up_residual: float
    separation: float
    unused: tuple[str, ...] = ()
    swapped: bool = False
    stated: Convention | None = None
    arrays: tuple[Mapping[str, str], ...] = ()
    without_state: bool = False

    @property
    def undetermined(self) -> tuple[str, ...]:
        """The fields in which the conventions that fit differ."""
        return tuple(name for name in IDENTIFIED if len({getattr(c, name) for c in self.fits}) > 1)

    @property
    def as_stated(self) -> bool | None:
        """Whether the stated convention is one of those that fit; None if none is stated."""
        if self.stated is None:
            return None
        return any(not differing(c, self.stated) for c in self.fits) and not self.swapped


@dataclass(frozen=True)
class _Look:
    """How far a candidate is from steps, and from its own bound."""

    candidate: Candidate
    residual: float
    ratio: float
    bound: float


def _look(candidate: Candidate, named: Mapping[str, Floats], steps: Steps, dtype: str) -> _Look:
    arithmetic = ARITHMETICS[dtype]
    exact = {name: Bounded.exact(array, arithmetic) for name, array in named.items()}
    before = [Bounded.exact(s, arithmetic) for s in steps.before]
    after = candidate.after(exact, Bounded.exact(steps.x, arithmetic), before)
    pairs = [(got.astype(float), want) for got, want in zip(steps.after, after, strict=True)]
    return _Look(
        candidate,
        distance([want.value for _, want in pairs], [got for got, _ in pairs]),
        max(float(np.max(in_bounds(got, want.value, want.bound))) for got, want in pairs),
        max(float(np.max(want.bound)) for _, want in pairs),
    )


def _snapped(candidate: Candidate, named: Mapping[str, Floats], steps: Steps, dtype: str) -> _Look:
    """Return the look with the simplest forget offset that explains the steps."""
    offset = candidate.base.forget_offset
    for digits in DECIMALS:
        base = replace(candidate.base, forget_offset=round(offset, digits) + 0.0)
        look = _look(replace(candidate, base=base), named, steps, dtype)
        if look.ratio <= 1 or base.forget_offset == offset:
            break
    return look


def identify(subject: Subject, seed: int = 0) -> Identification:
    """Return by which convention a subject computes.

    Unreadable says that its arrays are none that a convention has; what the subject raises is
    raised as everywhere.
    """
    found = _identified(subject, Probe(subject, seed))
    options = subject.options
    if not found.fits and options.state and options.default_state:
        again = _identified(subject, Probe(subject, seed, state=False))
        found = replace(again, without_state=True) if again.fits else found
    return found


def _identified(subject: Subject, probe: Probe) -> Identification:
    ways = readings(probe.family, probe.shapes, probe.sizes)
    vectors = [name for names in ways[0].vectors for name in names]
    first = probe.draw("first") | {name: np.zeros(probe.shapes[name], probe.case.dtype)
                                   for name in vectors}  # fmt: skip
    search = _Search(probe, ways, first)
    likely = search.structures()
    for names in ways[0].vectors:
        likely = search.find_role(likely, names)
    return search.conclude(subject, likely)


class _Search:
    """One identification: candidates that are still likely, and neighbours that are not."""

    def __init__(self, probe: Probe, ways: Sequence[Reading], first: Mapping[str, Floats]) -> None:
        self.probe, self.ways, self.first = probe, ways, first
        self.dtype = probe.case.dtype
        self.swapped = False
        self.neighbours: list[Candidate] = []
        self.others: dict[tuple[str, ...], Candidate] = {}

    def structures(self) -> list[Candidate]:
        """Return the structures that explain the steps without vectors, or the nearest one."""
        steps = self.probe.steps(self.first, "first")
        best = self._structures(steps)
        can_swap = self.probe.family == "lstm" and not self.probe.case.P
        if best[0].ratio > 1 and can_swap and self.probe.case.state:
            turned = self._structures(_swapped(steps))
            self.swapped = turned[0].ratio <= 1
            best = turned if self.swapped else best
        likely = [look.candidate for look in best if look.ratio <= 1] or [best[0].candidate]
        self.neighbours = [look.candidate for look in best if look.candidate not in likely]
        return likely

    def _structures(self, steps: Steps) -> list[_Look]:
        """Look closely at the likeliest, until some do not fit."""
        looks: list[_Look] = []
        for candidate in structures(self.probe.family, self.ways, self.first, steps):
            looks.append(_snapped(candidate, self.first, steps, self.dtype))
            if sum(look.ratio > 1 for look in looks) >= NEIGHBOURS:
                break
        return sorted(looks, key=lambda look: (look.ratio > 1, look.residual))

    def find_role(self, likely: Sequence[Candidate], names: tuple[str, ...]) -> list[Candidate]:
        """Return the candidates, each with every role of one array that explains the steps."""
        drawn = self.probe.draw("vector")
        named = {**self.first, **{name: drawn[name] for name in names}}
        steps = self._steps(named, f"vector {names[0]}")
        roles = []
        for candidate in likely:
            ranked = ranked_roles(candidate, names, named, steps)
            fits = [h for h in ranked[:4] if _look(h, named, steps, self.dtype).ratio <= 1]
            roles += fits or ranked[:1]
            others = [h for h in ranked[:5] if h not in fits[:4]]
            self.others.setdefault(names, others[0] if fits else others[1])
        return roles

    def conclude(self, subject: Subject, likely: Sequence[Candidate]) -> Identification:
        """Hold what is likely, and its neighbours, to arrays that are all random."""
        named = self.probe.draw("last")
        steps = self._steps(named, "last", both=True)
        near = [with_role(likely[0], names, other.roles[names])
                for names, other in self.others.items()]  # fmt: skip
        near += [_with_roles_of(likely[0], h) for h in self.neighbours]
        tried: dict[Convention, _Look] = {}
        for candidate in (*likely, *near):
            tried.setdefault(candidate.convention, _look(candidate, named, steps, self.dtype))
        looks = sorted(tried.values(), key=lambda look: (look.ratio > 1, look.residual))
        fitting = [look.candidate for look in looks if look.ratio <= 1]
        stated = getattr(subject, "convention", None)
        if getattr(subject, "own", None):  # how arrays of own names are packed was inferred
            stated = None
        if stated is not None:  # of several that cannot be told apart, the stated one first
            fitting.sort(key=lambda fit: len(differing(fit.convention, stated)))
        fits = [fit.convention for fit in fitting]
        best, second = looks[0], looks[max(len(fits), 1)]
        roles = best.candidate.roles
        return Identification(
            subject.name,
            self.dtype,
            tuple(fits),
            fits[0] if fits else best.candidate.convention,
            best.residual,
            best.ratio,
            second.candidate.convention,
            second.residual,
            second.residual / max(best.residual, best.bound),
            tuple(n for names, role in roles.items() if role.kind == "unused" for n in names),
            self.swapped,
            stated,
            tuple(fit.names for fit in fitting),
        )

    def _steps(self, named: Mapping[str, Floats], round_: str, *, both: bool = False) -> Steps:
        steps = self.probe.steps(named, round_, both=both)
        return _swapped(steps) if self.swapped else steps


def _swapped(steps: Steps) -> Steps:
    return Steps(steps.x, steps.before[::-1], steps.after[::-1])


def _with_roles_of(candidate: Candidate, other: Candidate) -> Candidate:
    """Return ``other`` with the vectors' roles of ``one``; b_hn is b_n where there is none."""
    if other.base.recurrent_bias:
        return replace(other, roles=candidate.roles)
    plain = {
        names: replace(role, letters=role.letters.replace(RECURRENT_BIAS, "n"))
        for names, role in candidate.roles.items()
    }
    return replace(other, roles=plain)
