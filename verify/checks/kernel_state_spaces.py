"""Expected results of a benchmark's state space: any form of its recurrence, within its bound.

A submission may compute step by step, in chunks, all at once, by a scan, or divide by cumulative
decays. All of these are right, so the widest of their bounds is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from ...reference.arrays import Floats
from ...reference.forms import STEPS, form_named
from ...reference.linear import Linear
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.followed import Followed
from ..numbers.followed import pulled as pulled_back
from ..subjects.given_arrays import gated_by_input
from ..subjects.kernel_problems import StateSpace
from ..subjects.protocol import Built, Inputs
from .oracle import around


def forms(problem: StateSpace, case: Case) -> tuple[str, ...]:
    """Return the names of the forms of a problem, the plain one first."""
    C = problem.block(case)
    return STEPS, f"chunk:{C}", f"quotient:{C}", "parallel", "scan"


def output(
    problem: StateSpace, case: Case, leaves: Mapping[str, Floats], lift: Callable[[Floats], Any]
) -> Any:
    """Return the model's output, rows first: Bounded over its forms, or numbers by steps."""
    linear = problem.linear(leaves)
    lifted = _mapped(replace(linear, S=_start(linear.S, leaves)), lift)
    if not isinstance(lifted.S, Bounded):
        return returned(problem, *form_named(STEPS).run(lifted))
    of_forms = []
    for name in forms(problem, case):
        ends = form_named(name).run(lifted)
        of_forms.append([returned(problem, *map(_read(part), ends)) for part in ("value", "bound")])
    return _widest(case, of_forms)


def pulled(
    problem: StateSpace,
    case: Case,
    leaves: Mapping[str, Floats],
    cotangent: Floats,
    lift: Callable[[Floats], Any],
) -> tuple[Any, dict[str, Any]]:
    """Return the model's output, and the gradients of all leaves by name."""
    result, gradients = output(problem, case, leaves, lift), []
    lifted = {name: lift(array) for name, array in leaves.items()}
    names = forms(problem, case) if isinstance(lifted["x"], Bounded) else (STEPS,)
    for name in names:
        tracked = {n: Followed(a) for n, a in lifted.items()}
        linear = problem.linear(tracked)
        start = Followed(lift(_start(linear.S, leaves)))
        value = returned(problem, *form_named(name).run(replace(linear, S=start)))
        gradients.append(pulled_back([value], [lift(cotangent)], list(tracked.values())))
    if names == (STEPS,):
        return result, dict(zip(lifted, gradients[0], strict=True))
    return result, {
        name: _widest(case, [[_read(p)(d) for p in ("value", "bound")] for d in of_forms])
        for name, of_forms in zip(lifted, zip(*gradients, strict=True), strict=True)
    }


def by_cell(
    problem: StateSpace,
    case: Case,
    leaves: Mapping[str, Floats],
    built: Built,
    cotangent: Floats | None = None,
) -> dict[str, Floats]:
    """Return the output, or all gradients, by a layer of the cell that computes the problem.

    The cell has one decay for all keys, and divides q by √K.
    """
    linear, (cell, scale) = problem.linear(leaves), (gated_by_input(problem.cell), case.D**0.5)
    parts = {"q": scale * linear.q, "k": linear.k, "v": linear.v, "g": linear.g + 0 * linear.k}
    x, shape = cell.joined(parts, linear.v[:, :, 0], case.sizes), linear.v.shape
    inputs = Inputs({}, x, (linear.S[None],), None)
    if cotangent is None:
        result = built.forward(inputs)
        return {"output": returned(problem, result.y.reshape(shape), result.final[0][0])}
    d = returned(problem, cotangent, cotangent)  # exchanging axes is its own inverse
    ends = (np.zeros(shape), d) if problem.returns == "state" else (d, np.zeros(linear.S.shape))
    pair = ends[0].reshape(*shape[:2], -1), (ends[1][None],)
    (pulled,) = built.gradients(inputs, [pair])
    gradient = cell.split(pulled.x, case.sizes)
    arrays = {"A": gradient["g"].sum(-1), "B": gradient["k"], "C": scale * gradient["q"]}
    return {"x": gradient["v"]} | {name: np.swapaxes(a, 0, 1) for name, a in arrays.items()}


def returned(problem: StateSpace, y: Any, S: Any) -> Any:
    """Return outputs (T, B, N, V) or the final state (B, N, K, V) in the model's order of axes."""
    return np.swapaxes(y, 0, 1) if problem.returns == "outputs" else np.swapaxes(S, -1, -2)


@dataclass(frozen=True)
class Mistake:
    """A mistake in a state space and its fix; ``change`` makes it in the recurrence."""

    id: str
    statement: str
    fix: str
    change: Callable[[Linear, int], Sequence[Linear]]

    def output(self, problem: StateSpace, case: Case, leaves: Mapping[str, Floats]) -> Floats:
        """Return its output for float64 leaves; each part begins with a state of zeros."""
        parts = self.change(problem.linear(leaves), problem.block(case))
        ends = [form_named(STEPS).run(part) for part in parts]
        result: Floats = returned(problem, np.concatenate([y for y, _ in ends]), ends[-1][1])
        return result


MISTAKES = (
    Mistake("rate", "A is taken for the logarithm of a rate: the decay is exp(-exp(A)).",
            "decay by exp(A), whatever its sign",
            lambda linear, C: [replace(linear, g=-np.exp(linear.g))]),
    Mistake("clamped", "Decays above 1 are taken for 1.",
            "decay by exp(A), whatever its sign",
            lambda linear, C: [replace(linear, g=np.minimum(linear.g, 0))]),
    Mistake("chunks", "The state is lost between chunks.",
            "begin each chunk from the state at the end of the one before",
            lambda linear, C: [linear.part(k, k + C) for k in range(0, len(linear.v), C)]),
    Mistake("rows", "The decays of row 0 are those of all rows.",
            "decay each row by its own A",
            lambda linear, C: [replace(linear, g=linear.g[:, :1] + 0 * linear.g)]),
)  # fmt: skip
"""Mistakes beside those of the catalogue's cells."""


def _start(S: Floats, leaves: Mapping[str, Floats]) -> Floats:
    return S.astype(leaves["A"].dtype)


def _mapped(linear: Linear, lift: Callable[[Floats], Any]) -> Linear:
    arrays = {f.name: getattr(linear, f.name) for f in fields(linear)}
    return replace(linear, **{n: None if a is None else lift(a) for n, a in arrays.items()})


def _read(part: str) -> Callable[[Any], Floats]:
    return lambda numbers: np.asarray(getattr(numbers, part))


def _widest(case: Case, of_forms: Sequence[Sequence[Floats]]) -> Bounded:
    """Return the first form's values, with bounds that hold those of all forms."""
    centre = of_forms[0][0]
    reach = [np.abs(value - centre) + bound for value, bound in of_forms]
    return around(case, centre, np.maximum.reduce(reach))
