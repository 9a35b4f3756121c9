"""Random material of proofs, and assertions that name the equations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from hypothesis import strategies as st

from ...reference.cell import Cell
from ...reference.equation import equations
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...reference.sequence import backpropagate, unroll
from ..cases.case import Case
from ..cases.strategies import for_all
from ..checks.check import Check
from ..numbers.ledger import Mismatch


@dataclass(frozen=True)
class Material:
    """All inputs of one run of a cell over a sequence, forward and backward."""

    p: Parameters
    x: Array
    state: tuple[Array, ...]
    lengths: Array | None
    dy: Array
    dfinal: tuple[Array, ...]

    def map(self, function: Callable[[Array], Array]) -> Material:
        """Return the same material in another number system; lengths stay integers."""
        state, dfinal = (tuple(map(function, arrays)) for arrays in (self.state, self.dfinal))
        p, x, dy = self.p.map(function), function(self.x), function(self.dy)
        return Material(p, x, state, self.lengths, dy, dfinal)

    def arguments(self) -> dict[str, Array]:
        """Return the differentiable arguments by name."""
        states = {f"state {k}": s for k, s in enumerate(self.state)}
        return {**self.p, "x": self.x, **states}

    def replaced(self, name: str, array: Array) -> Material:
        """Return the material with one argument replaced."""
        if name == "x":
            return replace(self, x=array)
        if name.startswith("state "):
            k = int(name.removeprefix("state "))
            return replace(self, state=(*self.state[:k], array, *self.state[k + 1 :]))
        return replace(self, p=Parameters(self.p.shapes, {**self.p, name: array}))


def cell_material(cell: Cell, case: Case) -> Material:
    """Draw the material of a case: parameters, input and states by the cell."""
    scale = {"unit": 1.0, "tiny": 2.0**-20, "large": 6.0}[case.scale]
    sizes = case.sizes
    p = cell.random_parameters(case.generator("parameters"), sizes)
    weights = {k: a * scale if k in ("W", "U", "R", "p") else a for k, a in p.items()}
    x = cell.random_input(case.generator("x"), case.T, case.B, sizes)
    shapes = [(case.B, *shape) for shape in cell.state_shapes(sizes)]
    state = [
        cell.random_state(name, case.generator(f"state {k}"), shape)
        for k, (name, shape) in enumerate(zip(cell.states, shapes, strict=True))
    ]
    if "surrogate" in cell.traits:
        state[-1] = case.generator("u").uniform(0, 1, (case.B, 1))
    dfinal = tuple(case.normal(f"dfinal {k}", shape) for k, shape in enumerate(shapes))
    dy = case.normal("dy", (case.T, case.B, cell.output_width(sizes)))
    p = Parameters(p.shapes, weights)
    return Material(p, x, tuple(state), case.row_lengths(), dy, dfinal)


def forward(cell: Cell, m: Material) -> tuple[Array, ...]:
    """Return y and the final states."""
    run = unroll(cell, m.p, m.x, m.state, m.lengths)
    return (run.y, *run.final)


def gradients(cell: Cell, m: Material) -> dict[str, Array]:
    """Return the gradients of all arguments by name."""
    run = unroll(cell, m.p, m.x, m.state, m.lengths)
    dp, dx, dstate = backpropagate(cell, m.p, run, m.dy, m.dfinal)
    return {**dp, "x": dx, **{f"state {k}": d for k, d in enumerate(dstate)}}


def small_cases(*, scales: Sequence[str] = ("unit", "tiny", "large")) -> st.SearchStrategy[Case]:
    """Draw float64 cases with T up to 5 and widths up to 4, with and without lengths."""
    return st.builds(
        Case,
        T=st.integers(1, 5),
        B=st.integers(1, 3),
        D=st.integers(1, 4),
        H=st.integers(2, 4),
        P=st.integers(0, 1),
        lengths=st.booleans(),
        scale=st.sampled_from(scales),
        seed=st.integers(0, 2**16 - 1),
    )


def square_cases() -> st.SearchStrategy[Case]:
    """Draw cases with D = H, where a matrix on the wrong side gives wrong numbers, not shapes."""
    return small_cases(scales=["unit"]).map(lambda c: replace(c, D=c.H, T=c.T + 2, P=0))


def proof(
    id: str,
    statement: str,
    equations: Sequence[str],
    strategy: st.SearchStrategy[Any],
    function: Callable[[Any], None],
) -> Check:
    """Return the check that ``function`` raises nothing on drawn values."""

    def run(examples: int, seed_value: int) -> None:
        for_all(function, strategy, examples=examples, seed_value=seed_value)

    return Check(id, statement, tuple(equations), run)


def disprove(names: Sequence[str], reason: str) -> NoReturn:
    """Raise Mismatch with the equations that do not hold."""
    raise Mismatch(f"{labels(names)}: {reason}")


def labels(names: Sequence[str]) -> str:
    """Return the ids and names of equations, as failures print them."""
    by_name = {e.name: e.label for e in equations()}
    return ", ".join(by_name[name] for name in names)


def agree(
    names: Sequence[str],
    quantity: str,
    got: Array,
    want: Array,
    *,
    units: float = 64,
    scale: Array = 1.0,
) -> None:
    """Require |got - want| <= units * u * max(scale, |want|), with u of float64.

    For identities between two float64 computations of a few dozen operations on numbers of
    magnitude ``scale``; a wrong formula misses by ten orders of magnitude more.
    """
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        disprove(names, f"{quantity}: shapes {got.shape} and {want.shape} differ")
    allowed = units * 2.0**-53 * np.maximum(scale, np.abs(want).max(initial=0.0))
    error = np.abs(got - want)
    if got.size and not (error <= allowed).all():
        beyond = np.where(error <= allowed, 0.0, np.nan_to_num(error, nan=np.inf))
        where = tuple(map(int, np.unravel_index(int(beyond.argmax()), error.shape)))
        disprove(names, f"{quantity}: {got[where]:.12g} at {where}, expected {want[where]:.12g}")
