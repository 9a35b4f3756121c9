"""Expected results of a benchmark's problem: the reference's layer, and the linear layer after it.

All functions take ``lift``, which converts arrays to ``Bounded`` numbers for results with bounds,
or to float64 for results alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ...reference.functions import zeros
from ...reference.layer import Layer, concatenated, in_direction
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..subjects.kernel_problems import Problem, StateSpace
from . import kernel_state_spaces as state_spaces
from .oracle import exact

Lift: TypeAlias = Callable[[Floats], Any]


def axis_of_rows(problem: Problem) -> int:
    """Return the axis of rows in a problem's output."""
    return 0 if isinstance(problem, StateSpace) or problem.returns == "last" else 1


def bounded(case: Case) -> Lift:
    """Return the ``lift`` to numbers of the case's arithmetic."""
    return lambda array: array if isinstance(array, Bounded) else exact(case, array)


def plain(array: Floats) -> Floats:
    """Return numbers in float64."""
    return np.asarray(array, dtype=np.float64)


def output(problem: Problem, case: Case, leaves: Mapping[str, Floats], lift: Lift) -> Any:
    """Return the output of the problem's model, without keeping steps for gradients."""
    if isinstance(problem, StateSpace):
        return state_spaces.output(problem, case, leaves, lift)
    layer, p, x, state = _lifted(problem, case, leaves, lift)
    y, final = _run(layer, p, x, state)
    return returned(problem, y, final, leaves, lift)


def pulled(
    problem: Problem, case: Case, leaves: Mapping[str, Floats], cotangent: Floats, lift: Lift
) -> tuple[Any, dict[str, Any]]:
    """Return the output of the model, and the gradients of all leaves by name."""
    if isinstance(problem, StateSpace):
        return state_spaces.pulled(problem, case, leaves, cotangent, lift)
    layer, p, x, state = _lifted(problem, case, leaves, lift)
    run = layer.forward(p, x, state)
    result = returned(problem, run.y, run.final, leaves, lift)
    d = lift(cotangent)
    gradients, dy, dfinal = cotangents(problem, case, leaves, run.y, run.final, d, lift)
    pulled = layer.vjp(p, run, dy, dfinal)
    packed = problem.parameter_map(case).from_reference(pulled.parameters)
    gradients |= problem.of_recurrent(packed)
    gradients |= dict(zip(problem.states, pulled.initial, strict=True))
    return result, gradients | {"x": pulled.x}


def cotangents(
    problem: Problem,
    case: Case,
    leaves: Mapping[str, Floats],
    y: Any,
    final: tuple[Any, ...],
    d: Any,
    lift: Lift,
) -> tuple[dict[str, Any], Any, tuple[Any, ...]]:
    """Pull a cotangent on the model's output back to y and the final states.

    Returns the gradients of the head's parameters by name, and these two cotangents.
    """
    gradients: dict[str, Any] = {}
    none = tuple(zeros(s, s.shape) for s in final)
    if problem.returns in ("h", "c"):
        dfinal = (d, *none[1:]) if problem.returns == "h" else (none[0], d)
        return gradients, zeros(y, y.shape), dfinal
    head_input = y if problem.returns == "outputs" else y[-1]
    if problem.head:
        gradients, d = _head_vjp(problem, leaves, head_input, d, lift)
    before = zeros(y, (case.T - 1, *y.shape[1:]))
    return gradients, d if problem.returns == "outputs" else np.concatenate([before, d[None]]), none


def _lifted(
    problem: Problem, case: Case, leaves: Mapping[str, Floats], lift: Lift
) -> tuple[Layer, Sequence[Parameters], Any, tuple[Any, ...]]:
    named = problem.recurrent(case, leaves)
    p = problem.parameter_map(case).to_reference({n: lift(a) for n, a in named.items()})
    state = tuple(lift(leaves[name]) for name in problem.states)
    layer = Layer(cell_named(problem.cell), case.sizes, case.layers, case.bidirectional)
    return layer, p, lift(leaves["x"]), state


def _run(
    layer: Layer, parameters: Sequence[Parameters], x: Any, state: tuple[Any, ...]
) -> tuple[Any, tuple[Any, ...]]:
    """Return outputs and final states like ``Layer.forward``, with the memory of a few steps."""
    level_input, ends = x, []
    for level in range(layer.layers):
        sides = []
        for direction in range(layer.directions):
            k = level * layer.directions + direction
            now, hidden = tuple(s[k] for s in state), []
            turned = in_direction(direction, level_input, None)
            for t in range(len(turned)):
                now, _ = layer.cell.step(parameters[k], turned[t], now)
                hidden.append(now[0][None])
            ends.append(now)
            sides.append(in_direction(direction, np.concatenate(hidden), None))
        level_input = concatenated(sides)
    return level_input, tuple(np.stack(arrays) for arrays in zip(*ends, strict=True))


def returned(
    problem: Problem, y: Any, final: tuple[Any, ...], leaves: Mapping[str, Floats], lift: Lift
) -> Any:
    """Return the model's output from the recurrence's outputs and final states."""
    if problem.returns in ("h", "c"):
        return final["hc".index(problem.returns)]
    head_input = y[-1] if problem.returns == "last" else y
    if not problem.head:
        return head_input
    weight, bias = (lift(leaves[f"{problem.head}.{name}"]) for name in ("weight", "bias"))
    flat = head_input.reshape(-1, head_input.shape[-1]) @ weight.T + bias
    return flat.reshape(*head_input.shape[:-1], weight.shape[0])


def _head_vjp(
    problem: Problem, leaves: Mapping[str, Floats], head_input: Any, d: Any, lift: Lift
) -> tuple[dict[str, Any], Any]:
    """Pull a cotangent on the head's output back to its parameters and its input."""
    weight = lift(leaves[f"{problem.head}.weight"])
    rows, flat = head_input.reshape(-1, head_input.shape[-1]), d.reshape(-1, d.shape[-1])
    gradients = {
        f"{problem.head}.weight": flat.T @ rows,
        f"{problem.head}.bias": flat.sum(axis=0),
    }
    return gradients, (flat @ weight).reshape(*head_input.shape)
