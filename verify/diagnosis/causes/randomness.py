"""Randomness in a layer: whether equal calls differ, and which values a random mask multiplies.

In a layer with diagonal weights every unit depends on itself alone. A mask then gives a unit one of
a few results, which the reference with the mask in one place returns: the place is accepted only if
every unit of every call has one of these results.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain, islice, product

import numpy as np

from ....reference.cell import State
from ....reference.functions import Array
from ....reference.parameters import Parameters
from ...cases.case import Case
from ...checks.oracle import Expected, expected
from ...conventions.parameter_map import ExplicitMap
from ...mutants.parts import changed, some
from ...mutants.replaceable_layer import At, ReplaceableLayer, StepPart
from ...numbers.ledger import Mismatch
from ...runs.diagnosis import Explanation, Location
from ...runs.verdict import Verdict
from ...subjects.called import (
    NotOffered,
    SubjectCrashed,
    SubjectUnderTest,
    layer_of,
    under_test,
)
from ...subjects.inputs import draw_inputs
from ...subjects.protocol import Inputs, Result, Subject
from ..formulas.phrases import subject_of
from ..formulas.program import expression, named, program_of, right_program
from ..location import TRAINING
from ..observation import MARGIN, OUTPUTS, plain_case
from .cause import Cause
from .crash import SECONDS, Trial, impossible, only

UNITS, ROWS, CALLS = 24, 2, 3
"""Units and rows of the layer with diagonal weights, and the number of its calls."""

SURE = 16
"""The number of calls that surely shows two results; small layers have few masks."""

RATES = tuple(sorted({n / 100 for n in range(1, 100)} | {n / 16 for n in range(1, 16)} | {1 / 3}))
"""The rates that are tried."""

Multiplier = Callable[[At, int], float]
"""The mask's value at a step for a gate."""


@dataclass(frozen=True)
class Place:
    """A place in which a mask may act.

    ``words`` follow “dropout acts on”; ``change`` puts multipliers there. A mask of ``weights`` has
    an entry for each gate, and all rows share it; ``lower``: it acts below the last layer alone,
    ``upper``: in the last layer alone.
    """

    words: str
    change: Callable[[ReplaceableLayer, Multiplier], None]
    weights: bool = False
    lower: bool = False
    upper: bool = False


def _on_weights(name: str, layer: ReplaceableLayer, mask: Multiplier) -> None:
    def step(right: StepPart, at: At, p: Parameters, x: Array, state: State) -> State:
        factors = np.array([mask(at, gate) for gate in range(len(p[name]))], p[name].dtype)
        return right(at, changed(p, **{name: p[name] * factors[:, None, None]}), x, state)

    layer.wrap("step", step)


def _on_state(index: int, layer: ReplaceableLayer, mask: Multiplier) -> None:
    """Mask one state before it is read."""
    layer.wrap("step", lambda right, at, p, x, state: right(
        at, p, x, some(state, (index,), lambda s: s * mask(at, 0))))  # fmt: skip


def _on_new_state(layer: ReplaceableLayer, mask: Multiplier) -> None:
    layer.wrap("step", lambda right, at, *arguments: some(
        right(at, *arguments), (0,), lambda s: s * mask(at, 0)))  # fmt: skip


def _on_part(part: str, layer: ReplaceableLayer, mask: Multiplier) -> None:
    layer.wrap(part, lambda right, at, *arguments: right(at, *arguments) * mask(at, 0))


_on_inputs, _on_outputs = partial(_on_part, "see"), partial(_on_part, "show")

BETWEEN = Place("the outputs between layers", _on_outputs, lower=True)

AFTER_ALL = Place("the outputs, those of the last layer too", _on_outputs)

KNOWN = (BETWEEN, AFTER_ALL)
"""The documented place, and one in the catalogue of mistakes, both of which the search covers."""

PLACES = (
    BETWEEN,
    Place("recurrent weights ({hh})", partial(_on_weights, "U"), weights=True),
    Place("input weights ({ih})", partial(_on_weights, "W"), weights=True),
    Place("the input of the first layer", _on_inputs, lower=True),
    Place("the input of every layer", _on_inputs),
    AFTER_ALL,
    Place("the outputs of the last layer", _on_outputs, upper=True),
    Place("the state that recurs (h)", partial(_on_state, 0)),
    Place("the state that recurs, in the last layer too", _on_new_state),
    Place("the state that recurs, in all layers but the last", _on_new_state, lower=True),
    Place("the cell state that recurs (c)", partial(_on_state, 1)),
)
"""The places that are tried in all cells, the documented one first."""


def places_of(cell: str) -> tuple[Place, ...]:
    """Return the places that are tried in a cell, including every value of its step."""
    program = program_of(cell)
    values = [*enumerate(program.forward)] if program else []
    values.sort(key=lambda numbered: numbered[1].target not in ("g", "n"))
    return (*PLACES, *(
        Place(subject_of(s.target), partial(_on_value, k))
        for k, s in values if not s.target.endswith("_new")
    ))  # fmt: skip


def _on_value(number: int, layer: ReplaceableLayer, mask: Multiplier) -> None:
    """Mask the value of one statement of a step."""
    program = right_program(layer.cell.name)
    statement = program.forward[number]
    masked = statement.with_value(ast.BinOp(statement.value, ast.Mult(), expression("mask")))
    edited = program.with_statements("forward", {number: masked})

    def step(at: At, p: Parameters, x: Array, state: State) -> State:
        return edited.step({**named(p), "mask": mask(at, 0)}, x, state)[0]

    layer.step = step


@dataclass(frozen=True)
class Mask:
    """A mask that explains all calls: its place, its rate, and how often it is drawn."""

    place: Place
    rate: float
    scaled: bool
    every_step: bool

    def words(self, subject: Subject) -> str:
        """Return the words for its place and how often it is drawn."""
        names = list(subject.parameter_map(Case(1, 1, 2, 3)).shapes())
        names_by_role = {
            "hh": "weight_hh" if any(n.startswith("weight_hh") for n in names) else "U",
            "ih": "weight_ih" if any(n.startswith("weight_ih") for n in names) else "W",
        }
        when = "at every step" if self.every_step else "one mask for all steps"
        return f"{self.place.words.format(**names_by_role)}, {when}"


@dataclass
class Probe:
    """Equal calls of a layer with diagonal weights in one mode."""

    subject: Subject
    case: Case
    parameters: dict[str, Array] = field(default_factory=dict)
    inputs: Inputs | None = None
    results: list[Result] = field(default_factory=list)
    level: float = 0.0
    _dropped: dict[Place, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Subject, case: Case, training: bool | None) -> Probe:
        """Call the layer, and propagate its exceptions."""
        probe, tested = cls(subject, case), under_test(subject)
        cell = layer_of(subject, case).cell
        explicit = ExplicitMap(cell.name, case)
        rng = case.generator("diagonal")
        for name, shape in explicit.shapes().items():
            numbers = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
            if len(shape) == 3:
                numbers = numbers * np.eye(*shape[1:])
            probe.parameters[name] = numbers.astype(case.number_type)
        packed = subject.parameter_map(case).pack(explicit.to_reference(probe.parameters))
        probe.inputs = replace(draw_inputs(subject, case), parameters=packed)
        want = expected(tested, case, probe.inputs)
        probe.level = MARGIN * _largest_bound(want)
        probe.results = [*islice(_repeated(tested, case, training, probe.inputs), CALLS)]
        return probe

    @property
    def random(self) -> bool:
        """Whether two calls differ."""
        return any(_differ(self.results[0], result, self.level) for result in self.results[1:])

    def rates(self, place: Place) -> Sequence[float]:
        """Return the rates of masks in a place that may explain all calls; 0: not scaled."""
        known = 0 < self.case.dropout < 1
        rates = (0.0, self.case.dropout) if known else (0.0, *RATES)
        return [
            p for p in rates
            if self.case.T > 1 or self.explained_by(place, p, every_step=True)
        ]  # fmt: skip

    def explained_by(self, place: Place, rate: float, *, every_step: bool) -> Mask | None:
        """Return the mask of a rate in a place that explains all calls, or None."""
        bits = self._levels(place) * (self.case.T if every_step else 1) * self._gates(place)
        if bits > MOST_BITS:
            return None
        scale = 1 / (1 - rate)
        arrays = self._arrays
        dropped = [np.full(self._units(array, place), np.nan) for array in arrays]
        for chosen in product((0.0, scale), repeat=bits):
            answer = self._answer(place, every_step, chosen)
            for array, shares in zip(arrays, dropped, strict=True):
                alike = self._alike(array, answer, place, scale)
                shares[alike & np.isnan(shares)] = chosen.count(0.0) / bits
        if any(np.isnan(shares).any() for shares in dropped):
            return None
        return Mask(place, rate or float(np.mean(dropped)), rate > 0, every_step)

    def entries(self, place: Place) -> bool:
        """Whether a unit's mask has several entries in a step, which takes longer."""
        return self._gates(place) > 1

    def _gates(self, place: Place) -> int:
        return len(layer_of(self.subject, self.case).cell.gates) if place.weights else 1

    def _levels(self, place: Place) -> int:
        return 1 if place.lower or place.upper else self.case.layers

    @cached_property
    def _arrays(self) -> list[Array]:
        return [_columns(result) for result in self.results]

    def _answer(self, place: Place, every_step: bool, chosen: Sequence[float]) -> Array:
        """Return the results with multipliers in a place; zeros, of any rate, are tried once."""
        if any(chosen):
            return self._computed(place, every_step, chosen)
        if place not in self._dropped:
            self._dropped[place] = self._computed(place, every_step, chosen)
        return self._dropped[place]

    def _computed(self, place: Place, every_step: bool, chosen: Sequence[float]) -> Array:
        assert self.inputs is not None  # noqa: S101 - ``of`` sets it
        case, last = self.case, self.case.layers - 1
        gates = self._gates(place)
        steps = case.T if every_step else 1
        level_of_mask = last if place.upper else 0

        def mask(at: At, gate: int) -> float:
            if (place.lower or place.upper) and at.level != level_of_mask:
                return 1.0
            level = 0 if place.lower or place.upper else at.level
            return chosen[(level * steps + (at.t if every_step else 0)) * gates + gate]

        layer = ReplaceableLayer(replace(case, dropout=0.0), layer_of(self.subject, case).cell)
        place.change(layer, mask)
        return _columns(layer.forward(replace(self.inputs, parameters=self.parameters)))

    def _units(self, array: Array, place: Place) -> tuple[int, ...]:
        shape: tuple[int, ...] = array.shape
        return shape[2:] if place.weights else shape[1:]

    def _alike(self, array: Array, answer: Array, place: Place, scale: float) -> Array:
        with np.errstate(all="ignore"):
            near = np.abs(array - answer) <= self.level * max(1.0, scale) ** 2
        return near.all(axis=(0, 1) if place.weights else 0)


MOST, LARGEST = 4, 2000
"""The most failing cases that are examined, and the largest size of one."""

MOST_BITS = 8
"""The most entries of one unit's mask, of which all values are tried."""


def _columns(result: Result) -> Array:
    """Return outputs and final states of a result in one array, (numbers, B, units)."""
    y = np.asarray(result.y, np.float64)
    return np.concatenate([y, *(np.asarray(s, np.float64) for s in result.final)])


def _differ(first: Result, second: Result, level: float) -> bool:
    pairs = zip((first.y, *first.final), (second.y, *second.final), strict=True)
    with np.errstate(all="ignore"):
        return any((np.abs(np.subtract(a, b, dtype=np.float64)) > level).any() for a, b in pairs)


def _repeated(
    tested: SubjectUnderTest, case: Case, training: bool | None, inputs: Inputs
) -> Iterator[Result]:
    """Yield the results of equal calls of new layers, so that earlier calls have no influence."""
    while True:
        called = tested.build(case)
        if training is not None:
            called.train(training)
        yield called.forward(inputs)


def randomness(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Iterator[Cause]:
    """Yield the cause that a layer is random, or that dropout acts in a wrong place."""
    if not failing:
        return
    try:
        cause = (
            _in_evaluation(subject, dtype, failing)
            or _in_training(subject, dtype, failing)
            or _misplaced_dropout(subject, dtype, failing)
        )
    except (Mismatch, SubjectCrashed, NotOffered):
        return
    if cause:
        yield cause


def _plain(subject: Subject, dtype: str, **options: object) -> Case:
    sizes = {"T": 2, "B": ROWS, "D": UNITS, "H": UNITS, "P": UNITS - 1}
    return plain_case(subject, dtype, **sizes, **options)


def _modes(subject: Subject, case: Case) -> bool:
    """Whether a layer can be switched between training and evaluation."""
    try:
        under_test(subject).build(case).train(False)
    except (NotOffered, SubjectCrashed, Mismatch):
        return False
    return True


def _masks(probes: Sequence[Probe], training: bool | None) -> Mask | None:
    """Return a mask that explains all probes; probes of one step determine its rate."""
    short = [Probe.of(p.subject, replace(p.case, T=1), training) for p in probes]
    short = [probe for probe in short if probe.random]
    deadline = time.process_time() + SECONDS
    places = places_of(probes[0].subject.cells[0]) if probes else ()
    for place in sorted(places, key=probes[0].entries) if probes else ():
        if "(c)" in place.words and len(probes[0].results[0].final) < 2:
            continue
        rates = set.intersection(*(set(probe.rates(place)) for probe in short or probes))
        for rate, every_step in product(sorted(rates), (False, True)):
            if time.process_time() > deadline:
                return None
            masks = [probe.explained_by(place, rate, every_step=every_step) for probe in probes]
            if all(masks):
                return masks[0]
    return None


@dataclass(frozen=True)
class Twice(Trial):
    """A trial of whether two new layers return different results in one mode."""

    training: bool | None = None

    def fails(self, case: Case) -> bool | None:
        """Whether the results differ; None if rounding may explain the difference."""
        if time.process_time() > self.deadline or impossible(self.subject, OUTPUTS, case):
            return None
        try:
            return differs(self.subject, case, self.training, calls=SURE)
        except (Mismatch, SubjectCrashed, NotOffered):
            return None

    @classmethod
    def first_random(
        cls, subject: Subject, cases: Sequence[Case], training: bool | None
    ) -> Twice | None:
        """Return the first case that is random."""
        deadline = time.process_time() + SECONDS
        trials = (cls(subject, "", OUTPUTS, case, deadline, training) for case in cases)
        return next((trial for trial in trials if trial.fails(trial.case)), None)


def differs(
    subject: Subject,
    case: Case,
    training: bool | None,
    inputs: Inputs | None = None,
    *,
    calls: int = CALLS,
) -> bool | None:
    """Whether new layers, called with the same inputs, return different results.

    None if they differ by no more than rounding.
    """
    tested, call = under_test(subject), inputs or draw_inputs(subject, case)
    results = islice(_repeated(tested, case, training, call), calls)
    first = next(results)
    unequal = (other for other in results if _differ(first, other, 0.0))
    earliest = next(unequal, None)
    if earliest is None:
        return False
    level = MARGIN * _largest_bound(expected(tested, case, call))
    return any(_differ(first, other, level) for other in chain([earliest], unequal)) or None


def _largest_bound(want: Expected) -> float:
    bounds = np.concatenate([np.ravel(a.bound) for a in (want.y, *want.final)])
    return float(np.max(bounds[np.isfinite(bounds)], initial=0.0))


def _cases(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> list[Case]:
    """Return a plain case, and small cases in which checks failed."""
    failed_cases = [
        Case.from_json(v.drawn or v.case) for v in failing if v.case and v.check not in TRAINING
    ]
    small = [case for case in failed_cases if case.T * case.B * case.H <= LARGEST]
    return [_plain(subject, dtype), *small[:MOST]]


def _in_evaluation(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Cause | None:
    mode = False if _modes(subject, _plain(subject, dtype)) else None
    trial = Twice.first_random(subject, _cases(subject, dtype, failing), mode)
    if trial is None:
        return None
    if _in_padding_alone(subject, trial.case, mode):
        return None  # uninitialised memory: a mistake of the catalogue
    where = tuple(trial.conditions())
    same = "the same call gives two results"
    same = f"In evaluation {same}" if mode is False else same[0].upper() + same[1:]
    if where == ("when no state is given",):
        statement = (
            f"{same}: the state that it starts from, when none is given, is drawn at random."
        )
        return _cause(
            "random state", statement, "start from zeros when no state is given", failing, "outputs"
        )
    probes = [Probe.of(subject, case, mode) for case in _probed(trial)]
    mask = _masks([probe for probe in probes if probe.random][:1], mode)
    if mask is None:
        dependence = _vanishing(subject, trial.case, mode)
        statement = f"{same}{only(where)}{dependence}."
        return _cause("random", statement, "look for what is drawn at random", failing, "outputs")
    gradient = "; a gradient belongs to another mask than the outputs"
    gradient = gradient if subject.options.gradient else ""
    statement = (
        f"{same}{only(where)}: dropout acts on {mask.words(subject)} (rate about {mask.rate:.2g})"
        f"{gradient}."
    )
    fix = "drop in training alone: test self.training, and pass it on to functional.dropout"
    return _cause("dropout in evaluation", statement, fix, failing, "outputs")


def _in_padding_alone(subject: Subject, case: Case, training: bool | None) -> bool:
    """Whether two calls differ beyond the ends of rows alone."""
    if not case.lengths:
        return False
    inputs = draw_inputs(subject, case)
    first, second = islice(_repeated(under_test(subject), case, training, inputs), 2)
    inside = np.arange(case.T)[:, None] < np.asarray(inputs.lengths)
    apart = first.y != second.y
    ends = all(map(np.array_equal, first.final, second.final))
    return bool(apart.any() and not apart[inside].any() and ends)


def _probed(trial: Twice) -> Iterator[Case]:
    """Yield cases with diagonal weights: of few steps, and of the failing case's steps."""
    plain = _plain(trial.subject, trial.case.dtype)
    yield plain
    options = {name: getattr(trial.case, name) for name in ("state", "layers", "bias")}
    yield replace(plain, T=min(trial.case.T, MOST_BITS), B=trial.case.B, **options)


def _in_training(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Cause | None:
    """Return the cause that a layer is random in training without dropout, or None."""
    case = _plain(subject, dtype)
    verdicts = [v for v in failing if v.check in ("modes", "dropout")]
    if not verdicts or not _modes(subject, case) or not differs(subject, case, True):
        return None
    mask = _masks([Probe.of(subject, case, True)], True)
    right = " In evaluation it does not, and what was checked there is right."
    right = right if len(verdicts) == len(failing) else " In evaluation it does not."
    if mask is None:
        dependence = _vanishing(subject, case, True)
        statement = (
            f"In training the same call gives two results, also without dropout{dependence}.{right}"
        )
        return _cause("random in training", statement, "look for what is drawn at random", verdicts)
    statement = (
        f"In training it drops by a rate of its own (about {mask.rate:.2g}), also where "
        f"dropout = 0: it acts on {mask.words(subject)}.{right}"
    )
    fix = "set that rate to 0 where the layer is to be torch's; else declare the deviation"
    return _cause("dropout of its own", statement, fix, verdicts)


def _misplaced_dropout(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Cause | None:
    """Return the cause that dropout acts in another than the documented place, or None."""
    options = subject.options
    verdicts = [v for v in failing if v.check == "dropout"]
    if not verdicts or options.missing(("dropout",)):
        return None
    layers = (1, 2) if options.layers else (1,)
    cases = [_plain(subject, dtype, layers=n, dropout=0.5, seed=n) for n in layers]
    probes = [Probe.of(subject, case, True) for case in cases]
    mask = _masks([probe for probe in probes if probe.random], True)
    if mask is None or mask.place in KNOWN:
        return None
    scale = "" if mask.scaled else " What is kept is not scaled by 1 / (1 - p)."
    statement = (
        f"In training dropout acts on {mask.words(subject)}; it should act on the outputs between "
        f"layers, at every step, and nowhere else.{scale}"
    )
    fix = "apply dropout to the outputs that the next layer reads, not to the state that is carried"
    return _cause("place of dropout", statement, fix, verdicts)


def _cause(
    id: str, statement: str, fix: str, failing: Sequence[Verdict], part: str = "training"
) -> Cause:
    explanation = Explanation((id,), (statement,), (fix,))
    return Cause(explanation, tuple(failing), Location(part), every_number=part == "outputs")


def _vanishing(subject: Subject, case: Case, training: bool | None) -> str:
    """Return a clause that names the arrays without which two calls do not differ."""
    inputs = draw_inputs(subject, case)

    def same(**arrays: object) -> bool:
        return not differs(subject, case, training, replace(inputs, **arrays))  # type: ignore[arg-type]

    needed = []
    for base in dict.fromkeys(name.rpartition("_l")[0] or name for name in inputs.parameters):
        without = {n: 0 * a if n.startswith(base) else a for n, a in inputs.parameters.items()}
        needed += [base] if same(parameters=without) else []
    needed += ["x"] if same(x=0 * inputs.x) else []
    if inputs.state and same(state=tuple(0 * s for s in inputs.state)):
        needed.append("the initial state")
    return f"; they are the same where {' or '.join(needed)} is 0" if needed else ""
