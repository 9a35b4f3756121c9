"""Are weights rounded to a grid, and is everything right for the rounded weights?

Of a layer that rounds its weights the output is a staircase as a function of one weight. The width
of a step is the grid's at that weight; what it is proportional to says which weights share a scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
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
from .fixed_point import fixed_point, known_mistakes
from .rounded import MATRICES, Rounded
from .storage import storage

NUDGE = {"float64": 2.0**-28, "float32": 2.0**-12}
"""Share of the largest weight that is added to one to see whether outputs change at all."""

NOISE = {"float64": 2.0**-44, "float32": 2.0**-20}
"""Share of the largest output that rounding changes: w + (rounded - w) is not quite rounded."""

EDGE = 2.0**-19
"""Relative accuracy to which the edge of a step is found."""

LEAST = 2.0**-12
"""Share of a weight that a step of it is at least wide, as a first guess."""

AGREE = 3e-5
"""Relative accuracy to which measured steps agree."""

MOST_PLACES = 5
"""Weights of an array that are changed slightly to see whether it is rounded."""

MOST_LEVELS = 2**17
"""Levels beyond which a grid is no other than that of a dtype."""

GRADIENTS = (
    "; outputs are right for the rounded weights, but derivatives are neither those that pass the "
    "rounding straight through nor 0"
)

INPUT_OF = {"W": "x", "U": "h", "R": "the projection"}
"""What each matrix is multiplied with."""

FLOATS = {10: "float16", 7: "bfloat16"}
"""Dtypes by the bits of their fraction: their steps are proportional to the weight itself."""


LIMITS = {"ends at ±": (0, 0), "ends at -": (1, 0), "ends before +": (0, -1)}
"""Where levels end, beyond so many below 0 and above: 127 and 127, 128 and 127 in 8 bits."""


@dataclass(frozen=True)
class Place:
    """One weight: the pass, the array, the index (gate, from, to)."""

    number: int
    array: str
    index: tuple[int, ...]

    def moved(self, passes: Sequence[Parameters], by: float) -> list[Parameters]:
        """Return parameters with something added to this weight."""
        arrays = {n: np.array(a) for n, a in passes[self.number].items()}
        arrays[self.array][self.index] += by
        changed = Parameters(passes[self.number].shapes, arrays)
        return [changed if k == self.number else p for k, p in enumerate(passes)]


Ends = tuple[Array, Array]
"""The smallest and the largest weight of a group, for every weight of an array (broadcast)."""

Group = Callable[[Sequence[Parameters], int, str], Ends]
"""From the parameters of all passes, the number of one, and the name of an array."""


def _matrices(p: Parameters) -> list[Array]:
    return [p[n] for n in MATRICES if n in p]


def _along(*axes: int) -> Group:
    """Return the group of all weights of an array that differ along some axes alone."""

    def ends(passes: Sequence[Parameters], number: int, name: str) -> Ends:
        a = passes[number][name]
        return a.min(axis=axes, keepdims=True), a.max(axis=axes, keepdims=True)

    return ends


def _of(arrays: Callable[[Sequence[Parameters], int, str], Sequence[Array]]) -> Group:
    """Return the group of all weights of several arrays."""

    def ends(passes: Sequence[Parameters], number: int, name: str) -> Ends:
        every = np.concatenate([a.ravel() for a in arrays(passes, number, name)])
        return np.asarray(every.min()), np.asarray(every.max())

    return ends


GROUPS: dict[str, tuple[str, Group]] = {
    "channel": ("one scale for each unit of each gate", _along(1)),
    "input": ("one scale for each input of each gate", _along(2)),
    "column": ("one scale for each input of a matrix, over all gates", _along(0, 2)),
    "gate": ("one scale for each gate of each matrix", _along(1, 2)),
    "matrix": ("one scale for each matrix", _along(0, 1, 2)),
    "pass": (
        "one scale for the matrices of x and h of each pass",
        _of(lambda passes, number, name: _matrices(passes[number])),
    ),
    "name": (
        "all layers and directions share one scale for each of the two matrices",
        _of(lambda passes, number, name: [p[name] for p in passes]),
    ),
    "first of its name": (
        "later layers and directions take the scale of the first one's matrix",
        _of(lambda passes, number, name: [passes[0][name]]),
    ),
    "first": (
        "later layers and directions take the scale of the first one's matrices",
        _of(lambda passes, number, name: _matrices(passes[0])),
    ),
    "all": (
        "all matrices of all layers and directions share one scale",
        _of(lambda passes, number, name: [a for p in passes for a in _matrices(p)]),
    ),
}
"""Weights that may have one scale, in words: those of one unit first, all last."""

SHARED = ("name", "first of its name", "first", "all")
"""Groups in which the scale of one layer depends on another's weights."""


@dataclass(frozen=True)
class Grid:
    """What weights are rounded to.

    ``kind``: ``scale`` (multiples of the largest magnitude of a ``group`` by ``levels``), ``range``
    (the group's from smallest to largest in so many levels), ``step`` (multiples of ``step``),
    ``float`` (``levels`` bits of a fraction). ``arrays`` are those that are rounded.
    """

    kind: str
    group: str = ""
    levels: int = 0
    step: float = 0.0
    rule: str = "nearest"
    arrays: tuple[str, ...] = MATRICES

    @property
    def words(self) -> str:
        """The grid in words."""
        names = " and ".join(INPUT_OF.get(name, name) for name in self.arrays)
        alone = f", those of {names} alone" if self.partial else ""
        return f"{self._words}{alone}"

    @property
    def partial(self) -> bool:
        """Whether some arrays are rounded and others are not."""
        return self.arrays != MATRICES

    @property
    def _words(self) -> str:
        if self.kind == "step":
            exponent = float(np.log2(self.step))
            whole = abs(exponent - round(exponent)) < AGREE
            step = f"2^{round(exponent)}" if whole else f"{self.step:.6g}"
            return f"multiples of {step}{self._manner}"
        if self.kind == "float":
            return FLOATS.get(self.levels, f"a float of {self.levels} bits after the point")
        return f"{self.bits} bits{self._manner}, {GROUPS[self.group][0]} ({self._formula})"

    @property
    def _manner(self) -> str:
        return f" ({self.rule})" if self.rule in ("down", "toward zero") else ""

    @property
    def bits(self) -> int:
        """How many bits hold a level."""
        count = self.levels + 1 if self.kind == "range" else 2 * self.levels
        return int(np.ceil(np.log2(count)))

    @property
    def _formula(self) -> str:
        of = "the largest of all" if self.group in ("name", "all") else "its largest magnitude"
        return f"{'its range' if self.kind == 'range' else of} / {self.levels}"

    @property
    def shared(self) -> bool:
        """Whether the scale of one layer depends on another's weights."""
        return self.group in SHARED

    def rounded(self, passes: Sequence[Parameters]) -> list[Parameters]:
        """Round the weights of all passes."""
        rounded = []
        for number, p in enumerate(passes):
            weights = {n: self._array(passes, number, n, p[n]) for n in self.arrays if n in p}
            arrays = {n: weights[n].astype(a.dtype) if n in weights else a for n, a in p.items()}
            rounded.append(Parameters(p.shapes, arrays))
        return rounded

    def _array(self, passes: Sequence[Parameters], number: int, name: str, a: Array) -> Array:
        if self.kind == "float":
            exponent = np.floor(np.log2(np.abs(np.where(a == 0, 1, a))))
            return self._to(a, 2.0 ** (exponent - self.levels))
        if self.kind == "step":
            return self._to(a, np.asarray(self.step))
        low, high = GROUPS[self.group][1](passes, number, name)
        steps = _extent(self.kind, low, high) / self.levels
        steps = np.where(steps == 0, 1.0, steps)
        if self.kind == "range":
            zero = np.round(-low / steps) if self.rule != "offset" else -low / steps
            return (np.clip(np.round(a / steps + zero), 0, self.levels) - zero) * steps
        rounded = self._to(a, steps)
        if self.rule not in LIMITS:
            return rounded
        low_end, high_end = (self.levels + more for more in LIMITS[self.rule])
        return np.clip(rounded, -low_end * steps, high_end * steps)

    def _to(self, a: Array, steps: Array) -> Array:
        rule = {"down": np.floor, "toward zero": np.trunc}.get(self.rule, np.round)
        return rule(a / steps) * steps


def _extent(kind: str, low: Array, high: Array) -> Array:
    return high - low if kind == "range" else np.maximum(np.abs(low), np.abs(high))


class Staircase:
    """Outputs of a layer as a function of single weights."""

    def __init__(self, subject: Subject, dtype: str) -> None:
        """Draw a small case, deep and in two directions where that is offered."""
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
        self.largest = max(float(np.abs(a).max()) for p in self.passes for a in _matrices(p))

    def outputs(self, passes: Sequence[Parameters] | None = None) -> Array:
        """Return all outputs in one row."""
        given, arrays = self.inputs, self.map.pack(passes or self.passes)
        named = {n: np.asarray(a, given.x.dtype) for n, a in arrays.items()}
        result = self.built.forward(Inputs(named, given.x, given.state, given.lengths))
        return np.concatenate([np.ravel(a) for a in (result.y, *result.final)])

    def places(self) -> Iterator[Place]:
        """Yield the smallest weight of every array, and of each gate in the first pass."""
        for number, p in enumerate(self.passes):
            for name in (n for n in MATRICES if n in p):
                size = np.abs(p[name])
                first = number == 0
                for part in range(len(size)) if first else [int(size.min(axis=(1, 2)).argmin())]:
                    index = np.unravel_index(int(size[part].argmin()), size[part].shape)
                    yield Place(number, name, (part, *map(int, index)))

    def rounds(self, name: str, places: Sequence[Place], base: Array) -> bool:
        """Whether small changes of most of the weights of an array change nothing."""
        some = [place for place in places if place.array == name][:MOST_PLACES]
        return sum(self.flat(place, base) for place in some) > len(some) // 2

    def flat(self, place: Place, base: Array) -> bool:
        """Whether a small change of a weight changes nothing."""
        nudge = self.largest * NUDGE[self.case.dtype]
        ways = (self.outputs(place.moved(self.passes, way * nudge)) for way in (1, -1))
        return all(self.same(base, moved) for moved in ways)

    def same(self, first: Array, second: Array) -> bool:
        """Whether outputs are the same but for rounding."""
        noise = NOISE[self.case.dtype] * max(1.0, float(np.abs(first).max()))
        return bool(np.abs(first - second).max() <= noise)

    def step(self, place: Place) -> tuple[float, float] | None:
        """Return where above a weight its step ends, and how wide the next one is."""
        least = float(abs(self.passes[place.number][place.array][place.index])) * LEAST
        first = self._edge(place, 0.0, least)
        second = first and self._edge(place, first * (1 + EDGE), least)
        return (first, second - first) if first and second else None

    def agree(self, grid: Grid, base: Array) -> bool:
        """Whether outputs are those of the equations for rounded weights, to rounding."""
        layer = layer_of(self.subject, self.case)
        right = layer.forward(grid.rounded(self.passes), self.inputs.x, self.inputs.state)
        return self.same(np.concatenate([np.ravel(a) for a in (right.y, *right.final)]), base)

    def _edge(self, place: Place, start: float, least: float) -> float | None:
        """Return the smallest change above ``start`` that changes outputs; none under ``least``."""
        base = self.outputs(place.moved(self.passes, start))

        def changes(by: float) -> bool:
            return not self.same(base, self.outputs(place.moved(self.passes, start + by)))

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
    """Return what explains a layer whose outputs, or whose weights, are on a grid."""
    stored = storage(explainer.observations, explainer.dtype)
    if stored and (residual := explainer.off(wrong := stored.hypothesis)) <= 1:
        seen = len(explainer.observations)
        return Discovery([wrong.explanation], residual=residual, experiments=seen)
    fixed = fixed_point(explainer)
    if fixed.explanations or fixed.notes:
        return fixed
    try:
        return rounded_weights(explainer, rest)
    except REFUSALS:
        return Discovery()


def rounded_weights(explainer: Explainer, rest: Sequence[Experiment] = ()) -> Discovery:
    """Return what explains a layer that rounds its weights."""
    subject, dtype = explainer.subject, explainer.dtype
    stairs = Staircase(subject, dtype)
    base = stairs.outputs()
    if not stairs.same(base, stairs.outputs()):
        return Discovery()
    places = list(stairs.places())
    there = [n for n in MATRICES if any(n in p for p in stairs.passes)]
    arrays = tuple(n for n in there if stairs.rounds(n, places, base))
    if not arrays:
        return Discovery()
    places = [place for place in places if place.array in arrays]
    steps = {place: step for place in places if (step := stairs.step(place)) is not None}
    if len(steps) <= len(places) // 2:
        return Discovery()
    grids = candidates(stairs, {place: width for place, (_, width) in steps.items()})
    of = MATRICES if len(arrays) == len(there) else arrays
    ways = [replace(g, rule=r, arrays=of) for g in grids for r in rules(g)]
    agreeing = [way for way in ways if stairs.agree(way, base)]
    for way, straight in product(agreeing, (True, False)):
        experiments = [*(seen.experiment for seen in explainer.observations), *rest]
        read = Rounded(subject, way.rounded, straight).as_subject
        if (worst := _residual(read, experiments)) <= 1:
            right = [_explanation(way, dtype)]
            return Discovery(right, residual=worst, experiments=len(experiments))
    told = f"Its weights are rounded to {ways[0].words}" if ways else ""
    for way in agreeing or ways:
        if found := _wrong_too(way, explainer):
            return found
    if agreeing:
        told = f"Its weights are rounded to {agreeing[0].words}{GRADIENTS}"
    return Discovery(notes=(f"{told}.",) if told else ())


def _wrong_too(way: Grid, explainer: Explainer) -> Discovery | None:
    """Return the mistakes that explain a layer whose weights are rounded, beside that."""
    read = Rounded(explainer.subject, way.rounded).as_subject
    experiments = [s.experiment for s in explainer.observations if s.experiment.check != "jvp"]
    seen = list(observations(read, experiments))
    judge = Explainer(read, explainer.dtype, seen, explainer.on_try, explainer.deadline)
    if judge.off(NOTHING_WRONG) <= 1:  # what is off are derivatives in forward mode
        return None
    fits = known_mistakes(judge)
    other = Discovery([h.explanation for h in fits]) if fits else character(judge)
    note = f"Its weights are rounded to {way.words}, too; that is not what is wrong."
    if not other.explanations:
        return None
    worst = other.residual or max(map(judge.off, fits), default=0.0)
    return replace(
        other, notes=(note, *other.notes), residual=worst, experiments=len(judge.observations)
    )


def _residual(subject: Subject, experiments: Sequence[Experiment]) -> float:
    """Return how far what is seen is off the equations for the weights that the subject reads."""
    worst = 0.0
    for seen in observations(subject, experiments):
        for key, array in seen.seen.items():
            worst = max(worst, residual(array, seen.right[key], seen.levels[key]))
        if seen.words or worst > 1:
            return float("inf")
    return worst


def rules(grid: Grid) -> tuple[str, ...]:
    """Return the ways to round to a grid that are tried."""
    if grid.kind == "range":
        return ("nearest", "offset")
    if grid.kind == "scale":
        return ("nearest", *LIMITS, "down", "toward zero")
    return ("nearest", "down", "toward zero")


def candidates(stairs: Staircase, widths: Mapping[Place, float]) -> Iterator[Grid]:
    """Yield the grids whose steps are those that were measured."""
    measured = np.array(list(widths.values()))
    if np.ptp(measured) <= AGREE * measured.max():
        yield Grid("step", step=_plain(float(np.median(measured))))
    for name, (_, group) in GROUPS.items():
        for kind in ("scale", "range"):
            levels = np.array([_extent(kind, *_at(stairs, p, group)) for p in widths]) / measured
            near = round(float(np.median(levels)))
            if 1 <= near <= MOST_LEVELS and np.all(np.abs(levels / near - 1) <= AGREE):
                yield Grid(kind, name, near)
    weights = np.array([abs(stairs.passes[p.number][p.array][p.index]) for p in widths])
    with np.errstate(all="ignore"):
        bits = np.round(np.floor(np.log2(weights)) - np.log2(measured))
    if np.ptp(bits) == 0 and bits[0] in FLOATS:
        yield Grid("float", levels=int(bits[0]))


def _plain(step: float) -> float:
    """Return the number that a measured step is meant to be, as far as it can be guessed."""
    guesses = (
        2.0 ** round(np.log2(step)),
        float(f"{step:.3g}"),
        1 / round(1 / step) if step < 1 else 0.0,
    )
    return next((g for g in guesses if abs(g / step - 1) <= AGREE), step)


def _at(stairs: Staircase, place: Place, group: Group) -> Ends:
    """Return the ends of the group that one weight belongs to."""
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
    return Explanation(
        ("rounded weights",),
        (f"It is right for weights rounded to {grid.words}: its equations are not wrong.",),
        ("nothing, if rounded weights are meant",),
        variant=not grid.partial,
    )
