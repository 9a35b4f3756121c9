"""The cells of the reference against the documents' own notation, transcribed in mpmath.

Every test draws a case, runs the reference in Bounded arithmetic, and requires that the
transcription's value, computed with 40 digits, lies within the bound. The transcriptions share no
function with the reference; only these tests know both layouts.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from against_documents import CASES, Drawn, transcribed
from gatewise.reference.cells.lstm_phased import LEAK
from gatewise.verify.cases.case import Case
from transcriptions import d0, d1, d2, d3, d4, others, others_skip


@transcribed
def test_d0_rnn(case):
    """E04 in D0's concatenated columns."""
    d = Drawn("rnn", case)
    d.compare(d0.rnn(d.xs, d.states[0], d.joined()["a"], d.rows("b")["a"]))


@transcribed
def test_d2_rnn(case):
    """E04 in D2's rows with one matrix C."""
    d = Drawn("rnn", case)
    C = np.concatenate([d.m.p["W"][0], d.m.p["U"][0]]).tolist()
    d.compare(d2.rnn(d.xs, d.states[0], C, d.rows("b")["a"]))


@transcribed
def test_d3_rnn(case):
    """E04 in D3's columns with two matrices."""
    d = Drawn("rnn", case)
    W_xh, W_hh = d.columns("W")["a"], d.columns("U")["a"]
    d.compare(d3.rnn(d.xs, d.states[0], W_xh, W_hh, d.rows("b")["a"]))


@transcribed
def test_d3_and_d4_rnn_without_bias(case):
    """E04 with U for the input and W for the state, no bias."""
    d = Drawn("rnn", case)
    d.m = d.m.replaced("b", 0 * d.m.p["b"])
    U, W = d.columns("W")["a"], d.columns("U")["a"]
    d.compare(d3.rnn_s(d.xs, d.states[0], U, W))
    d.compare(d4.rnn(d.xs, d.states[0], U, W))


@transcribed
def test_d0_lstm(case):
    """E13-E18 in D0's notation."""
    d = Drawn("lstm", case)
    d.compare(*d0.lstm(d.xs, *d.states, d.joined(), d.rows("b")))


@transcribed
def test_d1_lstm(case):
    """E13-E18 as D1's LSTMCELL, its loop corrected."""
    d, keys = Drawn("lstm", case), ("input", "forget", "candidate", "output")
    h, c = d.states
    d.compare(*d1.loop_corrected(d.xs, c, h, d.joined(keys), d.rows("b", keys)))


@transcribed
def test_d2_lstm(case):
    """E13-E18 in D2's rows."""
    d, keys = Drawn("lstm", case), ("i", "f", "c", "o")
    U, W, b = d.rows("W", keys), d.rows("U", keys), d.rows("b", keys)
    d.compare(*d2.lstm(d.xs, *d.states, U, W, b))


@transcribed
def test_d3_lstm_with_sigmoid_candidate(case):
    """E15 as D3 prints it."""
    d, keys = Drawn("lstm-sigmoid-candidate", case), ("i", "f", "u", "o")
    W_h, W_x, b = d.columns("U", keys), d.columns("W", keys), d.rows("b", keys)
    d.compare(*d3.lstm(d.xs, *d.states, W_h, W_x, b))


@transcribed
def test_d4_lstm(case):
    """E13-E18 in D4's letters."""
    d = Drawn("lstm", case)
    d.compare(*d4.lstm(d.xs, *d.states, d.columns("W"), d.columns("U"), d.rows("b")))


@pytest.mark.parametrize(
    ("name", "current"), [("lstm-peephole", True), ("lstm-peephole-old", False)]
)
def test_d4_peephole(name, current):
    """E25 in both readings."""

    @transcribed
    def agrees(case):
        d = Drawn(name, case)
        p = d.rows("p", ("i", "f", "o"))
        arrays = d.columns("W"), d.columns("U"), p, d.rows("b")
        d.compare(*d4.lstm_peephole(d.xs, *d.states, *arrays, output_sees_current=current))

    agrees()


@transcribed
def test_d0_gru(case):
    """E20-E22 and E23a in D0's notation."""
    d, keys = Drawn("gru-takes-new", case), ("r", "i", "c")
    W = d.joined(keys)
    d.compare(d0.gru(d.xs, d.states[0], W, d.rows("b", keys)))


@transcribed
def test_d2_gru(case):
    """E20-E22 and E23b in D2's notation."""
    d, keys = Drawn("gru-keeps-old", case), ("r", "u", "g")
    U, W, b = d.rows("W", keys), d.rows("U", keys), d.rows("b", keys)
    d.compare(d2.gru(d.xs, d.states[0], U, W, b))


@transcribed
def test_gru_reset_after(case):
    """E24."""
    d = Drawn("gru", case)
    b_h = {"r": [0] * case.H, "z": [0] * case.H, "n": d.m.p["b_hn"].tolist()}
    arrays = d.rows("W"), d.rows("U"), d.rows("b"), b_h
    d.compare(others.gru_reset_after(d.xs, d.states[0], *arrays))


@transcribed
def test_relu_rnn(case):
    """E04 with ReLU."""
    d = Drawn("rnn-relu", case)
    arrays = d.rows("W")["a"], d.rows("U")["a"], d.rows("b")["a"]
    d.compare(others.relu_rnn(d.xs, d.states[0], *arrays))


@transcribed
def test_coupled_lstm(case):
    """E13 as f = 1 - i."""
    d = Drawn("lstm-coupled", case)
    d.compare(*others.lstm_coupled(d.xs, *d.states, d.rows("W"), d.rows("U"), d.rows("b")))


@given(case=CASES, P=st.integers(1, 2))
def test_projected_lstm(case, P):
    """E18 with the projection; its matrix is transposed there."""
    d = Drawn("lstm-projected", Case(case.T, 1, case.D, case.H + 2, P=P, seed=case.seed))
    R = d.m.p["R"].tolist()
    arrays = d.rows("W"), d.rows("U"), d.rows("b"), R
    d.compare(*others.lstm_projected(d.xs, *d.states, *arrays))


@transcribed
def test_phased_lstm(case):
    """E28."""
    d = Drawn("lstm-phased", case)
    times, xs = [x[0] for x in d.xs], [x[1:] for x in d.xs]
    timing = [d.m.p[name].tolist() for name in ("tau", "s", "r_on")]
    arrays = d.rows("W"), d.rows("U"), d.rows("p", ("i", "f", "o")), d.rows("b")
    d.compare(*others.phased_lstm(xs, times, *d.states, *arrays, *timing, LEAK))


@pytest.mark.parametrize("name", ["skip-rnn", "skip-lstm", "skip-gru"])
def test_skip(name):
    """E29 around each plain cell; ũ starts anywhere."""

    @transcribed
    def agrees(case):
        d = Drawn(name, case)
        *states, (u_tilde,) = d.states
        gate = d.m.p["w_p"][:, 0].tolist(), float(d.m.p["b_p"][0]), u_tilde
        if name == "skip-rnn":
            arrays = d.rows("W")["a"], d.rows("U")["a"], d.rows("b")["a"]
            h, _, u = others_skip.skip_rnn(d.xs, *states, *arrays, *gate)
            d.compare(h, [[v] for v in u[1:]])
        elif name == "skip-gru":
            keys = ("r", "z", "c")
            arrays = d.rows("W", keys), d.rows("U", keys), d.rows("b", keys)
            h, _, u = others_skip.skip_gru(d.xs, *states, *arrays, *gate)
            d.compare(h, [[v] for v in u[1:]])
        else:
            arrays = d.rows("W"), d.rows("U"), d.rows("b")
            h, c, _, u = others_skip.skip_lstm(d.xs, *states, *arrays, *gate)
            d.compare(h, c, [[v] for v in u[1:]])

    agrees()
