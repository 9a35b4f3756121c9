"""What stands around the cells against the documents: chains, losses, tokens, directions, depth."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from against_documents import LABELS, Drawn, exact, floats, transcribed
from gatewise.reference import bptt, documents
from gatewise.reference.attention import Attention, context, scores, weights
from gatewise.reference.cells import cell_named
from gatewise.reference.gradient_clipping import clip_by_global_norm, clip_by_value
from gatewise.reference.layer import Layer
from gatewise.reference.output import cross_entropy, output_layer, sequence_log_probability, softmax
from gatewise.reference.tokens import embedding, one_hot, vocabulary
from gatewise.verify.numbers.ledger import Ledger
from gatewise.verify.proofs.material import forward
from transcriptions import d0, d2, d3, d3_bptt, d4, others
from transcriptions.scalar import mp


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


def held(case, label, printed, **options):
    """Hold an RNN of several parts to printed code, which takes x and W, U and b of each part."""
    layer = Layer(cell_named("rnn"), case.sizes, **options)
    p = layer.random_parameters(case.generator("p"))
    x = case.normal("x", (case.T, 1, case.D))
    parts = [[q[name][0].T.tolist() for name in "WUb"] for q in p]
    want = floats(printed(x[:, 0].tolist(), *parts))[:, None]
    ledger = Ledger()
    ledger.compare(LABELS[label], want, layer.forward([q.map(exact) for q in p], exact(x)).y)
    ledger.assert_within()


@transcribed
def test_d4_bidirectional(case):
    """E26: forward outputs beside backward outputs in input order."""

    def printed(x, *parts):
        return d4.bidirectional(x, *(lambda x, q=q: d3.rnn(x, [0] * case.H, *q) for q in parts))

    held(case, "bidirectional", printed, bidirectional=True)


@transcribed
def test_d3_deep_rnn(case):
    """E27: “RNN can be deep also”."""
    zeros = [[0] * case.H] * 2
    held(case, "stacked", lambda x, *parts: d3.deep_rnn(x, zeros, parts)[-1], layers=2)


def test_n1_agrees_with_the_transcription():
    """N1: both compute 3.59, -2.13 and their sigmoids; the printed gate is neither's."""
    z, f = d0.forget_gate_example()
    mine_z, mine_f = documents.forget_gate_values()

    np.testing.assert_allclose(floats(z), mine_z, rtol=1e-15)
    np.testing.assert_allclose(floats(f), mine_f, rtol=4e-16)
    assert abs(float(d0.N1_PRINTED_GATE[0]) - mine_f[0]) > 0.17
