"""Published sums of cuDNN's results, computed from the reference within a derived bound.

The inputs are constant, so all rows of the batch are the same numbers: one row is computed, and
what is summed over rows is added up as often as there are rows, in any order (an open sum).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...verify.cases.case import Case
from ...verify.checks.oracle import expected_gradient
from ...verify.numbers.arithmetic import ARITHMETICS
from ...verify.numbers.bounded import Bounded
from ...verify.runs import records
from ...verify.subjects import subject_named
from ...verify.subjects.called import under_test
from ...verify.subjects.protocol import Inputs, Subject

LAYERS = {"rnn-relu": "torch:RNN-relu", "rnn": "torch:RNN", "lstm": "torch:LSTM",
          "gru": "torch:GRU"}  # fmt: skip
"""The subjects whose parameters mean what cuDNN's mean; nothing of PyTorch is imported."""

ROWS = 2
"""Rows of a layer that is no equation: what it computes for all is taken from these."""

WHOLE = "whole layer"
"""Parameters are 1 over their number in the layer; else 1 over the matrix's, and biases 1."""


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
    """What ``cudnn-sums.json`` holds: the setting of all sums, and the groups."""

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
    """A sum over all elements, and how far a float32 computation of them may be from it."""

    value: float
    bound: float


def publication(path: Path) -> Publication:
    """Read the published sums; RunFileError says what is wrong with the file."""
    return records.typed(Publication, records.parsed(path, records.text(path)), path)


def half_unit(printed: str) -> float:
    """Return half a unit of the last digit of a number as C's ``%E`` prints it."""
    digits, _, exponent = printed.partition("E")
    return 0.5 * 10.0 ** (int(exponent) - len(digits.partition(".")[2]))


def case_of(setting: Publication, group: Group, rows: int = 1) -> Case:
    """Return the layer's sizes, for so many of the rows, which are all alike."""
    return Case(setting.steps, rows, setting.input, setting.hidden, layers=setting.layers,
                bidirectional=group.directions == 2, dtype=setting.dtype)  # fmt: skip


def inputs_of(subject: Subject, case: Case, group: Group) -> Inputs:
    """Return the constant parameters under the subject's names, x and the initial states."""
    shapes = subject.parameter_map(case).shapes()
    number = sum(math.prod(shape) for shape in shapes.values())

    def filled(name: str, shape: Sequence[int]) -> Array:
        if group.filled == WHOLE:
            return np.full(shape, 1 / number, case.number_type)
        # a matrix holds those of all gates, one below the other; each gate's is filled by itself
        value = 1 / (case.H * shape[-1]) if name.startswith("weight") else 1.0
        return np.full(shape, value, case.number_type)

    dy, dstates = cotangents_of(subject, case)
    parameters = {name: filled(name, shape) for name, shape in shapes.items()}
    return Inputs(parameters, np.ones((case.T, case.B, case.D), dy.dtype), dstates, None)


def cotangents_of(subject: Subject, case: Case) -> tuple[Array, tuple[Array, ...]]:
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
    sums = {name: _added([array], setting.batch) for name, array in of_rows.items()}
    copies = [_copies(g, setting.batch) for g in result.parameters.values()]
    return sums | {"dw": _added(copies, 1)}


def quantities(result: Any) -> dict[str, Any]:
    """Return what stands in rows, under the names of the publication: all but ``dw``."""
    named = {"y": result.y, "hy": result.final[0], "dx": result.x, "dhx": result.initial[0]}
    if len(result.final) > 1:
        named |= {"cy": result.final[1], "dcx": result.initial[1]}
    return named


def sums_by(subject: Subject, setting: Publication, group: Group, cell: str) -> dict[str, float]:
    """Return the sums that a layer with the reference's parameters computes, in float64.

    It computes ``ROWS`` rows, so that one may read another; all of them are the same numbers.
    """
    of_torch = subject_named(LAYERS[cell])
    case = replace(case_of(setting, group, ROWS), dtype="float64")
    inputs = inputs_of(of_torch, case_of(setting, group, ROWS), group)
    fine = {name: np.asarray(a, dtype=np.float64) for name, a in inputs.parameters.items()}
    parameters = of_torch.parameter_map(case).to_reference(fine)
    ones, own = inputs_of(of_torch, case, group), subject.parameter_map(case)
    given = Inputs(own.pack(parameters), ones.x, ones.state, None)
    (result,) = subject.build(case).gradients(given, [cotangents_of(of_torch, case)])
    gradient = of_torch.parameter_map(case).from_reference(own.to_reference(result.parameters))
    times = setting.batch / ROWS
    sums = {name: times * float(np.sum(array)) for name, array in quantities(result).items()}
    return sums | {"dw": times * sum(float(np.sum(array)) for array in gradient.values())}


def _copies(term: Bounded, count: int) -> Bounded:
    """Add a number to itself ``count`` times, in any order."""
    roundings = count * (term.roundings + 1) - 1
    return Bounded(count * term.value, count * term.error, term.arithmetic, count * term.mass,
                   roundings)  # fmt: skip


def _added(arrays: Sequence[Bounded], times: int) -> Sum:
    """Sum all elements in float64, as those who published did; that rounds, too."""
    value = times * sum(float(a.value.sum()) for a in arrays)
    size = times * sum(float(np.abs(a.value).sum() + a.bound.sum()) for a in arrays)
    count = times * sum(a.value.size for a in arrays)
    own = ARITHMETICS["float64"].gamma(count) * size
    return Sum(value, times * sum(float(a.bound.sum()) for a in arrays) + own)
