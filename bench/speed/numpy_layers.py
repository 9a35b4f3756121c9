"""The reference itself, on NumPy: every cell as its equations are written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import gating_cells
from ...reference.parameters import Parameters
from ...verify.subjects.protocol import Pulled, Result
from ..run import UnsupportedError
from ..timing.measurement import traced_bytes
from .contender import Contender, Prepared
from .problem import Cotangents, Problem, by_name

DTYPES = ("float64", "float32")


def check_dtype(problem: Problem) -> None:
    """Raise UnsupportedError for dtypes that NumPy computes slowly."""
    if problem.dtype not in DTYPES:
        raise UnsupportedError(f"NumPy has no fast {problem.dtype}")


def version() -> str:
    """Return NumPy's version."""
    return f"numpy {np.__version__}"


class NumPyPrepared(Prepared):
    """A contender on NumPy, which reports its memory to ``tracemalloc``."""

    run: Any = None

    @abstractmethod
    def pulled(self, run: Any, cotangents: Cotangents) -> Any:
        """Return a run and its gradients."""

    def training(self, cotangents: Cotangents) -> Any:
        """Run the layer and return its gradients."""
        return self.pulled(self.forward(), cotangents)

    def backward(self, cotangents: Cotangents) -> Any:
        """Return the gradients of one run, which is made once."""
        if self.run is None:
            self.run = self.forward()
        return self.pulled(self.run, cotangents)

    def peak(self, phase: str, cotangents: Any) -> int | None:
        """Return the peak of the bytes that NumPy and Python allocate during a call."""
        return traced_bytes(lambda: self.call(phase, cotangents))[1]

    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Floats]:
        """Return the reference's own names."""
        return by_name(gradient)


class _Layer(NumPyPrepared):
    def forward(self) -> Any:
        problem = self.problem
        return problem.layer.forward(problem.parameters, problem.x, problem.state)

    def pulled(self, run: Any, cotangents: Cotangents) -> Any:
        layer, p = self.problem.layer, self.problem.parameters
        return run, layer.vjp(p, run, cotangents.y, cotangents.final)

    def arrays(self, result: Any) -> Result:
        if not isinstance(result, tuple):
            return Result(result.y, result.final)
        run, gradient = result
        named = by_name(gradient.parameters)
        return Pulled(run.y, run.final, named, gradient.x, gradient.initial)


def prepare(problem: Problem) -> Prepared:
    """Return the layer with its arrays."""
    check_dtype(problem)
    return _Layer(problem)


CONTENDERS = tuple(Contender(f"numpy:{name}", (name,), version, prepare) for name in gating_cells())
"""``reference.Layer`` of every cell."""
