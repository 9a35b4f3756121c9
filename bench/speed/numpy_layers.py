"""The reference itself, on NumPy: every cell as its equations are written, and the fast LSTM."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...reference.cells import cells
from ...reference.fast import lstm_backward, lstm_forward
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..plan import UnsupportedError
from .contender import Found, Prepared
from .problem import Cotangents, Problem, by_name

DTYPES = ("float64", "float32")


def _check_dtype(problem: Problem) -> None:
    if problem.dtype not in DTYPES:
        raise UnsupportedError(f"NumPy has no fast {problem.dtype}")


class _Traced(Prepared):
    """NumPy reports its memory to ``tracemalloc``."""

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


class _Layer(_Traced):
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.layer, self.p = problem.layer, problem.parameters
        self.x, self.state = problem.x, problem.state
        self.run: Any = None

    def forward(self) -> Any:
        return self.layer.forward(self.p, self.x, self.state)

    def training(self, cotangents: Cotangents) -> Any:
        return self._pulled(self.forward(), cotangents)

    def backward(self, cotangents: Cotangents) -> Any:
        if self.run is None:
            self.run = self.forward()
        return self._pulled(self.run, cotangents)

    def _pulled(self, run: Any, d: Cotangents) -> Any:
        return run, self.layer.vjp(self.p, run, d.y, d.final)

    def found(self, result: Any) -> Found:
        if not isinstance(result, tuple):
            return Found(result.y, result.final)
        run, gradient = result
        named = by_name(gradient.parameters)
        return Found(run.y, run.final, named, gradient.x, gradient.initial)


class _Fast(_Traced):
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        (self.p,) = problem.parameters
        self.x, (self.h, self.c) = problem.x, (s[0] for s in problem.state)
        self.run: Any = None

    def forward(self) -> Any:
        return lstm_forward(self.p, self.x, self.h, self.c)

    def training(self, cotangents: Cotangents) -> Any:
        return self._pulled(self.forward(), cotangents)

    def backward(self, cotangents: Cotangents) -> Any:
        if self.run is None:
            self.run = self.forward()
        return self._pulled(self.run, cotangents)

    def _pulled(self, run: Any, d: Cotangents) -> Any:
        dh, dc = (end[0] for end in d.final)
        return run, lstm_backward(self.p, run, d.y, dh, dc)

    def found(self, result: Any) -> Found:
        run, gradient = result if isinstance(result, tuple) else (result, None)
        final = run.h[None], run.c[None]
        if gradient is None:
            return Found(run.y, final)
        dp, dx, dh, dc = gradient
        return Found(run.y, final, by_name([dp]), dx, (dh[None], dc[None]))


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
        _check_dtype(problem)
        return _Layer(problem)


@dataclass(frozen=True)
class FastLSTM:
    """``reference.fast``: one layer in one direction."""

    name: str = "numpy-fast:lstm"
    cells: tuple[str, ...] = ("lstm",)

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy {np.__version__}"

    def prepare(self, problem: Problem) -> Prepared:
        """Return the functions with their arrays."""
        _check_dtype(problem)
        if problem.shape.layers > 1 or problem.shape.directions > 1:
            raise UnsupportedError("it is one layer in one direction")
        return _Fast(problem)


CONTENDERS = (*(NumPyLayer(name) for name in cells()), FastLSTM())
