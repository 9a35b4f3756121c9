"""Errors to plant in the equations so that a claim's verdict changes: one or more for each claim.

A plant is a function of pytest's monkeypatch. It replaces equations, cells' steps or VJPs, in
memory. Most are consistent (the VJP is that of the wrong step), so that the claim is judged of
another world; Where only the VJP is wrong, nothing can be judged.
"""

import numpy as np

from gatewise.bench.claims import symptoms as learning
from gatewise.bench.claims.ledger import FALSE, HOLDS, HOLDS_WHEN, NOT_TESTED, claim_named, judge
from gatewise.reference import bptt, documents, functions
from gatewise.reference.cell import affine_vjp
from gatewise.reference.cells import cell_named, gru, lstm, rnn
from gatewise.reference.parameters import Parameters

RNN, LSTM, GRU, RELU = (cell_named(n) for n in ("rnn", "lstm", "gru-keeps-old", "rnn-relu"))


def forget_gate_plus_one(patch):
    """F is σ(...) + 1."""
    right = lstm.forget_gate
    patch.setattr(lstm, "forget_gate", lambda p, x, h: right(p, x, h) + 1)


def no_tanh(patch):
    """The RNN is linear."""
    patch.setattr(RNN, "_forward", lambda p, x, a: x @ p.W_a + a @ p.U_a + p.b_a)
    patch.setattr(RNN, "_slope", lambda a: 1 + 0 * a)


def output_does_not_show_c(patch):
    """H is o: no path leads from c through h."""
    patch.setattr(lstm, "hidden_state", lambda o, c: o + 0 * c)
    patch.setattr(lstm, "hidden_state_vjp", lambda o, c, dh: (dh, 0 * c))


def sigmoid_candidate(patch):
    """The LSTM's candidate is D3's."""
    patch.setattr(LSTM, "_candidate", lstm.candidate_sigmoid)
    patch.setattr(LSTM, "_candidate_slope", functions.sigmoid_slope)


def steep_sigmoid(patch):
    """Σ is five times as steep."""
    patch.setattr(functions, "sigmoid", lambda s: 1 / (1 + np.exp(-5 * s)))


def scaled_tanh(patch):
    """Tanh is LeCun's 1.7159 tanh(2 s / 3), whose slope reaches 1.14."""
    patch.setattr(functions, "tanh", lambda s: 1.7159 * np.tanh(2 * s / 3))


def normalised(patch):
    """RNNs divide their recurrent matrix by its Frobenius norm, which is more than its 2-norm."""

    def smaller(p):
        return Parameters(p.shapes, {**p, "U": p["U"] / np.linalg.norm(p["U"])})

    step, vjp = rnn.RNN.step, rnn.RNN.vjp
    patch.setattr(rnn.RNN, "step", lambda self, p, *rest: step(self, smaller(p), *rest))
    patch.setattr(rnn.RNN, "vjp", lambda self, p, *rest: vjp(self, smaller(p), *rest))


def residual(patch):
    """RNNs add the old state: a' = a + tanh(...)."""

    def step(self, p, x, state):
        (a,) = state
        return (a + np.tanh(x @ p.W_a + a @ p.U_a + p.b_a),), {}

    def vjp(self, p, x, state, gates, new, cotangent):
        (a,), (da_new,) = state, cotangent
        slope = 1 - np.tanh(x @ p.W_a + a @ p.U_a + p.b_a) ** 2
        arrays, dx, da = affine_vjp(p, x, a, {"a": da_new * slope})
        return Parameters(p.shapes, arrays), dx, (da + da_new,)

    patch.setattr(rnn.RNN, "step", step)
    patch.setattr(rnn.RNN, "vjp", vjp)


def bounded_relu(patch):
    """The ReLU RNN has a tanh."""
    patch.setattr(RELU, "_forward", rnn.state)
    patch.setattr(RELU, "_slope", functions.tanh_slope)


def no_clipping(patch):
    """Clipping returns what it was given."""
    for name in ("clip_by_global_norm", "clip_by_value"):
        patch.setattr(learning, name, lambda gradient, threshold: dict(gradient))


def leaking_state(patch):
    """A thousandth of c is lost at every step."""
    right, right_vjp = lstm.cell_state, lstm.cell_state_vjp

    def vjp(f, c, i, g, dc):
        df, dc_old, di, dg = right_vjp(f, c, i, g, dc)
        return 0.999 * df, 0.999 * dc_old, di, dg

    patch.setattr(lstm, "cell_state", lambda f, c, i, g: right(0.999 * f, c, i, g))
    patch.setattr(lstm, "cell_state_vjp", vjp)


def overwritten_states(patch):
    """LSTM and GRU take the new and drop the old: nothing is added to anything."""
    patch.setattr(lstm, "cell_state", lambda f, c, i, g: i * g + 0 * (f * c))
    patch.setattr(lstm, "cell_state_vjp", lambda f, c, i, g, dc: (0 * dc, 0 * dc, dc * g, dc * i))
    patch.setattr(GRU, "_blend", lambda z, n, h: n + 0 * (z * h))
    patch.setattr(GRU, "_blend_vjp", lambda z, n, h, dh: (0 * dh, dh, 0 * dh))


def slow_gru(patch):
    """The GRU computes its step ten times."""
    right = gru.GRU.step

    def step(self, *arguments):
        for _ in range(9):
            right(self, *arguments)
        return right(self, *arguments)

    patch.setattr(gru.GRU, "step", step)


def output_gate_in_the_gru(patch):
    """The GRU has a fourth gate."""
    patch.setattr(gru.GRU, "gates", ("r", "z", "n", "o"))


def reset_not_used(patch):
    """The candidate reads h, not r ⊙ h."""
    patch.setattr(gru, "candidate", lambda p, x, h, r: np.tanh(x @ p.W_n + h @ p.U_n + p.b_n))


def other_polarity(patch):
    """D2's GRU blends as D0's."""
    patch.setattr(GRU, "_blend", gru.state_takes_new)
    patch.setattr(GRU, "_blend_vjp", gru.state_takes_new_vjp)


def blended_cell_state(patch):
    """C is f c + (1 - f) g: it stays within [-1, 1]."""
    patch.setattr(lstm, "cell_state", lambda f, c, i, g: f * c + (1 - f) * g)


def forgetful(patch):
    """Every cell starts every step from zero."""
    for kind in (rnn.RNN, lstm.LSTM, gru.GRU):
        right = kind.step

        def step(self, p, x, state, right=right):
            return right(self, p, x, tuple(0 * s for s in state))

        patch.setattr(kind, "step", step)


def last_gradient_alone(patch):
    """Gradients of the steps are not added up."""
    patch.setattr(Parameters, "__add__", lambda self, other: other)


def transposed(patch):
    """The RNN multiplies by its matrix transposed."""
    patch.setattr(RNN, "_forward", lambda p, x, a: np.tanh(x @ p.W_a + a @ p.U_a.T + p.b_a))


def true_number_printed(patch):
    """D0 prints the right gate."""
    patch.setattr(documents, "FORGET_GATE_PRINTED", documents.forget_gate_values()[1])


def linear_chain(patch):
    """Tanh' is 1 everywhere: then the four factors are (W_aa)⁴."""
    for module in (documents, bptt):
        patch.setattr(module, "tanh_slope", np.ones_like)


def tokens_from_two(patch):
    """Tokens are numbered from 0."""
    right = documents.vocabulary
    patch.setattr(documents, "vocabulary", lambda s: {t: k - 1 for t, k in right(s).items()})


def cell_returns_h_twice(patch):
    """LSTMCELL returns h in both places."""
    right = documents.lstm_cell
    patch.setattr(documents, "lstm_cell", lambda *a: (right(*a)[0],) * 2)


def constant_state(patch):
    """Tanh is 0: which x is read does not matter."""
    patch.setattr(documents, "tanh", lambda s: 0 * s)


def wrong_vjp(patch):
    """The RNN's VJP is off by 1 %, its step is right."""
    right = rnn.RNN.vjp

    def vjp(self, *arguments):
        dp, dx, (da,) = right(self, *arguments)
        return dp, dx, (1.01 * da,)

    patch.setattr(rnn.RNN, "vjp", vjp)


VERDICTS = {
    "C01": HOLDS, "C02": FALSE, "C03": HOLDS_WHEN, "C04": HOLDS, "C05": HOLDS, "C06": HOLDS,
    "C07": FALSE, "C08": HOLDS_WHEN, "C09": HOLDS, "C10": HOLDS_WHEN, "C11": HOLDS_WHEN,
    "C12": HOLDS_WHEN, "C13": HOLDS, "C14": HOLDS_WHEN, "C15": HOLDS_WHEN, "C16": HOLDS,
    "C17": HOLDS, "C18": HOLDS_WHEN, "C19": HOLDS_WHEN, "C20": HOLDS, "C21": HOLDS_WHEN,
    "C22": HOLDS, "C23": HOLDS_WHEN, "C24": HOLDS_WHEN, "C25": HOLDS, "C26": HOLDS,
    "C27": HOLDS_WHEN, "N1": FALSE, "N2": FALSE, "N3": HOLDS, "N4": HOLDS, "P1": FALSE,
    "P2": FALSE, "P3": FALSE, "P4": FALSE,
}  # fmt: skip
"""What the equations as they are lead to; C16 counts work here instead of taking times."""

PLANTED = [
    ("C01", forget_gate_plus_one, FALSE), ("C02", no_tanh, HOLDS), ("C02", wrong_vjp, NOT_TESTED),
    ("C03", output_does_not_show_c, HOLDS), ("C04", sigmoid_candidate, FALSE),
    ("C05", steep_sigmoid, FALSE), ("C06", scaled_tanh, FALSE), ("C07", normalised, HOLDS),
    ("C07", wrong_vjp, NOT_TESTED), ("C08", residual, FALSE), ("C09", normalised, FALSE),
    ("C10", bounded_relu, FALSE), ("C11", no_clipping, FALSE), ("C12", residual, FALSE),
    ("C13", leaking_state, FALSE), ("C14", overwritten_states, FALSE),
    ("C15", overwritten_states, FALSE), ("C16", slow_gru, FALSE),
    ("C17", output_gate_in_the_gru, FALSE), ("C18", reset_not_used, FALSE),
    ("C19", other_polarity, FALSE), ("C20", blended_cell_state, FALSE),
    ("C21", overwritten_states, FALSE), ("C22", sigmoid_candidate, FALSE),
    ("C23", forgetful, HOLDS), ("C24", residual, FALSE), ("C25", last_gradient_alone, FALSE),
    ("C26", transposed, FALSE), ("C27", other_polarity, FALSE), ("N1", true_number_printed, HOLDS),
    ("N2", linear_chain, HOLDS), ("N4", tokens_from_two, FALSE),
    ("P1", cell_returns_h_twice, HOLDS), ("P2", constant_state, HOLDS),
]  # fmt: skip

NO_EQUATION = {"N3", "P3", "P4"}
"""A product of two numbers, dates and names: there is nothing to plant an error in."""


def verdict(id, seed=0):
    """Judge a claim; no measurement may break off."""
    row = judge(claim_named(id), seed)
    assert not row.message
    return row.verdict
