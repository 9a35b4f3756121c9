"""The cells of the reference against the documents' own notation, transcribed in mpmath.

Every test draws a case, runs the reference in Bounded arithmetic, and requires that the
transcription's value, computed with 40 digits, lies within the bound. The transcriptions share no
function with the reference; only these tests know both layouts.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from against_documents import CASES, Drawn, transcribed
from gatewise.reference.cells.lstm_phased import LEAK
from gatewise.verify.cases.case import Case
from transcriptions import d0, d1, d2, d3, d4, others, others_skip

D1_KEYS = ("input", "forget", "candidate", "output")


def phased(d):
    times, xs = [x[0] for x in d.xs], [x[1:] for x in d.xs]
    timing = [d.m.p[name].tolist() for name in ("tau", "s", "r_on")]
    arrays = d.rows("W"), d.rows("U"), d.rows("p", "ifo"), d.rows("b")
    return others.phased_lstm(xs, times, *d.states, *arrays, *timing, LEAK)


def peephole(current):
    return lambda d: d4.lstm_peephole(
        d.xs, *d.states, d.columns("W"), d.columns("U"), d.rows("p", "ifo"), d.rows("b"),
        output_sees_current=current,
    )  # fmt: skip


def reset_after(d):
    b_h = {"r": [0] * len(d.states[0]), "z": [0] * len(d.states[0]), "n": d.m.p["b_hn"].tolist()}
    return [others.gru_reset_after(d.xs, *d.states, d.rows("W"), d.rows("U"), d.rows("b"), b_h)]


CELLS = {
    "E04 in D0's concatenated columns": ("rnn", lambda d: [
        d0.rnn(d.xs, *d.states, d.joined()["a"], d.rows("b")["a"])]),
    "E04 in D2's rows with one matrix C": ("rnn", lambda d: [
        d2.rnn(d.xs, *d.states, d.m.p["W"][0].tolist() + d.m.p["U"][0].tolist(),
               d.rows("b")["a"])]),
    "E04 in D3's columns with two matrices": ("rnn", lambda d: [
        d3.rnn(d.xs, *d.states, d.columns("W")["a"], d.columns("U")["a"], d.rows("b")["a"])]),
    "E04 with ReLU": ("rnn-relu", lambda d: [
        others.relu_rnn(d.xs, *d.states, *(d.rows(name)["a"] for name in "WUb"))]),
    "E13-E18 in D0's notation": ("lstm", lambda d: d0.lstm(
        d.xs, *d.states, d.joined(), d.rows("b"))),
    "E13-E18 as D1's LSTMCELL, its loop corrected": ("lstm", lambda d: d1.loop_corrected(
        d.xs, *d.states[::-1], d.joined(D1_KEYS), d.rows("b", D1_KEYS))),
    "E13-E18 in D2's rows": ("lstm", lambda d: d2.lstm(
        d.xs, *d.states, *(d.rows(name, "ifco") for name in "WUb"))),
    "E15 as D3 prints it": ("lstm-sigmoid-candidate", lambda d: d3.lstm(
        d.xs, *d.states, d.columns("U", "ifuo"), d.columns("W", "ifuo"), d.rows("b", "ifuo"))),
    "E13-E18 in D4's letters": ("lstm", lambda d: d4.lstm(
        d.xs, *d.states, d.columns("W"), d.columns("U"), d.rows("b"))),
    "E25, the output gate sees the new state": ("lstm-peephole", peephole(True)),
    "E25, the output gate sees the old state": ("lstm-peephole-old", peephole(False)),
    "E20-E22 and E23a in D0's notation": ("gru-takes-new", lambda d: [
        d0.gru(d.xs, *d.states, d.joined("ric"), d.rows("b", "ric"))]),
    "E20-E22 and E23b in D2's notation": ("gru-keeps-old", lambda d: [
        d2.gru(d.xs, *d.states, *(d.rows(name, "rug") for name in "WUb"))]),
    "E24": ("gru", reset_after),
    "E13 as f = 1 - i": ("lstm-coupled", lambda d: others.lstm_coupled(
        d.xs, *d.states, *(d.rows(name) for name in "WUb"))),
    "E28": ("lstm-phased", phased),
}  # fmt: skip
"""Equations, in whose notation: the cell, and the transcription's states over time."""


@pytest.mark.parametrize("equations", CELLS)
def test_a_cell(equations):
    name, transcription = CELLS[equations]

    @transcribed
    def agrees(case):
        d = Drawn(name, case)
        d.compare(*transcription(d))

    agrees()


@transcribed
def test_d3_and_d4_rnn_without_bias(case):
    """E04 with U for the input and W for the state, no bias."""
    d = Drawn("rnn", case)
    d.m = d.m.replaced("b", 0 * d.m.p["b"])
    for rnn in (d3.rnn_s, d4.rnn):
        d.compare(rnn(d.xs, *d.states, d.columns("W")["a"], d.columns("U")["a"]))


@given(case=CASES, P=st.integers(1, 2))
def test_projected_lstm(case, P):
    """E18 with the projection; its matrix is transposed there."""
    d = Drawn("lstm-projected", Case(case.T, 1, case.D, case.H + 2, P=P, seed=case.seed))
    R = d.m.p["R"].tolist()
    arrays = d.rows("W"), d.rows("U"), d.rows("b"), R
    d.compare(*others.lstm_projected(d.xs, *d.states, *arrays))


@pytest.mark.parametrize(("name", "keys"), [
    ("skip-rnn", ("a",)), ("skip-lstm", None), ("skip-gru", ("r", "z", "c"))])  # fmt: skip
def test_skip(name, keys):
    """E29 around each plain cell; ũ starts anywhere."""

    @transcribed
    def agrees(case):
        d = Drawn(name, case)
        *states, (u_tilde,) = d.states
        arrays = [d.rows(array, keys) for array in "WUb"]
        if name == "skip-rnn":
            arrays = [array["a"] for array in arrays]
        gate = d.m.p["w_p"][:, 0].tolist(), float(d.m.p["b_p"][0]), u_tilde
        run = getattr(others_skip, name.replace("-", "_"))
        *computed, _, u = run(d.xs, *states, *arrays, *gate)
        d.compare(*computed, [[v] for v in u[1:]])

    agrees()
