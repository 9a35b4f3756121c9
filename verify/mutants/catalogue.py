"""The catalogue of mutants, and the subjects made of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...reference.cells import cell_named
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ExplicitMap
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import OneCell
from .parts import PLAIN
from .replaceable_layer import Part, ReplaceableLayer

Change = Callable[[ReplaceableLayer], None]
"""A function that replaces parts of a correct layer."""


@dataclass(frozen=True)
class Mutant:
    """A mistake: id, one sentence, and the real defect that it is modelled on.

    Users read the ``statement`` and the ``fix``, which is left out if the statement implies it.
    ``cells`` are those to which it applies, ``dtypes`` those in which it shows. ``killed_by`` are
    the checks that must fail, the most specific first; none for an equivalence, which must pass.
    ``needs`` are options without which it does not show; ``isolated``: run it only in a process of
    its own. ``same_as`` is the name of the same defect in a diagnosis that does not know mutants:
    an order of the gates, or an array that is not read.
    """

    id: str
    statement: str
    change: Change = field(repr=False)
    cells: tuple[str, ...]
    killed_by: tuple[str, ...] = ()
    models: str = ""
    dtypes: tuple[str, ...] = ("float64",)
    needs: tuple[str, ...] = ()
    isolated: bool = False
    fix: str = ""
    same_as: str = ""


_registered: dict[str, Mutant] = {}

LEFT_OUT = {"F10": "a clip left out or misplaced: no cell of the reference clips"}
"""Known faults without a mutant, with the reason."""


def mutant(
    id: str,
    statement: str,
    killed_by: tuple[str, ...] = (),
    *,
    cells: tuple[str, ...] = PLAIN,
    part: str = "",
    change: Part | None = None,
    **about: Any,
) -> Callable[[Part], Part]:
    """Register a mutant: ``change``, or else the decorated function, changes a correct layer.

    With ``part`` the function replaces that part; its arguments are the layer, the original part,
    and the part's arguments. ``about`` are the other fields of a ``Mutant``.
    """

    def register(function: Part) -> Part:
        if id in _registered:
            raise ValueError(f"mutant {id} is registered twice")
        replacement = in_place_of(part, function)
        _registered[id] = Mutant(id, statement, replacement, cells, killed_by, **about)
        return function

    return register(change) if change else register


def in_place_of(part: str, function: Part) -> Change:
    """Return the change that replaces a part by a function; the function itself without a part."""
    return (lambda layer: layer.wrap(part, partial(function, layer))) if part else function


def _all() -> tuple[Mutant, ...]:
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
    return tuple(_registered[id] for id in sorted(_registered))


def mutants() -> tuple[Mutant, ...]:
    """Return all wrong programs, by id."""
    return tuple(m for m in _all() if m.killed_by)


def equivalences() -> tuple[Mutant, ...]:
    """Return all programs that are written differently and correct."""
    return tuple(m for m in _all() if not m.killed_by)


@dataclass(frozen=True)
class MutantSubject(OneCell):
    """The layer of one cell with a mutant's change; without a mutant it is correct."""

    cell_name: str
    mutant: Mutant | None = None

    @property
    def name(self) -> str:
        """``mutant:L01[lstm]``; ``mutant:none[lstm]`` is correct."""
        return f"mutant:{self.mutant.id if self.mutant else 'none'}[{self.cell_name}]"

    @property
    def form(self) -> tuple[str, str]:
        """The meaning of its parameters, for recordings on other machines."""
        return "explicit", self.cell_name

    @property
    def options(self) -> Options:
        """All options; other layouts and forward mode only for mutants that need them."""
        needs = self.mutant.needs if self.mutant else ("batch_first", "unbatched", "jvp")
        gates_are_inputs = "readout" in cell_named(self.cell_name).traits
        return Options(
            layers=not gates_are_inputs,
            zero_length=True,
            no_steps=True,
            dropout=not gates_are_inputs,
            projection=self.cell_name == "lstm-projected",
            batch_first="batch_first" in needs,
            unbatched="unbatched" in needs,
            jvp="jvp" in needs,
            reorders="reorders" in needs,
            packed="packed" in needs,
            left_padding="left_padding" in needs,
            left_padding_state="left_padding" in needs,
        )

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes in which the mutant shows; both, if it is correct."""
        return self.mutant.dtypes if self.mutant else ("float64", "float32")

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.cell_name,)

    def version(self) -> str:
        return "right" if self.mutant is None else self.mutant.id

    def parameter_map(self, case: Case) -> ExplicitMap:
        return ExplicitMap(self.cell_name, case)

    def build(self, case: Case) -> ReplaceableLayer:
        layer = ReplaceableLayer(case, cell_named(self.cell_name))
        if self.mutant:
            self.mutant.change(layer)
        return layer


def right_subject(cell: str) -> MutantSubject:
    """Return the correct layer of a cell."""
    return MutantSubject(cell)


def mutant_subject(mutant: Mutant, cell: str) -> MutantSubject:
    """Return the subject that a mutant makes of a cell's layer."""
    if cell not in mutant.cells:
        raise UnknownSubject(f"mutant {mutant.id} is none of {cell}, but of {mutant.cells}")
    return MutantSubject(cell, mutant)


def mutant_named(name: str) -> MutantSubject:
    """Return the subject ``mutant:ID[CELL]``; the default is the mutant's first cell."""
    id, _, cell = name.removeprefix("mutant:").removesuffix("]").partition("[")
    if id == "none":
        return right_subject(cell or "lstm")
    by_id = {m.id: m for m in _all()}
    if id not in by_id:
        raise UnknownSubject(f"subject {name!r} is not known; mutants are {', '.join(by_id)}")
    return mutant_subject(by_id[id], cell or by_id[id].cells[0])
