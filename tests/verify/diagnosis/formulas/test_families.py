"""The programs of the cells beyond RNN, LSTM and GRU, and the slips that are named in them."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.verify.diagnosis.formulas import relations
from gatewise.verify.diagnosis.formulas.groups import backward_edits
from gatewise.verify.diagnosis.formulas.measurement import measured, small_case
from gatewise.verify.diagnosis.formulas.program import named, program_of, statement
from gatewise.verify.diagnosis.formulas.texts_of_families import ALL, TEXTS
from gatewise.verify.mutants import right_subject
from gatewise.verify.subjects import adapted
from judgements import diagnosed


@pytest.mark.parametrize("cell", TEXTS)
def test_a_program_is_its_cell(cell):
    subject = right_subject(cell)
    seen = measured(subject, small_case(subject, "float64", 3))
    assert not seen.wrong_outputs
    assert not seen.wrong_gradients


@pytest.mark.parametrize("cell", ALL)
def test_every_way_back_has_edits_of_slopes_and_of_sums(cell):
    program = program_of(cell)
    edits = [*backward_edits(program, {s.target for s in program.back})]
    assert {e.where.partition(" ")[2].partition(" ")[0] for e in edits} >= {"loop", "gradient"}


def slipped(cell, *lines):
    """Return a layer whose program has other lines in the place of those with their targets."""
    program, changed = program_of(cell), {s.target: s for s in map(statement, lines)}
    places = {s.target: k for k, s in enumerate(program.forward)}
    wrong = program.with_statements("forward", {places[n]: s for n, s in changed.items()})
    width = len(cell_named(cell).states)

    class Layer:
        def forward(self, p, x, state):
            shape = (x.shape[1], p["b"].shape[-1])
            run = wrong.run(named(p), x, state or (np.zeros(shape, x.dtype),) * width)
            return run.y, run.final

    Layer.cell = cell
    return Layer


SLIPS = [
    ("mingru", "n = tanh(a_n)", "tanh stands in the place of identity"),
    ("qrnn-fo", "h_new = o * tanh(c_new)", "tanh stands in the place of identity"),
    ("qrnn-fo-2", "f1_new = x @ W_z1", "f1"),
    ("cfc", "h_new = (1 - tau) * k + tau * g", "g"),
    ("zoneout-lstm", "h_raw = o * c_raw", "tanh"),
    ("gru-keeps-old", "a_z = x @ W_z + n @ U_z + b_z", "n stands in the place of h_{t-1}"),
    ("gru-keeps-old", "r = softmax(a_r)", "a softmax over the units stands in the place of"),
    ("gru-keeps-old", "a_n = x @ W_n + (row_first(r) * h_old) @ U_n + b_n", "that of row 0, for"),
    ("rg-lru", "h_new = decay * h_old + (1 - decay ** 2) * i * a_u", "the root of"),
]


@pytest.mark.parametrize(("cell", "line", "word"), SLIPS)
def test_a_slip_is_named(cell, line, word):
    diagnosis = diagnosed(slipped(cell, line), "forward")
    assert diagnosis.status == "explained", diagnosis.headline
    assert word in " ".join(diagnosis.explanations[0].statements)


LAYER_NORM = [
    ([f"a_{k} = gh_{k} * nx_{k} + gx_{k} * nh_{k} + b_{k}" for k in "ifgo"], "gains gx and gh are"),
    ([f"nx_{k} = (px_{k} - mean_of(px_{k})) / deviation_of(px_{k})" for k in "ifgo"],
     "the product with W of each gate is normalised by itself"),
    (["c_shown = c_raw"], "c_raw stands in the place of c_shown"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "words"), LAYER_NORM)
def test_normalisations_are_told(lines, words):
    subject = adapted(slipped("lstm-layer-norm", *lines), "test:layer", None)
    assert words in next(relations.candidates(subject, "float64")).statements[0]
