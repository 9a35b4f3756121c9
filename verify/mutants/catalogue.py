"""What a mutant is, where all of them are found, and how one becomes a subject."""

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
from .parts import PLAIN
from .replaceable_layer import Part, ReplaceableLayer

Change = Callable[[ReplaceableLayer], None]
"""Replace parts of a right layer."""


@dataclass(frozen=True)
class Mutant:
    """A way to be wrong: id, one sentence, the real defect it is modelled on.

    The ``statement`` is what users read; ``fix`` is what to do instead, where that is not plain
    from it. ``cells`` it makes sense for, ``dtypes`` in which it shows. ``killed_by`` are the
    checks that must see it, the most specific first; none for an equivalence, which must survive.
    ``needs`` are options without which it does not show; ``isolated``: only ever run it in a
    process of its own. ``same_as`` is what a diagnosis would call it if it were no mutant: an
    order of the gates, or an array that is not read.
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
"""Faults that are known and that no mutant has, with the reason."""


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
    """Register a mutant: ``change``, or else the decorated function, makes a right layer wrong.

    With ``part`` the function stands in the place of that part: it takes the layer, the part as it
    was, and the part's arguments. ``about`` are the other fields of a ``Mutant``.
    """

    def register(function: Part) -> Part:
        if id in _registered:
            raise ValueError(f"mutant {id} is registered twice")
        made = in_place_of(part, function)
        _registered[id] = Mutant(id, statement, made, cells, killed_by, **about)
        return function

    return register(change) if change else register


def in_place_of(part: str, function: Part) -> Change:
    """Return the change by which a function stands in the place of a part; itself without one."""
    return (lambda layer: layer.wrap(part, partial(function, layer))) if part else function


def _all() -> tuple[Mutant, ...]:
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
    return tuple(_registered[id] for id in sorted(_registered))


def mutants() -> tuple[Mutant, ...]:
    """Return every wrong program, by id."""
    return tuple(m for m in _all() if m.killed_by)


def equivalences() -> tuple[Mutant, ...]:
    """Return every program that is written differently and is right all the same."""
    return tuple(m for m in _all() if not m.killed_by)


@dataclass(frozen=True)
class MutantSubject:
    """The layer of one cell with a mutant's change; without one it is right."""

    cell_name: str
    mutant: Mutant | None = None

    @property
    def name(self) -> str:
        """``mutant:L01[lstm]``; ``mutant:none[lstm]`` is right."""
        return f"mutant:{self.mutant.id if self.mutant else 'none'}[{self.cell_name}]"

    @property
    def form(self) -> tuple[str, str]:
        """What tells another machine the meaning of its parameters."""
        return "explicit", self.cell_name

    @property
    def options(self) -> Options:
        """Everything; other layouts and forward mode only where a mutant is about them."""
        needs = self.mutant.needs if self.mutant else ("batch_first", "unbatched", "jvp")
        given = "readout" in cell_named(self.cell_name).traits
        return Options(
            layers=not given,
            zero_length=True,
            no_steps=True,
            dropout=not given,
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
        """The dtypes in which the mutant shows; both, if it is right."""
        return self.mutant.dtypes if self.mutant else ("float64", "float32")

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.cell_name,)

    def version(self) -> str:
        return "right" if self.mutant is None else self.mutant.id

    def cell(self, case: Case) -> str:
        return self.cell_name

    def parameter_map(self, case: Case) -> ExplicitMap:
        return ExplicitMap(self.cell_name, case)

    def caller(self, case: Case) -> str:
        """Return nothing: a mutant is not to be called without the catalogue."""
        return ""

    def build(self, case: Case) -> ReplaceableLayer:
        layer = ReplaceableLayer(case, cell_named(self.cell_name))
        if self.mutant:
            self.mutant.change(layer)
        return layer


def right_subject(cell: str) -> MutantSubject:
    """Return the layer of a cell as every mutant finds it."""
    return MutantSubject(cell)


def mutant_subject(mutant: Mutant, cell: str) -> MutantSubject:
    """Return the subject that a mutant makes of a cell's layer."""
    if cell not in mutant.cells:
        raise UnknownSubject(f"mutant {mutant.id} is none of {cell}, but of {mutant.cells}")
    return MutantSubject(cell, mutant)


def mutant_named(name: str) -> MutantSubject:
    """Return the subject called ``mutant:ID[CELL]``; without a cell, of the mutant's first."""
    id, _, cell = name.removeprefix("mutant:").removesuffix("]").partition("[")
    if id == "none":
        return right_subject(cell or "lstm")
    known = {m.id: m for m in _all()}
    if id not in known:
        raise UnknownSubject(f"subject {name!r} is not known; mutants are {', '.join(known)}")
    return mutant_subject(known[id], cell or known[id].cells[0])
