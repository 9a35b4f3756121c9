"""Forms: each computes the recurrence within its own bound."""

from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import strategies as st

from ...reference.cell import Cell
from ...reference.cells import cells
from ...reference.forms import STEPS, form_named
from ...reference.functions import Array
from ...reference.gated_by_input import GatedByInput
from ...reference.layer import Layer
from ..cases.case import Case
from ..checks.check import Check
from ..checks.formed import FormedLayer
from ..numbers.arithmetic import FLOAT32, FLOAT64
from ..numbers.bounded import Bounded
from ..numbers.enclosure import balls, distance, precision
from .material import Material, cell_material, disprove, forward, proof, small_cases

FORMS = ("steps", "chunk:2", "chunk:3", "quotient:3", "parallel", "scan")
FORMED = [c for c in cells().values() if isinstance(c, GatedByInput) and c.form_kinds]


def forms_of(cell: GatedByInput) -> list[str]:
    """Return the names of a cell's forms."""
    return [name for name in FORMS if form_named(name).kind in (STEPS, *cell.form_kinds)]


def form_is_the_recurrence(cell: Cell, example: tuple[Case, str]) -> None:
    """Outputs and gradients in float32, and exact ones by steps, are within the form's bound."""
    case, form = example
    case = Case(case.T, case.B, case.D, case.H, seed=case.seed)
    m = cell_material(cell, case)
    m = m.map(lambda array: array.astype(np.float32))
    layer = Layer(cell, case.sizes)
    formed = FormedLayer(layer, form_named(form))
    got = _everything(formed, m)
    bounds = _everything(formed, m.map(partial(Bounded.exact, arithmetic=FLOAT32)))
    finer = _everything(layer, m.map(lambda a: Bounded.exact(a.astype(np.float64), FLOAT64)))
    with precision():
        exact = dict(enumerate(forward(cell, m.map(balls))))
        for k, ball in exact.items():
            _within(cell, f"{form}: output {k}", distance(got[k], ball), bounds[k].bound)
    for name, bound in bounds.items():
        error = np.abs(bound.value - finer[name].value)
        _within(cell, f"{form}: {name}", error, bound.bound + finer[name].bound)
        _within(cell, f"{form}: computed {name}", np.abs(got[name] - bound.value), bound.bound)


def _everything(layer: Layer | FormedLayer, m: Material) -> dict[object, Array]:
    output = layer.forward((m.p,), m.x, tuple(s[None] for s in m.state))
    gradient = layer.vjp((m.p,), output, m.dy, tuple(d[None] for d in m.dfinal))  # type: ignore[arg-type]
    named: dict[object, Array] = {0: output.y} | {k + 1: s[0] for k, s in enumerate(output.final)}
    named |= {f"gradient of {n}": d for n, d in gradient.parameters[0].items()}
    initial = {f"gradient of state {k}": s[0] for k, s in enumerate(gradient.initial)}
    return named | initial | {"gradient of x": gradient.x}


def _within(cell: Cell, label: str, error: Array, bound: Array) -> None:
    if not (error <= bound).all():
        disprove(cell.equations, f"{cell.name}: {label} is {np.max(error / bound):.3g} bounds off")


PROOFS: tuple[Check, ...] = tuple(
    proof(
        f"form[{cell.name}]",
        f"{cell.title}: steps, chunks, scans and attention are one function, each in its bound.",
        cell.equations,
        st.tuples(small_cases(scales=["unit"]), st.sampled_from(forms_of(cell))),
        partial(form_is_the_recurrence, cell),
    )
    for cell in FORMED
)
