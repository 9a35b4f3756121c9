"""A small problem inside a large one: all weights to and from the other units are 0.

Adding an exact 0 does not round, so the outputs of the small problem, and their bounds, are those
of its units in the large one, and cost no more to compute than in the small problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats
from ..cases.case import Case
from .kernel_problems import Problem, StateSpace


@dataclass(frozen=True)
class Embedding:
    """The places of the units and features of ``small`` in ``large``, equal for all leaves."""

    problem: Problem
    large: Case
    small: Case

    def leaves(
        self, small: Mapping[str, Floats], others: Mapping[str, Floats]
    ) -> dict[str, Floats]:
        """Return a large problem's leaves: those of the small one, and ``others`` around them.

        Of the others' weights the rows and columns of the small problem's units become 0.
        """
        arrays = {name: array.copy() for name, array in others.items()}
        for name, array in small.items():
            arrays[name][self._places(name, array)] = array
        for name, array in arrays.items():
            if array.ndim == 2 and name in self.problem.shapes(self.large):
                rows, columns = self._axes(name)
                outside = np.zeros(array.shape, bool)
                outside[rows], outside[:, columns] = True, True
                outside[np.ix_(rows, columns)] = False
                array[outside] = 0
        return arrays

    def output(self, large: Floats) -> Floats:
        """Return the part of the large problem's output that is the small one's."""
        if self.problem.head:
            return large[..., : self.problem.width(self.small)]
        if self.problem.returns == "outputs":
            return large[..., self._sides(self.small.layers - 1)]
        passes = range(len(large))
        return np.stack([large[k][:, self._units(k)] for k in passes])

    def _places(self, name: str, array: Floats) -> tuple[Floats, ...]:
        """Return the index of a small array's entries in the large one."""
        if name == "x":
            axes = [np.arange(n) for n in array.shape[:2]] + [self._features]
            return np.ix_(*axes)
        if name in self.problem.states:
            passes = range(len(array))
            units = np.stack([self._units(k) for k in passes])
            rows = np.arange(array.shape[1])
            return np.arange(len(array))[:, None, None], rows[:, None], units[:, None]
        rows, columns = self._axes(name)
        return (rows,) if array.ndim == 1 else np.ix_(rows, columns)

    def _axes(self, name: str) -> tuple[Floats, Floats]:
        """Return the rows and columns of a parameter that belong to the small problem."""
        if name.startswith(f"{self.problem.head}."):
            rows = np.arange(self.problem.width(self.small))
            return rows, self._sides(self.small.layers - 1)
        if self.problem.module == "i2h":
            both = np.concatenate([self._features, self.large.D + self._units(0)])
            return self._units(0), both
        start, level = name.rpartition("_l")[::2]
        layer = int(level.partition("_")[0])
        k = layer * self.small.directions + level.endswith("_reverse")
        gates = len(self.problem.gates)
        rows = np.concatenate([g * self.large.H + self._units(k) for g in range(gates)])
        if start.endswith("hh"):
            return rows, self._units(k)
        return rows, self._sides(layer - 1) if layer else self._features

    def _sides(self, layer: int) -> Floats:
        """Return the places of a layer's units among its outputs in all directions."""
        n = self.small.directions
        return np.concatenate([d * self.large.H + self._units(layer * n + d) for d in range(n)])

    def _units(self, k: int) -> Floats:
        rng = self.large.generator(f"units {k}")
        return np.sort(rng.choice(self.large.H, self.small.H, replace=False))

    @property
    def _features(self) -> Floats:
        rng = self.large.generator("features")
        return np.sort(rng.choice(self.large.D, self.small.D, replace=False))


@dataclass(frozen=True)
class StateSpaceEmbedding(Embedding):
    """The places of a small state space in a large one, by rows, heads and values."""

    def leaves(
        self, small: Mapping[str, Floats], others: Mapping[str, Floats]
    ) -> dict[str, Floats]:
        """Return a large problem's leaves: those of the small one, and ``others`` around them."""
        arrays = {name: array.copy() for name, array in others.items()}
        rows, heads, values = self._chosen
        steps, keys = (np.arange(n) for n in (self.large.T, self.large.D))
        arrays["x"][np.ix_(steps, rows, heads, values)] = small["x"]
        arrays["A"][np.ix_(rows, steps, heads)] = small["A"]
        for name in "BC":
            arrays[name][np.ix_(rows, steps, heads, keys)] = small[name]
        return arrays

    def output(self, large: Floats) -> Floats:
        """Return the part of the large problem's output that is the small one's."""
        rows, heads, values = self._chosen
        axes = [rows, heads, values, np.arange(self.large.D)]
        if self.problem.returns == "outputs":
            axes = [rows, np.arange(self.large.T), heads, values]
        return np.asarray(large[np.ix_(*axes)])

    @property
    def _chosen(self) -> tuple[Floats, ...]:
        """Return the rows, heads and values of the large problem that are the small one's."""
        wide, few = (self.problem.output_shape(case) for case in (self.large, self.small))
        axes = (0, 2, 3) if self.problem.returns == "outputs" else (0, 1, 2)
        rng = self.large.generator("chosen")
        return tuple(np.sort(rng.choice(wide[k], few[k], replace=False)) for k in axes)


def embedded(problem: Problem, large: Case, small: Case) -> Embedding:
    """Return the embedding of a small problem in a large one."""
    kind = StateSpaceEmbedding if isinstance(problem, StateSpace) else Embedding
    return kind(problem, large, small)
