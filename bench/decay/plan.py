"""The plan of ``gatewise bench decay``, from its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...reference.cells import gating_cells
from ...verify.numbers.arithmetic import chosen_dtypes
from ...verify.subjects import adapter, expanded
from ...verify.subjects.loader import UnknownSubject
from ..run import OK, Piece, Plan, to_json
from .gradient_clipping import SETTINGS as EXPLODING
from .gradient_clipping import exploded
from .layers import measured as of_layer
from .measurement import RIGHT, Effort, cost, measured, seeds_of
from .problem import Setting, has_gain, keeping_gate, measured_cell
from .rates import or_none
from .rows import Row, ValidationRow
from .validations import LAWS, Validation

KIND = "decay"
GAIN, BIAS = 1.0, 1.0
"""The usual initialisation; settings differ from it in one value at a time."""

SWEPT = ("rnn", "lstm", "gru")
"""The cells whose settings vary, unless cells are named."""


@dataclass(frozen=True, kw_only=True)
class Size(Effort):
    """Values of the options; the first of ``hidden`` is the usual one."""

    hidden: Sequence[int]
    gains: Sequence[float]
    forget_biases: Sequence[float]
    cost_steps: int
    adjoint_memory: tuple[int, ...]
    lyapunov_memory: tuple[int, ...]


DEFAULT = Size(
    steps=200, seeds=20, hidden=(32, 16, 64), gains=(0.5, 1, 2, 3, 4),
    forget_biases=(0, 1, 2, 5), lyapunov_steps=200, horizon_steps=4000,
    cost_steps=10_000, adjoint_memory=(1000, 10_000), lyapunov_memory=(300, 3000),
)  # fmt: skip
FULL = Size(
    steps=1000, seeds=50, hidden=(64, 16, 32, 128), gains=(0.5, 0.7, 1, 1.5, 2, 2.5, 3, 4, 6),
    forget_biases=(-1, 0, 1, 2, 3, 4, 5), lyapunov_steps=5000, horizon_steps=30_000,
    cost_steps=1_000_000, adjoint_memory=(10_000, 1_000_000), lyapunov_memory=(1000, 100_000),
)  # fmt: skip


def plan(
    *,
    seed: int = 0,
    cells: Sequence[str] = (),
    steps: int | None = None,
    seeds: int | None = None,
    hidden: Sequence[int] = (),
    gains: Sequence[float] = (),
    forget_biases: Sequence[float] = (),
    lyapunov_steps: int | None = None,
    full: bool = False,
    subjects: Sequence[str] = (),
    dtypes: Sequence[str] = (),
) -> Plan:
    """Return the plan for these options; others come from ``DEFAULT`` or ``FULL``.

    With ``subjects`` only these layers are measured. Raise ValueError for an unknown cell or
    subject.
    """
    layers = []
    for name in expanded(subjects):
        if (subject := adapter(name)) is None:
            raise UnknownSubject(f"subject {name!r}: expected one of those of: gatewise subjects")
        layers.append(subject)
    options: dict[str, Any] = {
        "cells": list(cells), "steps": steps, "seeds": seeds, "hidden": list(hidden),
        "gains": list(gains), "forget_biases": list(forget_biases),
        "lyapunov_steps": lyapunov_steps, "full": full,
        "subjects": [layer.name for layer in layers], "dtypes": list(dtypes),
    }  # fmt: skip
    given = {field.name: options[field.name] for field in fields(Size) if options.get(field.name)}
    size = replace(FULL if full else DEFAULT, **given)
    names = [measured_cell(name).name for name in cells] or list(gating_cells())
    if layers:
        numbers = seeds_of(seed, size.seeds)
        pieces = [
            _piece(f"layer/{layer.name}/{dtype}/{setting}", of_layer, layer.name, setting, dtype,
                   size.steps, numbers)
            for layer in layers for width in hidden or size.hidden[:1]
            for setting in [_usual(layer.cells[0], width)]
            for dtype in dtypes or chosen_dtypes(layer.dtypes, None)
        ]  # fmt: skip
        return Plan(KIND, seed, options, pieces)
    usual = [_usual(name, size.hidden[0]) for name in names]
    settings = dict.fromkeys(usual)
    for name in names if cells or full else SWEPT:
        settings |= dict.fromkeys(_vary(_usual(name, size.hidden[0]), size))
    pieces = [
        *(_piece(f"validation/{law.id}", _validate, law) for law in LAWS),
        *(_piece(f"decay/{setting}", measured, setting, size, seed, deep=setting in usual)
          for setting in settings),
        *(_piece(f"clipping/{setting}", exploded, setting, 3 * size.steps, seed)
          for setting in EXPLODING if setting.cell in names),
        _piece("cost/lstm/H64", cost, 64, size.cost_steps, seed, size.adjoint_memory,
               size.lyapunov_memory),
    ]  # fmt: skip
    return Plan(KIND, seed, options, pieces)


def _usual(name: str, hidden: int) -> Setting:
    return Setting(name, hidden, GAIN, BIAS if keeping_gate(measured_cell(name)) else None)


def _vary(base: Setting, size: Size) -> Iterator[Setting]:
    """Yield settings that differ from ``base`` in one value."""
    for gain in size.gains if has_gain(measured_cell(base.cell)) else ():
        yield replace(base, gain=float(gain))
    for bias in size.forget_biases if base.forget_bias is not None else ():
        yield replace(base, forget_bias=float(bias))
    for width in size.hidden:
        yield replace(base, hidden=width)


def _piece(id: str, measure: Callable[..., Row], *arguments: Any, **options: Any) -> Piece:
    """Return the piece of a row, which ``measure`` returns."""
    return Piece(id, lambda: to_json(measure(*arguments, **options)))


def _validate(validation: Validation) -> ValidationRow:
    finding = validation.measure(RIGHT)
    return ValidationRow(
        id="", status=OK, what="validation",
        statement=validation.statement, allowance=validation.allowance,
        expected=or_none(finding.expected), measured=or_none(finding.measured),
        error=or_none(finding.error), allowed=finding.allowed,
        digits=finding.digits, passed=finding.passed, where=finding.where,
    )  # fmt: skip
