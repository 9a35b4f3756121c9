"""Parameters in the reference's own layout: an explicit gate axis, one set a layer and direction.

Names are the array's and the pass's: ``W_l0`` (G, D, H), ``U_l0`` (G, H, H), ``b_l0_reverse``, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Shape
from ..case import Case
from .torch_parameters import reference_layer, suffixes


def shapes(case: Case, cell: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter."""
    layer = reference_layer(case, cell)
    return {
        f"{name}{suffix}": shape.full
        for suffix, sizes in zip(suffixes(case), layer.pass_sizes, strict=True)
        for name, shape in layer.cell.shapes(sizes).items()
    }


def draw(case: Case, cell: str, name: str, shape: tuple[int, ...]) -> Array:
    """Draw one parameter as its cell wants it; weights by the case's scale; no bias is 0."""
    array = name.rpartition("_l")[0]
    gates = cell_named(cell).shapes(case.sizes)[array].gates
    axes = Shape(gates, shape[1:] if gates else shape)
    drawn = cell_named(cell).random_parameter(array, case.generator(name), axes)
    if array.startswith("b") and not case.bias:
        drawn = 0 * drawn
    weight = array in ("W", "U", "R")
    return case.simplified(name, drawn * case.weight_scale if weight else drawn)


def to_reference(case: Case, cell: str, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
    """Collect the arrays of every pass."""
    layer = reference_layer(case, cell)
    return tuple(
        Parameters(
            layer.cell.shapes(sizes),
            {name: named[f"{name}{suffix}"] for name in layer.cell.shapes(sizes)},
        )
        for suffix, sizes in zip(suffixes(case), layer.pass_sizes, strict=True)
    )


def from_reference(case: Case, parameters: Sequence[Parameters]) -> dict[str, Array]:
    """Name the arrays of every pass."""
    return {
        f"{name}{suffix}": array
        for suffix, p in zip(suffixes(case), parameters, strict=True)
        for name, array in p.items()
    }


def place(case: Case, cell: str, name: str, index: tuple[int, ...]) -> str:
    """Say which gate and unit an entry belongs to."""
    array = name.rpartition("_l")[0]
    shape = reference_layer(case, cell).cell.shapes(case.sizes)[array]
    unit = f"unit {index[-1]}"
    return f"gate {shape.gates[index[0]]}, {unit}" if shape.gates else unit
