"""The place of a wrong number in a layer, and the equations of a check."""

from __future__ import annotations

import re
from dataclasses import replace

from ..cases.case import Case
from ..numbers.ledger import Comparison
from ..subjects.called import cell_of
from ..subjects.protocol import Subject
from .check import SubjectCheck

PASS = re.compile(r"_l(?P<layer>\d+)(?P<reverse>_reverse)?$")


def place(subject: Subject, case: Case, comparison: Comparison) -> str:
    """Return the place of the first wrong entry of a comparison in words; "" if there is none."""
    index = comparison.first
    if not index:
        return ""
    quantity = comparison.quantity.rpartition(": ")[2]
    if quantity != comparison.quantity and quantity == "gradient of x":
        index = comparison.where  # on the way back, the first step is not where it went wrong
    if quantity.startswith("gradient of "):
        return _in_gradient(subject, case, quantity.removeprefix("gradient of "), index)
    if quantity == "y" and len(index) == 3:
        width = cell_of(subject, case).output_width(case.sizes)
        direction = _direction(case, index[2] // width)
        return f"step {index[0]}, row {index[1]}, unit {index[2] % width}{direction}"
    if quantity.startswith("final ") and len(index) == 3:
        return _in_state(case, index)
    return ""


def _in_gradient(subject: Subject, case: Case, name: str, index: tuple[int, ...]) -> str:
    if name == "x":
        feature = cell_of(subject, case).feature(index[2], case.sizes)
        return f"step {index[0]}, row {index[1]}, {feature}"
    if name.startswith("initial ") and len(index) == 3:  # else it is along a direction
        return _in_state(case, index)
    suffix, parameters = PASS.search(name), subject.parameter_map(case)
    if suffix is None or name not in parameters.shapes():
        return ""
    where = parameters.place(name, index)
    return where + _layer(case, int(suffix["layer"])) + _direction(case, bool(suffix["reverse"]))


def _in_state(case: Case, index: tuple[int, ...]) -> str:
    layer, direction = divmod(index[0], case.directions)
    where = f"row {index[1]}, unit {index[2]}"
    return where + _layer(case, layer) + _direction(case, direction)


def _layer(case: Case, layer: int) -> str:
    return f", layer {layer}" if case.layers > 1 else ""


def _direction(case: Case, direction: int) -> str:
    return f", {'backward' if direction else 'forward'}" if case.bidirectional else ""


STRUCTURE = {
    "bidirectional": "bidirectional",
    "sequence.reversed": "bidirectional",
    "stacked": "layers",
}
"""Equations of depth and direction, and the option of the cases that use them."""


def possible(subject: Subject, check: SubjectCheck) -> tuple[str, ...]:
    """Return the equations that cases of this check may use."""
    plain = Case(9, 1, 2, 3)
    supported = [c for c in (plain, replace(plain, P=1)) if not subject.options.lacking(c)]
    if not subject.options.equations:
        return ()
    cells = [cell_of(subject, c) for c in supported if not check.refuses(c)]
    names = [name for cell in cells for name in cell.equations]
    names += [n for n in check.equations if getattr(subject.options, STRUCTURE.get(n, ""), True)]
    return tuple(dict.fromkeys(names))


def touched(subject: Subject, check: SubjectCheck, case: Case) -> tuple[str, ...]:
    """Return the equations that this case uses."""
    used = {"bidirectional": case.bidirectional, "layers": case.layers > 1}
    if not subject.options.equations:
        return ()
    names = [*cell_of(subject, case).equations]
    names += [n for n in check.equations if used.get(STRUCTURE.get(n, ""), True)]
    return tuple(names)
