"""The programs of the cells beyond RNN, LSTM and GRU, and the slips that are named in them."""

import numpy as np
import pytest

from gatewise.reference.cells import cell_named
from gatewise.verify.diagnosis.formulas.measurement import measured, small_case
from gatewise.verify.diagnosis.formulas.program import named, program_of, statement
from gatewise.verify.diagnosis.formulas.texts_of_families import TEXTS
from gatewise.verify.mutants import right_subject
from judgements import diagnosed


@pytest.mark.parametrize("cell", TEXTS)
def test_a_program_is_its_cell(cell):
    """Forward and back, over three steps."""
    subject = right_subject(cell)
    seen = measured(subject, small_case(subject, "float64", 3))

    assert not seen.wrong_outputs
    assert not seen.wrong_gradients


def slipped(cell, line):
    """Return a layer whose program has another line in the place of the one with its target."""
    program, changed = program_of(cell), statement(line)
    (at,) = (k for k, s in enumerate(program.forward) if s.target == changed.target)
    wrong = program.with_statements("forward", {at: changed})
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
