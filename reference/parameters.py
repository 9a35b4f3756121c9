"""Parameters with an explicit gate axis, so that no packed order exists inside gatewise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from .arrays import Array, NumberSystem
from .errors import InputError


@dataclass(frozen=True)
class Sizes:
    """The widths of a cell: input ``D``, state ``H``, projected state ``P`` (default ``H``)."""

    D: int
    H: int
    P: int | None = None

    def __post_init__(self) -> None:
        """Refuse widths that are no positive integers."""
        for name, size in (("D", self.D), ("H", self.H), ("P", self.projected)):
            if not isinstance(size, Integral) or size < 1:
                raise InputError(name, "an integer of at least 1", size)

    @property
    def projected(self) -> int:
        """The width of a projected hidden state."""
        return self.H if self.P is None else self.P


@dataclass(frozen=True)
class Shape:
    """The shape of one parameter: its gates if axis 0 is a gate axis, and the other axes."""

    gates: tuple[str, ...]
    axes: tuple[int, ...]

    @property
    def full(self) -> tuple[int, ...]:
        """The array's shape, gate axis included."""
        return (len(self.gates), *self.axes) if self.gates else self.axes


class Parameters(Mapping[str, Any]):
    """Named arrays; ``p["W"]`` has shape (G, D, H) and ``p.W_f`` is its slice for gate ``f``.

    Gradients have the same form, so they are Parameters too, and add up with ``+``. The arrays may
    be of any number system.
    """

    def __init__(self, shapes: Mapping[str, Shape], arrays: Mapping[str, Array]) -> None:
        """Store an array per name of ``shapes``; raise ValueError for missing or extra names."""
        if shapes.keys() != arrays.keys():
            raise ValueError(f"parameters: expected {sorted(shapes)}, got {sorted(arrays)}")
        self.shapes = dict(shapes)
        self._arrays = dict(arrays)
        self._rows: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __getattr__(self, name: str) -> Array:
        arrays: dict[str, Array] = self.__dict__.get("_arrays", {})
        if name in arrays:
            return arrays[name]
        array, _, gate = name.partition("_")
        if array in arrays and gate in self.shapes[array].gates:
            part: Array = arrays[array][self.shapes[array].gates.index(gate)]
            # A view, or numbers that nobody writes into; not a number by itself, which is neither.
            if isinstance(part, np.ndarray | NumberSystem):
                self.__dict__[name] = part
            return part
        raise AttributeError(f"no parameter {name!r}; there are {', '.join(sorted(self.names()))}")

    def __reduce__(self) -> tuple[type[Parameters], tuple[dict[str, Shape], dict[str, Array]]]:
        """Copy the arrays alone: a copied slice would be no view of the copied array."""
        return Parameters, (self.shapes, self._arrays)

    def rows(self, name: str) -> Array:
        """Return an array (G, D, H) as rows (G H, D): its gates, transposed, one below another.

        NumPy arrays may change between two steps, so only other arrays' rows are cached.
        """
        array: Any = self._arrays[name]
        if name in self._rows:
            return self._rows[name]
        rows = np.concatenate([gate.T for gate in array])
        if isinstance(array, NumberSystem):
            self._rows[name] = rows
        return rows

    def names(self) -> Iterator[str]:
        """Yield every name that attribute access understands, gate by gate."""
        for name, shape in self.shapes.items():
            yield from (f"{name}_{gate}" for gate in shape.gates) if shape.gates else (name,)

    def map(self, function: Callable[[Any], Array]) -> Parameters:
        """Return the same parameters with ``function`` applied to each array."""
        return Parameters(self.shapes, {n: function(a) for n, a in self._arrays.items()})

    def __add__(self, other: Parameters) -> Parameters:
        return Parameters(self.shapes, {n: a + other[n] for n, a in self._arrays.items()})

    def __repr__(self) -> str:
        return f"Parameters({', '.join(f'{k}: {s.full}' for k, s in self.shapes.items())})"
