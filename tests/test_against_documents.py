"""The reference against the documents' own notation, transcribed literally in mpmath.

Every test draws a case, runs the reference in Bounded arithmetic, and requires that the
transcription's value, computed with 40 digits, lies within the bound. The transcriptions share no
function with the reference; only this file knows both layouts.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.reference import bptt, documents
from gatewise.reference.attention import Attention, context, scores, weights
from gatewise.reference.cells import cell_named
from gatewise.reference.cells.lstm_phased import LEAK
from gatewise.reference.clipping import clip_by_global_norm, clip_by_value
from gatewise.reference.equation import equations
from gatewise.reference.output import cross_entropy, output_layer, sequence_log_probability, softmax
from gatewise.reference.tokens import embedding, one_hot, vocabulary
from gatewise.verify.arithmetic import FLOAT64
from gatewise.verify.bounded import Bounded
from gatewise.verify.cases import Case
from gatewise.verify.check import Ledger
from gatewise.verify.proofs.material import cell_material, forward
from transcriptions import d0, d1, d2, d3, d3_bptt, d4, others, others_skip
from transcriptions.scalar import mp

LABELS = {e.name: e.label for e in equations()}
CASES = st.builds(
    Case, T=st.integers(1, 4), B=st.just(1), D=st.integers(1, 3), H=st.integers(1, 3),
    scale=st.sampled_from(["unit", "large"]), seed=st.integers(0, 2**16),
)  # fmt: skip


@pytest.fixture(autouse=True)
def digits():
    """Transcriptions compute with 40 digits."""
    with mp.workdps(40):
        yield


def exact(array):
    return Bounded.exact(array, FLOAT64)


def floats(nested):
    """Nested lists of mpf as an array."""
    return np.array(mp.matrix(nested).tolist() if not isinstance(nested, list) else nested, float)


class Drawn:
    """One case of one cell, in the shapes the documents use."""

    def __init__(self, name, case):
        self.cell = cell_named(name)
        self.m = cell_material(self.cell, case)
        self.xs = self.m.x[:, 0].tolist()
        self.states = [s[0].tolist() for s in self.m.state]
        self.gates = self.cell.gates

    def rows(self, array, keys=None):
        """W[key] for row vectors, [in][out], under the document's keys."""
        return {key: self.m.p[array][k].tolist() for k, key in enumerate(keys or self.gates)}

    def columns(self, array, keys=None):
        """The same for column vectors, [out][in]."""
        return {key: self.m.p[array][k].T.tolist() for k, key in enumerate(keys or self.gates)}

    def joined(self, keys=None):
        """[H][H + D], state first, under the document's keys."""
        U, W = self.m.p["U"], self.m.p["W"]
        return {key: np.concatenate([U[k], W[k]]).T.tolist()
                for k, key in enumerate(keys or self.gates)}  # fmt: skip

    def compare(self, *states):
        """Hold a transcription's states over time against y and the final states."""
        ledger, names = Ledger(), ", ".join(LABELS[name] for name in self.cell.equations)
        y, *final = forward(self.cell, self.m.map(exact))
        got = [floats(s) for s in states]
        ledger.compare(f"{names}: y", got[0][:, None], y)
        for k, array in enumerate(got):
            ledger.compare(f"{names}: final state {k}", array[-1:], final[k])
        ledger.assert_within()


def transcribed(function):
    """Turn a function of a case into a test that draws it."""
    return given(case=CASES)(function)


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


@transcribed
def test_d0_chain(case):
    """E08 as ordered product, and N2's printed formula where H = 1."""
    d = Drawn("rnn", case)
    dL = case.normal("dL", (case.H,))
    states = [y[0] for y in forward(d.cell, d.m)[0]]
    arguments = dL.tolist(), d.states[0], d.xs, d.joined()["a"], d.rows("b")["a"]
    ledger = Ledger()
    p, bounded = d.m.p.map(exact), forward(d.cell, d.m.map(exact))[0]
    got = bptt.chain(p, [bounded[t, 0] for t in range(case.T)], exact(dL))
    ledger.compare(LABELS["rnn.chain"], floats(d0.chain_ordered(*arguments)), got)
    if case.H == 1:
        ledger.compare("N2 for H = 1", floats(d0.chain_as_printed(*arguments)), got)
    ledger.assert_within()
    assert len(states) == case.T


@transcribed
def test_d3_backpropagation(case):
    """E09, E11 and E12 as scalar loops; E11 with the immediate derivative."""
    d = Drawn("rnn", case)
    d.m = d.m.replaced("b", 0 * d.m.p["b"])
    V = case.normal("V", (case.H, 3))
    y = np.eye(3)[case.seed % 3]
    U, W, V_columns = d.columns("W")["a"], d.columns("U")["a"], V.T.tolist()
    bounded = forward(d.cell, d.m.map(exact))[0]
    states = [bounded[t, 0] for t in range(case.T)]
    y_hat = softmax(states[-1] @ V)
    dE = (y_hat - y) @ V.T
    k = 1 + case.seed % case.T
    common = d.xs, y.tolist(), d.states[0], U, W, V_columns
    s = [d.states[0], *d3.rnn_s(d.xs, d.states[0], U, W)]
    y_hat_printed = d3.predictions(s[1:], V_columns)[-1]

    ledger, p = Ledger(), d.m.p.map(exact)
    printed = floats(d3_bptt.output_weight_gradient(y_hat_printed, y.tolist(), s[-1])).T
    got = bptt.output_weight_gradient(y_hat, y, states[-1])
    ledger.compare(LABELS["bptt.output_weight"], printed, got)
    printed = floats(d3_bptt.delta(k, case.T, *common))
    ledger.compare(LABELS["bptt.delta"], printed, bptt.delta(p, states, k, dE))
    printed = floats(d3_bptt.dE_dW_at(case.T, *common)).T
    inputs = [exact(x) for x in d.m.x[:, 0]]
    summed = bptt.sum_over_paths(p, exact(d.m.state[0][0]), states, inputs, dE)
    ledger.compare(LABELS["bptt.sum_over_paths"], printed, summed["U"][0])
    ledger.assert_within()


@transcribed
def test_d3_outputs(case):
    """E03, E05 and E06."""
    h, V = case.normal("h", (case.T, 1, case.H)), case.normal("V", (case.H, 3))
    b = case.normal("b", (3,))
    classes = case.generator("classes").integers(0, 3, case.T)
    targets = np.eye(3)[classes][:, None]
    z = d3.rnn_outputs(h[:, 0].tolist(), V.T.tolist(), b.tolist())
    y_hat = output_layer(exact(h), exact(V), exact(b))
    logits = case.normal("s", (4,), 10.0)

    ledger = Ledger()
    ledger.compare(LABELS["softmax"], floats(d3.softmax(logits.tolist())), softmax(exact(logits)))
    ledger.compare(LABELS["rnn.output"], floats(z)[:, None], y_hat)
    losses = [[d3.loss_at(t.tolist(), row)] for t, row in zip(targets[:, 0], z, strict=True)]
    ledger.compare(LABELS["loss.cross_entropy"], floats(losses), cross_entropy(y_hat, targets))
    log_p = floats([mp.log(d3.sequence_probability(z, classes.tolist()))])
    name = LABELS["rnn.sequence_probability"]
    ledger.compare(name, log_p, sequence_log_probability(y_hat, targets))
    ledger.assert_within()


@transcribed
def test_attention(case):
    """E33."""
    A = 2
    a = Attention(*(exact(case.normal(k, s)) for k, s in
                    (("W", (case.D, A)), ("U", (case.H, A)), ("v", (A,)))))  # fmt: skip
    s, h = case.normal("s", (1, case.D)), case.normal("h", (case.T, 1, case.H))
    arrays = a.W.value.T.tolist(), a.U.value.T.tolist(), a.v.value.tolist()
    mixed, alpha, e = others.attention(s[0].tolist(), h[:, 0].tolist(), *arrays)

    ledger, fits = Ledger(), scores(a, exact(s), exact(h))
    ledger.compare(LABELS["attention.scores"], floats([e]), fits)
    ledger.compare(LABELS["attention.weights"], floats([alpha]), weights(fits))
    ledger.compare(LABELS["attention.context"], floats([mixed]), context(weights(fits), exact(h)))
    ledger.assert_within()


@given(st.integers(0, 2**16), st.floats(0.1, 5.0))
def test_clipping(seed, limit):
    """E30."""
    rng = np.random.default_rng(seed)
    g = {"a": rng.standard_normal(3), "b": rng.standard_normal(2)}
    lists, bounded = [a.tolist() for a in g.values()], {k: exact(a) for k, a in g.items()}

    ledger = Ledger()
    for label, mine, printed in (
        ("clip.by_value", clip_by_value(bounded, limit), others.clip_by_value(lists, limit)),
        ("clip.by_global_norm", clip_by_global_norm(bounded, limit),
         others.clip_by_global_norm(lists, limit)),
    ):  # fmt: skip
        for got, want in zip(printed, mine.values(), strict=True):
            ledger.compare(LABELS[label], floats(got), want)
    ledger.assert_within()


def test_one_hot_and_embedding():
    """E31 and N4."""
    sentence = "The cat sat on the mat"
    words, rows = d2.one_hot(sentence)
    numbers = [vocabulary(sentence)[word] for word in words]
    table = np.arange(21.0).reshape(7, 3)

    np.testing.assert_array_equal(one_hot(numbers, 7), floats(rows))
    np.testing.assert_array_equal(embedding(numbers, table), floats(d2.embed(rows, table.tolist())))


@transcribed
def test_d4_bidirectional(case):
    """E26: forward outputs beside backward outputs in input order."""
    from gatewise.reference.layer import Layer

    layer = Layer(cell_named("rnn"), case.sizes, bidirectional=True)
    p = layer.random_parameters(case.generator("p"))
    x, zero = case.normal("x", (case.T, 1, case.D)), [0] * case.H
    ways = [
        lambda xs, q=q: d3.rnn(
            xs, zero, q["W"][0].T.tolist(), q["U"][0].T.tolist(), q["b"][0].tolist()
        )
        for q in p
    ]
    printed = floats(d4.bidirectional(x[:, 0].tolist(), *ways))[:, None]
    ledger = Ledger()
    got = layer.forward([q.map(exact) for q in p], exact(x)).y
    ledger.compare(LABELS["bidirectional"], printed, got)
    ledger.assert_within()


@transcribed
def test_d3_deep_rnn(case):
    """E27: “RNN can be deep also”."""
    from gatewise.reference.layer import Layer

    layer = Layer(cell_named("rnn"), case.sizes, layers=2)
    p = layer.random_parameters(case.generator("p"))
    x, zero = case.normal("x", (case.T, 1, case.D)), [0] * case.H
    stack = [(q["W"][0].T.tolist(), q["U"][0].T.tolist(), q["b"][0].tolist()) for q in p]
    printed = floats(d3.deep_rnn(x[:, 0].tolist(), [zero, zero], stack)[-1])[:, None]
    ledger = Ledger()
    got = layer.forward([q.map(exact) for q in p], exact(x)).y
    ledger.compare(LABELS["stacked"], printed, got)
    ledger.assert_within()


def test_n1_agrees_with_the_transcription():
    """N1: both compute 3.59, -2.13 and their sigmoids; the printed gate is neither's."""
    z, f = d0.forget_gate_example()
    mine_z, mine_f = documents.forget_gate_values()

    np.testing.assert_allclose(floats(z), mine_z, rtol=1e-15)
    np.testing.assert_allclose(floats(f), mine_f, rtol=4e-16)
    assert abs(float(d0.N1_PRINTED_GATE[0]) - mine_f[0]) > 0.17
