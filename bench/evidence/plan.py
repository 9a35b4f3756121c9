"""Published sums of cuDNN's results, compared with the reference within a derived bound.

The inputs are constant, so all rows of the batch are the same numbers: one row is computed, and
sums over rows are multiples of it, added in any order (an open sum). On
demand a run also has the sums of every mutant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...verify.cases.case import Case
from ...verify.checks.oracle import expected_gradient
from ...verify.mutants import Mutant, mutant_subject, mutants
from ...verify.numbers.arithmetic import ARITHMETICS
from ...verify.numbers.bounded import Bounded
from ...verify.runs import records
from ...verify.subjects import subject_named
from ...verify.subjects.called import under_test
from ...verify.subjects.protocol import Inputs, Subject
from ..run import Piece, Plan, RunFileError, from_json

LAYERS = {"rnn-relu": "torch:RNN-relu", "rnn": "torch:RNN", "lstm": "torch:LSTM",
          "gru": "torch:GRU"}  # fmt: skip
"""The subjects with cuDNN's parameter convention; PyTorch is not imported."""

ROWS = 2
"""The rows that a mutant computes, which stand for all rows."""

WHOLE = "whole layer"
"""The filling by 1 over the number of all parameters; else 1 over the matrix's, and biases 1."""


@dataclass(frozen=True)
class Group:
    """Sums that were published together: ``sums`` has, by cell and quantity, the printed text."""

    name: str
    directions: int
    filled: str
    weights: str
    device: str
    source: str
    their_tolerance: str
    sums: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Publication:
    """The content of ``cudnn-sums.json``: the setting of all sums, and the groups."""

    what: str
    dtype: str
    steps: int
    batch: int
    input: int
    hidden: int
    layers: int
    ones: str
    biases: str
    dw: str
    groups: tuple[Group, ...]
    repeated: str


@dataclass(frozen=True)
class Sum:
    """A sum over all elements, and the bound of its error in float32."""

    value: float
    bound: float


def publication(path: Path) -> Publication:
    """Read the published sums; raise RunFileError for an invalid file."""
    return records.typed(Publication, records.parsed(path, records.text(path)), path)


def half_unit(printed: str) -> float:
    """Return half a unit of the last digit of a number as C's ``%E`` prints it."""
    digits, _, exponent = printed.partition("E")
    return 0.5 * 10.0 ** (int(exponent) - len(digits.partition(".")[2]))


def case_of(setting: Publication, group: Group, rows: int = 1) -> Case:
    """Return the layer's case for some of its rows, which are all the same."""
    return Case(setting.steps, rows, setting.input, setting.hidden, layers=setting.layers,
                bidirectional=group.directions == 2, dtype=setting.dtype)  # fmt: skip


def inputs_of(subject: Subject, case: Case, group: Group) -> Inputs:
    """Return the constant parameters under the subject's names, x and the initial states."""
    shapes = subject.parameter_map(case).shapes()
    number = sum(math.prod(shape) for shape in shapes.values())

    def filled(name: str, shape: Sequence[int]) -> Floats:
        if group.filled == WHOLE:
            return np.full(shape, 1 / number, case.number_type)
        # a matrix holds those of all gates, one below the other; each gate's is filled by itself
        value = 1 / (case.H * shape[-1]) if name.startswith("weight") else 1.0
        return np.full(shape, value, case.number_type)

    dy, dstates = cotangents_of(subject, case)
    parameters = {name: filled(name, shape) for name, shape in shapes.items()}
    return Inputs(parameters, np.ones((case.T, case.B, case.D), dy.dtype), dstates, None)


def cotangents_of(subject: Subject, case: Case) -> tuple[Floats, tuple[Floats, ...]]:
    """Return ones for y (T, B, directions * H) and for each final state."""
    passes = case.layers * case.directions
    states = 2 if subject.cells[0] == "lstm" else 1
    dy = np.ones((case.T, case.B, case.directions * case.H), case.number_type)
    return dy, (np.ones((passes, case.B, case.H), case.number_type),) * states


def expected(setting: Publication, group: Group, cell: str) -> dict[str, Sum]:
    """Return each quantity's sum in float64 and its bound in float32, by the equations."""
    subject, case = under_test(subject_named(LAYERS[cell])), case_of(setting, group)
    inputs = inputs_of(subject, case, group)
    result = expected_gradient(subject, case, inputs, cotangents_of(subject, case))
    of_rows = quantities(result)
    sums = {name: _add([array], setting.batch) for name, array in of_rows.items()}
    copies = [_copies(g, setting.batch) for g in result.parameters.values()]
    return sums | {"dw": _add(copies, 1)}


def quantities(result: Any) -> dict[str, Any]:
    """Return all results but ``dw`` under the names of the publication."""
    by_name = {"y": result.y, "hy": result.final[0], "dx": result.x, "dhx": result.initial[0]}
    if len(result.final) > 1:
        by_name |= {"cy": result.final[1], "dcx": result.initial[1]}
    return by_name


def sums_by(subject: Subject, setting: Publication, group: Group, cell: str) -> dict[str, float]:
    """Return the sums that a layer with the reference's parameters computes, in float64.

    It computes ``ROWS`` rows, so that a mutant may read another row; all rows are the same.
    """
    torch_subject = subject_named(LAYERS[cell])
    case = replace(case_of(setting, group, ROWS), dtype="float64")
    torch_inputs = inputs_of(torch_subject, case_of(setting, group, ROWS), group)
    fine = {name: np.asarray(a, dtype=np.float64) for name, a in torch_inputs.parameters.items()}
    parameters = torch_subject.parameter_map(case).to_reference(fine)
    ones, names = inputs_of(torch_subject, case, group), subject.parameter_map(case)
    inputs = Inputs(names.pack(parameters), ones.x, ones.state, None)
    (result,) = subject.build(case).gradients(inputs, [cotangents_of(torch_subject, case)])
    gradient = torch_subject.parameter_map(case).from_reference(
        names.to_reference(result.parameters)
    )
    times = setting.batch / ROWS
    sums = {name: times * float(np.sum(array)) for name, array in quantities(result).items()}
    return sums | {"dw": times * sum(float(np.sum(array)) for array in gradient.values())}


def _copies(term: Bounded, count: int) -> Bounded:
    """Add a number to itself ``count`` times, in any order."""
    roundings = count * (term.roundings + 1) - 1
    return Bounded(count * term.value, count * term.error, term.arithmetic, count * term.mass,
                   roundings)  # fmt: skip


def _add(arrays: Sequence[Bounded], times: int) -> Sum:
    """Sum all elements in float64, as the publishers did, with the rounding of that sum."""
    value = times * sum(float(a.value.sum()) for a in arrays)
    size = times * sum(float(np.abs(a.value).sum() + a.bound.sum()) for a in arrays)
    count = times * sum(a.value.size for a in arrays)
    rounding = ARITHMETICS["float64"].gamma(count) * size
    return Sum(value, times * sum(float(a.bound.sum()) for a in arrays) + rounding)


# The run of all sums.


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
        """The largest difference of the printed number from that of the equations."""
        return self.bound + self.half_unit

    @property
    def ratio(self) -> float:
        """The difference over the allowed one; beyond 1 the number refutes the equations."""
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
    """The sums of a layer that reject a mutant; all if it raises, with the error in ``raised``."""

    id: str
    status: str
    group: str
    cell: str
    mutant: str
    statement: str
    rejected_by: tuple[str, ...]
    raised: str = ""


def plan(*, seed: int, path: str, with_mutants: bool) -> Plan:
    """Plan the sums of the file at ``path``, or gatewise's own; with mutants also those of each.

    Nothing is random: the seed has no effect.
    """
    setting = publication(Path(path) if path else PUBLISHED)
    layers = [Layer(setting, group, cell) for group in setting.groups for cell in group.sums]
    pieces = [Piece(layer.name, layer.row) for layer in layers]
    if with_mutants:
        pieces += [
            Piece(f"{layer.name}: {mutant.id}", partial(layer.row_of, mutant))
            for layer in layers
            for mutant in mutants()
            if layer.cell in mutant.cells and not mutant.isolated
        ]
    return Plan(KIND, seed, {"path": path, "with_mutants": with_mutants}, pieces)


@dataclass(frozen=True)
class Layer:
    """A layer with published sums: the publication, the group, and the cell's name in it."""

    setting: Publication
    group: Group
    cell: str

    @property
    def name(self) -> str:
        """The group's name, and the cell's."""
        return f"{self.group.name}: {self.cell}"

    @cached_property
    def sums(self) -> tuple[PublishedSum, ...]:
        """The printed sums beside those of the equations."""
        by_equations = expected(self.setting, self.group, self.cell)
        return tuple(
            PublishedSum(quantity, printed, by_equations[quantity].value,
                         by_equations[quantity].bound, half_unit(printed))
            for quantity, printed in self.group.sums[self.cell].items()
        )  # fmt: skip

    def row(self) -> Mapping[str, Any]:
        """Return a ``LayerRow`` as JSON values."""
        sums = [asdict(published) for published in self.sums]
        return {"group": self.group.name, "cell": self.cell, "sums": sums}

    def row_of(self, mutant: Mutant) -> Mapping[str, Any]:
        """Compute a ``MutantRow`` as JSON values."""
        row = {"group": self.group.name, "cell": self.cell, "mutant": mutant.id,
               "statement": mutant.statement}  # fmt: skip
        try:
            subject = mutant_subject(mutant, self.cell)
            computed = sums_by(subject, self.setting, self.group, self.cell)
        except Exception as error:  # a mutant may do anything
            everything = [published.quantity for published in self.sums]
            raised = f"{type(error).__name__}: {error}"[:200]
            return row | {"rejected_by": everything, "raised": raised}
        return row | {"rejected_by": rejected(self.sums, computed)}


def rejected(sums: Sequence[PublishedSum], computed: Mapping[str, float]) -> list[str]:
    """Return the quantities whose computed sum is too far from the printed one."""
    return [
        published.quantity
        for published in sums
        if not abs(computed[published.quantity] - float(published.printed)) <= published.allowed
    ]


def layer_rows(rows: Sequence[Mapping[str, Any]]) -> list[LayerRow]:
    """Return the typed rows of layers; raise RunFileError for an invalid row."""
    layers = [from_json(LayerRow, row) for row in rows if "mutant" not in row]
    for layer in layers:
        for s in layer.sums:
            try:
                sound = s.ratio >= 0
            except (ValueError, ArithmeticError):
                sound = False
            if not sound:
                raise RunFileError(f"row {layer.id}: {s.quantity}: expected a printed number, "
                                   f"and a bound above 0")  # fmt: skip
    return layers


def mutant_rows(rows: Sequence[Mapping[str, Any]]) -> list[MutantRow]:
    """Return the typed rows of mutants; raise RunFileError for an invalid row."""
    return [from_json(MutantRow, row) for row in rows if "mutant" in row]
