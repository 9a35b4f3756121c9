"""The published sums as a run: each layer's sums, and on demand what every mutant makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...verify.mutants import Mutant, mutant_subject, mutants
from ..plan import Piece, Plan
from ..run import RunFileError, from_json
from .sums import Group, Publication, expected, half_unit, publication, sums_by

KIND = "evidence"

PUBLISHED = Path(__file__).parents[2] / "reports" / "results" / "evidence" / "cudnn-sums.json"
"""The sums that come with gatewise."""


@dataclass(frozen=True)
class PublishedSum:
    """A printed sum beside that of the equations; ``allowed`` is the bound and half a digit."""

    quantity: str
    printed: str
    value: float
    bound: float
    half_unit: float

    @property
    def allowed(self) -> float:
        """How far the printed number may be from that of the equations."""
        return self.bound + self.half_unit

    @property
    def ratio(self) -> float:
        """The difference over what is allowed; beyond 1 the number refutes the equations."""
        return abs(float(self.printed) - self.value) / self.allowed


@dataclass(frozen=True)
class LayerRow:
    """The sums of one layer, in the order of the publication."""

    id: str
    status: str
    group: str
    cell: str
    sums: tuple[PublishedSum, ...]

    @property
    def beyond(self) -> tuple[str, ...]:
        """The quantities whose printed sum is not within the bound."""
        return tuple(s.quantity for s in self.sums if not s.ratio <= 1)  # NaN is beyond


@dataclass(frozen=True)
class MutantRow:
    """Which sums of a layer a mutant misses; all where it raises, with the words in ``raised``."""

    id: str
    status: str
    group: str
    cell: str
    mutant: str
    statement: str
    rejected_by: tuple[str, ...]
    raised: str = ""


def plan(*, seed: int, path: str, with_mutants: bool) -> Plan:
    """Plan the sums of the file at ``path``, or gatewise's own; with mutants what each computes.

    Nothing is drawn: the seed is kept with the run and changes nothing.
    """
    setting = publication(Path(path) if path else PUBLISHED)
    layers = [Layer(setting, group, cell) for group in setting.groups for cell in group.sums]
    pieces = [Piece(layer.name, layer.row) for layer in layers]
    if with_mutants:
        pieces += [
            Piece(f"{layer.name}: {mutant.id}", layer.row_of(mutant))
            for layer in layers
            for mutant in mutants()
            if layer.cell in mutant.cells and not mutant.isolated
        ]
    return Plan(KIND, seed, {"path": path, "with_mutants": with_mutants}, pieces)


class Layer:
    """One layer whose sums were published; what the equations say is computed once."""

    def __init__(self, setting: Publication, group: Group, cell: str) -> None:
        """Take the publication, the group, and the cell's name in it."""
        self.setting, self.group, self.cell = setting, group, cell
        self.name = f"{group.name}: {cell}"
        self.sums = cache(self._sums)

    def _sums(self) -> tuple[PublishedSum, ...]:
        """Return the printed sums beside those of the equations."""
        by_equations = expected(self.setting, self.group, self.cell)
        return tuple(
            PublishedSum(quantity, printed, by_equations[quantity].value,
                         by_equations[quantity].bound, half_unit(printed))
            for quantity, printed in self.group.sums[self.cell].items()
        )  # fmt: skip

    def row(self) -> Mapping[str, Any]:
        """Return a ``LayerRow`` as JSON values."""
        sums = [asdict(published) for published in self.sums()]
        return {"group": self.group.name, "cell": self.cell, "sums": sums}

    def row_of(self, mutant: Mutant) -> Callable[[], Mapping[str, Any]]:
        """Return what makes a ``MutantRow`` as JSON values."""

        def measure() -> Mapping[str, Any]:
            row = {"group": self.group.name, "cell": self.cell, "mutant": mutant.id,
                   "statement": mutant.statement}  # fmt: skip
            try:
                computed = sums_by(mutant_subject(mutant, self.cell), self.setting, self.group,
                                   self.cell)  # fmt: skip
            except Exception as error:  # a mutant may do anything
                everything = [published.quantity for published in self.sums()]
                raised = f"{type(error).__name__}: {error}"[:200]
                return row | {"rejected_by": everything, "raised": raised}
            return row | {"rejected_by": rejected(self.sums(), computed)}

        return measure


def rejected(sums: Sequence[PublishedSum], computed: Mapping[str, float]) -> list[str]:
    """Return the quantities whose printed sum a computed one is too far from."""
    return [
        published.quantity
        for published in sums
        if not abs(computed[published.quantity] - float(published.printed)) <= published.allowed
    ]


def layer_rows(rows: Sequence[Mapping[str, Any]]) -> list[LayerRow]:
    """Return the rows of layers, typed; RunFileError for one that is not as it should be."""
    layers = [from_json(LayerRow, row) for row in rows if "mutant" not in row]
    for layer in layers:
        for each in layer.sums:
            try:
                sound = each.ratio >= 0
            except (ValueError, ArithmeticError):
                sound = False
            if not sound:
                raise RunFileError(f"row {layer.id}: {each.quantity}: expected a printed number, "
                                   f"and a bound above 0")  # fmt: skip
    return layers


def mutant_rows(rows: Sequence[Mapping[str, Any]]) -> list[MutantRow]:
    """Return the rows of mutants, typed; RunFileError for one that is not as it should be."""
    return [from_json(MutantRow, row) for row in rows if "mutant" in row]
