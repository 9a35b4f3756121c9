"""A class in the place of torch.nn.LSTMCell: held step after step; what fits badly is told."""

import re
from functools import cache, partial

import numpy as np
import pytest
import torch

import hand_written
import own_cells as cells
import own_names as layers
from gatewise.verify.cases.case import Case
from gatewise.verify.checks import subject_checks
from gatewise.verify.execution.judge import Budget, hold
from gatewise.verify.recordings.record import form_of
from gatewise.verify.subjects import adapted, subject_named
from gatewise.verify.subjects.cell_call import step_of
from gatewise.verify.subjects.inputs import draw_cotangents, draw_inputs
from gatewise.verify.subjects.loader import UnknownSubject
from gatewise.verify.subjects.torch_like import fitting
from judgements import verdict_is

CHECKS = {check.id: check for check in subject_checks() if not check.problems}


@cache
def like(cell, kind=None):
    return adapted(cell, f"own:{cell.__name__}", f"torch.nn.{kind or cell.kind}")


def held(subject, check, dtype="float64"):
    return hold(subject, CHECKS[check], dtype, budget=Budget(2, 1), seed_value=5)


RIGHT = {
    cells.OneBias: r"weight_ih is \[W_f,W_i,W_o,W_g\], .*, bias is \[b_f,b_i,b_o,b_g\]",
    cells.FourLinears: r"forget.weight is \[W_f; U_f\], .*candidate.bias is b_g .found by exper",
    cells.Spread: r"forget.weight is \[W_f; U_f\], .*candidate.bias is b_g .found by exper",
    cells.Peepholes: r"peephole is \[p_i,p_f,p_o\], x2h.weight is \[W_i,W_f,W_g,W_o\]",
    cells.PeepholesPerGate: "W_ci is p_i, W_cf is p_f, W_co is p_o.*the output gate sees the old c",
    cells.TwoLinears: r"x2h.weight is \[W_r,W_z,W_n\], .*h2h.bias is \[b_r,b_z,b_hn\]",
    cells.Elman: "i2h.weight is W_a, i2h.bias is b_a, h2h.weight is U_a, h2h.bias is b_a",
}


@pytest.mark.parametrize("cell", RIGHT, ids=lambda cell: cell.__name__)
def test_a_cell_with_its_own_names_is_mapped_and_passes(cell):
    subject = like(cell)

    assert re.search(RIGHT[cell], subject.own.text), subject.own.text
    for check in ("smoke", "forward", "gradient", "jvp", "carry", "carry-gradient", "transition"):
        verdict_is(held(subject, check), "passed")
    assert held(subject, "padding").status == "not supported"
    assert subject.options.jvp
    assert not subject.options.lengths
    assert subject.options.default_state == (cell is cells.TwoLinears)
    assert subject.options.bias == (cell is cells.TwoLinears)


def test_a_cell_with_torchs_names_needs_no_mapping():
    subject = like(cells.Derived, "LSTMCell")

    assert subject.own is None
    assert subject.options.unbatched
    assert subject.options.default_state
    for check in (each for each in CHECKS.values() if each.concerns(subject)):
        verdict = held(subject, check.id, "float32")
        missing = subject.options.missing(check.needs)
        assert verdict.status == ("not supported" if missing else "passed"), verdict.message
    assert "parameters" not in {c.id for c in CHECKS.values() if subject.options.missing(c.needs)}
    assert form_of(subject).name == "torch.nn.LSTMCell"


def test_an_argument_without_a_default_is_given():
    """As of Opacus' cells: with a bias and without."""
    subject = like(cells.BiasIsAsked, "GRUCell")
    assert subject.options.bias
    assert held(subject, "parameters").status == "passed"


@pytest.mark.parametrize("cell", [cells.OutputWithoutTanh, cells.OutputIsNotTheState,
                                  cells.PeepholesWithoutTanh],
                         ids=lambda cell: cell.__name__)  # fmt: skip
def test_a_wrong_cell_is_caught(cell):
    assert held(like(cell), "forward").status == "failed"


def test_a_base_class_implies_its_like(tmp_path):
    """As for layers: who derives from torch.nn.GRUCell stands in its place."""
    file = tmp_path / "derived_cell.py"
    file.write_text("import torch\n\n\nclass Mine(torch.nn.GRUCell):\n    pass\n")

    subject = subject_named(f"{file}:Mine")
    assert subject.kind == "GRUCell"
    assert held(subject, "gradient").status == "passed"


@pytest.mark.parametrize(("layer", "kind", "fits"), [
    (cells.Derived, "LSTM", "LSTMCell"),
    (cells.Derived, "GRUCell", "LSTMCell"),
    (cells.TwoLinears, "GRU", "GRUCell"),
    (cells.TwoLinears, "LSTMCell", "GRUCell"),
    (cells.FourLinears, "LSTM", "LSTMCell"),
    (cells.Elman, "RNN", "RNNCell"),
    (cells.OutputWithoutTanh, "RNN", "LSTMCell"),
    (layers.TwoLinears, "GRUCell", "GRU"),
    (layers.Packed, "LSTMCell", "LSTM"),
    (hand_written.LSTM, "GRU", "LSTM"),
    (hand_written.LSTM, "LSTMCell", "LSTM"),
    (torch.nn.GRU, "LSTM", "GRU"),
])  # fmt: skip
def test_what_fits_instead_is_told(layer, kind, fits):
    message = f"own:{layer.__name__} does not fit --like torch.nn.{kind}; it fits --like torch.nn."
    with pytest.raises(UnknownSubject) as refusal:
        like(layer, kind)
    assert str(refusal.value) == message + fits


def test_without_like_it_is_told_which_to_give():
    """Only for a module of torch's; any other class may be meant as explicit gates."""
    with pytest.raises(UnknownSubject, match=r"say --like torch\.nn\.GRUCell, whose"):
        adapted(cells.TwoLinears, "own:TwoLinears", None)
    with pytest.raises(UnknownSubject, match=r"with torch's constructor and call, or"):
        adapted(Case, "own:Case", None)


def test_what_fits_nothing_is_judged_as_before():
    """No guess where a step returns what no cell returns."""
    assert fitting(cells.TwoOutputs, "own:TwoOutputs") == []


@pytest.mark.parametrize(("cell", "step"), [
    (cells.FourLinears, ("step", False)), (cells.Spread, ("forward", True)),
    (partial(cells.Spread, 3), ("forward", True)),
    (cells.OneBias, ("forward", False)), (torch.nn.LSTMCell, ("forward", False)),
])  # fmt: skip
def test_how_a_cell_is_called_is_seen_from_its_signature(cell, step):
    assert step_of(cell) == step


@pytest.mark.parametrize("cell", [cells.FourLinears, cells.Spread, cells.OneBias, cells.Elman],
                         ids=lambda cell: cell.__name__)  # fmt: skip
def test_a_script_calls_the_cell_as_gatewise_does(cell):
    """The same outputs, states and gradients, by plain torch code."""
    subject, case = like(cell), Case(3, 2, 4, 5, dtype="float64")
    inputs = draw_inputs(subject, case)
    dy, dfinal = draw_cotangents(subject, case)
    pulled = subject.build(case).gradients(inputs, [(dy, dfinal)])[0]
    program = {"Layer": cell, "np": np}
    exec(subject.caller(case), program)

    made = program["call"](
        program["make"](), inputs.parameters, inputs.x, inputs.state, None, dy, dfinal
    )
    assert np.array_equal(made["y"], pulled.y)
    assert all(
        np.allclose(made[f"final {name}"], s) for name, s in zip("hc", pulled.final, strict=False)
    )
    for name, gradient in pulled.parameters.items():
        assert np.allclose(made[f"gradient of {name}"], gradient)
    assert np.allclose(made["gradient of x"], pulled.x)
