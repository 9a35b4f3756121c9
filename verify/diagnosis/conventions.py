"""The convention by which a wrong layer computes, and its differences from the stated one.

``identify`` determines the convention from single steps of one layer in one direction. It is then a
hypothesis like any other, alone or with a further mistake, and compared with all observations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..conventions import Convention, family
from ..conventions.comparison import differing
from ..conventions.convention import CELLS, GATES, RECURRENT_BIAS
from ..conventions.formula import weight_shape
from ..conventions.parameter_map import ConventionMap, ParameterMap
from ..identification.identification import Identification, identify
from ..identification.probe import Unreadable
from ..mutants import Change
from ..mutants.replaceable_layer import ReplaceableLayer
from ..numbers.ledger import Mismatch
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.protocol import Subject
from .hypotheses import Hypothesis


@dataclass(frozen=True)
class IdentifiedMap(ParameterMap):
    """A map that reads a layer's arrays by another convention, which may leave some unread."""

    convention: Convention
    arrays: Mapping[str, str]
    own: ParameterMap
    case: Case

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the layer's own arrays."""
        return self.own.shapes()

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw numbers as the layer's own map does."""
        return self.own.draw(name, shape)

    def to_reference(self, named: Mapping[str, Array]) -> Sequence[Parameters]:
        """Return the parameters of every pass, read by the other convention."""
        read = {theirs: named[mine] for theirs, mine in self._names if mine in named}
        return self._read.to_reference(read)

    def pack(self, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean these parameters."""
        return self._written(self._read.pack(parameters), parameters)

    def from_reference(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient in the layer's own arrays, 0 in unread ones."""
        return self._written(self._read.from_reference(gradient), gradient)

    def place(self, name: str, index: tuple[int, ...]) -> str:
        """Return the gate and unit of an entry by the stated convention."""
        return self.own.place(name, index)

    def _written(self, theirs: Mapping[str, Array], like: Sequence[Parameters]) -> dict[str, Array]:
        dtype = next(iter(like[0].values())).dtype
        arrays = {name: np.zeros(shape, dtype) for name, shape in self.own.shapes().items()}
        for name, mine in self._names:
            if name in theirs:
                arrays[mine] = theirs[name]
        return arrays

    @property
    def _names(self) -> list[tuple[str, str]]:
        ends = [name.rpartition("_l")[2] for name in self.own.shapes()]
        return [
            (f"{theirs}_l{end}", f"{mine}_l{end}")
            for end in dict.fromkeys(ends)
            for theirs, mine in self.arrays.items()
        ]

    @cached_property
    def _read(self) -> ConventionMap:
        projected = replace(self.convention, projected=True) if self.case.P else self.convention
        return ConventionMap(projected, self.case)


@dataclass(frozen=True)
class Reading:
    """An identified convention for the subject's arrays: a function from cases to maps.

    ``convention`` has the activations of a cell of the reference; other activations are changes of
    the hypothesis.
    """

    subject: Subject
    convention: Convention
    arrays: Mapping[str, str]

    def parameter_map(self, case: Case) -> IdentifiedMap:
        """Return the map of the subject's own arrays, for one case."""
        return IdentifiedMap(self.convention, self.arrays, self.subject.parameter_map(case), case)

    def cell(self, case: Case) -> str:
        """Return the reference's cell that computes by the convention."""
        projected = replace(self.convention, projected=True) if case.P else self.convention
        return projected.cell or ""


def stated_convention(subject: Subject) -> Convention | None:
    """Return the convention by which a subject should compute: stated, or that of its cell."""
    stated: Convention | None = getattr(subject, "convention", None)
    return stated or own_convention(subject.cells[0])


def own_convention(cell: str) -> Convention | None:
    """Return the convention by which a cell of the reference reads its parameters."""
    names = {name: function for function, name in CELLS.items()}
    if cell not in names:
        return None
    kind, reset, update, gate, candidate, output, peephole, coupled, projected = names[cell]
    letters = GATES[str(kind)].replace("f" if coupled else " ", "")
    plain = Convention(str(kind), letters, coupled=bool(coupled))
    recurrent = (RECURRENT_BIAS,) if cell == "gru" else ()
    return replace(
        plain,
        layout="gates",
        bias=(letters, *recurrent),
        reset=str(reset or plain.reset),
        update=str(update or plain.update),
        gate=str(gate or plain.gate),
        candidate=str(candidate),
        output=str(output or plain.output),
        peepholes="ifo" if peephole else "",
        output_peephole=str(peephole or plain.output_peephole),
        projected=bool(projected),
    )


def identified(subject: Subject) -> Identification | None:
    """Return the convention by which a subject computes; None if it cannot be identified."""
    try:
        identification = identify(subject)
    except (SubjectCrashed, NotOffered, Mismatch, Unreadable):
        return None
    return identification if identification.fits else None


def other_conventions(subject: Subject) -> Iterator[Hypothesis]:
    """Yield hypotheses of conventions by which a subject computes, other than the stated one.

    Subjects with parameter names of their own have none: their meaning was determined by
    experiment.
    """
    if getattr(subject, "own", None) is not None:
        return
    stated, identification = stated_convention(subject), identified(subject)
    if stated is None or identification is None:
        return
    for convention, arrays in zip(identification.fits, identification.arrays, strict=True):
        if hypothesis := _hypothesis(subject, convention, arrays, stated):
            yield hypothesis


def _hypothesis(
    subject: Subject, convention: Convention, arrays: Mapping[str, str], stated: Convention
) -> Hypothesis | None:
    changes_of_fields = list(differences(convention, stated, arrays))
    if not changes_of_fields:
        return None
    usual, changes = convention, tuple[Change, ...]()
    if convention.cell is None:  # the reference has cells for the usual activations alone
        usual = replace(convention, gate="sigmoid", candidate="tanh", output="tanh")
        changes = (_activated(convention),)
    if usual.cell is None:
        return None
    return Hypothesis(
        tuple(difference.name for difference in changes_of_fields),
        tuple(difference.statement for difference in changes_of_fields),
        changes,
        tuple(difference.fix for difference in changes_of_fields),
        ("forward",),
        reading=Reading(subject, usual, arrays),
    )


def _activated(convention: Convention) -> Change:
    """Return the change that gives a layer the convention's activations."""
    plain = convention
    if convention.family == "gru" and convention.reset == "after":
        plain = replace(convention, update="keep")  # z is negated when it is read

    def change(layer: ReplaceableLayer) -> None:
        projected = replace(plain, projected=bool(layer.case.P))
        layer.step = lambda at, p, x, state: family.step(
            projected, {name: getattr(p, name) for name in p.names()}, x, state
        )

    return change


@dataclass(frozen=True)
class Difference:
    """A difference of conventions: an identifier, a sentence, and the remedy."""

    name: str
    statement: str
    fix: str


FUNCTIONS = {
    "sigmoid": "the sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
    "identity": "no function at all",
    "hard sigmoid 0.2": "a hard sigmoid, clip(0.2 s + 0.5, 0, 1)",
    "hard sigmoid 1/6": "a hard sigmoid, clip(s / 6 + 0.5, 0, 1)",
}

SUBJECTS = {
    "gate": "The gates go through {}, not {}.",
    "candidate": "The candidate goes through {}, not {}.",
    "output": "The cell state goes through {} on its way to the output, not {}.",
}


def differences(
    convention: Convention, stated: Convention, arrays: Mapping[str, str]
) -> Iterator[Difference]:
    """Yield the differences of a convention from the stated one."""
    fields = differing(convention, stated)
    yield from _orders(convention, stated, arrays)
    yield from _layouts(convention, stated, arrays)
    if "forget_offset" in fields:
        more = convention.forget_offset - stated.forget_offset
        verb, amount = ("added to", more) if more > 0 else ("subtracted from", -more)
        undo = "add" if more < 0 else "do not add"
        yield Difference(
            f"forget offset {more:g}",
            f"{amount:g} is {verb} the forget gate's pre-activation.",
            f"{undo} {amount:g} {'to' if undo == 'add' else 'there; a forget bias belongs in'} b_f",
        )
    for name, sentence in SUBJECTS.items():
        if name in fields:
            actual, expected = (FUNCTIONS[getattr(c, name)] for c in (convention, stated))
            yield Difference(
                f"{name} {getattr(convention, name)}",
                sentence.format(actual, expected),
                f"use {expected} there, not {actual}",
            )
    yield from _functions(convention, stated, fields)
    yield from _biases(convention, stated, arrays)


def _orders(
    convention: Convention, stated: Convention, arrays: Mapping[str, str]
) -> Iterator[Difference]:
    read, right = convention.order, stated.order
    lower, right_lower = (c.recurrent_order or c.order for c in (convention, stated))
    if convention.coupled != stated.coupled or (read, lower) == (right, right_lower):
        return
    ih, hh = arrays.get("weight_ih", "W"), arrays.get("weight_hh", "U")
    spaced, spaced_right = " ".join(read), " ".join(right)
    if (read, right) == (lower, right_lower):
        yield Difference(
            f"order {read}",
            f"The blocks of the gates are read in the order {spaced}, not {spaced_right}.",
            f"read the blocks as {spaced_right}",
        )
        return
    for array, order, should in ((ih, read, right), (hh, lower, right_lower)):
        if order != should:
            yield Difference(
                f"order {order} of {array}",
                f"The blocks of {array} are read in the order {' '.join(order)}, "
                f"not {' '.join(should)}.",
                f"read the blocks of {array} as {' '.join(should)}",
            )


def _layouts(
    convention: Convention, stated: Convention, arrays: Mapping[str, str]
) -> Iterator[Difference]:
    count = len(convention.order)
    for array, width, own, should in (
        ("weight_ih", "D", convention.layout, stated.layout),
        (
            "weight_hh",
            "H",
            convention.recurrent_layout or convention.layout,
            stated.recurrent_layout or stated.layout,
        ),
    ):
        fields = differing(replace(convention, layout=own, recurrent_layout=""),
                           replace(convention, layout=should, recurrent_layout=""))  # fmt: skip
        if not fields:
            continue
        name = arrays.get(array, array)
        actual, expected = (weight_shape(layout, count, width) for layout in (own, should))
        so = f"as {actual}, not as {expected}" if actual != expected else "transposed"
        yield Difference(
            f"layout {own} of {name}",
            f"{name} is read {so}.",
            f"read {name} as {expected}: look for a transposition or a reshape",
        )


def _functions(
    convention: Convention, stated: Convention, fields: Sequence[str]
) -> Iterator[Difference]:
    if "reset" in fields:
        side, right = convention.reset, stated.reset
        want = "r ⊙ (h U_n + b_hn)" if right == "after" else "(r ⊙ h) U_n"
        yield Difference(
            f"reset {side}",
            f"The reset gate acts {side} the product with the recurrent weights, not {right} it.",
            f"compute {want}",
        )
    if "update" in fields:
        keeps = convention.update == "keep"
        blends = {"keep": "z h + (1 - z) n", "take": "(1 - z) h + z n"}
        yield Difference(
            f"update {convention.update}",
            f"The update gate is the share of the {'old' if keeps else 'new'} state, not of the "
            f"{'new' if keeps else 'old'}: h' = {blends[convention.update]}.",
            f"compute h' = {blends[stated.update]}",
        )
    if "coupled" in fields:
        yield Difference(
            "coupled",
            "The forget gate is 1 - i, not a gate of its own.",
            "give the forget gate its own weights and bias",
        )
    if "peepholes" in fields or "output_peephole" in fields:
        peephole = f", and o sees the {convention.output_peephole} cell state"
        read = " ".join(convention.peepholes) or "no gate"
        yield Difference(
            "peepholes",
            f"The peepholes are those of {read}{peephole if 'o' in convention.peepholes else ''}.",
            f"give peepholes to {' '.join(stated.peepholes) or 'no gate'}",
        )


def _biases(
    convention: Convention, stated: Convention, arrays: Mapping[str, str]
) -> Iterator[Difference]:
    """Yield biases read by wrong gates, except where a wrong order of gates explains it."""
    if convention.coupled != stated.coupled:
        return
    meant = dict(zip(stated.order, convention.order, strict=True))
    if convention.reset == "before":
        meant[RECURRENT_BIAS] = "n"
    read = {
        arrays[name]: letters
        for name, letters in zip(convention.bias_names, convention.bias, strict=True)
    }
    for name, letters in zip(stated.bias_names, stated.bias, strict=True):
        array = arrays.get(name, name) if name in arrays else EXPLICIT.get(name, name)
        right = "".join(meant.get(letter, letter) for letter in letters)
        if array not in read and name not in read:
            yield Difference(f"{array} not read", f"{array} is not read.", f"add {array}")
        elif (actual := read.get(array, read.get(name, ""))) == right:
            continue
        elif actual == right.replace(RECURRENT_BIAS, "n"):
            yield Difference(
                f"recurrent bias of {array}",
                f"The candidate's recurrent bias, in {array}, is added outside of the product with "
                "the reset gate, which should scale it.",
                "keep b_n and b_hn apart: x W_n + b_n + r ⊙ (h U_n + b_hn)",
            )
        else:
            yield Difference(
                f"order {actual} of {array}",
                f"The blocks of {array} are read as biases of {_spaced(actual)}, "
                f"not of {_spaced(right)}.",
                f"read the blocks of {array} as those of {_spaced(right)}",
            )


EXPLICIT = {"bias": "b", "bias_hn": "b_hn"}
"""The reference's names of a convention's arrays."""


def _spaced(letters: str) -> str:
    return " ".join(letters).replace(RECURRENT_BIAS, "n (reset)")
