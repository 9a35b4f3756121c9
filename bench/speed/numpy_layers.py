"""The reference itself, on NumPy: every cell as its equations are written."""

from __future__ import annotations

import tracemalloc
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.cells import cells
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..plan import UnsupportedError
from .contender import Found, Prepared
from .problem import Cotangents, Problem, by_name

DTYPES = ("float64", "float32")


def check_dtype(problem: Problem) -> None:
    """Raise UnsupportedError for what NumPy computes slowly."""
    if problem.dtype not in DTYPES:
        raise UnsupportedError(f"NumPy has no fast {problem.dtype}")


class NumPyPrepared(Prepared):
    """What runs on NumPy, which reports its memory to ``tracemalloc``."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.run: Any = None

    @abstractmethod
    def pulled(self, run: Any, cotangents: Cotangents) -> Any:
        """Return a run and its gradients."""

    def training(self, cotangents: Cotangents) -> Any:
        """Run the layer and pull back."""
        return self.pulled(self.forward(), cotangents)

    def backward(self, cotangents: Cotangents) -> Any:
        """Pull back through a run that was made before."""
        if self.run is None:
            self.run = self.forward()
        return self.pulled(self.run, cotangents)

    def peak(self, of: str, cotangents: Any) -> int | None:
        """Return the peak of what NumPy and Python allocate during a call."""
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            self.call(of, cotangents)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return the reference's own names."""
        return by_name(gradient)


class _Layer(NumPyPrepared):
    def forward(self) -> Any:
        problem = self.problem
        return problem.layer.forward(problem.parameters, problem.x, problem.state)

    def pulled(self, run: Any, cotangents: Cotangents) -> Any:
        layer, p = self.problem.layer, self.problem.parameters
        return run, layer.vjp(p, run, cotangents.y, cotangents.final)

    def found(self, result: Any) -> Found:
        if not isinstance(result, tuple):
            return Found(result.y, result.final)
        run, gradient = result
        named = by_name(gradient.parameters)
        return Found(run.y, run.final, named, gradient.x, gradient.initial)


@dataclass(frozen=True)
class NumPyLayer:
    """``reference.Layer`` of a cell."""

    cell: str

    @property
    def name(self) -> str:
        """Return numpy:CELL."""
        return f"numpy:{self.cell}"

    @property
    def cells(self) -> tuple[str, ...]:
        """Return its one cell."""
        return (self.cell,)

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy {np.__version__}"

    def prepare(self, problem: Problem) -> Prepared:
        """Return the layer with its arrays."""
        check_dtype(problem)
        return _Layer(problem)


CONTENDERS = tuple(NumPyLayer(name) for name in cells())
