"""Identification of the convention by which a layer computes, from its results alone.

The layer is run on random arrays, and every convention whose arrays have these shapes is tried. A
convention explains the layer if all numbers of all steps lie within its formula's bounds in the
layer's arithmetic. The family is that of the cell that the layer claims.
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
"""The number of structures that do not explain the layer, from which the runner-up comes."""

DECIMALS = (0, 1, 2, 4, 8)
"""The decimals to which a forget offset is rounded, the simplest first."""


@dataclass(frozen=True)
class Identification:
    """The conventions that explain a layer, and the distance of the others.

    ``fits`` holds all conventions that explain it, ``undetermined`` the fields in which they
    differ; ``nearest`` is the first of them, or the best other one. ``residual`` is its largest
    error, ``ratio`` that in units of its bound; ``separation`` is the ratio of the runner-up's
    error to that error, or to the bound if that is larger. ``unused`` are arrays without influence;
    ``swapped``: c comes before h. ``stated`` is the adapter's convention. ``arrays`` holds, for
    each of ``fits``, the layer's names of the convention's arrays, without the endings of passes.
    ``without_state``: it fits calls without an initial state alone, so that initial states are read
    wrongly.
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
class _Comparison:
    """The deviation of a candidate from steps, and its ratio to the candidate's bound."""

    candidate: Candidate
    residual: float
    ratio: float
    bound: float


def _compare(
    candidate: Candidate, named: Mapping[str, Floats], steps: Steps, dtype: str
) -> _Comparison:
    arithmetic = ARITHMETICS[dtype]
    exact = {name: Bounded.exact(array, arithmetic) for name, array in named.items()}
    before = [Bounded.exact(s, arithmetic) for s in steps.before]
    after = candidate.after(exact, Bounded.exact(steps.x, arithmetic), before)
    pairs = [(got.astype(float), want) for got, want in zip(steps.after, after, strict=True)]
    return _Comparison(
        candidate,
        distance([want.value for _, want in pairs], [got for got, _ in pairs]),
        max(float(np.max(in_bounds(got, want.value, want.bound))) for got, want in pairs),
        max(float(np.max(want.bound)) for _, want in pairs),
    )


def _with_simplest_offset(
    candidate: Candidate, named: Mapping[str, Floats], steps: Steps, dtype: str
) -> _Comparison:
    """Compare a candidate with the simplest forget offset that explains the steps."""
    offset = candidate.base.forget_offset
    for digits in DECIMALS:
        base = replace(candidate.base, forget_offset=round(offset, digits) + 0.0)
        comparison = _compare(replace(candidate, base=base), named, steps, dtype)
        if comparison.ratio <= 1 or base.forget_offset == offset:
            break
    return comparison


def identify(subject: Subject, seed: int = 0) -> Identification:
    """Identify the convention by which a subject computes.

    Raise Unreadable if no convention has arrays of these shapes, and the subject's exceptions.
    """
    identification = _identified(subject, Probe(subject, seed))
    options = subject.options
    if not identification.fits and options.state and options.default_state:
        second = _identified(subject, Probe(subject, seed, state=False))
        identification = replace(second, without_state=True) if second.fits else identification
    return identification


def _identified(subject: Subject, probe: Probe) -> Identification:
    possible_readings = readings(probe.family, probe.shapes, probe.sizes)
    vectors = [name for names in possible_readings[0].vectors for name in names]
    first = probe.draw("first") | {name: np.zeros(probe.shapes[name], probe.case.dtype)
                                   for name in vectors}  # fmt: skip
    search = _Search(probe, possible_readings, first)
    likely = search.structures()
    for names in possible_readings[0].vectors:
        likely = search.find_role(likely, names)
    return search.conclude(subject, likely)


class _Search:
    """One identification: it narrows candidates down, and keeps near ones that do not fit."""

    def __init__(self, probe: Probe, ways: Sequence[Reading], first: Mapping[str, Floats]) -> None:
        self.probe, self.ways, self.first = probe, ways, first
        self.dtype = probe.case.dtype
        self.swapped = False
        self.neighbours: list[Candidate] = []
        self.others: dict[tuple[str, ...], Candidate] = {}

    def structures(self) -> list[Candidate]:
        """Return the structures that explain the steps without vectors, or the nearest one."""
        steps = self.probe.steps(self.first, "first")
        comparisons = self._structures(steps)
        can_swap = self.probe.family == "lstm" and not self.probe.case.P
        if comparisons[0].ratio > 1 and can_swap and self.probe.case.state:
            swapped_comparisons = self._structures(_swapped(steps))
            self.swapped = swapped_comparisons[0].ratio <= 1
            comparisons = swapped_comparisons if self.swapped else comparisons
        likely = [c.candidate for c in comparisons if c.ratio <= 1] or [comparisons[0].candidate]
        self.neighbours = [c.candidate for c in comparisons if c.candidate not in likely]
        return likely

    def _structures(self, steps: Steps) -> list[_Comparison]:
        """Compare the likeliest candidates with bounds, until some do not fit."""
        comparisons: list[_Comparison] = []
        for candidate in structures(self.probe.family, self.ways, self.first, steps):
            comparisons.append(_with_simplest_offset(candidate, self.first, steps, self.dtype))
            if sum(c.ratio > 1 for c in comparisons) >= NEIGHBOURS:
                break
        return sorted(comparisons, key=lambda c: (c.ratio > 1, c.residual))

    def find_role(self, likely: Sequence[Candidate], names: tuple[str, ...]) -> list[Candidate]:
        """Return the candidates with each role of one array that explains the steps."""
        drawn = self.probe.draw("vector")
        named = {**self.first, **{name: drawn[name] for name in names}}
        steps = self._steps(named, f"vector {names[0]}")
        roles = []
        for candidate in likely:
            ranked = ranked_roles(candidate, names, named, steps)
            fits = [h for h in ranked[:4] if _compare(h, named, steps, self.dtype).ratio <= 1]
            roles += fits or ranked[:1]
            others = [h for h in ranked[:5] if h not in fits[:4]]
            self.others.setdefault(names, others[0] if fits else others[1])
        return roles

    def conclude(self, subject: Subject, likely: Sequence[Candidate]) -> Identification:
        """Compare the likely candidates and their neighbours on all-random arrays."""
        named = self.probe.draw("last")
        steps = self._steps(named, "last", both=True)
        near = [with_role(likely[0], names, other.roles[names])
                for names, other in self.others.items()]  # fmt: skip
        near += [_with_roles_of(likely[0], h) for h in self.neighbours]
        by_convention: dict[Convention, _Comparison] = {}
        for candidate in (*likely, *near):
            by_convention.setdefault(
                candidate.convention, _compare(candidate, named, steps, self.dtype)
            )
        comparisons = sorted(by_convention.values(), key=lambda c: (c.ratio > 1, c.residual))
        fitting = [c.candidate for c in comparisons if c.ratio <= 1]
        stated = getattr(subject, "convention", None)
        if getattr(subject, "own", None):  # how arrays of own names are packed was inferred
            stated = None
        if stated is not None:  # of several indistinguishable ones, the stated one first
            fitting.sort(key=lambda fit: len(differing(fit.convention, stated)))
        fits = [fit.convention for fit in fitting]
        best, second = comparisons[0], comparisons[max(len(fits), 1)]
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
    """Return ``other`` with the candidate's roles of vectors; b_hn becomes b_n if it has none."""
    if other.base.recurrent_bias:
        return replace(other, roles=candidate.roles)
    plain = {
        names: replace(role, letters=role.letters.replace(RECURRENT_BIAS, "n"))
        for names, role in candidate.roles.items()
    }
    return replace(other, roles=plain)
