"""The map between a convention's arrays and the reference's parameters, and its transpose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array, zeros
from ...reference.layer import Layer
from ...reference.parameters import Parameters, Shape
from ..cases.case import Case
from .convention import Convention, Packed, slice_shape


class NoHome(ValueError):
    """A convention has no array in which a parameter could stand."""


def suffixes(case: Case) -> Iterator[str]:
    """Yield the ending of each pass's names: _l0, _l0_reverse, _l1, ..."""
    for layer in range(case.layers):
        for direction in range(case.directions):
            yield f"_l{layer}" + ("_reverse" if direction else "")


def shapes(convention: Convention, case: Case) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of every pass."""
    return {
        f"{packed.name}{suffix}": packed.shape(wanted)
        for suffix, wanted in _passes(convention, case)
        for packed in convention.arrays(bias=case.bias)
    }


def to_reference(
    convention: Convention, case: Case, named: Mapping[str, Array]
) -> tuple[Parameters, ...]:
    """Return the reference's parameters, of any number system: biases added, order undone."""
    result = []
    for suffix, wanted in _passes(convention, case):
        slices: dict[str, Array] = {}
        for packed in convention.arrays(bias=case.bias):
            for name, value in packed.split(named[f"{packed.name}{suffix}"], wanted).items():
                slices[name] = slices[name] + value if name in slices else value
        result.append(_parameters(convention, wanted, slices))
    return tuple(result)


def _parameters(
    convention: Convention, wanted: Mapping[str, Shape], slices: dict[str, Array]
) -> Parameters:
    like = slices[f"U_{convention.order[0]}"]

    def one(name: str) -> Array:
        value = slices.get(name)
        if value is None:
            value = zeros(like, slice_shape(wanted, name))
        if name == "b_f" and convention.forget_offset:
            value = value + convention.forget_offset
        return -value if name.partition("_")[2] in _negated(convention) else value

    arrays = {
        name: np.stack([one(f"{name}_{gate}") for gate in shape.gates]) if shape.gates
        else one(name)
        for name, shape in wanted.items()
    }  # fmt: skip
    return Parameters(wanted, arrays)


def from_reference(
    convention: Convention, case: Case, gradient: Sequence[Parameters]
) -> dict[str, Array]:
    """Return a gradient in the convention's arrays: each of two biases has that of their sum."""
    named = {}
    for (suffix, _), d in zip(_passes(convention, case), gradient, strict=True):
        for packed in convention.arrays(bias=case.bias):
            slices = {name: _signed(convention, d, name) for name in _names(packed)}
            named[f"{packed.name}{suffix}"] = packed.join(slices)
    return named


def pack(convention: Convention, case: Case, parameters: Sequence[Parameters]) -> dict[str, Array]:
    """Return arrays that mean these parameters; a bias that stands in two is halved, exactly.

    NoHome says which parameter is not 0 and has no place.
    """
    held = [name for packed in convention.arrays(bias=case.bias) for name in _names(packed)]
    named = {}
    for (suffix, _), p in zip(_passes(convention, case), parameters, strict=True):
        slices = {}
        for name in _slices(p):
            value = _signed(convention, p, name)
            if name == "b_f" and convention.forget_offset:
                value = value - np.asarray(convention.forget_offset, dtype=value.dtype)
            if name not in held and np.any(value != 0):
                raise NoHome(f"{name}{suffix} is not 0, and there is no array for it")
            slices[name] = value / held.count(name) if held.count(name) > 1 else value
        for packed in convention.arrays(bias=case.bias):
            named[f"{packed.name}{suffix}"] = packed.join(slices)
    return named


def place(convention: Convention, case: Case, name: str, index: tuple[int, ...]) -> str:
    """Say which gate and unit an entry of an array belongs to."""
    array = name.rpartition("_l")[0]
    wanted = dict(_passes(convention, case))[name[len(array) :]]
    packed = next(p for p in convention.arrays(bias=case.bias) if p.name == array)
    count = 0
    for part in _names(packed):
        size = int(np.prod(slice_shape(wanted, part)))
        count += size
    numbers = np.arange(count).reshape(packed.shape(wanted))
    for part, block in packed.split(numbers, wanted).items():
        if numbers[index] in block:
            unit = int(np.argwhere(block == numbers[index])[0][-1])
            if part == "R":
                return f"projected unit {unit}"
            gate = part.partition("_")[2]
            return f"gate {'n, recurrent bias' if part == 'b_hn' else gate}, unit {unit}"
    raise IndexError(f"{name}{list(index)} is no entry")


def _passes(convention: Convention, case: Case) -> Iterator[tuple[str, dict[str, Shape]]]:
    """Yield the suffix of each pass and the shapes of its cell's parameters."""
    if convention.cell is None:
        raise ValueError("the reference has no cell for this convention")
    layer = Layer(cell_named(convention.cell), case.sizes, case.layers, case.bidirectional)
    for suffix, sizes in zip(suffixes(case), layer.pass_sizes, strict=True):
        yield suffix, layer.cell.shapes(sizes)


def _names(packed: Packed) -> tuple[str, ...]:
    return packed.slices + packed.below


def _slices(p: Parameters) -> Iterator[str]:
    for name, shape in p.shapes.items():
        yield from (f"{name}_{gate}" for gate in shape.gates) if shape.gates else (name,)


def _signed(convention: Convention, p: Parameters, name: str) -> Array:
    value = getattr(p, name)
    return -value if name.partition("_")[2] in _negated(convention) else value


def _negated(convention: Convention) -> set[str]:
    return set(convention.negated)
