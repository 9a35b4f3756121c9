"""The transcriptions of the documents hold against values derived by hand and by differences."""

import ast
from pathlib import Path

import pytest

from transcription_helpers import by_key, each, gap, ln, same, transposed, values
from transcriptions import d0, d1, d2, d3, d3_bptt, d4, others, others_skip
from transcriptions.scalar import dot, mp, mpf, sigmoid, tanh

MODULES = sorted((Path(__file__).parents[1] / "doubles" / "transcriptions").glob("*.py"))


@pytest.fixture(autouse=True)
def fifty_digits():
    """Every test runs at fifty digits."""
    with mp.workdps(50):
        yield


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_transcriptions_import_mpmath_alone(module):
    """They are witnesses only while they share nothing with the package: not even NumPy."""
    allowed = {"collections.abc", "typing", "mpmath"}
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            assert node.level == 1 or (node.level == 0 and node.module in allowed)


def part(numerator, denominator):
    return mpf(numerator) / mpf(denominator)


def zero(keys, column=(0,)):
    return {key: [list(column)] for key in keys}


def rnn_through_x():
    W_a = [[ln(2) * 5 / 3, ln(2)]]
    return ([d0.rnn([[1], [0]], [0], W_a), d0.rnn([[0]], [0], W_a, [-ln(2)])],
            [part(3, 5), part(3, 5), part(-3, 5)])  # fmt: skip


def lstm_gates():
    b = {"f": [ln(3)], "i": [-ln(3)], "g": [ln(2)], "o": [0]}
    a, c = d0.lstm([[5]], [7], [2], zero("figo", (0, 0)), b)
    return [c, a], [part(33, 20), mp.tanh(part(33, 20)) / 2]


def gru_takes_new():
    W = {"r": [[0, 0]], "i": [[0, 0]], "c": [[1, 0]]}
    b = {"r": [-ln(3)], "i": [ln(3)], "c": [-2 * ln(2)]}
    return d0.gru([[9]], [4 * ln(2)], W, b), [part(-9, 20) + ln(2)]


def gru_keeps_old():
    b = {"r": [-ln(3)], "u": [ln(3)], "g": [0]}
    H = d2.gru([[9]], [4 * ln(2)], zero("rug"), {**zero("ru"), "g": [[1]]}, b)
    return H, [3 * ln(2) + part(3, 20)]


def sigmoid_candidate():
    b = {"u": [ln(3)], "f": [-ln(3)], "i": [0], "o": [ln(3)]}
    h, c = d3.lstm([[1]], [1], [2], zero("ufio"), zero("ufio"), b)
    without, _ = d3.lstm([[1]], [1], [0], zero("ufio"), zero("ufio"))
    return [c, h, without], [part(7, 8), mp.tanh(part(7, 8)) * 3 / 4, mp.tanh(part(1, 4)) / 2]


def outputs():
    zs = d3.rnn_outputs([[1], [1]], [[0], [ln(3)]], [0, 0])
    return (
        [d3.sequence_probability(zs, [1, 0]), d3.rnn_outputs([[0]], [[5], [5]], [0, ln(3)]),
         d4.rnn_outputs([[1]], [[0], [ln(3)]])],
        [part(3, 16), part(1, 4), part(3, 4), part(1, 4), part(3, 4)],
    )  # fmt: skip


def losses():
    y_hat = d3.softmax([0, ln(3)])
    return ([y_hat, d3.loss_at([0, 1], y_hat), d3.total_loss([[0, 1], [1, 0]], [y_hat, y_hat])],
            [part(1, 4), part(3, 4), ln(4) - ln(3), 2 * ln(4) - ln(3)])  # fmt: skip


def peephole(current):
    b, p = {"f": [0], "i": [0], "g": [ln(2)], "o": [0]}, {"f": [1], "i": [-1], "o": [1]}
    s_1 = 3 * ln(3) / 4 + part(3, 20)
    o = sigmoid(s_1) if current else part(3, 4)
    z = zero("figo")
    m, s = d4.lstm_peephole([[1]], [0], [ln(3)], z, z, p, b, output_sees_current=current)
    return [s, m], [s_1, o * mp.tanh(s_1)]


def reset_after():
    b_i = {"r": [-2 * ln(3)], "z": [-ln(3)], "n": [-2 * ln(2)]}
    b_h = {"r": [ln(3)], "z": [2 * ln(3)], "n": [4 * ln(2)]}
    h = others.gru_reset_after([[1]], [2], zero("rzn"), zero("rzn"), b_i, b_h)
    return h, [part(-3, 20) + part(3, 2)]


def coupled():
    b = {"i": [-ln(3)], "g": [ln(2)], "o": [0]}
    h, c = others.lstm_coupled([[1]], [1], [2], zero("igo"), zero("igo"), b)
    return [c, h], [part(33, 20), mp.tanh(part(33, 20)) / 2]


def attention(s, h, W_s, W_h, context):
    return lambda: (
        others.attention([s()], [[row()] for row in h], [[W_s]], [[W_h]], [ln(3) * 5 / 3]),
        [context(), part(3, 4), part(1, 4), ln(3), 0],
    )


def open_units(times, r_on, tau=(1, 1), s=(0, 0)):
    """The cell states of a phased LSTM of two units that halves 8 where it is open."""
    z, gates, xs = {k: [[0, 0]] * 2 for k in "figo"}, by_key("figo", 2), [[0, 0]] * len(times)
    nought = each(lambda v: [0, 0], gates)
    clock = (list(tau), list(s), r_on, 0)
    return others.phased_lstm(xs, times, [0, 0], [8, 8], z, z, nought, nought, *clock)[1]


BY_HAND = {
    "σ(log 3) = 3/4, odd about its centre":
        lambda: ([sigmoid(ln(3)), sigmoid(-ln(3))], [part(3, 4), part(1, 4)]),
    "tanh(log 2) = 3/5, odd": lambda: ([tanh(ln(2)), tanh(-ln(2))], [part(3, 5), part(-3, 5)]),
    "products are summed": lambda: (dot([1, 2, 3], [4, 5, 6]), 32),
    "D0: tanh(log 2) = 3/5 through x, then log 2 rebuilt from a^1": rnn_through_x,
    "D0: f = 3/4, i = 1/4, g = 3/5, o = 1/2": lstm_gates,
    "D0: r = 1/4 before the product, i = 3/4 takes the new": gru_takes_new,
    "D2: r = 1/4, u = 3/4 keeps the old": gru_keeps_old,
    "D3: softmax(0, log 3) = (1/4, 3/4), and its losses": losses,
    "D3: softmax does not overflow":
        lambda: (d3.softmax([10**4, 10**4]), [part(1, 2), part(1, 2)]),
    "D3: b_h alone":
        lambda: (d3.rnn([[1, 1]], [1, 1], *[[[0, 0]] * 2] * 2, [ln(2), -ln(2)]),
                 [part(3, 5), part(-3, 5)]),
    "D3, D4: outputs, and P(1, 0) = 3/16": outputs,
    "D3 (E15σ): u = 3/4, f = 1/4, i = 1/2, o = 3/4": sigmoid_candidate,
    "D4: f = 3/4, i = 1/4, and o sees the old cell": lambda: peephole(False),
    "D4: f = 3/4, i = 1/4, and o sees the new cell": lambda: peephole(True),
    "r = 1/4 acts on b_hn = 4 log 2 too, z = 3/4 keeps the old": reset_after,
    "coupled: i = 1/4 leaves 3/4 of the old cell": coupled,
    "phased: one unit opens for the first step, one never":
        lambda: (open_units([part(1, 4), part(7, 4)], [part(1, 2)] * 2, (1, 100), (0, -75)),
                 [4, 8, 4, 8]),
    "phased: at φ = 1/4, r_on = 1/2 is open and 1 half open":
        lambda: (open_units([0.25], [0.5, 1]), [4, 6]),
    "attention: scores log 3 and 0, log 2 from h":
        attention(lambda: 5, [lambda: ln(2), lambda: 0], 0, 1, lambda: 3 * ln(2) / 4),
    "attention: scores log 3 and 0, log 2 from s":
        attention(lambda: ln(2), [lambda: 0, lambda: -ln(2)], 1, 1, lambda: -ln(2) / 4),
    "clipping by the norm, 5":
        lambda: (others.clip_by_global_norm([[3], [4]], 1), [part(3, 5), part(4, 5)]),
    "skip: from ũ = 1/2 with δ = 3/4 the sum stops at 1":
        lambda: (others_skip.skip_rnn([[1]], [0], *PLAIN, [0], ln(3), part(1, 2))[1:],
                 [0, part(1, 2), 1]),
    "skip: h = 3/5 and w_p = 5/3 log 3 make δ = 3/4, of the new state":
        lambda: (others_skip.skip_rnn([[ln(2)]], [9], [[1]], [[0]], [0], [ln(3) * 5 / 3], 0)[2],
                 [1, part(3, 4)]),
}  # fmt: skip
"""What is computed, and what it is by hand; at fifty digits, so when it is asked for."""
PLAIN = ([[1]], [[1]], [0])
"""An RNN of one unit: W, U and b."""


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case):
    computed, expected = BY_HAND[case]()
    assert same(computed, expected)


def test_exactly_by_hand():
    """Small integers: one unit is cut at zero, what is within the limit is not clipped, and both
    running sums of a position include it.
    """

    def running_sum(sequence):
        return [[sum(x[0] for x in sequence[: t + 1])] for t in range(len(sequence))]

    W, U, b = [[1, -1]], [[2, 0], [0, 1]], [0, -1]
    assert others.relu_rnn([[1], [-3]], [1, 1], W, U, b) == [[3, 0], [3, 2]]
    assert others.relu_rnn([[0.5]], [0], [[1]], [[0]], [0]) == [[0.5]]
    assert others.clip_by_value([[3, -4], [1]], 2) == [[2, -2], [1]]
    assert others.clip_by_global_norm([[3], [4]], 6) == [[3], [4]]
    both = d4.bidirectional([[1], [10], [100]], running_sum, running_sum)
    assert both == [[1, 111], [11, 110], [111, 100]]


@pytest.mark.parametrize(("t", "k"), [
    ("1/8", "1/2"), ("1/5", "4/5"), ("1/4", "1"), ("3/8", "1/2"), ("1/2", "1/2000"),
    ("3/4", "3/4000"), ("9/8", "1/2"), ("-7/8", "1/2"), ("0", "0"),
])  # fmt: skip
def test_time_gate_by_hand(t, k):
    """τ = 1, s = 0, r_on = 1/2, α = 1/1000: up, top, down, leak, and periodic."""
    t, k = (part(*f"{text}/1".split("/")[:2]) for text in (t, k))
    alpha, r_on = part(1, 1000), part(1, 2)
    assert same(others.time_gate(t, 1, 0, r_on, alpha), k)
    assert same(others.time_gate(3 * t + 5, 3, 5, r_on, alpha), k)


def test_extremes_do_not_overflow():
    assert sigmoid(10**4) == 1
    assert 0 < sigmoid(-(10**4)) < mpf(10) ** -4000
    assert tanh(10**4) == 1
    assert tanh(-(10**4)) == -1


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        dot([1, 2, 3], [4, 5])


def test_precision_is_the_callers():
    """σ(1/3) at ten digits misses σ(1/3) at fifty by what ten digits leave."""
    with mp.workdps(10):
        coarse = sigmoid(mpf(1) / 3)
    assert mpf(10) ** -16 < abs(coarse - sigmoid(mpf(1) / 3)) < mpf(10) ** -9


def test_d0_gru_without_biases():
    xs, W = values(2, 3), by_key("irc", 2, 5)
    assert same(d0.gru(xs, [1, -1], W), d0.gru(xs, [1, -1], W, {key: [0, 0] for key in "irc"}))


def test_d0_worked_forget_gate():
    """N1: the pre-activations are right, σ(3.59) is 0.97314288 and not 0.7941."""
    s, f = d0.forget_gate_example()

    assert same(s, [mpf("3.59"), mpf("-2.13")])
    assert [mp.nstr(f_j, 8) for f_j in f] == ["0.97314288", "0.10621499"]
    printed = [mpf(v) for v in d0.N1_PRINTED_GATE]
    assert abs(f[0] - printed[0]) > mpf("0.17")
    assert abs(f[1] - printed[1]) < mpf("0.00005")


@pytest.mark.parametrize(("H", "T", "agree"), [(1, 4, True), (2, 4, False), (3, 1, True)])
def test_d0_printed_chain(H, T, agree):
    """N2: the braces may be collected only where all commutes: one unit, or one step."""
    case = (values(H), values(H, salt=2), values(T, 2), values(H, H + 2, salt=3))
    ordered, printed = d0.chain_ordered(*case), d0.chain_as_printed(*case)
    assert same(ordered, printed) is agree
    assert agree or gap(ordered, printed) > mpf("1e-6")


def test_d0_ordered_chain_is_the_derivative():
    """E08 for H = 2 equals the derivative of dL · a^4 at a^0, with a bias."""
    dL, a_0, xs = values(2), values(2, salt=2), values(4, 2)
    W_a, b_a = values(2, 4, salt=3), values(2, salt=4)

    def loss(*initial):
        return dot(dL, d0.rnn(xs, list(initial), W_a, b_a)[-1])

    numeric = [mp.diff(loss, tuple(a_0), n) for n in [(1, 0), (0, 1)]]
    assert same(d0.chain_ordered(dL, a_0, xs, W_a, b_a), numeric, digits=20)


def test_d1_loops():
    """P1: corrected, the listing is D0's LSTM; equal initial states hide the swap for a step."""
    xs, start = values(3, 2), [[0, 0, 0], [0, 0, 0]]
    W, b = by_key("figo", 3, 5), by_key("figo", 3, salt=4)
    names = {"forget": "f", "candidate": "g", "input": "i", "output": "o"}
    named = [{name: p[key] for name, key in names.items()} for p in (W, b)]
    h, c = d1.loop_corrected(xs, *start, *named)
    printed_h, printed_c = d1.loop_as_printed(xs, *start, *named)

    assert same([h, c], d0.lstm(xs, *start, W, b))
    assert same([printed_h[0], printed_c[0]], [c[0], h[0]])
    assert gap([printed_h[1], printed_c[1]], [c[1], h[1]]) > mpf("1e-3")
    assert gap([printed_h[2], printed_c[2]], [h[2], c[2]]) > mpf("1e-3")


def test_d2_one_hot_as_printed():
    """N4: six rows of width seven, index 0 unused, "The" is not "the"."""
    words, rows = d2.one_hot("The cat sat on the mat")
    printed = ["0100000", "0010000", "0001000", "0000100", "0000010", "0000001"]
    assert words == ["The", "cat", "sat", "on", "the", "mat"]
    assert ["".join(str(int(v)) for v in row) for row in rows] == printed


def test_d2_repeated_words_share_a_row_and_embedding_looks_it_up():
    """A one-hot row times E is the row of E (E31)."""
    _, rows = d2.one_hot("a b a")
    assert d2.embed(rows, [[0, 1], [2, 3], [4, 5]]) == [[2, 3], [4, 5], [2, 3]]


class TestBptt:
    """D3's gradients against numerical differentiation of the loss."""

    @pytest.fixture
    def case(self):
        """xs, ys, s_0, U, W, V for T = 3, D = 1, H = 2, C = 3, with a soft target in the middle."""
        ys = [[1, 0, 0], [mpf(1) / 4, 0, mpf(3) / 4], [0, 1, 0]]
        weights = (values(2, 1), values(2, 2, salt=2), values(3, 2, salt=3))
        return values(3, 1), ys, values(2, salt=6), *weights

    @staticmethod
    def numeric(loss, M):
        """∂loss/∂M entry by entry."""

        def at(p, q, value):
            changed = [list(row) for row in M]
            changed[p][q] = value
            return loss(changed)

        return [
            [mp.diff(lambda v, p=p, q=q: at(p, q, v), M[p][q]) for q in range(len(M[0]))]
            for p in range(len(M))
        ]

    @staticmethod
    def total(xs, ys, s_0, U, W, V):
        """E of the whole sequence."""
        return d3.total_loss(ys, d3.predictions(d3.rnn_s(xs, s_0, U, W), V))

    def test_immediate_derivatives_sum_to_the_gradient(self, case):
        """E11 at t = 3 equals ∂E_3/∂W; the total derivative inside double-counts."""
        xs, ys, s_0, U, W, V = case

        def E_3(changed):
            s_3 = d3.rnn_s(xs, s_0, U, changed)[2]
            return d3.loss_at(ys[2], d3.predictions([s_3], V)[0])

        numeric = self.numeric(E_3, W)
        right = d3_bptt.dE_dW_at(3, xs, ys[2], s_0, U, W, V)
        wrong = d3_bptt.dE_dW_at(3, xs, ys[2], s_0, U, W, V, immediate=False)

        assert same(right, numeric, digits=20)
        assert gap(wrong, numeric) > mpf("1e-3")

    def test_gradients(self, case):
        """E10: ∂E/∂W is the sum of ∂E_t/∂W; E09 and E12 give the gradients of U, V and W."""
        xs, ys, s_0, U, W, V = case
        dU, dV, dW = d3_bptt.gradients_by_delta(xs, ys, s_0, U, W, V)
        in_W = self.numeric(lambda M: self.total(xs, ys, s_0, U, M, V), W)
        in_U = self.numeric(lambda M: self.total(xs, ys, s_0, M, W, V), U)
        in_V = self.numeric(lambda M: self.total(xs, ys, s_0, U, W, M), V)

        assert same(d3_bptt.dE_dW(xs, ys, s_0, U, W, V), in_W, digits=20)
        assert same(dW, d3_bptt.dE_dW(xs, ys, s_0, U, W, V))
        assert same(dU, in_U, digits=20)
        assert same(dV, in_V, digits=20)

    def test_total_derivative_is_that_of_the_state(self, case):
        """∂s_3/∂W through every earlier state, which E11 does not mean by ∂s_k/∂W."""
        xs, _, s_0, U, W, _ = case
        s = [s_0, *d3.rnn_s(xs, s_0, U, W)]
        total = d3_bptt.ds_dW_total(s, 3, W)

        for a in range(2):
            numeric = self.numeric(lambda M, a=a: d3.rnn_s(xs, s_0, U, M)[2][a], W)
            assert same(total[a], numeric, digits=20)
            assert not same(d3_bptt.ds_dW_immediate(s, 3)[a], numeric, digits=3)

    def test_state_jacobian_multiplies_in_order(self, case):
        """∂s_2/∂s_0 is the second Jacobian times the first, not the other way."""
        xs, _, s_0, U, W, _ = case
        s = [s_0, *d3.rnn_s(xs, s_0, U, W)]
        first, second = d3_bptt.ds_ds(s, 1, 0, W), d3_bptt.ds_ds(s, 2, 1, W)

        def product(A, B):
            return [[dot(row, column) for column in transposed(B)] for row in A]

        assert same(d3_bptt.ds_ds(s, 2, 0, W), product(second, first))
        assert not same(d3_bptt.ds_ds(s, 2, 0, W), product(first, second), digits=4)
        assert same(d3_bptt.ds_ds(s, 2, 2, W), [[1, 0], [0, 1]])


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_clipping_refuses_what_is_not_finite(bad):
    """E30: NaN and infinity must not pass silently."""
    with pytest.raises(ValueError, match="finite"):
        others.clip_by_value([[1, mpf(bad)]], 2)
    with pytest.raises(ValueError, match="finite"):
        others.clip_by_global_norm([[1, mpf(bad)]], 2)


def test_skip_quarter_steps_by_hand():
    """E29: δ = 1/4 updates at 1, waits through 1/4 and 1/2, and updates at 3/4."""
    h, u, u_tilde = others_skip.skip_rnn([[1]] * 5, [0], *PLAIN, [0], -ln(3))

    assert u == [1, 0, 0, 1, 0]
    assert same(u_tilde, [1, *(mpf(n) / 4 for n in (1, 2, 3, 1, 2))])
    assert h[0] == h[1] == h[2]
    assert h[3] == h[4]
    assert same(h[3], [mp.tanh(1 + mp.tanh(1))])


def test_skip_copies_each_unit_to_itself():
    """A skipped step leaves every unit where it was, in any cell."""

    def step(x, state):
        return ([v + x[0] for v in state[0]],)

    states, u, starts = others_skip.skip(step, [[1], [1]], ([5, 7],), [0, 0], -9)

    assert starts[0] == 1
    assert u == [1, 0]
    assert states == [([6, 8],), ([6, 8],)]


def test_skip_lstm_copies_both_states():
    """At u = 0 neither h nor c moves, and δ may be read from either of them."""
    case = ([[1], [1]], [0], [2], zero("figo"), zero("figo"), {k: [0] for k in "figo"})

    h, c, u, _ = others_skip.skip_lstm(*case, [0], -ln(3))
    assert u == [1, 0]
    assert h[0] == h[1]
    assert c[0] == c[1]
    assert same(c[0], [1])

    in_h = others_skip.skip_lstm(*case, [1], 0)[3][1]
    in_c = others_skip.skip_lstm(*case, [1], 0, delta_reads_cell=True)[3][1]
    assert same([in_h, in_c], [sigmoid(mp.tanh(1) / 2), sigmoid(1)])
