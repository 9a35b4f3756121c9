"""Rows of different lengths in the layouts of serving programs: packed, or padded at the start.

Packed rows are concatenated to one row, (sum of lengths, 1, ...), with their boundaries
``cu_seqlens`` (B + 1,): 0, the length of the first, that of the first two, ... There is one state
for each sequence. Rows padded at the start are (T, B, ...) with a mask that is True at steps; the
padding holds the numbers that stood at the end.

All other code of gatewise has rows padded at the end, with their lengths; ``RaggedLayer`` converts.
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
RAGGED_ARGUMENTS = ("lengths", "cu_seqlens", *MASKS)
"""Names of arguments that mark the ends of sequences; those of ``MASKS`` mark their starts."""


@dataclass(frozen=True)
class Ragged:
    """The layout of rows of ``lengths`` (B,), ``steps`` at most."""

    lengths: Floats
    steps: int
    layout: str

    @classmethod
    def of(cls, inputs: Inputs) -> Ragged:
        """Return the layout of a call's rows; without lengths all rows are full."""
        steps, batch = inputs.x.shape[:2]
        lengths = np.full(batch, steps) if inputs.lengths is None else inputs.lengths
        return cls(np.asarray(lengths, np.int64), steps, inputs.layout)

    @property
    def cu_seqlens(self) -> Floats:
        """The boundaries of packed sequences, (B + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def mask(self) -> Floats:
        """The mask of steps in rows padded at the start, (T, B)."""
        return np.arange(self.steps)[:, None] >= self.steps - self.lengths

    @property
    def inside(self) -> Floats:
        """The mask of steps in rows padded at the end, (T, B)."""
        return np.arange(self.steps)[:, None] < self.lengths

    def to_layout(self, x: Any) -> Any:
        """Convert x (T, B, ...), padded at the end, to the layout."""
        if self.layout == PACKED:
            rows, steps = np.nonzero(self.inside.T)
            return x[steps, rows][:, None]
        if self.layout == LEFT_PADDED:
            return x[self._indices(-1)]
        return x

    def from_layout(self, y: Any) -> Any:
        """Convert a layer's outputs to (T, B, ...), padded at the end.

        The padding keeps the layer's outputs there; for packed rows it repeats the last step.
        """
        if self.layout == PACKED:
            starts, most = self.cu_seqlens[:-1], max(int(self.lengths.sum()) - 1, 0)
            return y[np.minimum(np.arange(self.steps)[:, None] + starts, most), 0]
        return y[self._indices(1)] if self.layout == LEFT_PADDED else y

    def _indices(self, sign: int) -> tuple[Floats, Floats]:
        steps = np.arange(self.steps)[:, None] + sign * (self.steps - self.lengths)
        return steps % max(self.steps, 1), np.arange(len(self.lengths))[None]

    def within(self, y: Floats) -> Floats:
        """Return an array (T, B, ...), padded at the end, with zeros in the padding."""
        inside = self.inside.reshape(*self.inside.shape, *[1] * (y.ndim - 2))
        return np.where(inside, y, np.zeros((), y.dtype))


def ragged_arguments(
    inputs: Inputs,
    turned: Callable[[Any], Any] = np.asarray,
    into: Callable[[Floats], Any] = np.asarray,
) -> dict[str, Any]:
    """Return the lengths, boundaries or masks of a call, by all names in ``RAGGED_ARGUMENTS``.

    ``turned`` converts a mask from (T, B) to the axes of the layer, ``into`` arrays to its kind;
    ``attention_mask`` holds 0 and 1. Arguments of other layouts are None.
    """
    named: dict[str, Any] = dict.fromkeys(RAGGED_ARGUMENTS)
    ragged = Ragged.of(inputs)
    if inputs.layout == PACKED:
        return named | {"cu_seqlens": into(ragged.cu_seqlens)}
    if inputs.layout == LEFT_PADDED:
        mask = turned(ragged.mask)
        return named | {"mask": into(mask), "attention_mask": into(mask.astype(np.int64))}
    return named | {"lengths": inputs.lengths}


def ragged_options(parameters: Collection[str]) -> dict[str, Any]:
    """Return the options that code offers by the names of its parameters."""
    masked = any(name in parameters for name in MASKS)
    return {
        "lengths": "lengths" in parameters, "packed": "cu_seqlens" in parameters,
        "left_padding": masked, "left_padding_state": masked,
    }  # fmt: skip


def ragged_cases(options: Options, plain: Case) -> dict[str, Case]:
    """Return a case with an empty sequence, for layers that take ragged rows; {} for others.

    A layer offers ``zero_length`` if it takes such a case in each of its layouts.
    """
    layout = "time-first" if options.lengths else PACKED if options.packed else LEFT_PADDED
    if not (options.lengths or options.packed or options.left_padding):
        return {}
    return {"zero_length": replace(plain, B=3, lengths=True, zero_length=True, layout=layout)}


@dataclass(frozen=True)
class RaggedLayer:
    """A layer that takes rows in a call's layout, as a layer of rows padded at the end."""

    built: Built

    def __getattr__(self, name: str) -> Any:
        return getattr(self.built, name)

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer; outputs in the padding are 0."""
        if not inputs.layout:
            return self.built.forward(inputs)
        ragged, call = _in_layout(inputs)
        return _padded_at_end(ragged, call, self.built.forward(call))

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once, and pull each pair of cotangents back; those of padding are 0."""
        if not inputs.layout:
            return self.built.gradients(inputs, cotangents)
        ragged, call = _in_layout(inputs)
        pairs: list[Cotangents] = [
            (None if dy is None else ragged.to_layout(ragged.within(dy)), ends)
            for dy, ends in cotangents
        ]
        return [
            _padded_at_end(ragged, call, pulled) for pulled in self.built.gradients(call, pairs)
        ]

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Push tangents forward, in rows padded at the end."""
        return self.built.jvp(inputs, tangents)

    def train(self, training: bool) -> None:
        """Switch between training and evaluation."""
        self.built.train(training)


def _in_layout(inputs: Inputs) -> tuple[Ragged, Inputs]:
    ragged = Ragged.of(inputs)
    return ragged, replace(inputs, x=ragged.to_layout(inputs.x), lengths=ragged.lengths)


R = TypeVar("R", bound=Result)


def _padded_at_end(ragged: Ragged, inputs: Inputs, result: R) -> R:
    """Return a result padded at the end; Mismatch unless it has one output for every step."""
    if result.y.shape[:2] != inputs.x.shape[:2]:
        wanted = (*inputs.x.shape[:2], *result.y.shape[2:])
        raise Mismatch(f"{ragged.layout} y: expected shape {wanted}, got {result.y.shape}")
    result = replace(result, y=ragged.within(ragged.from_layout(result.y)))
    if isinstance(result, Pulled):
        dx = ragged.from_layout(result.x)
        dx = ragged.within(dx) if ragged.layout == PACKED else dx
        return replace(result, x=dx)
    return result
