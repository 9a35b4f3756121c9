"""The transcriptions of D3 and D4 hold against values derived by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from transcription_helpers import (
    beside,
    by_key,
    diagonal,
    each,
    gap,
    ln,
    same,
    transposed,
    unit,
    values,
)
from transcriptions import d0, d3, d3_bptt, d4
from transcriptions.scalar import dot, mp, mpf, sigmoid


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    """Every test runs at fifty digits."""
    with mp.workdps(50):
        yield


class TestD3:
    """Split columns, softmax, loss, and the σ candidate."""

    def test_softmax_and_loss_by_hand(self) -> None:
        """softmax(0, log 3) = (1/4, 3/4), and its loss against class 1 is log 4/3."""
        y_hat = d3.softmax([0, ln(3)])

        assert same(y_hat, [mpf(1) / 4, mpf(3) / 4])
        assert same(d3.loss_at([0, 1], y_hat), ln(4) - ln(3))
        assert same(d3.total_loss([[0, 1], [1, 0]], [y_hat, y_hat]), 2 * ln(4) - ln(3))
        assert same(d3.softmax([10**4, 10**4]), [mpf(1) / 2] * 2)

    def test_three_notations_of_one_rnn(self) -> None:
        """E04 in the letters of D0, D3 (twice) and D4."""
        xs, s_0, U, W = values(3, 2), values(3), values(3, 2), values(3, 3, salt=2)
        expected = d0.rnn(xs, s_0, beside(W, U))

        assert same(d3.rnn(xs, s_0, U, W, [0, 0, 0]), expected)
        assert same(d3.rnn_s(xs, s_0, U, W), expected)
        assert same(d4.rnn(xs, s_0, U, W), expected)

    def test_rnn_bias(self) -> None:
        """h = tanh(b_h) = ±3/5 where nothing else speaks."""
        zero, b_h = [[0, 0], [0, 0]], [ln(2), -ln(2)]

        assert same(d3.rnn([[1, 1]], [1, 1], zero, zero, b_h), [[0.6, -0.6]], 15)

    def test_outputs_and_sequence_probability(self) -> None:
        """z = (1/4, 3/4) at both steps; P(1, 0) is their product 3/16."""
        zs = d3.rnn_outputs([[1], [1]], [[0], [ln(3)]], [0, 0])
        biased = d3.rnn_outputs([[0]], [[5], [5]], [0, ln(3)])

        assert same(d3.sequence_probability(zs, [1, 0]), mpf(3) / 16)
        assert same(biased, [[mpf(1) / 4, mpf(3) / 4]])
        assert same(d4.rnn_outputs([[1]], [[0], [ln(3)]]), biased)

    def test_deep_rnn_reads_the_layer_below(self) -> None:
        """Two layers are one layer on the outputs of the other (E27)."""
        xs, h_0s = values(3, 2), [values(3), values(2)]
        first = (values(3, 2), values(3, 3), values(3))
        second = (values(2, 3, salt=2), values(2, 2, salt=2), values(2, salt=2))

        below, above = d3.deep_rnn(xs, h_0s, [first, second])

        assert same(below, d3.rnn(xs, h_0s[0], *first))
        assert same(above, d3.rnn(below, h_0s[1], *second))

    def test_sigmoid_candidate_by_hand(self) -> None:
        """E15σ: u = 3/4, f = 1/4, i = 1/2, o = 3/4 give c = c_0/4 + 3/8."""
        zero = {key: [[0]] for key in "ufio"}
        b = {"u": [ln(3)], "f": [-ln(3)], "i": [0], "o": [ln(3)]}

        h, c = d3.lstm([[1]], [1], [2], zero, zero, b)
        without, _ = d3.lstm([[1]], [1], [0], zero, zero)

        assert same(c, [[mpf(7) / 8]])
        assert same(h, [[mp.tanh(mpf(7) / 8) * 3 / 4]])
        assert same(without, [[mp.tanh(mpf(1) / 4) / 2]])

    def test_lstm_units_run_apart(self) -> None:
        """With diagonal state matrices two units are two cells of one unit."""
        xs, h_0, c_0 = values(3, 1), values(2, salt=7), values(2, salt=8)
        w, u = by_key("ufio", 2, 1), by_key("ufio", 2, salt=2)
        b = by_key("ufio", 2, salt=3)

        both = d3.lstm(xs, h_0, c_0, each(diagonal, u), w, b)

        for j in range(2):
            w_j, b_j = ({k: [v[k][j]] for k in "ufio"} for v in (w, b))
            u_j = {k: [[u[k][j]]] for k in "ufio"}
            alone = d3.lstm(xs, [h_0[j]], [c_0[j]], u_j, w_j, b_j)
            assert same([unit(j, states) for states in both], alone)

    def test_sigmoid_candidate_through_tanh(self) -> None:
        """σ(s) = (1 + tanh(s/2))/2 turns D4's cell into D3's in one step from c = 0."""
        x, h_0 = [values(2)], values(2, salt=5)
        W_h, W_x, b = by_key("ufio", 2, 2), by_key("ufio", 2, 2, salt=2), {}
        b = by_key("ufio", 2, salt=3)
        half = {key: [[w / 2 for w in row] for row in W_h[key]] for key in "u"}
        half_x = [[w / 2 for w in row] for row in W_x["u"]]
        W4 = {**W_h, "g": half["u"]}
        U4 = {**W_x, "g": half_x}
        b4 = {**b, "g": [v / 2 for v in b["u"]]}

        _, c = d3.lstm(x, h_0, [0, 0], W_h, W_x, b)
        _, s = d4.lstm(x, h_0, [0, 0], U4, W4, b4)

        i = [sigmoid(dot(W_h["i"][j], h_0) + dot(W_x["i"][j], x[0]) + b["i"][j]) for j in range(2)]
        assert same(c[0], [(i[j] + s[0][j]) / 2 for j in range(2)])


class TestBptt:
    """D3's gradients against numerical differentiation of the loss."""

    def case(self) -> Any:
        """T = 3, D = 1, H = 2, C = 3, with a soft target in the middle."""
        xs, ys = values(3, 1), [[1, 0, 0], [mpf(1) / 4, 0, mpf(3) / 4], [0, 1, 0]]
        return (
            xs,
            ys,
            values(2, salt=6),
            values(2, 1),
            values(2, 2, salt=2),
            values(3, 2, salt=3),
        )

    @staticmethod
    def numeric(loss: Any, M: Any) -> Any:
        """∂loss/∂M entry by entry."""
        rows, columns = len(M), len(M[0])

        def at(p: int, q: int, value: Any) -> Any:
            changed = [list(row) for row in M]
            changed[p][q] = value
            return loss(changed)

        return [
            [mp.diff(lambda v, p=p, q=q: at(p, q, v), M[p][q]) for q in range(columns)]
            for p in range(rows)
        ]

    def total(self, xs: Any, ys: Any, s_0: Any, U: Any, W: Any, V: Any) -> Any:
        """E of the whole sequence."""
        return d3.total_loss(ys, d3.predictions(d3.rnn_s(xs, s_0, U, W), V))

    def test_immediate_derivatives_sum_to_the_gradient(self) -> None:
        """E11 at t = 3 equals ∂E_3/∂W; the total derivative inside double-counts."""
        xs, ys, s_0, U, W, V = self.case()

        def E_3(changed: Any) -> Any:
            s_3 = d3.rnn_s(xs, s_0, U, changed)[2]
            return d3.loss_at(ys[2], d3.predictions([s_3], V)[0])

        numeric = self.numeric(E_3, W)
        right = d3_bptt.dE_dW_at(3, xs, ys[2], s_0, U, W, V)
        wrong = d3_bptt.dE_dW_at(3, xs, ys[2], s_0, U, W, V, immediate=False)

        assert same(right, numeric, digits=20)
        assert gap(wrong, numeric) > mpf("1e-3")

    def test_sum_over_time(self) -> None:
        """E10: ∂E/∂W is the sum of ∂E_t/∂W."""
        xs, ys, s_0, U, W, V = self.case()

        numeric = self.numeric(lambda M: self.total(xs, ys, s_0, U, M, V), W)

        assert same(d3_bptt.dE_dW(xs, ys, s_0, U, W, V), numeric, digits=20)

    def test_gradients_by_delta(self) -> None:
        """E09 and E12 give the gradients of U, V and W."""
        xs, ys, s_0, U, W, V = self.case()

        dU, dV, dW = d3_bptt.gradients_by_delta(xs, ys, s_0, U, W, V)

        assert same(dW, d3_bptt.dE_dW(xs, ys, s_0, U, W, V))
        in_U = self.numeric(lambda M: self.total(xs, ys, s_0, M, W, V), U)
        assert same(dU, in_U, digits=20)
        in_V = self.numeric(lambda M: self.total(xs, ys, s_0, U, W, M), V)
        assert same(dV, in_V, digits=20)

    def test_delta_is_the_derivative_in_the_pre_activation(self) -> None:
        """E12: δ_2^(3) = ∂E_3/∂z_2, with z_2 moved through an extra input."""
        xs, ys, s_0, U, W, V = self.case()

        def E_3(unit: int, eps: Any) -> Any:
            widened = [[*row, 1 if j == unit else 0] for j, row in enumerate(U)]
            inputs = [[*x, eps if t == 1 else 0] for t, x in enumerate(xs)]
            s_3 = d3.rnn_s(inputs, s_0, widened, W)[2]
            return d3.loss_at(ys[2], d3.predictions([s_3], V)[0])

        numeric = [mp.diff(lambda e, j=j: E_3(j, e), 0) for j in range(2)]

        assert same(d3_bptt.delta(2, 3, xs, ys[2], s_0, U, W, V), numeric, digits=20)

    def test_total_derivative_is_that_of_the_state(self) -> None:
        """∂s_3/∂W through every earlier state, which E11 does not mean by ∂s_k/∂W."""
        xs, _, s_0, U, W, _ = self.case()
        s = [s_0, *d3.rnn_s(xs, s_0, U, W)]

        total = d3_bptt.ds_dW_total(s, 3, W)

        for a in range(2):
            numeric = self.numeric(lambda M, a=a: d3.rnn_s(xs, s_0, U, M)[2][a], W)
            assert same(total[a], numeric, digits=20)
            assert not same(d3_bptt.ds_dW_immediate(s, 3)[a], numeric, digits=3)

    def test_state_jacobian_multiplies_in_order(self) -> None:
        """∂s_2/∂s_0 is the second Jacobian times the first, not the other way."""
        xs, _, s_0, U, W, _ = self.case()
        s = [s_0, *d3.rnn_s(xs, s_0, U, W)]
        first, second = d3_bptt.ds_ds(s, 1, 0, W), d3_bptt.ds_ds(s, 2, 1, W)

        def product(A: Any, B: Any) -> Any:
            return [[dot(row, column) for column in transposed(B)] for row in A]

        assert same(d3_bptt.ds_ds(s, 2, 0, W), product(second, first))
        assert not same(d3_bptt.ds_ds(s, 2, 0, W), product(first, second), digits=4)
        assert same(d3_bptt.ds_ds(s, 2, 2, W), [[1, 0], [0, 1]])


class TestD4:
    """D4's letters, peepholes, two directions."""

    def test_lstm_is_d0s(self) -> None:
        """s and m are c and a."""
        xs, m_0, s_0 = values(3, 2), values(3, salt=8), values(3, salt=9)
        U, W = by_key("figo", 3, 2), by_key("figo", 3, 3, salt=2)
        b = by_key("figo", 3, salt=3)
        joined = {key: beside(W[key], U[key]) for key in "figo"}

        assert same(d4.lstm(xs, m_0, s_0, U, W, b), d0.lstm(xs, m_0, s_0, joined, b))

    @pytest.mark.parametrize("current", [False, True])
    def test_peephole_by_hand(self, current: bool) -> None:
        """f = 3/4 and i = 1/4 see s_0 = log 3; o sees s_0 or s_1 by the reading."""
        zero = {key: [[0]] for key in "figo"}
        b = {"f": [0], "i": [0], "g": [ln(2)], "o": [0]}
        p = {"f": [1], "i": [-1], "o": [1]}
        s_1 = 3 * ln(3) / 4 + mpf(3) / 20
        o = sigmoid(s_1) if current else mpf(3) / 4

        m, s = d4.lstm_peephole([[1]], [0], [ln(3)], zero, zero, p, b, output_sees_current=current)

        assert same(s, [[s_1]])
        assert same(m, [[o * mp.tanh(s_1)]])

    @pytest.mark.parametrize("current", [False, True])
    def test_peephole_units_run_apart(self, current: bool) -> None:
        """With diagonal state matrices two units are two cells of one unit."""
        xs, m_0, s_0 = values(3, 1), values(2, salt=7), values(2, salt=8)
        w, u = by_key("figo", 2, 1), by_key("figo", 2, salt=2)
        p, b = by_key("fio", 2, salt=3), by_key("figo", 2, salt=4)

        def run(*case: Any) -> Any:
            return d4.lstm_peephole(xs, *case, output_sees_current=current)

        both = run(m_0, s_0, w, each(diagonal, u), p, b)

        for j in range(2):
            w_j, p_j, b_j = (each(lambda v, j=j: [v[j]], all_) for all_ in (w, p, b))
            u_j = {k: [[u[k][j]]] for k in "figo"}
            alone = run([m_0[j]], [s_0[j]], w_j, u_j, p_j, b_j)
            assert same([unit(j, states) for states in both], alone)

    def test_peephole_of_zero_is_the_lstm(self) -> None:
        """Without peepholes both readings are the plain cell."""
        xs, zeros = values(3, 2), {key: [0, 0] for key in "fio"}
        U, W = by_key("figo", 2, 2), by_key("figo", 2, 2, salt=2)
        plain = d4.lstm(xs, [0, 0], [1, 1], U, W)

        for current in (False, True):
            assert same(
                plain,
                d4.lstm_peephole(xs, [0, 0], [1, 1], U, W, zeros, output_sees_current=current),
            )

    def test_bidirectional_lines_the_two_passes_up(self) -> None:
        """Running sums from either end: position t holds both sums that include t."""

        def running_sum(sequence: Any) -> Any:
            return [[sum(x[0] for x in sequence[: t + 1])] for t in range(len(sequence))]

        both = d4.bidirectional([[1], [10], [100]], running_sum, running_sum)

        assert both == [[1, 111], [11, 110], [111, 100]]
