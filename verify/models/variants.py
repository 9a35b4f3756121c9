"""Variants of operators: attributes that a runtime ignores or reads differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ...reference.cell import Cell
from ...reference.functions import Array, sigmoid
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..checks.oracle import compare_outputs, expected
from ..conventions.convention import Convention
from ..numbers.ledger import Ledger, Mismatch
from ..runs.diagnosis import Explanation
from ..subjects.called import NotOffered, SubjectCrashed, under_test
from ..subjects.inputs import draw_inputs
from ..subjects.protocol import Inputs, Result
from .equations import OperatorCell
from .nodes import DEFAULTS, FUNCTIONS
from .operation import PARAMETERS, Activation, Fused, Operation
from .tflite.equations import FusedCell

OTHER = "run the file by another runtime: gatewise verify --runtime"


@dataclass(frozen=True)
class Variant:
    """A cell that computes a variant, with a statement of the difference."""

    id: str
    statement: str
    cell: Cell


class Uncoupled(OperatorCell):
    """An LSTM whose input_forget is ignored; it uses the block of f, which holds ones here."""

    def forget(self, p: Parameters, x: Array, h: Array, i: Array) -> Array:
        """Return σ of the sums of x and of h, and two biases of 1."""
        return sigmoid(x.sum(axis=1, keepdims=True) + h.sum(axis=1, keepdims=True) + 2)


def cell_of(operation: Operation) -> Cell:
    """Return an operation as a cell."""
    return OperatorCell(operation) if operation.fused is None else FusedCell(operation)


def variants(operation: Operation) -> Iterator[Variant]:
    """Yield the variants of an operation of which some attributes are ignored."""
    if operation.fused is not None:
        yield from _fused_variants(operation, operation.fused)
        return
    usual = DEFAULTS[operation.kind]
    plain = tuple(Activation(a.name, *PARAMETERS.get(a.name, ())) for a in operation.activations)
    unclipped, ordinary = replace(operation, clip=0.0), replace(operation, activations=usual)
    if operation.clip:
        yield Variant("clip", "It ignores clip.", OperatorCell(unclipped))
        state = replace(operation, clips_state=True)
        words = "It clips the cell state before its activation, too."
        yield Variant("clip of the state", words, OperatorCell(state))
    if operation.activations != usual:
        names = ", ".join(map(str, usual))
        words = f"It ignores activations, and computes with {names}."
        yield Variant("activations", words, OperatorCell(ordinary))
    if operation.activations not in (usual, plain):
        numbers = replace(operation, activations=plain)
        words = "It ignores activation_alpha and activation_beta."
        yield Variant("activation numbers", words, OperatorCell(numbers))
    if operation.clip and operation.activations != usual:
        both = replace(ordinary, clip=0.0)
        yield Variant("clip + activations", "It ignores clip and activations.", OperatorCell(both))
    if operation.base == "lstm-coupled":
        words = "It ignores input_forget: its forget gate has weights of its own."
        yield Variant("input_forget", words, Uncoupled(operation))


def _fused_variants(operation: Operation, fused: Fused) -> Iterator[Variant]:
    """Yield the variants of an operator of TensorFlow Lite of which one option is ignored."""
    for name, words in (
        ("cell_clip", "It ignores cell_clip."),
        ("projection_clip", "It ignores proj_clip."),
        ("activation", "It ignores the fused activation, and computes with TANH."),
        ("normalised", "It ignores the layer norm."),
    ):
        usual = getattr(Fused(), name)
        if getattr(fused, name) != usual:
            variant = replace(operation, fused=replace(fused, **{name: usual}))
            yield Variant(name, words, FusedCell(variant))


def operation_of(convention: Convention) -> Operation:
    """Return a convention with a cell of the reference as an operation."""
    kind = convention.family.upper()
    activations = (Activation(getattr(convention, name).capitalize()) for name in FUNCTIONS[kind])
    return Operation(str(convention.cell), kind, tuple(activations))


@dataclass(frozen=True)
class _WithCell:
    """A subject with other equations."""

    subject: Any
    own_cell: Cell
    cells: tuple[str, ...] = ("own:variant",)

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)


def _forwards(subject: Any, case: Case, inputs: Inputs, result: Result) -> bool:
    """Return whether a node of direction reverse has read its rows from the first step."""
    if inputs.lengths is not None:
        return False
    tested, ledger = under_test(subject), Ledger()
    want = expected(tested, case, replace(inputs, x=inputs.x[::-1].copy()))
    compare_outputs(ledger, tested, case, result, replace(want, y=want.y[::-1]))
    return not ledger.failed and any(c.sharp for c in ledger.comparisons)


def misread(subject: Any, cases: Sequence[Case], operation: Operation) -> Explanation | None:
    """Return the attribute that a runtime ignores or misreads, if that explains all cases."""
    runs = []
    try:
        for case in cases:
            inputs = draw_inputs(subject, case)
            runs.append((case, inputs, under_test(subject).build(case).forward(inputs)))
    except (Mismatch, SubjectCrashed, NotOffered):
        return None

    def explains(cell: Cell) -> bool:
        variant, ledger = under_test(cast("Any", _WithCell(subject, cell))), Ledger()
        for case, inputs, result in runs:
            with np.errstate(all="ignore"):
                compare_outputs(ledger, variant, case, result, expected(variant, case, inputs))
        return not ledger.failed and any(c.sharp for c in ledger.comparisons)

    if not runs or explains(cell_of(operation)):
        return None
    if subject.reverse and all(_forwards(subject, *run) for run in runs):
        words = "It ignores direction: it begins at the first step, not at the last."
        return Explanation(("direction",), (words,), (OTHER,))
    explaining = (v for v in variants(operation) if explains(v.cell))
    return next((Explanation((v.id,), (v.statement,), (OTHER,)) for v in explaining), None)
