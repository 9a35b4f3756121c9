"""Rows of different lengths as serving programs lay them out: packed, or padded in front.

Packed, the rows stand one after another as one row, (sum of lengths, 1, ...), with their boundaries
``cu_seqlens`` (B + 1,): 0, the length of the first, that of the first two, ... States are as ever,
one for each sequence. Padded in front, x is (T, B, ...) with a mask that is True where there is a
step; what stands in the padding is what stood behind.

Everything else in gatewise has rows padded behind, with their lengths. ``Laid`` stands between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from ..cases.layouts import LEFT_PADDED, PACKED
from ..cases.options import Options
from ..numbers.ledger import Mismatch
from .protocol import Built, Cotangents, Inputs, Pulled, Result

MASKS = ("mask", "attention_mask")
ARGUMENTS = ("lengths", "cu_seqlens", *MASKS)
"""What arguments are called that say where sequences end: with ``MASKS``, where they begin."""


@dataclass(frozen=True)
class Ragged:
    """Where the steps of rows lie: of ``steps`` at most, ``lengths`` (B,), in one layout."""

    lengths: Floats
    steps: int
    layout: str

    @classmethod
    def of(cls, inputs: Inputs) -> Ragged:
        """Return where those of a call lie; all rows are full where it has no lengths."""
        steps, batch = inputs.x.shape[:2]
        lengths = np.full(batch, steps) if inputs.lengths is None else inputs.lengths
        return cls(np.asarray(lengths, np.int64), steps, inputs.layout)

    @property
    def cu_seqlens(self) -> Floats:
        """The boundaries of packed sequences, (B + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def mask(self) -> Floats:
        """Where there are steps, padded in front, (T, B)."""
        return np.arange(self.steps)[:, None] >= self.steps - self.lengths

    @property
    def inside(self) -> Floats:
        """Where there are steps, padded behind, (T, B)."""
        return np.arange(self.steps)[:, None] < self.lengths

    def laid(self, x: Any) -> Any:
        """Return x (T, B, ...), padded behind, in the layout."""
        if self.layout == PACKED:
            rows, steps = np.nonzero(self.inside.T)
            return x[steps, rows][:, None]
        if self.layout == LEFT_PADDED:
            return x[self._turned(-1)]
        return x

    def back(self, y: Any) -> Any:
        """Return what a layer returns for every step as (T, B, ...), padded behind.

        What it says of padding stays; packed, there is the last step's.
        """
        if self.layout == PACKED:
            starts, most = self.cu_seqlens[:-1], max(int(self.lengths.sum()) - 1, 0)
            return y[np.minimum(np.arange(self.steps)[:, None] + starts, most), 0]
        return y[self._turned(1)] if self.layout == LEFT_PADDED else y

    def _turned(self, sign: int) -> tuple[Floats, Floats]:
        steps = np.arange(self.steps)[:, None] + sign * (self.steps - self.lengths)
        return steps % max(self.steps, 1), np.arange(len(self.lengths))[None]

    def within(self, y: Floats) -> Floats:
        """Return NumPy's (T, B, ...), padded behind, with zeros in the padding."""
        inside = self.inside.reshape(*self.inside.shape, *[1] * (y.ndim - 2))
        return np.where(inside, y, np.zeros((), y.dtype))


def arguments(
    inputs: Inputs,
    turned: Callable[[Any], Any] = np.asarray,
    into: Callable[[Floats], Any] = np.asarray,
) -> dict[str, Any]:
    """Return what a call says of where its sequences lie, by the names that it may have.

    ``turned`` brings a mask from (T, B) to the axes of the layer, ``into`` arrays to its own kind;
    ``attention_mask`` is one of 0 and 1. What another layout says is None.
    """
    named: dict[str, Any] = dict.fromkeys(ARGUMENTS)
    ragged = Ragged.of(inputs)
    if inputs.layout == PACKED:
        return named | {"cu_seqlens": into(ragged.cu_seqlens)}
    if inputs.layout == LEFT_PADDED:
        mask = turned(ragged.mask)
        return named | {"mask": into(mask), "attention_mask": into(mask.astype(np.int64))}
    return named | {"lengths": inputs.lengths}


def ragged_options(taken: Collection[str]) -> dict[str, Any]:
    """Return the options that code offers by the arguments that it takes."""
    masked = any(name in taken for name in MASKS)
    return {
        "lengths": "lengths" in taken, "packed": "cu_seqlens" in taken,
        "left_padding": masked, "left_padding_state": masked,
    }  # fmt: skip


def ragged_cases(options: Options, plain: Case) -> dict[str, Case]:
    """Return the case by which it is found out whether a sequence may be empty, if there are any.

    A layer offers it that takes one in every layout that it has.
    """
    layout = "time-first" if options.lengths else PACKED if options.packed else LEFT_PADDED
    if not (options.lengths or options.packed or options.left_padding):
        return {}
    return {"zero_length": replace(plain, B=3, lengths=True, zero_length=True, layout=layout)}


@dataclass(frozen=True)
class Laid:
    """A layer that takes rows as a call lays them out, as one that has them padded behind."""

    built: Built

    def __getattr__(self, name: str) -> Any:
        return getattr(self.built, name)

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer; outputs in the padding are 0."""
        if not inputs.layout:
            return self.built.forward(inputs)
        ragged, given = _laid(inputs)
        return _back(ragged, given, self.built.forward(given))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once, and pull each pair of cotangents back; padding's are 0."""
        if not inputs.layout:
            return self.built.gradients(inputs, cotangents)
        ragged, given = _laid(inputs)
        pairs: list[Cotangents] = [
            (None if dy is None else ragged.laid(ragged.within(dy)), ends)
            for dy, ends in cotangents
        ]
        return [_back(ragged, given, each) for each in self.built.gradients(given, pairs)]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward, of rows that are padded behind."""
        return self.built.jvp(inputs, tangents)

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.built.train(training)


def _laid(inputs: Inputs) -> tuple[Ragged, Inputs]:
    ragged = Ragged.of(inputs)
    return ragged, replace(inputs, x=ragged.laid(inputs.x), lengths=ragged.lengths)


R = TypeVar("R", bound=Result)


def _back(ragged: Ragged, given: Inputs, result: R) -> R:
    """Return a result padded behind; Mismatch where it has not one output for every step."""
    if result.y.shape[:2] != given.x.shape[:2]:
        wanted = (*given.x.shape[:2], *result.y.shape[2:])
        raise Mismatch(f"{ragged.layout} y: expected shape {wanted}, got {result.y.shape}")
    result = replace(result, y=ragged.within(ragged.back(result.y)))
    if isinstance(result, Pulled):
        dx = ragged.back(result.x)
        dx = ragged.within(dx) if ragged.layout == PACKED else dx
        return replace(result, x=dx)
    return result
