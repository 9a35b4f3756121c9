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
from ...reference.layer import Layer, concatenated, in_direction
from ...reference.parameters import Parameters
from ..cases.case import Case
from ..numbers.bounded import Bounded
from ..numbers.followed import Followed
from ..numbers.followed import pulled as pulled_back
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
    gradients, dy, dfinal = cotangents(problem, leaves, run.y, run.final, lift(cotangent), lift)
    pulled = layer.vjp(p, run, dy, dfinal)
    packed = problem.parameter_map(case).from_reference(pulled.parameters)
    gradients |= problem.of_recurrent(packed)
    gradients |= dict(zip(problem.states, pulled.initial, strict=True))
    return result, gradients | {"x": pulled.x}


def cotangents(
    problem: Problem, leaves: Mapping[str, Floats], y: Any, final: Sequence[Any], d: Any, lift: Lift
) -> tuple[dict[str, Any], Any, tuple[Any, ...]]:
    """Pull a cotangent on the model's output back to y and the final states.

    Returns the gradients of the head's parameters by name, and these two cotangents.
    """
    followed = [Followed(array) for array in (y, *final)]
    head = {name: Followed(array) for name, array in _head(problem, leaves, lift).items()}
    value = _returned(problem, followed[0], followed[1:], head)
    dy, *rest = pulled_back([value], [d], [*followed, *head.values()])
    ends = len(final)
    return dict(zip(head, rest[ends:], strict=True)), dy, tuple(rest[:ends])


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
    problem: Problem, y: Any, final: Sequence[Any], leaves: Mapping[str, Floats], lift: Lift
) -> Any:
    """Return the model's output from the recurrence's outputs and final states."""
    return _returned(problem, y, final, _head(problem, leaves, lift))


def _head(problem: Problem, leaves: Mapping[str, Floats], lift: Lift) -> dict[str, Any]:
    """Return the parameters of the linear layer after the recurrence, if there is one."""
    names = (f"{problem.head}.weight", f"{problem.head}.bias") if problem.head else ()
    return {name: lift(leaves[name]) for name in names}


def _returned(problem: Problem, y: Any, final: Sequence[Any], head: Mapping[str, Any]) -> Any:
    if problem.returns in ("h", "c"):
        return final["hc".index(problem.returns)]
    head_input = y[-1] if problem.returns == "last" else y
    if not head:
        return head_input
    weight, bias = head.values()
    flat = head_input.reshape(-1, head_input.shape[-1]) @ weight.T + bias
    return flat.reshape(*head_input.shape[:-1], weight.shape[0])
