"""The gate of the speed bench: what is right passes at any shape, what is not gets no time."""

from dataclasses import replace

import numpy as np
import pytest

from gatewise.bench.cost.shape import Shape, grid
from gatewise.bench.run import UnsupportedError
from gatewise.bench.speed.contender import BACKWARD, DATA, FORWARD, TRAINING
from gatewise.bench.speed.gate import FEWEST, WrongError, expected, passed
from gatewise.bench.speed.ladder import FAST
from gatewise.bench.speed.problem import Problem
from gatewise.bench.speed.registry import contender_named
from gatewise.reference.cells import gating_cells

SHAPE = Shape(T=6, B=7, D=5, H=8)


def prepared(problem):
    return contender_named(f"numpy:{problem.cell}").prepare(problem)


UNPROVABLE = [cell.name for cell in gating_cells().values() if "layer_norm" in cell.equations]


@pytest.mark.parametrize("cell", UNPROVABLE)
def test_what_cannot_be_proven_is_not_timed(cell):
    """Where steps are normalised, gradients over four of them have no bound that says anything."""
    with pytest.raises(UnsupportedError, match="bounds are too wide"):
        expected(Problem(cell, SHAPE, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", [name for name in gating_cells() if name not in UNPROVABLE])
def test_every_cell_of_the_reference_passes(cell, dtype):
    """Forward, backward and training, with errors of the dtype's own size."""
    problem = Problem(cell, SHAPE, dtype)
    want, layer = expected(problem), prepared(problem)
    for of in (FORWARD, BACKWARD, TRAINING):
        gate = passed(of, layer, problem, want)
        assert gate.ratio <= 1
        assert gate.outputs < 100 * np.finfo(dtype).eps
        assert (gate.gradients is None) == (of == FORWARD)


def test_layers_and_directions():
    problem = Problem("gru", replace(SHAPE, layers=2, directions=2), "float64")
    gate = passed(TRAINING, prepared(problem), problem, expected(problem))
    assert (gate.steps, gate.later) == (6, 0)


def test_many_steps_stay_sharp():
    """The bound on a hundred steps still means something: that is what the weights are for."""
    problem = Problem("lstm", Shape(T=100, B=2, D=16, H=16), "float32")
    want = expected(problem)
    assert want.steps == 100
    assert want.blind == ()
    assert passed(TRAINING, FAST.prepare(problem), problem, want).gradients < 1e-5


def test_what_is_too_much_work_is_proven_on_the_first_steps():
    """And the rest step by step, from the contender's own outputs."""
    problem = Problem("lstm", Shape(T=40, B=3, D=8, H=8), "float64")
    want = expected(problem, work=6000)
    assert FEWEST <= want.steps < 40
    gate = passed(TRAINING, prepared(problem), problem, want)
    assert (gate.steps, gate.later) == (want.steps, 3)


def test_in_two_directions_it_is_all_steps_or_none():
    """The last steps have an influence on the first."""
    problem = Problem("lstm", Shape(T=40, B=3, D=8, H=8, directions=2), "float64")
    with pytest.raises(UnsupportedError, match="in two directions takes too long"):
        expected(problem, work=6000)


def off(where, by=1e-3):
    """A layer whose results are off in one number that ``where`` picks of what was found."""

    def planted(found):
        array = where(found)
        array.reshape(-1)[-1] += by
        return found

    return planted


def rows_swapped(found):
    found.y[:, [0, 1]] = found.y[:, [1, 0]]
    return found


def gradient_of_a_row_without_cotangent(problem):
    silent = np.setdiff1d(np.arange(problem.shape.B), problem.places)[0]

    def planted(found):
        found.x[0, silent, 0] = 1e-30
        return found

    return planted


PLANTED = {
    "an output": (FORWARD, off(lambda f: f.y)),
    "a final h": (FORWARD, off(lambda f: f.final[0])),
    "a final c": (TRAINING, off(lambda f: f.final[1])),
    "a gradient of W": (TRAINING, off(lambda f: f.parameters["W_l0"])),
    "a gradient of U": (BACKWARD, off(lambda f: f.parameters["U_l0"])),
    "a gradient of b": (BACKWARD, off(lambda f: f.parameters["b_l0"])),
    "a gradient of x": (TRAINING, off(lambda f: f.x)),
    "a gradient of c0": (TRAINING, off(lambda f: f.initial[1])),
    "two rows": (FORWARD, rows_swapped),
    "a number that is not one": (FORWARD, off(lambda f: f.y, by=np.nan)),
    "no gradient of b": (TRAINING, lambda f: replace(f, parameters={})),
    "no gradient of x": (TRAINING, lambda f: replace(f, x=None)),
    "one final state": (FORWARD, lambda f: replace(f, final=f.final[:1])),
    "outputs of one step": (FORWARD, lambda f: replace(f, y=f.y[:1])),
    "float32 for float64": (FORWARD, lambda f: replace(f, y=f.y.astype(np.float32))),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_wrong_is_refused(planted):
    of, spoil = PLANTED[planted]
    problem = Problem("lstm", SHAPE, "float64")
    refuse(problem, of, spoil)


def test_a_gradient_where_there_is_no_cotangent_is_refused():
    """Rows have no influence on each other."""
    problem = Problem("lstm", SHAPE, "float64")
    refuse(problem, TRAINING, gradient_of_a_row_without_cotangent(problem))


def test_a_wide_layer_is_proven_though_its_gradient_of_x_is_not_sharp():
    """That is said, and one that is off by a fifth is refused all the same."""
    problem = Problem("lstm", Shape(T=4, B=1, D=512, H=512), "float32")
    want = expected(problem)
    assert want.blind == ("gradient of x",)
    assert passed(TRAINING, prepared(problem), problem, want).blind == ("gradient of x",)
    refuse(problem, TRAINING, lambda found: replace(found, x=1.2 * found.x))


def test_a_later_step_that_is_wrong_is_refused():
    """Beyond the steps that are proven as a whole, an output off by the carry is still seen."""
    problem = Problem("lstm", Shape(T=40, B=3, D=8, H=8), "float64")
    refuse(problem, FORWARD, off(lambda f: f.y), work=6000)


def refuse(problem, of, spoil, work=1e7):
    layer, want = prepared(problem), expected(problem, work)
    passed(of, layer, problem, want)  # right before it is spoilt
    arrays = layer.arrays
    layer.arrays = lambda result: spoil(arrays(result))
    with pytest.raises(WrongError):
        passed(of, layer, problem, want)


def test_torch_passes():
    pytest.importorskip("torch")

    shape = Shape(T=5, B=6, D=4, H=8)
    for name in ("torch-native:LSTM", "torch-onednn:LSTM", "torch:GRUCell", "torch:RNN-relu"):
        contender = contender_named(name)
        problem = Problem(contender.cells[0], shape, "float32")
        layer, want = contender.prepare(problem), expected(problem)
        onednn = "onednn" in name
        assert layer.algorithm == ("oneDNN" if onednn else "native")
        for of in (FORWARD, TRAINING, BACKWARD, *([] if onednn else [DATA])):
            assert passed(of, layer, problem, want).ratio <= 1, (name, of)


def test_halves():
    pytest.importorskip("torch")

    problem = Problem("lstm", Shape(T=4, B=4, D=8, H=16), "bfloat16")
    layer, want = contender_named("torch-native:LSTM").prepare(problem), expected(problem)
    gate = passed(TRAINING, layer, problem, want)
    assert gate.outputs > 1e-4
    arrays = layer.arrays
    layer.arrays = lambda result: off(lambda f: f.y, by=1.0)(arrays(result))
    with pytest.raises(WrongError):
        passed(FORWARD, layer, problem, want)


def test_what_all_contenders_are_given():
    problem = Problem("lstm", Shape(T=9, B=11, D=3, H=4), "float32", seed=3)
    again = Problem("lstm", Shape(T=9, B=11, D=3, H=4), "float32", seed=3)
    assert len(np.unique(problem.x[0], axis=0)) == 4
    assert sorted(problem.rows[problem.places]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(problem.x, again.x)
    d = problem.cotangents(5)
    silent = np.setdiff1d(np.arange(11), problem.places)
    assert not d.y[5:].any()
    assert not d.y[:, silent].any()
    assert d.y[:5, problem.places].all()
    assert not any(end.any() for end in d.final)
    dense = problem.cotangents()
    assert dense.y.all()
    assert all(end.all() for end in dense.final)


def test_bfloat16_rounds_to_nearest_even():
    """As the definition says, with 8 bits."""
    problem = Problem("rnn", *grid("H=2,B=1,T=2"), "bfloat16")
    given = np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-9, -3.14159, 1e-3])
    want = np.array([1.0, 1.0, 1 + 2**-6, 1.0, -3.140625, 0.00099945068359375])
    np.testing.assert_array_equal(problem.rounded(given), want.astype(np.float32))
