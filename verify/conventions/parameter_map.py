"""The maps between a layer's own arrays and the reference's parameters, and their transposes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.functions import Array, zeros
from ...reference.layer import Layer
from ...reference.parameters import Parameters, Shape
from ..cases.case import Case
from .convention import Convention, Packed, added, slice_shape


class NoHome(ValueError):
    """A convention has no array for a parameter."""


class ParameterMap(ABC):
    """The meaning of a layer's arrays, which have the layer's own names, for one case."""

    @abstractmethod
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of all arrays."""

    @abstractmethod
    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw numbers for one array, from the case's stream of that name."""

    @abstractmethod
    def to_reference(self, named: Mapping[str, Array]) -> Sequence[Parameters]:
        """Return the reference's parameters of each pass, in any number system."""

    @abstractmethod
    def pack(self, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean these parameters, exactly."""

    @abstractmethod
    def from_reference(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return the gradient by the arrays from that by the parameters (the transposed map)."""

    @abstractmethod
    def place(self, name: str, index: tuple[int, ...]) -> str:
        """Return the place of an entry of an array in the layer: gate, unit."""


def suffixes(case: Case) -> Iterator[str]:
    """Yield the ending of each pass's names: _l0, _l0_reverse, _l1, ..."""
    for layer in range(case.layers):
        for direction in range(case.directions):
            yield f"_l{layer}" + ("_reverse" if direction else "")


@lru_cache
def _passes(cell: Cell, case: Case) -> tuple[tuple[str, Mapping[str, Shape]], ...]:
    """Return the suffix of each pass and the shapes of its cell's parameters."""
    layer = Layer(cell, case.sizes, case.layers, case.bidirectional)
    shapes = map(layer.cell.shapes, layer.pass_sizes)
    return tuple(zip(suffixes(case), shapes, strict=True))


@dataclass(frozen=True)
class ExplicitMap(ParameterMap):
    """The reference's own layout: ``W_l0`` (G, D, H), ``U_l0`` (G, H, H), ``b_l0_reverse``."""

    cell: str
    case: Case

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{name}{suffix}": shape.full
            for suffix, shapes in _passes(cell_named(self.cell), self.case)
            for name, shape in shapes.items()
        }

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw one array by its cell; scale weights by the case; a missing bias is 0."""
        array, cell = name.rpartition("_l")[0], cell_named(self.cell)
        gates = cell.shapes(self.case.sizes)[array].gates
        axes = Shape(gates, shape[1:] if gates else shape)
        numbers = cell.random_parameter(array, self.case.generator(name), axes)
        if array.startswith("b") and not self.case.bias:
            numbers = 0 * numbers
        weight = array in ("W", "U", "R")
        return self.case.simplified(name, numbers * self.case.weight_scale if weight else numbers)

    def to_reference(self, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
        return tuple(
            Parameters(shapes, {name: named[f"{name}{suffix}"] for name in shapes})
            for suffix, shapes in _passes(cell_named(self.cell), self.case)
        )

    def from_reference(self, gradient: Sequence[Parameters]) -> dict[str, Array]:
        return {
            f"{name}{suffix}": array
            for suffix, p in zip(suffixes(self.case), gradient, strict=True)
            for name, array in p.items()
        }

    def pack(self, parameters: Sequence[Parameters]) -> dict[str, Array]:
        return self.from_reference(parameters)

    def place(self, name: str, index: tuple[int, ...]) -> str:
        shape = cell_named(self.cell).shapes(self.case.sizes)[name.rpartition("_l")[0]]
        unit = f"unit {index[-1]}"
        return f"gate {shape.gates[index[0]]}, {unit}" if shape.gates else unit


@dataclass(frozen=True)
class OwnMap(ParameterMap):
    """The parameters of a user's own cell, with the suffix of its only pass: ``W_l0``."""

    cell: Cell
    case: Case

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {f"{name}_l0": shape.full for name, shape in self._shapes.items()}

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw one array; scale those of several axes, the weights, by the case."""
        numbers = self.cell.random_parameter(name, self.case.generator(name), Shape((), shape))
        scale = self.case.weight_scale if len(shape) > 1 else 1.0
        return self.case.simplified(name, numbers * scale)

    def to_reference(self, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
        return (Parameters(self._shapes, {name: named[f"{name}_l0"] for name in self._shapes}),)

    def from_reference(self, gradient: Sequence[Parameters]) -> dict[str, Array]:
        (d,) = gradient
        return {f"{name}_l0": array for name, array in d.items()}

    def pack(self, parameters: Sequence[Parameters]) -> dict[str, Array]:
        return self.from_reference(parameters)

    def place(self, name: str, index: tuple[int, ...]) -> str:
        return f"entry {list(index)}"

    @property
    def _shapes(self) -> dict[str, Shape]:
        return self.cell.shapes(self.case.sizes)


@dataclass(frozen=True)
class ConventionMap(ParameterMap):
    """The arrays of a convention; those of a pass have its suffix, ``weight_ih_l0_reverse``."""

    convention: Convention
    case: Case

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            f"{packed.name}{suffix}": packed.shape(shapes)
            for suffix, shapes in self._passes()
            for packed in self._arrays
        }

    def draw(self, name: str, shape: tuple[int, ...]) -> Array:
        """Draw weights of N(0, 1/fan-in) by the case's scale, vectors of N(0, 1/4)."""
        vector, case = name.startswith(("bias", "peephole")), self.case
        first = name.startswith("weight_ih")
        fan_in = self._of_cell.input_width(case.sizes) if first else case.H
        return case.normal(name, shape, 0.5 if vector else case.weight_scale / np.sqrt(fan_in))

    def to_reference(self, named: Mapping[str, Array]) -> tuple[Parameters, ...]:
        """Return the parameters in the order of the reference, with added biases."""
        result = []
        for suffix, shapes in self._passes():
            slices: dict[str, Array] = {}
            for packed in self._arrays:
                added(slices, packed.split(named[f"{packed.name}{suffix}"], shapes))
            result.append(self._parameters(shapes, slices))
        return tuple(result)

    def from_reference(self, gradient: Sequence[Parameters]) -> dict[str, Array]:
        """Return the gradient by the arrays: two biases both have that of their sum."""
        named = {}
        for (suffix, _), d in zip(self._passes(), gradient, strict=True):
            for packed in self._arrays:
                slices = {name: self._signed(d, name) for name in packed.parts}
                named[f"{packed.name}{suffix}"] = packed.join(slices)
        return named

    def pack(self, parameters: Sequence[Parameters]) -> dict[str, Array]:
        """Return arrays that mean these parameters; a bias in two arrays is halved, exactly.

        Raises NoHome that names a parameter which is not 0 and has no array.
        """
        names = [name for packed in self._arrays for name in packed.parts]
        offset, named = self.convention.forget_offset, {}
        for (suffix, _), p in zip(self._passes(), parameters, strict=True):
            slices = {}
            for name in p.names():
                value = self._signed(p, name)
                if name == "b_f" and offset:
                    value = value - np.asarray(offset, dtype=value.dtype)
                if name not in names and np.any(value != 0):
                    raise NoHome(f"{name}{suffix} is not 0, and there is no array for it")
                slices[name] = value / names.count(name) if names.count(name) > 1 else value
            for packed in self._arrays:
                named[f"{packed.name}{suffix}"] = packed.join(slices)
        return named

    def place(self, name: str, index: tuple[int, ...]) -> str:
        array = name.rpartition("_l")[0]
        shapes = dict(self._passes())[name[len(array) :]]
        packed = next(p for p in self._arrays if p.name == array)
        count = sum(int(np.prod(slice_shape(shapes, part))) for part in packed.parts)
        numbers = np.arange(count).reshape(packed.shape(shapes))
        for part, block in packed.split(numbers, shapes).items():
            if numbers[index] in block:
                unit = int(np.argwhere(block == numbers[index])[0][-1])
                if part == "R":
                    return f"projected unit {unit}"
                gate = part.partition("_")[2]
                return f"gate {'n, recurrent bias' if part == 'b_hn' else gate}, unit {unit}"
        raise IndexError(f"{name}{list(index)} is no entry")

    @property
    def _arrays(self) -> Sequence[Packed]:
        return self.convention.arrays(bias=self.case.bias)

    @property
    def _of_cell(self) -> Cell:
        if self.convention.cell is None:
            raise ValueError("the reference has no cell for this convention")
        return cell_named(self.convention.cell)

    def _passes(self) -> Sequence[tuple[str, Mapping[str, Shape]]]:
        return _passes(self._of_cell, self.case)

    def _parameters(self, shapes: Mapping[str, Shape], slices: Mapping[str, Array]) -> Parameters:
        like, offset = slices[f"U_{self.convention.order[0]}"], self.convention.forget_offset

        def value(name: str) -> Array:
            array = slices.get(name)
            if array is None:
                array = zeros(like, slice_shape(shapes, name))
            if name == "b_f" and offset:
                array = array + offset
            return -array if self._negated(name) else array

        arrays = {
            name: np.stack([value(f"{name}_{gate}") for gate in shape.gates]) if shape.gates
            else value(name)
            for name, shape in shapes.items()
        }  # fmt: skip
        return Parameters(shapes, arrays)

    def _signed(self, p: Parameters, name: str) -> Array:
        value = getattr(p, name)
        return -value if self._negated(name) else value

    def _negated(self, name: str) -> bool:
        return name.partition("_")[2] in set(self.convention.negated)
