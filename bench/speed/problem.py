"""The problem for all contenders of a cell: parameters, inputs, states and cotangents.

The recurrent weights are N(0, 1/(2 H)²) rather than N(0, 1/H), so that the recurrence contracts
even if all signs add up. Bounds on rounding errors then stay narrow over any number of steps;
times do not depend on it, and nothing is zero, subnormal or saturated.

Every row of a batch is one of four (``WITNESSES``), in random places, so that four rows give
the expected results of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cell import State
from ...reference.cells import cell_named
from ...reference.layer import Layer
from ...reference.parameters import Parameters
from ...verify.cases.case import Case
from ..cost.shape import Shape

WITNESSES = 4
"""The number of different rows."""

CONTRACTION = 0.5
"""Standard deviation of a recurrent weight, times the number of its inputs."""

PEEPHOLES = "p"

STORED = {"float64": "float64", "float32": "float32", "float16": "float16", "bfloat16": "float32"}
"""The NumPy dtype that holds each dtype's numbers."""


@dataclass(frozen=True)
class Cotangents:
    """Cotangents on y (T, B, directions * width), and on the final states."""

    y: Floats
    final: State


@dataclass(frozen=True)
class Problem:
    """A cell, a shape and a dtype, and all numbers, which come from the seed."""

    cell: str
    shape: Shape
    dtype: str
    seed: int = 0

    @cached_property
    def layer(self) -> Layer:
        """The reference's layer."""
        return self.shape.layer(cell_named(self.cell))

    @cached_property
    def case(self) -> Case:
        """The problem as a case for adapters."""
        s = self.shape
        return Case(
            s.T, s.B, s.D, s.H, P=self.layer.sizes.P or 0, layers=s.layers,
            bidirectional=s.directions == 2, dtype=self.dtype, seed=self.seed,
        )  # fmt: skip

    @cached_property
    def witnesses(self) -> int:
        """The number of different rows in this batch."""
        return min(WITNESSES, self.shape.B)

    @cached_property
    def rows(self) -> Floats:
        """The witness of each row, (B,)."""
        return self._stream("rows").permutation(np.arange(self.shape.B) % self.witnesses)

    @cached_property
    def places(self) -> Floats:
        """One row of each witness, (witnesses,)."""
        return np.array([np.flatnonzero(self.rows == k)[0] for k in range(self.witnesses)])

    @cached_property
    def parameters(self) -> tuple[Parameters, ...]:
        """Parameters of every pass."""
        layer, passes = self.layer, []
        for k, sizes in enumerate(layer.pass_sizes):
            p = layer.cell.random_parameters(self._stream(f"parameters {k}"), sizes)
            arrays = {
                name: self.rounded(a * self._shrunk(p, name, upper=k >= layer.directions))
                for name, a in p.items()
            }
            passes.append(Parameters(p.shapes, arrays))
        return tuple(passes)

    def _shrunk(self, p: Parameters, name: str, *, upper: bool) -> float:
        """Return the factor that makes recurrent weights and peepholes contract."""
        axes = p.shapes[name].axes
        if name == PEEPHOLES:
            return CONTRACTION
        reads_states = len(axes) == 2 and (name != "W" or upper)
        return CONTRACTION / float(np.sqrt(axes[0])) if reads_states else 1.0

    @cached_property
    def four(self) -> tuple[Floats, State]:
        """The witnesses' inputs (T, witnesses, D) and states (passes, witnesses, width)."""
        layer, n = self.layer, self.witnesses
        passes = len(layer.pass_sizes)
        x = layer.cell.random_input(self._stream("x"), self.shape.T, n, layer.sizes)
        named = zip(layer.cell.states, layer.cell.widths(layer.sizes), strict=True)
        states = (
            layer.cell.random_state(name, self._stream(f"state {name}"), (passes, n, width))
            for name, width in named
        )
        return self.rounded(x), tuple(map(self.rounded, states))

    @cached_property
    def x(self) -> Floats:
        """The input, (T, B, D)."""
        return np.ascontiguousarray(self.four[0][:, self.rows])

    @cached_property
    def state(self) -> State:
        """The initial states, (passes, B, width)."""
        return tuple(np.ascontiguousarray(s[:, self.rows]) for s in self.four[1])

    def cotangents(self, steps: int | None = None) -> Cotangents:
        """Return cotangents on every number; or on the witnesses' first steps only.

        Final states have nonzero ones if ``steps`` covers the whole sequence.
        """
        s, (_, states) = self.shape, self.four
        width = states[0].shape[-1] * s.directions
        rng = self._stream("cotangents")
        dy = self.rounded(rng.standard_normal((s.T, s.B, width)))
        ends = tuple(self.rounded(rng.standard_normal((len(n), s.B, n.shape[-1]))) for n in states)
        if steps is None:
            return Cotangents(dy, ends)
        elsewhere = np.setdiff1d(np.arange(s.B), self.places)
        dy[steps:], dy[:, elsewhere] = 0, 0
        for end in ends:
            end[:, elsewhere] = 0
            end[:] *= steps >= s.T
        return Cotangents(dy, ends)

    def rounded(self, array: Floats) -> Floats:
        """Return numbers of the problem's dtype."""
        if self.dtype == "bfloat16":
            return _to_bfloat16(array)
        return np.asarray(array).astype(STORED[self.dtype])

    def _stream(self, part: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *f"{self.cell} {part}".encode()])


def _to_bfloat16(array: Floats) -> Floats:
    """Round to bfloat16, to nearest even, and hold the result in float32."""
    bits = np.asarray(array).astype(np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def by_name(gradient: Sequence[Parameters]) -> dict[str, Any]:
    """Return the gradients of all passes by name: W_l0 is that of the first pass."""
    return {f"{name}_l{k}": array for k, p in enumerate(gradient) for name, array in p.items()}
