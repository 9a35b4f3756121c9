"""Random arguments of a subject for a case: parameters, inputs, states and cotangents."""

from __future__ import annotations

from ...reference.arrays import Floats
from ...reference.layer import Layer
from ..cases.case import Case
from ..cases.layouts import RAGGED
from .called import layer_of, output_shape, state_shapes
from .protocol import Inputs, Subject


def draw_inputs(subject: Subject, case: Case) -> Inputs:
    """Draw the arguments of one call of the subject."""
    layer = layer_of(subject, case)
    parameter_map = subject.parameter_map(case)
    parameters = {
        name: parameter_map.draw(name, shape) for name, shape in parameter_map.shapes().items()
    }
    state = None
    if case.state:
        named = zip(layer.cell.states, state_shapes(layer, case), strict=True)
        state = tuple(_draw_state(layer, case, name, shape) for name, shape in named)
    drawn = layer.cell.random_input(case.generator("x"), case.T, case.B, case.sizes)
    x, lengths = case.simplified("x", drawn), case.row_lengths()
    layout = case.layout if case.layout in RAGGED else ""
    return Inputs(parameters, x, state, lengths, layout=layout)


def _draw_state(layer: Layer, case: Case, name: str, shape: tuple[int, ...]) -> Floats:
    part = f"state {name}"
    return case.simplified(part, layer.cell.random_state(name, case.generator(part), shape))


def draw_cotangents(subject: Subject, case: Case) -> tuple[Floats, tuple[Floats, ...]]:
    """Draw cotangents on y and on the final states; 0 on those that are not returned."""
    layer = layer_of(subject, case)
    shapes = state_shapes(layer, case)
    dfinal = tuple(case.normal(f"dfinal {k}", shape) for k, shape in enumerate(shapes))
    if not subject.options.final_states:
        dfinal = (*dfinal[:1], *(0 * d for d in dfinal[1:]))
    return case.normal("dy", output_shape(layer, case)), dfinal
