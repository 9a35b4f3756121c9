"""The programs of the cells beyond RNN, LSTM and GRU, and the slips that are named in them."""

from functools import partial

import numpy as np
import pytest
import torch

from gatewise.reference.cells import cell_named
from gatewise.verify.diagnosis.formulas import relations
from gatewise.verify.diagnosis.formulas.edits import Edit
from gatewise.verify.diagnosis.formulas.groups import backward_edits
from gatewise.verify.diagnosis.formulas.measurement import measured, small_case
from gatewise.verify.diagnosis.formulas.program import named, program_of, statement
from gatewise.verify.diagnosis.formulas.replacement import edit_differentiated_step
from gatewise.verify.diagnosis.formulas.texts_of_families import ALL, TEXTS
from gatewise.verify.diagnosis.hypotheses import Guess, Hypothesis
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


class TanhAfterProjection(torch.nn.LSTM):
    def __init__(self, input_size, hidden_size, proj_size=0):
        super().__init__(input_size, hidden_size, proj_size=proj_size)

    def forward(self, x, hx=None):
        y, bias = [], self.bias_ih_l0 + self.bias_hh_l0
        if hx is None:
            widths = self.proj_size or self.hidden_size, self.hidden_size
            hx = [x.new_zeros(1, x.shape[1], width) for width in widths]
        h, c = hx[0][0], hx[1][0]
        for x_t in x:
            i, f, g, o = (x_t @ self.weight_ih_l0.T + h @ self.weight_hh_l0.T + bias).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            h = torch.tanh(h @ self.weight_hr_l0.T) if self.proj_size else h
            y.append(h)
        return torch.stack(y), (h[None], c[None])


def test_a_projection_is_measured_where_the_layer_without_one_is_right():
    subject = adapted(TanhAfterProjection, "test:layer", "torch.nn.LSTM")
    first = next(relations.candidates(subject, "float64"))
    assert "tanh is applied to the whole" in first.statements[0]


GIVEN = right_subject("lstm-layer-norm")

SLIPS = [
    ("mingru", "n = tanh(a_n)", "tanh stands in the place of identity"),
    ("qrnn-fo", "h_new = o * tanh(c_new)", "tanh stands in the place of identity"),
    ("qrnn-fo-2", "f1_new = x @ W_z1", "f1"),
    ("cfc", "h_new = (1 - tau) * k + tau * g", "g"),
    ("zoneout-lstm", "h_raw = o * c_raw", "tanh"),
    ("gru-keeps-old", "a_z = x @ W_z + n @ U_z + b_z", "n stands in the place of h_{t-1}"),
    ("gru-keeps-old", "r = softmax(a_r)", "a softmax over the units stands in the place of"),
    ("gru-keeps-old", "a_n = x @ W_n + (row_first(r) * h_old) @ U_n + b_n", "that of row 0, for"),
    ("gru", "a_n = r * (x @ W_n + b_n) + q", "the factor r multiplies (x_t @ W_n + b_n)"),
    ("gru-takes-new", "a_n = x @ W_n + (r * h_old) @ U_n; n = tanh(a_n) + b_n", "b_n is added aft"),
    (
        "lstm-peephole",
        "a_f = x @ W_f + h_old @ U_f + b_f + p_f * (c_old + i * g)",
        "(c_{t-1} + i * g) stands in the place of c_{t-1}",
    ),
    ("gru-keeps-old", "h_new = z * h_old + (1 - z) * relu(n)", "relu(n) stands in the place of n"),
    ("rg-lru", "h_new = decay * h_old + (1 - decay ** 2) * i * a_u", "the root of"),
]


@pytest.mark.parametrize(("cell", "line", "word"), SLIPS)
def test_a_slip_is_named(cell, line, word):
    diagnosis = diagnosed(slipped(cell, *line.split("; ")), "forward")
    assert diagnosis.status == "explained", diagnosis.headline
    assert word in " ".join(diagnosis.explanations[0].statements)


LAYER_NORM = [
    ([f"a_{k} = gh_{k} * nx_{k} + gx_{k} * nh_{k} + b_{k}" for k in "ifgo"], "gains gx and gh are"),
    ([f"nx_{k} = (px_{k} - mean_of(px_{k})) / deviation_of(px_{k})" for k in "ifgo"],
     "the product with W of each gate is normalised by itself"),
    (["c_shown = c_raw"], "c_raw stands in the place of c_shown"),
    (["dev_c = deviation_less_1(c_raw)"], "the variance is divided by n - 1, not n"),
    (["n_c = row_centred(c_raw) / (mean_of(row_centred(c_raw) ** 2) + 1e-5) ** 0.5"],
     "where the cell state is normalised, the mean is taken over the rows"),
]  # fmt: skip


def test_a_normalisation_is_differentiated():
    """Its mean and deviation are of traced arrays, too."""
    seen = measured(right_subject("lstm-layer-norm"), small_case(GIVEN, "float64", 2))
    case = seen.case
    change = partial(edit_differentiated_step, Edit("", (), 0))
    guess = Guess(GIVEN, Hypothesis(("none",), (), (change,)))
    again = measured(guess.as_subject, case)
    for name, array in seen.gradients.items():
        np.testing.assert_allclose(again.gradients[name], array, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("lines", "words"), LAYER_NORM)
def test_normalisations_are_told(lines, words):
    subject = adapted(slipped("lstm-layer-norm", *lines), "test:layer", None)
    assert words in next(relations.candidates(subject, "float64")).statements[0]


def test_what_only_large_numbers_show_is_measured_with_large_weights():
    subject = adapted(slipped("rnn-relu", "h_new = relu6(a_a)"), "test:layer", None)
    assert "ReLU6" in next(relations.candidates(subject, "float64")).statements[0]
