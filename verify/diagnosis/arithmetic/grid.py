"""Layers that round their weights to a grid, and are right for the rounded weights.

The output of such a layer is a staircase as a function of one weight. The width of a step is the
grid's at that weight; the quantity to which it is proportional shows which weights share a scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ....reference.arrays import Floats
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...conventions.rounded_map import RoundedMap
from ...conventions.weight_grid import (
    FLOATS,
    GROUPS,
    MATRICES,
    Ends,
    Grid,
    Group,
    declaration,
    extent_of,
)
from ...runs.diagnosis import Explanation
from ...subjects.called import layer_of, under_test
from ...subjects.inputs import draw_inputs
from ...subjects.protocol import Inputs, Subject
from ..discovery import Discovery
from ..hypotheses import NOTHING_WRONG
from ..observation import Experiment, residual
from ..other_cells.character import character
from ..other_cells.step import REFUSALS
from ..search import Explainer, observations
from ..stand_in import StandIn
from .fixed_point import fixed_point, known_mistakes, telling
from .storage import storage

NUDGE = {"float64": 2.0**-28, "float32": 2.0**-12}
"""The share of the largest weight by which a weight is changed to see if outputs change."""

NOISE = {"float64": 2.0**-44, "float32": 2.0**-20}
"""The share of the largest output that rounding changes: w + (rounded - w) is not exact."""

EDGE = 2.0**-19
"""The relative accuracy of the edge of a step."""

LEAST = 2.0**-12
"""The share of a weight with which the search for its step's width begins."""

AGREE = 3e-5
"""The relative accuracy to which measured steps agree."""

MOST_PLACES = 5
"""The most weights of an array that are changed slightly to see if it is rounded."""

MOST_LEVELS = 2**17
"""The most levels of a grid; more levels are those of a dtype."""

GRADIENTS = (
    "; outputs are right for the rounded weights, but derivatives are neither those that pass the "
    "rounding straight through nor 0"
)

LIMITS = {"ends at ±": (0, 0), "ends at -": (1, 0), "ends before +": (0, -1)}
"""The ends of levels, as extra levels below 0 and above: -127 to 127, -128 to 127 in 8 bits."""

HALVES = 1024
"""The most levels for which the largest weight may stand between two, as at 127.5."""


@dataclass(frozen=True)
class Rounded(StandIn):
    """A subject whose weights are rounded to a grid before the equations are computed."""

    grid: Grid
    straight: bool = True

    def parameter_map(self, case: Case) -> RoundedMap:
        """Return the subject's map, with the rounding in it."""
        return RoundedMap(self.subject.parameter_map(case), self.grid, self.straight, case)


@dataclass(frozen=True)
class Place:
    """One weight: the number of its pass, its array, its index (gate, from, to)."""

    number: int
    array: str
    index: tuple[int, ...]

    def moved(self, passes: Sequence[Parameters], change: float) -> list[Parameters]:
        """Return parameters with a number added to this weight."""
        arrays = {n: np.array(a) for n, a in passes[self.number].items()}
        arrays[self.array][self.index] += change
        changed = Parameters(passes[self.number].shapes, arrays)
        return [changed if k == self.number else p for k, p in enumerate(passes)]


class Staircase:
    """Outputs of a layer as a function of single weights."""

    def __init__(self, subject: Subject, dtype: str) -> None:
        """Draw a small case, with two layers and two directions where offered."""
        options = subject.options
        self.case = Case(
            T=1 if options.state else 2,
            B=1,
            D=3,
            H=4,
            layers=2 if options.layers else 1,
            bidirectional=options.bidirectional,
            state=options.state,
            bias=options.bias,
            dtype=dtype,
            seed=21,
        )
        self.subject, self.map = subject, subject.parameter_map(self.case)
        self.inputs = draw_inputs(subject, self.case)
        self.passes = [
            p.map(lambda a, k=k: a * (1 + k / 4))  # type: ignore[misc]
            for k, p in enumerate(self.map.to_reference(self.inputs.parameters))
        ]  # so that the largest weight is not the first pass's
        self.built = under_test(subject).build(self.case)
        self.largest = max(
            float(np.abs(a).max()) for p in self.passes for n, a in p.items() if n in MATRICES
        )

    def outputs(self, passes: Sequence[Parameters] | None = None) -> Floats:
        """Return all outputs in one array, (numbers,)."""
        inputs, arrays = self.inputs, self.map.pack(passes or self.passes)
        named = {n: np.asarray(a, inputs.x.dtype) for n, a in arrays.items()}
        result = self.built.forward(Inputs(named, inputs.x, inputs.state, inputs.lengths))
        return np.concatenate([np.ravel(a) for a in (result.y, *result.final)])

    def places(self) -> Iterator[Place]:
        """Yield the smallest weight of each gate in the first pass, and of each array in others."""
        for number, p in enumerate(self.passes):
            for name in (n for n in MATRICES if n in p):
                size = np.abs(p[name])
                first = number == 0
                for part in range(len(size)) if first else [int(size.min(axis=(1, 2)).argmin())]:
                    index = np.unravel_index(int(size[part].argmin()), size[part].shape)
                    yield Place(number, name, (part, *map(int, index)))

    def rounds(self, name: str, places: Sequence[Place], base: Floats) -> bool:
        """Whether small changes of most weights of an array change nothing."""
        some = [place for place in places if place.array == name][:MOST_PLACES]
        return sum(self.flat(place, base) for place in some) > len(some) // 2

    def flat(self, place: Place, base: Floats) -> bool:
        """Whether a small change of a weight changes nothing."""
        nudge = self.largest * NUDGE[self.case.dtype]
        ways = (self.outputs(place.moved(self.passes, way * nudge)) for way in (1, -1))
        return all(self.same(base, moved) for moved in ways)

    def same(self, first: Floats, second: Floats) -> bool:
        """Whether outputs are equal up to rounding."""
        noise = NOISE[self.case.dtype] * max(1.0, float(np.abs(first).max()))
        return bool(np.abs(first - second).max() <= noise)

    def step(self, place: Place) -> tuple[float, float] | None:
        """Return the distance from a weight to the end of its step, and the next step's width."""
        least = float(abs(self.passes[place.number][place.array][place.index])) * LEAST
        first = self._edge(place, 0.0, least)
        second = first and self._edge(place, first * (1 + EDGE), least)
        return (first, second - first) if first and second else None

    def agree(self, grid: Grid, base: Floats) -> bool:
        """Whether outputs are those of the equations for rounded weights, up to rounding."""
        layer = layer_of(self.subject, self.case)
        right = layer.forward(grid.rounded(self.passes), self.inputs.x, self.inputs.state)
        return self.same(np.concatenate([np.ravel(a) for a in (right.y, *right.final)]), base)

    def _edge(self, place: Place, start: float, least: float) -> float | None:
        """Return the smallest change above ``start`` that changes outputs, or None."""
        base = self.outputs(place.moved(self.passes, start))

        def changes(change: float) -> bool:
            return not self.same(base, self.outputs(place.moved(self.passes, start + change)))

        low, high = 0.0, least
        while not changes(high):
            low, high = high, 4 * high
            if high > 4 * self.largest:
                return None
        while high - low > EDGE * (start + high):
            middle = (low + high) / 2
            low, high = (low, middle) if changes(middle) else (middle, high)
        return start + high


def on_a_grid(explainer: Explainer, rest: Sequence[Experiment] = ()) -> Discovery:
    """Return the explanations of a layer whose outputs or weights are on a grid."""
    stored = storage(explainer.observations, explainer.dtype)
    for way in (stored, replace(stored, starts=True)) if stored else ():
        if (residual := explainer.residual_of(wrong := way.hypothesis)) <= 1:
            count = len(explainer.observations)
            return Discovery([wrong.explanation], residual=residual, experiments=count)
    fixed = fixed_point(explainer)
    if fixed.explanations or fixed.notes:
        return fixed
    try:
        return rounded_weights(explainer, rest)
    except REFUSALS:
        return Discovery()


def rounded_weights(explainer: Explainer, rest: Sequence[Experiment] = ()) -> Discovery:
    """Return the explanations of a layer that rounds its weights."""
    subject, dtype = explainer.subject, explainer.dtype
    stairs = Staircase(subject, dtype)
    base = stairs.outputs()
    if not stairs.same(base, stairs.outputs()):
        return Discovery()
    places = list(stairs.places())
    present = [n for n in MATRICES if any(n in p for p in stairs.passes)]
    arrays = tuple(n for n in present if stairs.rounds(n, places, base))
    if not arrays:
        return Discovery()
    places = [place for place in places if place.array in arrays]
    steps = {place: step for place in places if (step := stairs.step(place)) is not None}
    if len(steps) <= len(places) // 2:
        return Discovery()
    grids = candidates(stairs, {place: width for place, (_, width) in steps.items()})
    rounded_arrays = MATRICES if len(arrays) == len(present) else arrays
    ways = [replace(way, arrays=rounded_arrays) for g in grids for way in rules(g)]
    agreeing = [way for way in ways if stairs.agree(way, base)]
    for way, straight in product(agreeing, (True, False)):
        experiments = [*(observation.experiment for observation in explainer.observations), *rest]
        read = Rounded(subject, way, straight).as_subject
        if (worst := _residual(read, experiments)) <= 1:
            right = [_explanation(way, dtype)]
            return Discovery(right, residual=worst, experiments=len(experiments))
    note = f"Its weights are rounded to {ways[0].words}" if ways else ""
    for way in agreeing or ways:
        if discovery := _wrong_too(way, explainer):
            return discovery
    if agreeing:
        note = f"Its weights are rounded to {agreeing[0].words}{GRADIENTS}"
    return Discovery(notes=(f"{note}.",) if note else ())


def _wrong_too(way: Grid, explainer: Explainer) -> Discovery | None:
    """Return further mistakes of a layer whose weights are rounded.

    With truncation, the largest weight stands at the edge of its level, and bounds are so wide that
    every mistake would explain the layer; then return None.
    """
    read = Rounded(explainer.subject, way).as_subject
    experiments = [s.experiment for s in explainer.observations if s.experiment.check != "jvp"]
    judge = explainer.of(read, experiments)
    if sum(map(telling, judge.observations)) <= len(judge.observations) / 2:
        return None
    if judge.residual_of(NOTHING_WRONG) <= 1:  # only derivatives in forward mode deviate
        return None
    fits = known_mistakes(judge)
    discovery = Discovery([h.explanation for h in fits]) if fits else character(judge)
    note = f"Its weights are rounded to {way.words}, too; that is not what is wrong."
    if not discovery.explanations:
        return None
    worst = discovery.residual or max(map(judge.residual_of, fits), default=0.0)
    return replace(
        discovery,
        notes=(note, *discovery.notes),
        residual=worst,
        experiments=len(judge.observations),
    )


def _residual(subject: Subject, experiments: Sequence[Experiment]) -> float:
    """Return the largest residual of the equations for the weights that the subject reads."""
    worst = 0.0
    for observation in observations(subject, experiments):
        for key, array in observation.seen.items():
            worst = max(worst, residual(array, observation.right[key], observation.levels[key]))
        if observation.words or worst > 1:
            return float("inf")
    return worst


def rules(grid: Grid) -> Iterator[Grid]:
    """Yield the roundings to a grid that are tried: nearest, with limits, and truncation."""
    yield grid
    if grid.kind == "range":
        yield replace(grid, offset=True)
        return
    if grid.kind == "scale":
        for low, high in LIMITS.values():
            most = np.floor(grid.levels)
            yield replace(grid, ends=(-most - low, most + high))
        if grid.levels % 1:
            most = np.ceil(grid.levels)
            yield replace(grid, ends=(-most, most - 1))
    yield replace(grid, rounding="down")
    yield replace(grid, rounding="zero")


def candidates(stairs: Staircase, widths: Mapping[Place, float]) -> Iterator[Grid]:
    """Yield the grids that have the measured steps."""
    measured = np.array(list(widths.values()))
    if np.ptp(measured) <= AGREE * measured.max():
        yield Grid("step", step=_plain(float(np.median(measured))))
    for name, (_, group) in GROUPS.items():
        for kind in ("scale", "range"):
            levels = np.array([extent_of(kind, *_at(stairs, p, group)) for p in widths]) / measured
            near = round(2 * float(np.median(levels))) / 2
            near = round(near) if near > HALVES or kind == "range" else near
            if 1 <= near <= MOST_LEVELS and np.all(np.abs(levels / near - 1) <= AGREE):
                yield Grid(kind, name, near)
    weights = np.array([abs(stairs.passes[p.number][p.array][p.index]) for p in widths])
    with np.errstate(all="ignore"):
        bits = np.round(np.floor(np.log2(weights)) - np.log2(measured))
    if np.ptp(bits) == 0 and bits[0] in FLOATS:
        yield Grid("float", levels=int(bits[0]))


def _plain(step: float) -> float:
    """Return the simple number that is nearest to a measured step, or the step."""
    guesses = (
        2.0 ** round(np.log2(step)),
        float(f"{step:.3g}"),
        1 / round(1 / step) if step < 1 else 0.0,
    )
    return next((g for g in guesses if abs(g / step - 1) <= AGREE), step)


def _at(stairs: Staircase, place: Place, group: Group) -> Ends:
    """Return the ends of the group of one weight."""
    shape = stairs.passes[place.number][place.array].shape
    low, high = group(stairs.passes, place.number, place.array)
    return np.broadcast_to(low, shape)[place.index], np.broadcast_to(high, shape)[place.index]


def _explanation(grid: Grid, dtype: str) -> Explanation:
    if grid.kind == "float":
        return Explanation(
            (f"weights in {grid.words}",),
            (f"Its weights are rounded to {grid.words}, and it claims {dtype}; for the rounded "
             "weights the equations are right.",),
            (f"keep weights in {dtype}: look for a cast or a checkpoint in {grid.words}",),
        )  # fmt: skip
    if grid.shared:
        return Explanation(
            ("shared scale",),
            (f"Weights are rounded to {grid.words}: a layer whose weights are smaller keeps few "
             "levels. For weights rounded so the equations are right.",),
            ("take the scale of each matrix from its own weights",),
        )  # fmt: skip
    way = declaration(grid)
    declared = f": declare it, --quantised '{way.text}'" if way else ""
    return Explanation(
        ("rounded weights",),
        (f"It is right for weights rounded to {grid.words}: its equations are not wrong.",),
        (f"nothing, if rounded weights are meant{declared}",),
        variant=not grid.partial,
    )
