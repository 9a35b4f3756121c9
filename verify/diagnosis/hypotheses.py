"""Hypotheses about wrong layers: mutants of the catalogue, orders of gates, unread arrays.

A hypothesis is a mistake or a combination of mistakes. Applied to a subject it is a layer that
takes the subject's parameters, computes the equations with the mistake, and returns gradients in
the subject's arrays, so that the two can be compared number by number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain, permutations
from typing import Protocol

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ..cases.case import Case
from ..conventions.parameter_map import ExplicitMap, ParameterMap
from ..mutants import Change, Mutant, mutants
from ..mutants.layout import reordered
from ..mutants.parts import PLAIN, reads
from ..mutants.replaceable_layer import ReplaceableLayer
from ..runs.diagnosis import Explanation
from ..subjects.declared import ONE_STATE, PARAMS, STATE, X
from ..subjects.protocol import Built, Cotangents, Inputs, Pulled, Result, Subject
from .stand_in import StandIn

RIGHT = "right"

Sources = Callable[[Mapping[str, tuple[int, ...]]], Mapping[str, tuple[str, Floats]]]
"""A function from the shapes of a layer's arrays to those that are read from another array: its
name, and the flat indices of the entries, in the reader's shape."""


Factors = Callable[[ParameterMap], Mapping[str, Floats]]
"""A function from a layer's map to factors of the entries of its arrays."""

Conversions = dict[object, Mapping[str, Floats]]
"""A subject's arrays under the reference's names, by the case, the cell, and its own arrays."""


class Reading(Protocol):
    """Another convention by which a layer reads its arrays."""

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map of the layer's arrays, for one case."""

    def cell(self, case: Case) -> str:
        """Return the reference's cell that computes by the convention."""


@dataclass(frozen=True)
class Hypothesis:
    """A mistake, or several: the changes that turn a right layer into the wrong one.

    ``ignored`` are arrays of the subject that it does not read, ``reading`` is another convention
    by which it reads them; ``sources`` replaces entries of arrays by others, ``returns`` entries of
    their gradients; ``factors`` multiply entries. ``needs`` are options without which the mistake
    has no effect.
    """

    ids: tuple[str, ...]
    statements: tuple[str, ...]
    changes: tuple[Change, ...] = field(repr=False)
    fixes: tuple[str, ...] = ()
    killed_by: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    reading: Reading | None = None
    sources: tuple[Sources, ...] = field(default=(), repr=False)
    returns: tuple[Sources, ...] = field(default=(), repr=False)
    needs: tuple[str, ...] = ()
    factors: tuple[Factors, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The ids, joined."""
        return " + ".join(self.ids) or RIGHT

    @property
    def reads_as_stated(self) -> bool:
        """Whether the layer reads all of the subject's arrays by the subject's convention."""
        return not (self.ignored or self.reading or self.sources or self.factors)

    @property
    def explanation(self) -> Explanation:
        """The hypothesis in words for users."""
        return Explanation(self.ids, self.statements, tuple(filter(None, self.fixes)))

    def __add__(self, other: Hypothesis) -> Hypothesis:
        names = (f.name for f in fields(self) if f.name != "reading")
        both = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Hypothesis(**both, reading=self.reading or other.reading)


NOTHING_WRONG = Hypothesis((), (), ())


@dataclass(frozen=True)
class Guess(StandIn):
    """A subject's parameters and options with the equations of a hypothesis.

    With ``transposed``, forward mode is the transpose of the backward pass, mistakes included.
    Guesses about the same subject may share their ``conversions``.
    """

    hypothesis: Hypothesis
    transposed: bool = False
    conversions: Conversions | None = field(default=None, compare=False, repr=False)

    def build(self, case: Case) -> Built:
        """Return the layer with the mistake."""
        reading = self.hypothesis.reading
        cell = reading.cell(case) if reading else self.subject.cell(case)
        layer = ReplaceableLayer(case, cell_named(cell))
        for change in self.hypothesis.changes:
            change(layer)
        translated = _Transposed if self.transposed else _Translated
        return translated(self.subject, case, layer, self.hypothesis, self.conversions)


@dataclass(frozen=True)
class _Translated:
    """A replaceable layer that takes and returns the subject's arrays."""

    subject: Subject
    case: Case
    layer: ReplaceableLayer
    hypothesis: Hypothesis
    conversions: Conversions | None

    def forward(self, inputs: Inputs) -> Result:
        return self.layer.forward(self._inputs(inputs))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        pulled = self.layer.gradients(self._inputs(inputs), cotangents)
        return [replace(p, parameters=self._transform_gradients(p.parameters)) for p in pulled]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        named = self._linear_part(inputs, tangents)
        return self.layer.jvp(self._inputs(inputs), replace(tangents, parameters=named))

    def train(self, training: bool) -> None:
        self.layer.train(training)

    def _inputs(self, inputs: Inputs) -> Inputs:
        return replace(inputs, parameters=self._explicit(inputs.parameters))

    @property
    def _outer(self) -> ParameterMap:
        return (self.hypothesis.reading or self.subject).parameter_map(self.case)

    @property
    def _inner(self) -> ExplicitMap:
        return ExplicitMap(self.layer.cell.name, self.case)

    def _explicit(self, named: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return the arrays that the equations read; those read as stated may be known."""
        known = self.conversions
        if known is None or not self.hypothesis.reads_as_stated:
            return self._converted(named)
        contents = tuple((n, a.shape, a.dtype, a.tobytes()) for n, a in named.items())
        key = (self.case, self.layer.cell.name, contents)
        if key not in known:
            known[key] = self._converted(named)
        return {n: np.array(a) for n, a in known[key].items()}  # it may write into them

    def _converted(self, named: Mapping[str, Floats]) -> dict[str, Floats]:
        ignored = self.hypothesis.ignored
        read = {n: 0 * a if base(n) in ignored else a for n, a in named.items()}
        for sources in self.hypothesis.sources:
            read = gathered(read, sources)
        read = dict(self._scaled(read))
        return self._inner.from_reference(self._outer.to_reference(read))

    def _transform_gradients(self, named: Mapping[str, Floats]) -> Mapping[str, Floats]:
        arrays = self._scaled(self._outer.from_reference(self._inner.to_reference(named)))
        for sources in self.hypothesis.sources[::-1]:
            arrays = scattered(arrays, sources)
        for returns in self.hypothesis.returns:
            arrays = gathered(arrays, returns)
        return {n: 0 * d if base(n) in self.hypothesis.ignored else d for n, d in arrays.items()}

    def _scaled(self, named: Mapping[str, Floats]) -> Mapping[str, Floats]:
        for factors in self.hypothesis.factors:
            scales = factors(self.subject.parameter_map(self.case))
            scaled = {n: named[n] * scale.astype(named[n].dtype) for n, scale in scales.items()}
            named = {**named, **scaled}
        return named

    def _linear_part(self, inputs: Inputs, tangents: Inputs) -> dict[str, Floats]:
        """Return the parameters' tangents, without the offset of the affine map."""
        moved = {n: a + tangents.parameters[n] for n, a in inputs.parameters.items()}
        ends, starts = self._explicit(moved), self._explicit(inputs.parameters)
        return {name: ends[name] - starts[name] for name in ends}


@dataclass(frozen=True)
class _Transposed(_Translated):
    """The same layer, with forward mode computed by the backward pass of each output entry."""

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        result = self.forward(inputs)
        outputs = (result.y, *result.final)
        pairs = [(dy, tuple(ends)) for dy, *ends in _units(outputs)]
        pulled = self.gradients(inputs, pairs)
        flat = np.array([along(gradient, tangents) for gradient in pulled], result.y.dtype)
        ends = np.cumsum([a.size for a in outputs])[:-1]
        y, *final = (
            part.reshape(a.shape) for part, a in zip(np.split(flat, ends), outputs, strict=True)
        )
        return Result(y, tuple(final))


def _units(arrays: Sequence[Floats]) -> Iterator[list[Floats]]:
    """Yield arrays of zeros with a single 1, at each place in turn."""
    for k, array in enumerate(arrays):
        for place in range(array.size):
            units = [np.zeros_like(a) for a in arrays]
            units[k].flat[place] = 1
            yield units


def along(pulled: Pulled, tangents: Inputs) -> float:
    """Return the product of gradients and tangents: a directional derivative."""
    named = sum(float(np.vdot(tangents.parameters[n], d)) for n, d in pulled.parameters.items())
    states = zip(tangents.state or (), pulled.initial, strict=False)
    initial = sum(float(np.vdot(t, d)) for t, d in states)
    return named + float(np.vdot(tangents.x, pulled.x)) + initial


def gathered(named: Mapping[str, Floats], sources: Sources) -> dict[str, Floats]:
    """Return the arrays with entries replaced by ``sources``."""
    moved = sources({name: array.shape for name, array in named.items()})
    return {
        name: named[moved[name][0]].ravel()[moved[name][1]] if name in moved else array
        for name, array in named.items()
    }


def scattered(gradients: Mapping[str, Floats], sources: Sources) -> dict[str, Floats]:
    """Return gradients of the arrays before ``gathered``: its transposed map."""
    moved = sources({name: array.shape for name, array in gradients.items()})
    sums = {  # in C's order, so that their flat views are views
        n: np.zeros(d.shape, d.dtype) if n in moved else np.array(d, order="C")
        for n, d in gradients.items()
    }
    for name, (source, places) in moved.items():
        np.add.at(sums[source].reshape(-1), places.ravel(), gradients[name].ravel())
    return sums


def hypotheses(subject: Subject, dtype: str) -> tuple[Hypothesis, ...]:
    """Return the possible mistakes of a subject: mutants, orders of gates, unread arrays."""
    cell, offered = subject.cells[0], subject.options
    applicable = [
        m for m in mutants()
        if applies(m, cell) and not m.isolated and not offered.missing(m.needs)
        and dtype in (*m.dtypes, "float32")
    ]  # fmt: skip
    named = {m.same_as for m in applicable}
    _, *orders = permutations(cell_named(cell).gates)  # the first is the cell's own
    others = (*(order_of_gates(cell, o) for o in orders), *_ignored(subject, dtype))
    return (*map(of_mutant, applicable), *(h for h in others if h.name not in named))


def applies(mutant: Mutant, cell: str) -> bool:
    """Whether a mutant applies to this cell: it lists the cell, or all plain ones."""
    return cell in mutant.cells or set(PLAIN) <= set(mutant.cells)


def of_mutant(mutant: Mutant) -> Hypothesis:
    """Return a mutant as a hypothesis."""
    return Hypothesis(
        (mutant.id,), (mutant.statement,), (mutant.change,), (mutant.fix,), mutant.killed_by
    )


def base(name: str) -> str:
    """Return the name of an array without its pass."""
    return name.rpartition("_l")[0]


def _ignored(subject: Subject, dtype: str) -> Iterator[Hypothesis]:
    """Yield hypotheses that an array is not read, or those without an argument."""
    shapes = subject.parameter_map(Case(2, 2, 3, 4, dtype=dtype)).shapes()
    without = unbound(subject, tuple(dict.fromkeys(map(base, shapes))))
    if without:
        names = " and ".join(without)
        yield Hypothesis(
            (f"no argument for {names}",),
            (f"Its convention has {names}, which it takes no argument for, so that these are not "
             "read.",),
            (), (f"take {names} as arguments, or declare a convention that has no such arrays, for "
                 "example by bias=",), ("forward",), without,
        )  # fmt: skip
    for name in dict.fromkeys(base(n) for n in shapes if (base(n),) != without):
        yield Hypothesis(
            (f"{name} not read",), (f"{name} is not read.",), (), (f"add {name}",), ("forward",),
            (name,),
        )  # fmt: skip


def unbound(subject: Subject, names: Sequence[str]) -> tuple[str, ...]:
    """Return the arrays of a declared function's convention for which it has no argument."""
    parameters: tuple[str, ...] | None = getattr(subject, "arguments", None)
    if parameters is None or set(parameters) & {*PARAMS}:
        return ()
    missing = list(names)
    others = {*X, *STATE, "lengths", *chain(*ONE_STATE.values())}
    for name in (n for n in parameters if n not in others):
        if missing:
            missing.remove(name if name in missing else missing[0])
    return tuple(missing)


def order_of_gates(cell: str, order: Sequence[str]) -> Hypothesis:
    """Return the hypothesis that the gates' parameters are read in this order."""
    read, expected = " ".join(order), " ".join(cell_named(cell).gates)
    return Hypothesis(
        (f"order {''.join(order)}",),
        (f"The blocks of the gates are read in the order {read}, not {expected}.",),
        (lambda layer: reads(layer, lambda p: reordered(p, "".join(order))),),
        (f"read the blocks as {expected}",),
        ("forward",),
    )
