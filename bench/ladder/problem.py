"""What every rung computes: sizes, numbers, and the reference's results with their bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...reference.sequence import backpropagate, unroll
from ...verify.numbers.arithmetic import ARITHMETICS
from ...verify.numbers.bounded import Bounded
from .rungs import Gradient, Rung

LSTM = cell_named("lstm")


@dataclass(frozen=True)
class Size:
    """Steps, rows, widths of input and state, and the dtype."""

    T: int
    B: int
    D: int
    H: int
    dtype: str = "float64"

    def __post_init__(self) -> None:
        """Refuse what no rung can run."""
        if min(self.T, self.B, self.D, self.H) < 1:
            raise ValueError(f"size {self}: T, B, D and H must be at least 1")
        if self.dtype not in ("float64", "float32"):
            raise ValueError(f"dtype: expected float64 or float32, got {self.dtype!r}")

    def __str__(self) -> str:
        return f"T{self.T}-B{self.B}-D{self.D}-H{self.H}-{self.dtype}"

    @property
    def flop(self) -> int:
        """Operations of the products forward: 8 (D + H) H for each row and step."""
        return 8 * (self.D + self.H) * self.H * self.B * self.T


@dataclass(frozen=True)
class Problem:
    """Parameters, x (T, B, D), states (B, H), and cotangents on y (T, B, H), h and c."""

    p: Parameters
    x: Array
    h0: Array
    c0: Array
    dy: Array
    dh: Array
    dc: Array

    def map(self, function: Callable[[Array], Array]) -> Problem:
        """Return the same with ``function`` applied to every array."""
        rest = (self.x, self.h0, self.c0, self.dy, self.dh, self.dc)
        return Problem(self.p.map(function), *map(function, rest))

    def first(self, steps: int) -> Problem:
        """Return the problem of the first steps alone."""
        return Problem(self.p, self.x[:steps], self.h0, self.c0, self.dy[:steps], self.dh, self.dc)


def draw(size: Size, seed: int, scale: float = 1.0) -> Problem:
    """Draw a problem without zeros; weights are N(0, 1/fan-in), times ``scale``."""
    rng, (T, B, H) = np.random.default_rng(seed), (size.T, size.B, size.H)
    p = LSTM.random_parameters(rng, Sizes(size.D, H)).map(lambda array: scale * array)
    x, (h0, c0) = rng.standard_normal((T, B, size.D)), rng.standard_normal((2, B, H))
    dy, (dh, dc) = rng.standard_normal((T, B, H)), rng.standard_normal((2, B, H))
    return Problem(p, x, h0, c0, dy, dh, dc).map(lambda array: array.astype(size.dtype))


def results(rung: Rung, q: Problem) -> dict[str, Array]:
    """Return every output and every gradient of a rung, by name."""
    with np.errstate(over="ignore"):  # exp(1000) = inf is right, see pointwise.sigmoid
        run = rung.forward(q.p, q.x, q.h0, q.c0)
        return _named(run.y, run.h, run.c, rung.backward(q.p, run, q.dy, q.dh, q.dc))


def reference(q: Problem) -> dict[str, Bounded]:
    """Return the same of the plain cell, with bounds for the arithmetic of the problem's dtype.

    How bounds come about: ``verify/numbers/bounded.py``.
    """
    arithmetic = ARITHMETICS[q.x.dtype.name]
    q = q.map(lambda array: Bounded.exact(array, arithmetic))
    run = unroll(LSTM, q.p, q.x, (q.h0, q.c0))
    dp, dx, (dh0, dc0) = backpropagate(LSTM, q.p, run, q.dy, (q.dh, q.dc))
    h, c = run.final
    return _named(run.y, h, c, (dp, dx, dh0, dc0))


def _named(y: Array, h: Array, c: Array, gradient: Gradient) -> dict[str, Array]:
    dp, dx, dh0, dc0 = gradient
    parameters: Mapping[str, Array] = {f"gradient of {name}": array for name, array in dp.items()}
    rest = {"gradient of x": dx, "gradient of h0": dh0, "gradient of c0": dc0}
    return {"y": y, "h": h, "c": c, **parameters, **rest}
