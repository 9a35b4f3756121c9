"""Words as vectors: one-hot rows, and embedding as their product with a matrix (E31)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import numpy as np

from .arrays import Array, Floats
from .equation import equation
from .functions import zeros

Indices: TypeAlias = Annotated[Floats, "..."]
Table: TypeAlias = Annotated[Array, "V D"]
Vectors: TypeAlias = Annotated[Array, "... D"]


def vocabulary(sentence: str) -> dict[str, int]:
    """Number the tokens of a sentence from 1, in order; “The” and “the” are different tokens."""
    numbers: dict[str, int] = {}
    for token in sentence.split():
        numbers.setdefault(token, len(numbers) + 1)
    return numbers


@equation(
    "E31",
    "one_hot",
    latex=r"\mathrm{onehot}(k)_j = [j = k]",
    documents=("D2",),
    note="six tokens in width 7 as printed: index 0 is unused",
)
def one_hot(indices: Sequence[int] | Indices, width: int) -> Annotated[Floats, "... _"]:
    """Return float64 rows with a single 1; an index out of range raises IndexError."""
    indices = _in_range(indices, width)
    return np.asarray(indices[..., None] == np.arange(width), dtype=np.float64)


@equation(
    "E31", "embedding", latex=r"\mathrm{embed}(k) = \mathrm{onehot}(k)\, E = E_k", documents=("D2",)
)
def embedding(indices: Indices, table: Table) -> Vectors:
    """Return rows of a table; an index out of range raises IndexError."""
    return table[_in_range(indices, len(table))]


def _in_range(indices: Sequence[int] | Indices, width: int) -> Indices:
    indices = np.asarray(indices)
    if indices.size and (indices.min() < 0 or indices.max() >= width):
        raise IndexError(f"indices: expected values from 0 to {width - 1}, got {indices.tolist()}")
    return indices


def embedding_vjp(indices: Indices, table: Table, d_rows: Vectors) -> Table:
    """Pull cotangents on the rows back to the table: a scatter-*add*, for tokens may repeat."""
    indices = np.asarray(indices).reshape(-1)
    rows = d_rows.reshape(len(indices), -1)
    d_table = [zeros(rows, table.shape)[k] for k in range(len(table))]
    for index, row in zip(indices, rows, strict=True):
        d_table[index] = d_table[index] + row
    return np.stack(d_table)
