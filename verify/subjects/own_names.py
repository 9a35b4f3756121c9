"""The meaning of the parameters of a torch module that has names of its own, by experiment.

A reading assigns a gate and a layout to every array. All readings that the shapes allow are tried
on one short run with zero biases, then on one run for each bias, then on a run with all arrays. An
accepted reading reproduces these runs to ``CLOSE``; the checks judge it afterwards by their own
bounds. If no reading does, the layer is wrong or not of this family; then the names of the
parameters decide, if they name every gate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TypeAlias

import numpy as np

from ...reference.arrays import Floats
from ...reference.parameters import Sizes
from ..cases.case import Case
from ..conventions import family
from ..conventions.convention import (
    GATES,
    LAYOUTS,
    RECURRENT_BIAS,
    Convention,
    Packed,
    added,
    slice_shape,
)
from ..conventions.parameter_map import ConventionMap, suffixes
from ..numbers.ledger import Mismatch
from .gate_names import SIDES, gate_of, tokens
from .protocol import Inputs, Result, SubjectUnavailable

SIZES = Sizes(D=11, H=6)
"""D, H, their sum and their multiples all differ, so that shapes tell what an array is."""

CASE = Case(3, 4, SIZES.D, SIZES.H, dtype="float64")
CLOSE = 1e-10
"""Far above the rounding of a run in float64, far below the deviation of a wrong reading."""

SINGLE = 1
PEEPHOLES = "ifo"
PEEPHOLE = r"peep|(^|\.)([wp]_?c_?|p_?|weight_[cp])((?P<gate>[ifo])|h)?(_l0|\.weight)?$"
"""The names of vectors of peepholes: W_ci, p_f, weight_ph, peephole, ..."""

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Run: TypeAlias = Callable[[Inputs], Result]


class NoMapping(ValueError):
    """The meaning of a module's parameters could not be determined; the message says why."""


@dataclass(frozen=True)
class OwnNames:
    """The meaning of a module's parameters: its arrays, and their convention.

    ``evidence`` is a clause that says how it was determined.
    """

    convention: Convention
    arrays: tuple[Packed, ...]
    evidence: str

    @property
    def text(self) -> str:
        """The mapping, in words: "x_r.weight is W_r, ..."."""
        renamed = [a for a in self.arrays if a.name != _content(a)]
        mapping = ", ".join(f"{a.name} is {_content(a)}" for a in renamed)
        same = "its names are those of the equations"
        return f"{mapping or same} ({self.evidence}{_variant(self.convention)})"


def _content(array: Packed) -> str:
    """Return the content of an array in words: "W_r", "[W_i,W_f; U_i,U_f]"."""
    upper, lower = (array.slices, array.below)
    if array.state_first:
        upper, lower = lower, upper
    several = [",".join(names) for names in (upper, lower) if names]
    text = f"[{'; '.join(several)}]" if len(upper) > 1 or lower else upper[0]
    return f"{text} {'interleaved' if array.layout == 'interleaved' else ''}".rstrip()


def _variant(c: Convention) -> str:
    """Return clauses that say how the equations differ from torch.nn's."""
    clauses = []
    if c.family == "gru" and c.reset == "before":
        clauses.append("r acts before the product with U_n")
    if c.family == "gru" and c.update == "take":
        clauses.append("z is the share of the new state")
    if c.coupled:
        clauses.append("f is 1 - i")
    if "o" in c.peepholes and c.output_peephole == "old":
        clauses.append("the output gate sees the old c")
    if c.forget_offset:
        clauses.append(f"{c.forget_offset:g} is added to the sum of f")
    return "".join(f"; {clause}" for clause in clauses)


@dataclass(frozen=True)
class ModuleMap(ConventionMap):
    """The map of a module's own arrays; their names have the ending of the one pass, ``_l0``."""

    packed: tuple[Packed, ...] = ()

    @property
    def _arrays(self) -> Sequence[Packed]:
        return [a for a in self.packed if self.case.bias or not _is_bias(a)]

    def draw(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Draw weights of N(0, 1/fan-in) by the case's scale, vectors of N(0, 1/4)."""
        array_name, _, place = name.rpartition("_l")
        array = next(a for a in self.packed if a.name == array_name)
        if _is_vector(array):
            return self.case.normal(name, shape, 0.5)
        width = self.case.D if place.startswith("0") else self.case.H * self.case.directions
        rows = width if array.slices[0].startswith("W") else self.case.H
        fan_in = rows + (self.case.H if array.below else 0)
        return self.case.normal(name, shape, self.case.weight_scale / np.sqrt(fan_in))

    def keys(self, shapes: Shapes) -> dict[str, str]:
        """Return this map's name of each array of a module of several layers or directions.

        Arrays whose names differ in numbers or words of directions alone are those of the passes,
        in their order; else the arrays of each pass follow each other. Raises NoMapping.
        """
        expected, endings = self.shapes(), [*suffixes(self.case)]
        first = [a.name for a in self._arrays]
        alike = [[n for n in shapes if _without_place(n) == _without_place(a)] for a in first]
        chunks = [[*shapes][k :: len(first)] for k in range(len(first))]
        layers_first = sorted(endings, key=lambda ending: ending.endswith("_reverse"))
        for of_arrays, order in product((alike, chunks), (endings, layers_first)):
            keys = {
                name: f"{array}{ending}"
                for array, names in zip(first, of_arrays, strict=True)
                for name, ending in zip(names, order, strict=False)
            }
            if {keys.get(n, n): tuple(shape) for n, shape in shapes.items()} == expected:
                return keys
        raise NoMapping("the arrays of its further passes are not named or shaped as the first's")


def _without_place(name: str) -> str:
    """Return a name without numbers and words for the place of a pass."""
    return re.sub(rf"\d+|(?<![a-z])({PLACE})(?![a-z])|[._]", "", name, flags=re.IGNORECASE)


PLACE = "fwd?|bwd?|forwards?|backwards?|rev|reversed?|left|right"
"""The words by which the names of two directions differ."""


def _is_vector(array: Packed) -> bool:
    return array.slices[0].startswith(("b", "p"))


def _is_bias(array: Packed) -> bool:
    return array.slices[0].startswith("b")


@dataclass(frozen=True)
class _Array:
    """An array of ``count`` blocks, and the layouts it may have.

    ``kind`` names the blocks: W, U, or both as WU; "" stands for vectors (H,).
    """

    name: str
    kind: str
    count: int
    layouts: tuple[str, ...]


def _weight(name: str, shape: tuple[int, ...]) -> _Array | None:
    """Return the kind and the layouts of a weight by its shape, None if it is no weight."""
    D, H = SIZES.D, SIZES.H
    readings: dict[tuple[str, int], list[str]] = {}
    for kind, rows in {"W": D, "U": H, "WU": D + H}.items():
        for count in range(1, 5):
            for layout in ("out-in", "in-out", "interleaved", "gates", "gates out-in"):
                single = layout == "interleaved" and count == SINGLE
                if not single and LAYOUTS[layout].shape((rows, H), count) == shape:
                    readings.setdefault((kind, count), []).append(layout)
    return next((_Array(name, *key, tuple(layouts)) for key, layouts in readings.items()), None)


def _vector(name: str, shape: tuple[int, ...]) -> _Array | None:
    H = SIZES.H
    if len(shape) == 1 and shape[0] % H == 0 and 1 <= shape[0] // H <= 4:
        count = shape[0] // H
        return _Array(name, "", count, ("out-in", "interleaved")[: 2 if count > 1 else 1])
    if len(shape) == 2 and shape[1] == H and shape[0] in (2, 3, 4):
        return _Array(name, "", shape[0], ("gates",))
    return None


@dataclass(frozen=True)
class _Arrays:
    """The arrays of a module, sorted into weights and vectors."""

    kind: str
    weights: tuple[_Array, ...]
    vectors: tuple[_Array, ...]
    letters: str

    @classmethod
    def sorted_by_shape(cls, kind: str, shapes: Shapes) -> _Arrays:
        """Sort the arrays; NoMapping if one does not fit a recurrent layer."""
        weights, vectors = [], []
        for name, shape in shapes.items():
            if vector := _vector(name, shape):
                vectors.append(vector)
            elif weight := _weight(name, shape):
                weights.append(weight)
            else:
                D, H = SIZES.D, SIZES.H
                raise NoMapping(
                    f"{name} {list(shape)} is no array of a recurrent layer with {D} inputs and "
                    f"{H} units"
                )
        counts = {side: sum(w.count for w in weights if side in w.kind) for side in "WU"}
        for letters in (GATES[kind], "igo" if kind == "lstm" else ""):
            if letters and counts["W"] == counts["U"] == len(letters):
                return cls(kind, tuple(weights), tuple(vectors), letters)
        raise NoMapping(
            f"its weights hold {counts['W']} blocks for the input and {counts['U']} for the state, "
            f"and a layer of this kind has {len(GATES[kind])} of each"
        )

    def bases(self, like: Convention) -> Iterator[Convention]:
        """Yield the variants of the family's equations that ``like`` allows."""
        coupled = self.kind == "lstm" and "f" not in self.letters
        base = replace(like, order=self.letters, bias=(), coupled=coupled)
        if self.kind == "gru":
            for reset, update in product(("after", "before"), ("keep", "take")):
                yield replace(base, reset=reset, update=update)
            return
        yield base
        if self.kind == "lstm" and not coupled:
            yield replace(base, forget_offset=1.0)

    def styles(self) -> Iterator[tuple[tuple[str, ...], bool]]:
        """Yield a layout for each weight, equal for equal shapes, and whether h precedes x."""
        shared = dict.fromkeys((w.kind, w.count, w.layouts) for w in self.weights)
        joint = any(w.kind == "WU" for w in self.weights)
        for chosen in product(*(layouts for _, _, layouts in shared)):
            layout = dict(zip(shared, chosen, strict=True))
            per_weight = tuple(layout[w.kind, w.count, w.layouts] for w in self.weights)
            for state_first in (False, True) if joint else (False,):
                yield per_weight, state_first

    def packed(
        self, style: tuple[tuple[str, ...], bool], upper: Sequence[str], lower: Sequence[str]
    ) -> tuple[Packed, ...]:
        """Return the weights in a style, with the letters of the blocks of W and of U in order."""
        layouts, state_first = style
        letters = {"W": list(upper), "U": list(lower)}
        arrays = []
        for weight, layout in zip(self.weights, layouts, strict=True):
            names = {}
            for side in weight.kind:
                names[side] = tuple(f"{side}_{g}" for g in letters[side][: weight.count])
                del letters[side][: weight.count]
            below = names["U"] if weight.kind == "WU" else ()
            slices = names[weight.kind[0]]
            arrays.append(Packed(weight.name, slices, layout, below, bool(below) and state_first))
        return tuple(arrays)

    def orders(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Yield orders of the gates in W and in U; arrays that hold both have one order."""
        places: dict[str, list[int | None]] = {"W": [], "U": []}
        tied = 0
        for weight in self.weights:
            numbers = [tied + k if weight.kind == "WU" else None for k in range(weight.count)]
            tied += weight.count if weight.kind == "WU" else 0
            for side in weight.kind:
                places[side] += numbers
        for common in permutations(self.letters, tied):
            rest = [g for g in self.letters if g not in common]
            for upper, lower in product(permutations(rest), repeat=2):
                free = {"W": iter(upper), "U": iter(lower)}
                order_pair = [
                    tuple(next(free[s]) if k is None else common[k] for k in places[s])
                    for s in "WU"
                ]
                yield order_pair[0], order_pair[1]


@dataclass(frozen=True)
class Experiment:
    """Runs of the module on random arrays, with or without an initial state."""

    run: Run
    shapes: Shapes
    state: bool

    def arrays(self, *nonzero: str, round_: str) -> dict[str, Floats]:
        """Draw the weights and the named vectors; the other vectors are 0."""
        drawn = {
            name: CASE.normal(f"{round_} {name}", shape, 0.35 if len(shape) > 1 else 0.5)
            for name, shape in self.shapes.items()
        }
        vectors = {name for name, shape in self.shapes.items() if _vector(name, shape)}
        return {n: np.zeros_like(a) if n in vectors - {*nonzero} else a for n, a in drawn.items()}

    def unread(self, kind: str, joint: Sequence[str], places: slice) -> bool:
        """Whether these columns of [x, h] are x's: with x = 0 they do not change the output."""
        named = self.arrays(*self.shapes, round_="places")
        state = self.with_passes(self.start(kind, ""))
        x, results = np.zeros((CASE.T, CASE.B, CASE.D)), []
        for factor in (1.0, 2.0):
            for name in joint:
                along = self.shapes[name].index(CASE.D + CASE.H)
                np.moveaxis(named[name], along, 0)[places] *= factor
            results.append(self.run(Inputs(dict(named), x, state, None)).y)
        return np.array_equal(*results)

    def start(self, kind: str, round_: str) -> tuple[Floats, ...]:
        """Draw the initial states; zeros if the module takes none."""
        return tuple(
            CASE.normal(f"{round_} state {k}", (CASE.B, CASE.H), 0.7) if self.state
            else np.zeros((CASE.B, CASE.H)) for k in range(2 if kind == "lstm" else 1)
        )  # fmt: skip

    def with_passes(self, start: Sequence[Floats]) -> tuple[Floats, ...] | None:
        """Return the states with the axis of passes; None if the module takes none."""
        return tuple(s[None] for s in start) if self.state else None

    def observation(
        self, kind: str, named: Mapping[str, Floats], round_: str, start: float = 1.0
    ) -> _Observation:
        """Run the module on these arrays; ``start`` is a factor of the initial states."""
        x = CASE.normal(f"{round_} x", (CASE.T, CASE.B, CASE.D))
        states = tuple(start * s for s in self.start(kind, round_))
        result = self.run(Inputs(dict(named), x, self.with_passes(states), None))
        if result.y.shape != (expected := (CASE.T, CASE.B, CASE.H)):
            raise Mismatch(f"y: expected shape (T, B, H) = {expected}, got {result.y.shape}")
        return _Observation(named, x, states, result)


@dataclass(frozen=True)
class _Observation:
    """A run of the module: its arguments and its result."""

    named: Mapping[str, Floats]
    x: Floats
    start: tuple[Floats, ...]
    result: Result

    def distance(self, convention: Convention, arrays: Sequence[Packed], stop: float) -> float:
        """Return the largest difference of outputs and final states; stop early above ``stop``."""
        worst = 0.0
        for difference in self.differences(convention, arrays):
            worst = max(worst, difference)
            if worst > stop:
                break
        return worst

    def differences(self, convention: Convention, arrays: Sequence[Packed]) -> Iterator[float]:
        """Yield the largest difference of each step's outputs, and of each final state."""
        shapes = family.shapes(convention, SIZES)
        gate_arrays: dict[str, Floats] = {}
        for packed in arrays:
            added(gate_arrays, packed.split(self.named[packed.name], shapes))
        zero = np.zeros(SIZES.H)
        for gate in convention.letters:
            gate_arrays.setdefault(f"b_{gate}", zero)
        if convention.recurrent_bias:
            gate_arrays.setdefault("b_hn", zero)
        if convention.forget_offset:
            gate_arrays["b_f"] = gate_arrays["b_f"] + convention.forget_offset
        state = self.start
        for x, y in zip(self.x, self.result.y, strict=True):
            state = family.step(convention, gate_arrays, x, state)
            yield _difference(state[0], y)
        for s, final in zip(state, self.result.final, strict=True):
            if final.any():  # zeros stand for one that is not returned
                yield _difference(s, final.reshape(s.shape))


def _difference(a: Floats, b: Floats) -> float:
    worst = float(np.max(np.abs(a - b)))
    return worst if np.isfinite(worst) else np.inf


Reading: TypeAlias = tuple[Convention, tuple[Packed, ...]]


def own_names(run: Run, shapes: Shapes, like: Convention, *, takes_state: bool) -> OwnNames:
    """Return the meaning of a module's arrays; NoMapping says why it cannot be determined.

    ``run`` runs the module of size ``SIZES`` on the case ``CASE``; ``like`` is the convention of
    torch.nn's layer. Runs without an initial state are tried, too, for modules that take none or
    use it wrongly.
    """
    arrays = _Arrays.sorted_by_shape(like.family, shapes)
    experiments = [Experiment(run, shapes, state) for state in (True, False)[not takes_state :]]
    readings: list[Reading] = []
    crash: Exception | None = None
    ran = []
    for experiment in experiments:
        try:
            readings = readings or _reproducing_readings(arrays, experiment, like)
            ran.append(experiment)
        except SubjectUnavailable:
            raise
        except Exception as error:  # raised by the module's code
            crash = crash or error
    if not ran and crash:
        raise crash
    offset = max((base.forget_offset for base, _ in readings), default=0.0)
    named = _reading_by_names(
        arrays, ran[0], [b for b in arrays.bases(like) if b.forget_offset <= offset]
    )
    names = f"torch.nn.{like.family.upper()}"
    if len(readings) > 1:
        raise NoMapping(f"{len(readings)} mappings of its parameters compute what it computes")
    if readings and (named is None or _agree(arrays, readings[0], named)):
        return _result(readings[0], "found by experiments", [*shapes])
    if named is None:
        raise NoMapping(
            "no mapping of its parameters computes what it computes, and their names do not say "
            f"which belongs to which gate of {names}"
        )
    evidence = "by their names alone: no mapping of them computes what the layer computes"
    if any(len(array.slices) > 1 for array in named[1]):
        evidence += f"; arrays of several gates in the order of {names}, unless you declare another"
    if readings:
        others = ", ".join(
            f"{a.name} as {_content(a)}"
            for a, b in zip(readings[0][1], named[1], strict=True) if a.slices != b.slices
        )  # fmt: skip
        evidence = f"by their names, against what it computes: it uses {others}"
    return _result(named, evidence, [*shapes])


def _result(reading: Reading, evidence: str, names: Sequence[str]) -> OwnNames:
    """Return the reading as a convention, its arrays in the order of the names."""
    base, arrays = reading[0], tuple(sorted(reading[1], key=lambda a: names.index(a.name)))
    order: dict[str, str] = {}
    for side in "WU":
        names_of_side = [n for a in arrays for n in a.slices + a.below if n.startswith(f"{side}_")]
        order[side] = "".join(n.partition("_")[2] for n in names_of_side)
    bias = tuple("".join(map(_letter, a.slices)) for a in arrays if _is_bias(a))
    recurrent = "" if order["U"] == order["W"] else order["U"]
    convention = replace(base, order=order["W"], recurrent_order=recurrent, bias=bias)
    return OwnNames(convention, arrays, evidence)


def _letter(name: str) -> str:
    return RECURRENT_BIAS if name == "b_hn" else name.partition("_")[2]


def _reproducing_readings(
    arrays: _Arrays, experiment: Experiment, like: Convention
) -> list[Reading]:
    """Return all readings that reproduce the module: weights, then each vector, then all arrays."""
    named = experiment.arrays(round_="weights")
    observed = experiment.observation(arrays.kind, named, "weights")
    at_rest = experiment.observation(arrays.kind, named, "weights", start=0.0)
    first_steps: dict[object, bool] = {}  # from zeros they depend on W alone, not on U
    readings: list[Reading] = []
    for style, (upper, lower) in product(arrays.styles(), arrays.orders()):
        packed = arrays.packed(style, upper, lower)
        for base in arrays.bases(like):
            place = style, upper, base
            if place not in first_steps:
                first_steps[place] = next(at_rest.differences(base, packed)) <= CLOSE
            if first_steps[place] and observed.distance(base, packed, CLOSE) <= CLOSE:
                readings.append((base, packed))
    for vector in arrays.vectors if readings else ():
        named = experiment.arrays(vector.name, round_=vector.name)
        observed = experiment.observation(arrays.kind, named, vector.name)
        readings = [
            (variant, (*packed, role))
            for base, packed in readings
            for variant, role in _roles(vector, base)
            if observed.distance(variant, (*packed, role), CLOSE) <= CLOSE
        ]
    if readings:
        named = experiment.arrays(*experiment.shapes, round_="all")
        observed = experiment.observation(arrays.kind, named, "all")
        readings = [r for r in readings if observed.distance(*r, CLOSE) <= CLOSE]
    return readings


def _roles(vector: _Array, base: Convention) -> Iterator[tuple[Convention, Packed]]:
    """Yield the roles of a vector: biases, or peepholes that the LSTM does not have yet."""
    for layout in vector.layouts:
        for letters in permutations(base.letters + base.recurrent_bias, vector.count):
            yield base, Packed(vector.name, tuple(map(_bias, letters)), layout)
        open_ = PEEPHOLES if base.family == "lstm" and not base.coupled else ""
        for letters in permutations([g for g in open_ if g not in base.peepholes], vector.count):
            role = Packed(vector.name, tuple(f"p_{g}" for g in letters), layout)
            for variant in _with_peepholes(base, letters):
                yield variant, role


def _with_peepholes(base: Convention, letters: Sequence[str]) -> Iterator[Convention]:
    """Yield conventions with more peepholes; that of o may read the new c or the old."""
    peepholes = base.peepholes + "".join(letters)
    for cell_read in ("new", "old") if "o" in letters else (base.output_peephole,):
        yield replace(base, peepholes=peepholes, output_peephole=cell_read)


def _bias(letter: str) -> str:
    return "b_hn" if letter == RECURRENT_BIAS else f"b_{letter}"


def _reading_by_names(
    arrays: _Arrays, experiment: Experiment, bases: Sequence[Convention]
) -> Reading | None:
    """Return the nearest reading that agrees with the parameters' names; None if there is none.

    A reading under which some step's outputs or some final state are equal is nearer than all
    others, since the remaining steps may be misplaced. Names do not show an offset of the forget
    gate, so the caller excludes from ``bases`` offsets that no experiment showed.
    """
    orders = {side: _named_order(arrays, side) for side in "WU"}
    if not all(orders.values()):
        return None
    upper, lower = orders["W"], orders["U"]
    named = experiment.arrays(*experiment.shapes, round_="all")
    observed = experiment.observation(arrays.kind, named, "all")
    joint = [w.name for w in arrays.weights if w.kind == "WU"]
    ends = {False: slice(CASE.D), True: slice(-CASE.D, None)}
    first = [
        state_first
        for state_first, places in ends.items()
        if joint and experiment.unread(arrays.kind, joint, places)
    ]
    ranked: list[tuple[int, bool, float, int, Reading]] = []
    for style, base in product(arrays.styles(), bases):
        if any(map(_unusual, arrays.weights, style[0])) or (first and style[1] not in first):
            continue
        if len(joint) == len(arrays.weights) and base.family == "gru" and base.reset == "after":
            continue  # one product of [x, h] has nothing of h alone that r could act on
        packed = arrays.packed(style, upper, lower)
        reset = _reset(experiment, packed, base) if base.family == "gru" else base.reset
        roles = [_named_vector(v, arrays, packed, base) for v in arrays.vectors]
        named_roles = [role for role in roles if role]
        if len(named_roles) < len(roles):
            continue
        slices = [name for role in named_roles for name in role.slices]
        for variant in _with_peepholes(base, [s[2:] for s in slices if s.startswith("p_")]):
            reading = (variant, (*packed, *named_roles))
            differences = [*observed.differences(*reading)]
            of_candidate = [a for a in named_roles if {"b_n", "b_hn"} & {*a.slices}]
            stated = reset or ("after" if len(of_candidate) > 1 else "")
            against = 2 * (base.reset != stated) if stated else 1
            far = min(differences) > CLOSE
            ranked.append((against, far, max(differences), len(ranked), reading))
    return min(ranked)[4] if ranked else None


def _reset(experiment: Experiment, weights: Sequence[Packed], base: Convention) -> str:
    """Return the side of the product with U_n on which r acts, whatever else is wrong.

    Unit 1 reads unit 0 alone: it then moves with the reset gate of unit 0, "before", or with its
    own, "after"; "" if with neither, or with its own even where it reads nothing.
    """
    shapes = family.shapes(base, SIZES)
    state = experiment.with_passes(experiment.start("gru", "reset"))
    zeros = {name: np.zeros(shape) for name, shape in experiment.shapes.items()}
    outputs = []
    for read, unit in ((1.0, None), (1.0, 0), (1.0, 1), (0.0, None), (0.0, 1)):
        slices = {n: np.zeros(slice_shape(shapes, n)) for a in weights for n in a.slices + a.below}
        slices["U_n"][0, 1] = read
        slices["W_r"][:, slice(0) if unit is None else unit] = 1.0
        arrays = zeros | {a.name: a.join(slices) for a in weights}
        x = np.ones((CASE.T, CASE.B, CASE.D))
        outputs.append(experiment.run(Inputs(arrays, x, state, None)).y[0, :, 1])
    neither, before, after, unread, alone = outputs
    if not np.array_equal(before, neither):
        return "before"
    own = np.array_equal(alone, unread) and not np.array_equal(after, neither)
    return "after" if own else ""


def _unusual(weight: _Array, layout: str) -> bool:
    """Whether a layout is implausible: interleaved, or a transposed weight of nn.Linear."""
    linear = weight.name.endswith(".weight") and "out-in" in weight.layouts
    return layout == "interleaved" or (linear and layout != "out-in")


def _named_order(arrays: _Arrays, side: str) -> tuple[str, ...]:
    """Return the letters of the blocks of W or U by the parameters' names; () if unknown.

    Arrays of several gates take the gates that no other array names, in torch.nn's order.
    """
    weights = [w for w in arrays.weights if side in w.kind]
    letters = [gate_of(arrays.kind, w.name) for w in weights if w.count == SINGLE]
    if len({*letters}) < len(letters) or not {*letters} <= {*arrays.letters}:
        return ()
    rest = [g for g in arrays.letters if g not in letters]
    order: list[str] = []
    for weight in weights:
        if weight.count == SINGLE:
            order.append(letters.pop(0))
        else:
            order += rest[: weight.count]
            del rest[: weight.count]
    return tuple(order)


def _named_vector(
    vector: _Array, arrays: _Arrays, packed: Sequence[Packed], base: Convention
) -> Packed | None:
    """Return a bias or a peephole by its name, or by the name of the weight beside it."""
    if arrays.kind == "lstm" and (named := re.search(PEEPHOLE, vector.name, re.IGNORECASE)):
        letter = named["gate"] or gate_of(arrays.kind, vector.name)
        letters = [letter.lower()] if vector.count == SINGLE else [*PEEPHOLES[: vector.count]]
        if len(letters) != vector.count or set(letters) - set(PEEPHOLES):
            return None
        return Packed(vector.name, tuple(f"p_{g}" for g in letters), vector.layouts[0])
    beside = re.sub(r"bias", "weight", vector.name)
    weight = next((a for a in packed if a.name == beside and beside != vector.name), None)
    as_many = [a for a in packed if len(a.slices) == vector.count]
    if weight is None and vector.count not in (SINGLE, len(arrays.letters)) and len(as_many) == 1:
        (weight,) = as_many
    if weight is not None and len(weight.slices) == vector.count:
        letters = [name.partition("_")[2] for name in weight.slices]
        recurrent = weight.slices[0].startswith("U")
    else:
        recurrent = any(t in SIDES or re.fullmatch(r"b?h[a-z]", t) for t in tokens(vector.name))
        if vector.count == SINGLE:
            letters = [gate_of(arrays.kind, vector.name)]
        elif vector.count == len(arrays.letters):
            side = "U" if recurrent else "W"
            letters = [
                n.partition("_")[2] for a in packed for n in a.slices + a.below
                if n.startswith(f"{side}_")
            ]  # fmt: skip
        else:
            return None
    if not all(letters) or set(letters) - set(arrays.letters):
        return None
    if recurrent and base.recurrent_bias:
        letters = [RECURRENT_BIAS if g == "n" else g for g in letters]
    return Packed(vector.name, tuple(map(_bias, letters)), vector.layouts[0])


def _agree(arrays: _Arrays, reading: Reading, named: Reading) -> bool:
    """Whether the experiments agree with the names of arrays of a single gate."""
    single = {w.name for w in arrays.weights if w.count == SINGLE}
    pairs = zip(reading[1], named[1], strict=True)
    return all(a.slices == b.slices for a, b in pairs if a.name in single)
