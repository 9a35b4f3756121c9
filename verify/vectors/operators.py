"""Published tests of one RNN, GRU or LSTM with the arrays of ONNX's operators.

WebNN's operators have the same arrays: directions first, and the gates one below the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...reference.arrays import Floats
from ...reference.sequence import reverse
from ..cases.case import LARGEST_SIZE, Case
from ..conventions import Convention, formula
from ..conventions.parameter_map import ConventionMap
from ..models.nodes import Node, problem_of
from ..models.subject import named_weights
from ..subjects.protocol import Inputs
from .audit import NotAudited, PublishedTest, Tolerance


def published_test(
    name: str,
    form: str,
    node: Node,
    arrays: Mapping[str, Floats],
    outputs: Mapping[str, Floats],
    tolerance: Tolerance,
    *,
    order: str = "",
    rectified: bool = False,
) -> PublishedTest:
    """Return a test of a node as a call of the equations: time first, in forward order.

    ``arrays`` and ``outputs`` have ONNX's names. ``order`` is that of the gates if it is another
    than ONNX's; ``form`` names the origin of the test.
    """
    if problem := problem_of(node):
        raise NotAudited(f"{name}: {problem}")
    c = _in_order(node.convention, order) if order else node.convention
    if "X" not in arrays:
        raise NotAudited(f"{name}: X is not given")
    rows_first = bool(node.layout)
    x = np.swapaxes(arrays["X"], 0, 1) if rows_first else arrays["X"]
    T, B, D = x.shape
    lengths = arrays.get("sequence_lens", np.full(B, T))
    if not x.size or max(T, B, D) > LARGEST_SIZE or np.any(lengths > T):
        raise NotAudited(f"{name}: arrays of these shapes are not read")
    state = _initial_state(node, arrays, x)
    full = bool(np.all(lengths == T))
    case = Case(
        T, B, D, node.H, bidirectional=node.directions == 2, bias="B" in node.weights,
        lengths=not full, state=state is not None, dtype=x.dtype.name,
    )  # fmt: skip
    expected = {
        f"final {output[2:]}" if output[2:] else "y": _in_layout(array, rows_first=rows_first)
        for output, array in outputs.items()
        if array.size
    }
    backward = node.direction == "reverse"
    if backward:
        x = np.asarray(reverse(x, lengths))
        expected |= {"y": np.asarray(reverse(expected["y"], lengths))} if "y" in expected else {}
    parameter_map, weights = ConventionMap(c, case), named_weights(node)
    if {n: np.shape(a) for n, a in weights.items()} != dict(parameter_map.shapes()):
        raise NotAudited(f"{name}: its weights have other shapes than {form} says")
    words = formula.summary(c) + ", backwards" * backward + ", all activations ReLU" * rectified
    inputs = Inputs(weights, x, state, None if full else np.asarray(lengths))
    return PublishedTest(
        name, str(c.cell), case, parameter_map, inputs, expected, tolerance, words, rectified
    )


def _initial_state(
    node: Node, arrays: Mapping[str, Floats], x: Floats
) -> tuple[Floats, ...] | None:
    """Return the states (directions, B, H), zeros for one that is left out; None if all are."""
    initial = [arrays.get(f"initial_{s}") for s in node.states]
    if all(s is None for s in initial):
        return None
    zeros = np.zeros((node.directions, x.shape[1], node.H), x.dtype)
    return tuple(zeros if s is None else _passes_first(s, bool(node.layout)) for s in initial)


def _in_order(c: Convention, order: str) -> Convention:
    """Return a convention with its gates in another order."""
    after = c.family == "gru" and c.reset == "after"
    return replace(c, order=order, bias=(order, order.replace("n", "m") if after else order))


def _in_layout(output: Floats, *, rows_first: bool) -> Floats:
    """Return y as (T, B, directions * H), or a final state as (directions, B, H), in float64."""
    output = np.asarray(output, np.float64)
    if output.ndim < 4:
        return _passes_first(output, rows_first)
    y = np.moveaxis(output, 0, 2) if rows_first else output  # (T, directions, B, H)
    T, directions, B, H = y.shape
    return np.moveaxis(y, 1, 2).reshape(T, B, directions * H)


def _passes_first(state: Floats, rows_first: bool) -> Floats:
    return np.swapaxes(state, 0, 1) if rows_first else state
