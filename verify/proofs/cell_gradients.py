"""Comparison of derived VJPs with complex steps: single equations, and whole cells."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import numpy as np
from hypothesis import strategies as st

from ...reference.arrays import Floats
from ...reference.cell import Cell
from ...reference.cells import cells
from ...reference.equation import Equation, equations, vjps
from ..cases.case import Case
from ..checks.check import Check
from ..numbers.arithmetic import FLOAT64
from ..numbers.bounded import Bounded
from ..numbers.complex_step import derivative
from .material import (
    Material,
    agree,
    cell_material,
    disprove,
    forward,
    gradients,
    proof,
    small_cases,
)

COMPLEX_STEP_SHARE = 8
"""Complex arithmetic takes up to four real roundings for one, on both of two passes."""


def equation_vjp(name: str, function: Callable[..., Any], vjp: Callable[..., Any]) -> Check:
    """Return the proof that an equation's VJP is its derivative in every argument."""
    shapes = _argument_shapes(function)

    def holds(seed: int) -> None:
        rng = np.random.default_rng(seed)
        arguments = [rng.uniform(0.05, 0.95, shape) for shape in shapes]
        cotangent = rng.standard_normal(np.shape(function(*arguments)))
        pulled = vjp(*arguments, cotangent)
        for k, argument in enumerate(arguments):
            direction = rng.standard_normal(argument.shape)

            def along(z: Floats, k: int = k) -> tuple[Floats, ...]:
                return (function(*arguments[:k], z, *arguments[k + 1 :]),)

            (slope,) = derivative(along, argument, direction)
            label = f"VJP in argument {k + 1} ({_argument(function, k)})"
            agree(
                [name], label, (pulled[k] * direction).sum(), (cotangent * slope).sum(), scale=8.0
            )

    return proof(
        f"vjp[{name}]",
        f"The VJP of {name} is its derivative, by complex step.",
        [name],
        st.integers(0, 2**16),
        holds,
    )


LENGTHS = {"...": 3, "B": 2, "H": 3, "D": 2, "N": 2, "K": 3, "V": 4}
"""Lengths of the axes that signatures name; other axes have length 1."""


def _argument_shapes(function: Callable[..., Any]) -> list[tuple[int, ...]]:
    """Return a shape for every argument from the axes in its annotation."""
    hints = get_type_hints(function, include_extras=True)
    axes = [hints[n].__metadata__[0].split() for n in inspect.signature(function).parameters]
    return [tuple(LENGTHS.get(axis, 1) for axis in names) for names in axes]


def _argument(function: Callable[..., Any], k: int) -> str:
    return list(inspect.signature(function).parameters)[k]


def cell_gradient(cell: Cell) -> Check:
    """Return the proof that BPTT gives the derivative in every argument, gate by gate."""
    names = (*cell.equations, "bptt.backpropagate")

    def holds(case: Case) -> None:
        m = cell_material(cell, case)
        pulled = gradients(cell, m)
        bounds = gradients(cell, m.map(lambda array: Bounded.exact(array, FLOAT64)))
        for name, argument in m.arguments().items():
            for part, mask in _parts(cell, m, name, argument.shape):
                direction = case.normal(f"direction {part}", argument.shape) * mask
                want = _slope(cell, m, name, direction)
                got = float((pulled[name] * direction).sum())
                allowed = COMPLEX_STEP_SHARE * float((bounds[name].bound * abs(direction)).sum())
                if not abs(got - want) <= allowed:
                    suspects = reading(cell, part) or names
                    disprove(suspects, f"{cell.name}: gradient of {part}: {got:.12g}, by complex "
                             f"step {want:.12g} ± {allowed:.2g}")  # fmt: skip

    statement = "Backpropagation through time gives the derivative of the outputs, by complex step"
    surrogate = " (straight-through: rounding counts with slope 1)" * ("surrogate" in cell.traits)
    return proof(
        f"gradient[{cell.name}]",
        f"{cell.title}: {statement}{surrogate}.",
        names,
        small_cases(),
        holds,
    )


def _slope(cell: Cell, m: Material, name: str, direction: Floats) -> float:
    """Return the derivative of <dy, y> + <dfinal, final> along ``direction`` of one argument."""
    z = m.map(lambda array: array.astype(np.complex128))

    def outputs(argument: Floats) -> tuple[Floats, ...]:
        return forward(cell, z.replaced(name, argument))

    slopes = derivative(outputs, m.arguments()[name], direction)
    return float(sum((c * s).sum() for c, s in zip((m.dy, *m.dfinal), slopes, strict=True)))


def _parts(cell: Cell, m: Material, name: str, shape: tuple[int, ...]) -> list[tuple[str, Floats]]:
    """Return names and masks: one for each gate, or one for an argument without a gate axis."""
    gates = m.p.shapes[name].gates if name in m.p else ()
    if not gates:
        return [(name, np.ones(shape))]
    rows = np.arange(len(gates)).reshape(-1, *[1] * (len(shape) - 1))
    return [(f"{name}_{gate}", (rows == k) * np.ones(shape)) for k, gate in enumerate(gates)]


def reading(cell: Cell, parameter: str) -> Sequence[str]:
    """Return the cell's equations whose code uses ``p.<parameter>``."""
    by_name: dict[str, Equation] = {e.name: e for e in equations()}
    return [n for n in cell.equations if f"p.{parameter} " in _code(by_name[n]) + " "]


def _code(e: Equation) -> str:
    code = inspect.getsource(e.function)
    return "".join(c if c.isalnum() or c in "._" else " " for c in code)


PROOFS = (
    *(equation_vjp(e.name, e.function, vjps()[e.name]) for e in equations() if e.name in vjps()),
    *(cell_gradient(cell) for cell in cells().values()),
)
