"""Array types of every number system, and the shapes that signatures name.

A shape is a string of axes: one letter is one size throughout a call, a number is that size, ``_``
any size, ``*`` any axes, ``...`` any axes, but the same throughout a call. The tests of
``reference`` and of ``verify/numbers`` hold every call to the shapes of its signature.

=====  ===================================  =====  =========================================
``T``  steps                                ``H``  units: the width of gates and cell states
``B``  rows of the batch                    ``P``  width of the hidden state: H unless projected
``D``  width of the input of a step         ``C``  classes
=====  ===================================  =====  =========================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Floats: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""A NumPy array, where no other number system is accepted."""


class Array(Protocol):
    """An array of any number system: NumPy's (floats, complex numbers, balls), ``Bounded``, ..."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""

    @property
    def ndim(self) -> int:
        """The number of axes."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of its numbers, or of their midpoints."""

    @property
    def T(self) -> Array:  # noqa: N802 - as ndarray calls it
        """The transposed array."""

    def __array__(self) -> Floats: ...
    def __array_ufunc__(self, ufunc: Any, method: Any, *inputs: Any, **kwargs: Any) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Array: ...
    def __neg__(self) -> Array: ...
    def __add__(self, other: Any, /) -> Array: ...
    def __radd__(self, other: Any, /) -> Array: ...
    def __sub__(self, other: Any, /) -> Array: ...
    def __rsub__(self, other: Any, /) -> Array: ...
    def __mul__(self, other: Any, /) -> Array: ...
    def __rmul__(self, other: Any, /) -> Array: ...
    def __truediv__(self, other: Any, /) -> Array: ...
    def __rtruediv__(self, other: Any, /) -> Array: ...
    def __matmul__(self, other: Any, /) -> Array: ...
    def __rmatmul__(self, other: Any, /) -> Array: ...
    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> Array:
        """Return the sum over an axis, or over everything."""

    @property
    def reshape(self) -> Callable[..., Any]:
        """Return the same numbers in another shape."""


A = TypeVar("A", bound=Array)
"""The number system in which a layer runs."""


class NumberSystem(NDArrayOperatorsMixin):
    """A number system beside NumPy's own: ``value`` holds its numbers, or their midpoints.

    A subclass defines how its arrays are rearranged and joined; NumPy's functions then apply.
    """

    value: Any

    def _rearranged(self, function: Callable[[Any], Any]) -> Any:
        """Apply a function that only moves or drops entries of one array."""
        raise NotImplementedError

    def _joined(self, arrays: Sequence[Any], function: Callable[[list[Any]], Any]) -> Any:
        """Apply a function that only joins arrays, some of which may be plain numbers."""
        raise NotImplementedError

    @property
    def T(self) -> Any:  # noqa: N802 - as ndarray calls it
        """The transposed array."""
        return self._rearranged(lambda array: array.T)

    def __getitem__(self, key: Any) -> Any:
        return self._rearranged(lambda array: array[key])

    def reshape(self, *shape: int) -> Any:
        """Return the same numbers in another shape."""
        return self._rearranged(lambda array: array.reshape(*shape))

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if function in (np.stack, np.concatenate):
            return self._joined(args[0], lambda parts: function(parts, *args[1:], **kwargs))
        if function is np.where and len(args) == 3:
            return self._joined(args[1:], lambda parts: np.where(args[0], *parts))
        return NotImplemented

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        shape: tuple[int, ...] = self.value.shape
        return shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers, or of their midpoints."""
        dtype: np.dtype[Any] = self.value.dtype
        return dtype

    def __len__(self) -> int:
        return len(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Floats:
        """Raise TypeError: plain numbers would lose the bounds or derivatives of the system."""
        raise TypeError(f"{type(self).__name__}: no array of plain numbers; take its value")


Input: TypeAlias = Annotated[Array, "B D"]
Hidden: TypeAlias = Annotated[Array, "B P"]
Units: TypeAlias = Annotated[Array, "B H"]
Vector: TypeAlias = Annotated[Array, "H"]
"""The input of a step, its hidden state, and one number per unit: of every row, or of all."""

Rows: TypeAlias = Annotated[Array, "B _"]
Column: TypeAlias = Annotated[Array, "B 1"]
"""A state or a gate of any width, and one number per row."""

Carried: TypeAlias = Annotated[Array, "B *"]
"""A state of any shape per row of the batch: a vector, or a matrix per head."""

Sequences: TypeAlias = Annotated[Array, "T B _"]
Over: TypeAlias = Annotated[A, "T B _"]
Lengths: TypeAlias = Annotated[Floats, "B"]
"""A sequence (``Over[A]`` in number system A), and the number of steps of each row."""

Same: TypeAlias = Annotated[Array, "..."]
Entries: TypeAlias = Annotated[Floats, "..."]
"""The arguments and results of elementwise functions, all of one shape."""
