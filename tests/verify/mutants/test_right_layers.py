"""The layer that mutants are made of is right, for every cell, and traced steps are."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.reference.cells import cell_named, cells
from gatewise.reference.layer import Layer
from gatewise.verify.cases.case import Case
from gatewise.verify.mutants import gated, right_subject
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs
from mutant_sessions import DEFAULT, PLAIN, RICH, close, parts_of

SMALL = (
    PLAIN,
    DEFAULT,
    replace(PLAIN, T=0),
    replace(PLAIN, T=1, B=1, D=1, H=2),
    replace(RICH, dropout=0.0),
    replace(RICH, dropout=0.0, bias=False, scale="large"),
    replace(PLAIN, scale="huge", lengths=True),
)


def fitting(case, cell):
    """Return the case with one layer where outputs are no inputs."""
    return replace(case, layers=1) if "readout" in cell_named(cell).traits else case


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cell", cells())
def test_unchanged_it_is_the_references_layer(cell, dtype):
    """Values and gradients; without dropout the mode changes nothing."""
    subject = right_subject(cell)
    for small in SMALL:
        case = replace(small, dtype=dtype, P=small.H // 2 if cell == "lstm-projected" else 0)
        case = fitting(case, cell)
        inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
        layer = Layer(cell_named(cell), case.sizes, case.layers, case.bidirectional)
        p = subject.parameter_map(case).to_reference(inputs.parameters)
        output = layer.forward(p, inputs.x, inputs.state, inputs.lengths)
        gradient = layer.vjp(p, output, dy, dfinal)
        named = subject.parameter_map(case).from_reference(gradient.parameters)
        built = subject.build(case)
        result, pulled = built.forward(inputs), built.gradients(inputs, [(dy, dfinal)])[0]
        close([pulled.y, *pulled.final], [output.y, *output.final], dtype)
        close(parts_of(result).values(), [output.y, *output.final], dtype)
        close(pulled.parameters.values(), [named[name] for name in pulled.parameters], dtype)
        close([pulled.x], [gradient.x], dtype)
        close(pulled.initial, gradient.initial if case.state else (), dtype)


@pytest.mark.parametrize("cell", cells())
def test_forward_mode_is_adjoint_to_the_way_back(cell):
    """<dy, J t> = <J^T dy, t>."""
    case, subject = fitting(replace(RICH, dropout=0.0), cell), right_subject(cell)
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    along = draw_inputs(subject, replace(case, seed=2))
    built = subject.build(case)
    pushed, pulled = built.jvp(inputs, along), built.gradients(inputs, [(dy, dfinal)])[0]
    forward = inner([dy, *dfinal], [pushed.y, *pushed.final])
    named = [pulled.parameters[name] for name in along.parameters]
    back = inner([pulled.x, *pulled.initial, *named],
                 [along.x, *along.state, *along.parameters.values()])  # fmt: skip
    assert forward == pytest.approx(back)


def inner(one, other):
    return sum((a * b).sum() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_dropout_is_a_mask_between_the_levels(rate):
    """Two levels of the reference with the mask in between say the same, forward and back."""
    case = Case(4, 3, 2, 4, layers=2, dropout=rate)
    subject = right_subject("lstm")
    inputs, (dy, dfinal) = draw_inputs(subject, case), draw_cotangents(subject, case)
    built, masks = subject.build(case), []
    drawn = built.mask
    built.mask = lambda shape: masks.append(drawn(shape)) or masks[-1]
    pulled = built.gradients(inputs, [(dy, dfinal)])[0]
    mask = masks[0] if masks else np.ones((4, 3, 4))
    assert set(np.unique(mask)) <= {0.0, 1.0 if rate in (0, 1) else 1 / (1 - rate)}

    layer = Layer(cell_named("lstm"), case.sizes, 2)
    low, high = (Layer(layer.cell, sizes) for sizes in layer.pass_sizes)
    p = subject.parameter_map(case).to_reference(inputs.parameters)
    states = [tuple(s[k : k + 1] for s in inputs.state) for k in range(2)]
    below = low.forward(p[:1], inputs.x, states[0])
    above = high.forward(p[1:], below.y * mask, states[1])
    back = high.vjp(p[1:], above, dy, tuple(d[1:] for d in dfinal))
    dx = low.vjp(p[:1], below, back.x * mask, tuple(d[:1] for d in dfinal)).x
    close([pulled.y, pulled.x], [above.y, dx], "float64")
    built.train(False)
    plain = layer.forward(p, inputs.x, inputs.state)
    close([built.forward(inputs).y], [plain.y], "float64")


@pytest.mark.parametrize("cell", cells())
def test_a_traced_step_has_the_gradient_of_the_hand_derived_one(cell):
    """The tape finds by itself what the cell's own VJP says."""
    case, subject = fitting(replace(RICH, dropout=0.0), cell), right_subject(cell)
    inputs, cotangents = draw_inputs(subject, case), draw_cotangents(subject, case)
    by_hand, traced = subject.build(case), subject.build(case)
    if cell.startswith("skip"):
        gated.skips(traced)
    else:
        traced.step = lambda at, p, x, s: traced.cell.step(p, x, s)[0]
    want, got = (built.gradients(inputs, [cotangents])[0] for built in (by_hand, traced))
    close(parts_of(got).values(), parts_of(want).values(), "float64")
