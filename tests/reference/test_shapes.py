"""The shapes of signatures are checked in these tests; what has another shape turns them red."""

import numpy as np
import pytest

import shapes
from gatewise.reference import attention, bptt, fast, output
from gatewise.reference.arrays import Units
from gatewise.reference.cells import cell_named, cells, lstm
from gatewise.reference.parameters import Parameters, Sizes

ones = np.ones
RNG = np.random.default_rng(0)
SIZES = Sizes(D=2, H=3)
P = cell_named("lstm").random_parameters(RNG, SIZES)


def test_calls_are_checked():
    with shapes.checking() as calls:
        before = calls()
        lstm.cell_state(*np.ones((4, 5, 3)))
    assert calls() == before + 1


@pytest.mark.parametrize("name", cells())
def test_every_step_and_its_pullback_are_checked(name):
    cell, sizes = cells()[name], Sizes(D=2, H=4, P=3 if name == "lstm-projected" else None)
    p = cell.random_parameters(RNG, sizes)
    x = cell.random_input(RNG, 1, 5, sizes)[0]
    state = cell.initial_state(x, 5, sizes)
    with shapes.checking() as calls:
        before = calls()
        new, gates = cell.step(p, x, state)
        cell.vjp(p, x, state, gates, new, new)
    assert calls() >= before + 4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: lstm.forget_gate(P, ones((5, 3)), ones((5, 3))), r"forget_gate: x: .*\(B D\)"),
        (lambda: lstm.forget_gate(P, ones((5, 2)), ones((1, 3))), r"forget_gate: h: .*\(B P\)"),
        (lambda: lstm.cell_state(*ones((3, 5, 3)), ones((1, 3))), r"cell_state: g: .*\(B H\)"),
        (lambda: cell_named("lstm").step(P, ones((5, 2)), (ones((5, 3)), ones(3))), "state"),
        (lambda: output.softmax_vjp(ones((2, 3)), ones((1, 3))), r"dy: .*\(... C\)"),
        (lambda: bptt.jacobian(P, ones((1, 3))), r"jacobian: a: .*\(H\)"),
        (lambda: attention.context(ones((2, 4)), ones((4, 1, 3))), r"context: h: .*\(T B H\)"),
        (lambda: fast.lstm_forward(P, ones((4, 5, 2)), ones((5, 3)), ones(3)), "c0"),
        (lambda: lstm.forget_gate(Parameters(P.shapes, {**P, "U": ones((4, 2, 2))}),
                                  ones((5, 2)), ones((5, 2))), r"p\['U'\]"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_refused(call, said):
    with pytest.raises(shapes.WrongShape, match=said):
        call()


def test_a_wrong_result_is_refused():
    def gate(h: Units) -> Units:
        return h.sum(axis=0)

    gate.__globals__["Units"] = Units
    with pytest.raises(shapes.WrongShape, match=r"gate: result: expected \(B H\), got \(3,\)"):
        shapes.held(gate)(np.ones((5, 3)))


def test_a_gradient_has_the_parameters_shapes(monkeypatch):
    cell, x, state = cell_named("rnn"), np.ones((5, 2)), (np.ones((5, 3)),)
    p = cell.random_parameters(RNG, SIZES)
    new, gates = cell.step(p, x, state)

    def vjp(
        self, p: Parameters, x, state, gates, new, cotangent
    ) -> tuple[Parameters, Units, tuple]:
        wrong = {name: np.ones(array.shape).swapaxes(-1, -2) for name, array in p.items()}
        return Parameters(p.shapes, wrong), x, state

    with pytest.raises(shapes.WrongShape, match=r"result\[0\]\['W'\]"):
        shapes.held(vjp)(cell, p, x, state, gates, new, new)
