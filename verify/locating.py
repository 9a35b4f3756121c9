"""Say where in a layer a wrong number stands: step, row, unit, gate, layer, direction."""

from __future__ import annotations

import re

from .calling import layer_of, state_shapes
from .case import Case
from .check import Comparison
from .subjects.protocol import Subject

PASS = re.compile(r"_l(?P<layer>\d+)(?P<reverse>_reverse)?$")


def place(subject: Subject, case: Case, comparison: Comparison) -> str:
    """Return the first wrong entry of a comparison in words; "" where it says nothing."""
    index = comparison.first
    if not index:
        return ""
    quantity = comparison.quantity.rpartition(": ")[2]
    if quantity != comparison.quantity and quantity == "gradient of x":
        index = comparison.where  # on the way back, the first step is not where it went wrong
    if quantity.startswith("gradient of "):
        return _in_gradient(subject, case, quantity.removeprefix("gradient of "), index)
    if quantity == "y" and len(index) == 3:
        width = state_shapes(layer_of(subject, case), case)[0][2]
        direction = _direction(case, index[2] // width)
        return f"step {index[0]}, row {index[1]}, unit {index[2] % width}{direction}"
    if quantity.startswith("final ") and len(index) == 3:
        return _in_state(case, index)
    return ""


def _in_gradient(subject: Subject, case: Case, name: str, index: tuple[int, ...]) -> str:
    if name == "x":
        return f"step {index[0]}, row {index[1]}, feature {index[2]}"
    if name.startswith("initial "):
        return _in_state(case, index)
    found = PASS.search(name)
    if found is None or name not in subject.shapes(case):
        return ""
    where = subject.place(case, name, index)
    return where + _layer(case, int(found["layer"])) + _direction(case, bool(found["reverse"]))


def _in_state(case: Case, index: tuple[int, ...]) -> str:
    layer, direction = divmod(index[0], case.directions)
    where = f"row {index[1]}, unit {index[2]}"
    return where + _layer(case, layer) + _direction(case, direction)


def _layer(case: Case, layer: int) -> str:
    return f", layer {layer}" if case.layers > 1 else ""


def _direction(case: Case, direction: int) -> str:
    return f", {'backward' if direction else 'forward'}" if case.bidirectional else ""
