"""The space of explanations: every mutant, alone and two together, and other conventions.

A hypothesis is a way to be wrong. Applied to a subject it is a layer that takes the subject's own
parameters, computes the equations with the mistake in them, and returns gradients in the subject's
own arrays, so that the two can be compared number by number.
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
"""Shapes of a layer's arrays, to those that are read from elsewhere: from which array, and the
places of the entries in it, an array of indices in the reader's shape."""


Factors = Callable[[ParameterMap], Mapping[str, Floats]]
"""A layer's map, to what entries of its arrays are multiplied by as they are read."""


class Reading(Protocol):
    """Another convention by which a layer reads its arrays."""

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return what the layer's arrays mean, for one case."""

    def cell(self, case: Case) -> str:
        """Return the reference's cell that computes by the convention."""


@dataclass(frozen=True)
class Hypothesis:
    """A way to be wrong: the changes that make it of a right layer, one after the other.

    ``ignored`` are arrays of the subject's own that it does not read, ``reading`` is another
    convention by which it reads them; ``sources`` say from where else entries of them are taken,
    ``returns`` the same of their gradients; ``factors`` multiply entries. ``needs`` are options
    without which it does nothing.
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
        """Its ids."""
        return " + ".join(self.ids) or RIGHT

    @property
    def explanation(self) -> Explanation:
        """What users read of it."""
        return Explanation(self.ids, self.statements, tuple(filter(None, self.fixes)))

    def __add__(self, other: Hypothesis) -> Hypothesis:
        names = (f.name for f in fields(self) if f.name != "reading")
        both = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Hypothesis(**both, reading=self.reading or other.reading)


NOTHING_WRONG = Hypothesis((), (), ())


@dataclass(frozen=True)
class Guess(StandIn):
    """A subject's stand-in: its parameters and options, and a hypothesis in the place of it.

    ``transposed``: its forward mode goes by the transposed of its way back, mistakes and all.
    """

    hypothesis: Hypothesis
    transposed: bool = False

    def build(self, case: Case) -> Built:
        """Return the layer with the mistake."""
        reading = self.hypothesis.reading
        cell = reading.cell(case) if reading else self.subject.cell(case)
        layer = ReplaceableLayer(case, cell_named(cell))
        for change in self.hypothesis.changes:
            change(layer)
        translated = _Transposed if self.transposed else _Translated
        return translated(self.subject, case, layer, self.hypothesis)


@dataclass(frozen=True)
class _Translated:
    """A replaceable layer that takes and returns the subject's arrays."""

    subject: Subject
    case: Case
    layer: ReplaceableLayer
    hypothesis: Hypothesis

    def forward(self, inputs: Inputs) -> Result:
        return self.layer.forward(self._inputs(inputs))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> list[Pulled]:
        pulled = self.layer.gradients(self._inputs(inputs), cotangents)
        return [replace(result, parameters=self._back(result.parameters)) for result in pulled]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        named = self._along(inputs, tangents)
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
        ignored = self.hypothesis.ignored
        read = {n: 0 * a if base(n) in ignored else a for n, a in named.items()}
        for sources in self.hypothesis.sources:
            read = gathered(read, sources)
        read = dict(self._scaled(read))
        return self._inner.from_reference(self._outer.to_reference(read))

    def _back(self, named: Mapping[str, Floats]) -> Mapping[str, Floats]:
        arrays = self._scaled(self._outer.from_reference(self._inner.to_reference(named)))
        for sources in self.hypothesis.sources[::-1]:
            arrays = scattered(arrays, sources)
        for returns in self.hypothesis.returns:
            arrays = gathered(arrays, returns)
        return {n: 0 * d if base(n) in self.hypothesis.ignored else d for n, d in arrays.items()}

    def _scaled(self, named: Mapping[str, Floats]) -> Mapping[str, Floats]:
        for factors in self.hypothesis.factors:
            by = factors(self.subject.parameter_map(self.case))
            named = {n: a * by[n].astype(a.dtype) if n in by else a for n, a in named.items()}
        return named

    def _along(self, inputs: Inputs, tangents: Inputs) -> dict[str, Floats]:
        """Return the parameters' tangents; the map is affine, so an offset falls out."""
        moved = {n: a + tangents.parameters[n] for n, a in inputs.parameters.items()}
        ends, starts = self._explicit(moved), self._explicit(inputs.parameters)
        return {name: ends[name] - starts[name] for name in ends}


@dataclass(frozen=True)
class _Transposed(_Translated):
    """The same with tangents that are pulled back, entry by entry of the outputs."""

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        result = self.forward(inputs)
        outputs = (result.y, *result.final)
        pairs = [(dy, tuple(ends)) for dy, *ends in _units(outputs)]
        pulled = self.gradients(inputs, pairs)
        flat = np.array([along(one, tangents) for one in pulled], result.y.dtype)
        ends = np.cumsum([a.size for a in outputs])[:-1]
        y, *final = (
            part.reshape(a.shape) for part, a in zip(np.split(flat, ends), outputs, strict=True)
        )
        return Result(y, tuple(final))


def _units(arrays: Sequence[Floats]) -> Iterator[list[Floats]]:
    """Yield zeros in the shapes of arrays with a single 1, at each place of them in turn."""
    for k, array in enumerate(arrays):
        for place in range(array.size):
            units = [np.zeros_like(a) for a in arrays]
            units[k].flat[place] = 1
            yield units


def along(pulled: Pulled, tangents: Inputs) -> float:
    """Return the derivative along tangents that a gradient says."""
    named = sum(float(np.vdot(tangents.parameters[n], d)) for n, d in pulled.parameters.items())
    states = zip(tangents.state or (), pulled.initial, strict=False)
    initial = sum(float(np.vdot(t, d)) for t, d in states)
    return named + float(np.vdot(tangents.x, pulled.x)) + initial


def gathered(named: Mapping[str, Floats], sources: Sources) -> dict[str, Floats]:
    """Return arrays, some of whose entries are taken from elsewhere."""
    moved = sources({name: array.shape for name, array in named.items()})
    return {
        name: named[moved[name][0]].ravel()[moved[name][1]] if name in moved else array
        for name, array in named.items()
    }


def scattered(gradients: Mapping[str, Floats], sources: Sources) -> dict[str, Floats]:
    """Return the gradients of arrays that were ``gathered``: the transposed map."""
    moved = sources({name: array.shape for name, array in gradients.items()})
    sums = {  # in C's order, so that their flat views are views
        n: np.zeros(d.shape, d.dtype) if n in moved else np.array(d, order="C")
        for n, d in gradients.items()
    }
    for name, (source, places) in moved.items():
        np.add.at(sums[source].reshape(-1), places.ravel(), gradients[name].ravel())
    return sums


def hypotheses(subject: Subject, dtype: str) -> tuple[Hypothesis, ...]:
    """Return the mistakes that a subject can have: mutants of its cell, and orders of its gates."""
    cell, offered = subject.cells[0], subject.options
    known = [
        m for m in mutants()
        if applies(m, cell) and not m.isolated and not offered.missing(m.needs)
        and dtype in (*m.dtypes, "float32")
    ]  # fmt: skip
    named = {m.same_as for m in known}
    others = (*_orders(cell), *_ignored(subject, dtype))
    return (*map(of_mutant, known), *(h for h in others if h.name not in named))


def applies(mutant: Mutant, cell: str) -> bool:
    """Whether a mutant is about this cell: it lists it, or has nothing to do with the cell."""
    return cell in mutant.cells or set(PLAIN) <= set(mutant.cells)


def of_mutant(mutant: Mutant) -> Hypothesis:
    """Return the hypothesis that a mutant is."""
    return Hypothesis(
        (mutant.id,), (mutant.statement,), (mutant.change,), (mutant.fix,), mutant.killed_by
    )


def base(name: str) -> str:
    """Return the name of an array without its pass."""
    return name.rpartition("_l")[0]


def _ignored(subject: Subject, dtype: str) -> Iterator[Hypothesis]:
    """Yield that one of the subject's arrays is not read, or those that it has no argument for."""
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
    """Return the arrays of a declared function's convention that it has no argument for."""
    taken: tuple[str, ...] | None = getattr(subject, "arguments", None)
    if taken is None or set(taken) & {*PARAMS}:
        return ()
    missing = list(names)
    others = {*X, *STATE, "lengths", *chain(*ONE_STATE.values())}
    for name in (n for n in taken if n not in others):
        if missing:
            missing.remove(name if name in missing else missing[0])
    return tuple(missing)


def _orders(cell: str) -> Iterator[Hypothesis]:
    """Yield every order of the gates in which parameters might be read, other than the cell's."""
    letters = cell_named(cell).gates
    for order in permutations(letters):
        if order != letters:
            yield order_of_gates(cell, order)


def order_of_gates(cell: str, order: Sequence[str]) -> Hypothesis:
    """Return that the gates' parameters are read in an order other than the cell's."""
    read, own = " ".join(order), " ".join(cell_named(cell).gates)
    return Hypothesis(
        (f"order {''.join(order)}",),
        (f"The blocks of the gates are read in the order {read}, not {own}.",),
        (lambda layer: reads(layer, lambda p: reordered(p, "".join(order))),),
        (f"read the blocks as {own}",),
        ("forward",),
    )
