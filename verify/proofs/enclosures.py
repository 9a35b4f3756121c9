"""Rounding: NumPy's results lie within the bounds of Bounded around the exact values of Arb."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ...reference.cell import Cell
from ...reference.cells import cells
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..cases.strategies import aim
from ..checks.check import Check
from ..numbers.arithmetic import ARITHMETICS
from ..numbers.bounded import Bounded
from ..numbers.enclosure import balls, distance, precision
from .material import Material, cell_material, disprove, forward, gradients, proof, small_cases

DTYPES: dict[str, Any] = {
    "float16": np.float16,
    "float32": np.float32,
    "float64": np.float64,
    "longdouble": np.longdouble,
}
REGIMES = ("ordinary", "cancelling", "saturated", "subnormal")


def enclosed(cell: Cell) -> Check:
    """Return the proof that results and midpoints are within their bounds of exact values."""

    def holds(example: tuple[Case, str, str]) -> None:
        case, dtype, regime = example
        m = _adversarial(cell_material(cell, case), regime, ARITHMETICS[dtype].tiny)
        m = m.map(lambda array: array.astype(DTYPES[dtype]))
        bounded = m.map(lambda array: Bounded.exact(array, ARITHMETICS[dtype]))
        with np.errstate(all="ignore"):  # overflow in float16 is answered by an infinite bound
            computed = _everything(cell, m)
        bounds = _everything(cell, bounded)
        with precision():
            exact = _everything(cell, m.map(balls))
            ratios = [0.0]
            for name, ball in exact.items():
                bound = bounds[name].bound
                ratios.append(
                    _within(
                        cell, f"{dtype} {name}", computed[name], balls(bounds[name].value), bound
                    )
                )
                _within(cell, f"midpoint of {name}", bounds[name].value, ball, bound)
        aim(max(ratios))

    return proof(
        f"enclosure[{cell.name}]",
        f"{cell.title}: outputs and gradients in float16, float32, float64 and longdouble lie "
        "within the running error bound of the exact values (Arb).",
        cell.equations,
        st.tuples(small_cases(), st.sampled_from(sorted(DTYPES)), st.sampled_from(REGIMES)),
        holds,
    )


def _everything(cell: Cell, m: Material) -> dict[str, Array]:
    outputs = {f"output {k}": array for k, array in enumerate(forward(cell, m))}
    return outputs | {f"gradient of {name}": d for name, d in gradients(cell, m).items()}


def _within(cell: Cell, label: str, got: Array, exact: Array, bound: Array) -> float:
    """Require that all errors are within bounds; return the largest in units of its bound."""
    finite = np.isfinite(bound)
    error = np.zeros(got.shape)
    if finite.any():
        if not np.isfinite(got[finite]).all():
            disprove(cell.equations, f"{cell.name}: {label} is not finite")
        error[finite] = distance(got[finite], exact[finite])
    if not (error <= bound).all():
        k = tuple(int(i) for i in np.argwhere(~(error <= bound))[0])
        disprove(cell.equations, f"{cell.name}: {label}{list(k)} is {error[k]:.3g} from the exact "
                 f"value, its bound is {bound[k]:.3g}")  # fmt: skip
    return float((error / np.maximum(bound, 1e-300)).max(initial=0.0))


def _adversarial(m: Material, regime: str, tiny: float) -> Material:
    """Return difficult material: sums that cancel, saturated gates, subnormal numbers."""
    if "W" not in m.p:
        return m
    if regime == "cancelling":
        # Input columns in pairs of opposite sign behind equal, large weights.
        m = m.replaced("x", m.x * 0 + 64 * np.where(np.arange(m.x.shape[2]) % 2, 1, -1) + m.x)
        W = m.p["W"]
        return m.replaced("W", np.repeat(W[:, :1], W.shape[1], axis=1) + W * 2.0**-8)
    if regime == "saturated":
        return m.replaced("b", m.p["b"] * 40)
    if regime == "subnormal":
        small = {k: a * float(tiny) * 0.3 for k, a in m.p.items() if k in ("W", "U", "b", "p")}
        return replace(m, p=Parameters(m.p.shapes, {**m.p, **small}))
    return m


PROOFS = tuple(enclosed(cell) for cell in cells().values())
