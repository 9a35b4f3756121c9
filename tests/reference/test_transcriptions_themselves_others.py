"""The cells the documents only name hold against values derived by hand."""

from collections.abc import Iterator
from typing import Any

import pytest

from transcription_helpers import by_key, diagonal, each, flat, ln, same, transposed, unit, values
from transcriptions import d2, d4, others, others_skip
from transcriptions.scalar import mp, mpf, sigmoid


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    """Every test runs at fifty digits."""
    with mp.workdps(50):
        yield


class TestOthers:
    """Cells the documents only name."""

    def test_relu_rnn_by_hand(self) -> None:
        """One unit is cut at zero, the other grows without bound."""
        W, U, b = [[1, -1]], [[2, 0], [0, 1]], [0, -1]

        assert others.relu_rnn([[1], [-3]], [1, 1], W, U, b) == [[3, 0], [3, 2]]
        assert others.relu_rnn([[0.5]], [0], [[1]], [[0]], [0]) == [[0.5]]

    @pytest.mark.parametrize(("off_diagonal", "agree"), [(0, True), (1, False)])
    def test_reset_after_is_reset_before_where_u_n_is_diagonal(
        self, off_diagonal: int, agree: bool
    ) -> None:
        """E24 is E22 only where the reset commutes with U_n and b_hn = 0."""
        xs, h_0 = values(2, 2), values(2, salt=4)
        W, U = by_key("rzn", 2, 2), by_key("rzn", 2, 2, salt=2)
        U["n"] = [[mpf(1) / 2, off_diagonal], [0, mpf(-1) / 3]]
        zero = {key: [0, 0] for key in "rzn"}
        renamed = [{"r": M["r"], "u": M["z"], "g": M["n"]} for M in (W, U)]

        after = others.gru_reset_after(xs, h_0, W, U, zero, zero)

        assert same(after, d2.gru(xs, h_0, *renamed), digits=4) is agree

    def test_reset_after_by_hand(self) -> None:
        """r = 1/4 acts on the bias b_hn = 4 log 2 too; z = 3/4 keeps the old."""
        zero = {key: [[0]] for key in "rzn"}
        b_i = {"r": [-2 * ln(3)], "z": [-ln(3)], "n": [-2 * ln(2)]}
        b_h = {"r": [ln(3)], "z": [2 * ln(3)], "n": [4 * ln(2)]}

        h = others.gru_reset_after([[1]], [2], zero, zero, b_i, b_h)

        assert same(h, [[mpf(-3) / 20 + mpf(3) / 2]])

    def test_reset_after_units_run_apart(self) -> None:
        """With diagonal state matrices two units are two cells of one unit."""
        xs, h_0 = values(3, 1), values(2, salt=7)
        w, u = by_key("rzn", 2), by_key("rzn", 2, salt=2)
        b_i, b_h = by_key("rzn", 2, salt=3), by_key("rzn", 2, salt=4)
        W, U = each(lambda v: [v], w), each(diagonal, u)

        both = others.gru_reset_after(xs, h_0, W, U, b_i, b_h)

        for j in range(2):
            W_j, U_j = (each(lambda v, j=j: [[v[j]]], v) for v in (w, u))
            b_ij, b_hj = (each(lambda v, j=j: [v[j]], v) for v in (b_i, b_h))
            alone = others.gru_reset_after(xs, [h_0[j]], W_j, U_j, b_ij, b_hj)
            assert same(unit(j, both), alone)

    def test_coupled_units_run_apart(self) -> None:
        """With diagonal state matrices two units are two cells of one unit."""
        xs, h_0, c_0 = values(3, 1), values(2, salt=7), values(2, salt=8)
        w, u = by_key("igo", 2), by_key("igo", 2, salt=2)
        b = by_key("igo", 2, salt=3)
        W, U = each(lambda v: [v], w), each(diagonal, u)

        both = others.lstm_coupled(xs, h_0, c_0, W, U, b)

        for j in range(2):
            W_j, U_j = (each(lambda v, j=j: [[v[j]]], v) for v in (w, u))
            b_j = each(lambda v, j=j: [v[j]], b)
            alone = others.lstm_coupled(xs, [h_0[j]], [c_0[j]], W_j, U_j, b_j)
            assert same([unit(j, states) for states in both], alone)

    def test_coupled_gate_by_hand(self) -> None:
        """i = 1/4 leaves 3/4 of the old cell."""
        zero = {key: [[0]] for key in "igo"}
        b = {"i": [-ln(3)], "g": [ln(2)], "o": [0]}

        h, c = others.lstm_coupled([[1]], [1], [2], zero, zero, b)

        assert same(c, [[mpf(33) / 20]])
        assert same(h, [[mp.tanh(mpf(33) / 20) / 2]])

    def test_projection(self) -> None:
        """P = 1 is the plain LSTM; P = (1, 1) feeds the summed output back."""
        xs, c_0 = values(3, 2), values(2, salt=8)
        W, U = by_key("figo", 2, 2), by_key("figo", 2, 2, salt=2)
        b = by_key("figo", 2, salt=3)
        W_c, U_c = ({k: transposed(M[k]) for k in "figo"} for M in (W, U))
        shared = {k: [[U[k][0][0], U[k][0][1]]] for k in "figo"}
        doubled = {k: [shared[k][0], shared[k][0]] for k in "figo"}

        plain = d4.lstm(xs, [0, 0], c_0, W_c, U_c, b)
        assert same(others.lstm_projected(xs, [0, 0], c_0, W, U, b, [[1, 0], [0, 1]]), plain)

        h, c = others.lstm_projected(xs, [0], c_0, W, shared, b, [[1], [1]])
        m, s = d4.lstm(xs, [0, 0], c_0, W_c, {k: transposed(doubled[k]) for k in "figo"}, b)
        assert same(c, s)
        assert same(h, [[sum(m_t)] for m_t in m])

    @pytest.mark.parametrize(
        ("t", "k"),
        [
            ("1/8", "1/2"),
            ("1/5", "4/5"),
            ("1/4", "1"),
            ("3/8", "1/2"),
            ("1/2", "1/2000"),
            ("3/4", "3/4000"),
            ("9/8", "1/2"),
            ("-7/8", "1/2"),
            ("0", "0"),
        ],
    )
    def test_time_gate_by_hand(self, t: str, k: str) -> None:
        """τ = 1, s = 0, r_on = 1/2, α = 1/1000: up, top, down, leak, and periodic."""
        alpha, r_on = mpf(1) / 1000, mpf(1) / 2

        def number(text: str) -> Any:
            above, _, below = text.partition("/")
            return mpf(above) / mpf(below or "1")

        assert same(others.time_gate(number(t), 1, 0, r_on, alpha), number(k))
        moved = others.time_gate(3 * number(t) + 5, 3, 5, r_on, alpha)
        assert same(moved, number(k))

    def test_phased_lstm_open_shut_and_half_open(self) -> None:
        """k = 1 is the peephole LSTM, k = 0 copies, and k = 1/2 is their mean."""
        x, h_0, c_0 = [values(2)], values(2, salt=7), values(2, salt=8)
        W, U = by_key("figo", 2, 2), by_key("figo", 2, 2, salt=2)
        p, b = by_key("fio", 2, salt=3), by_key("figo", 2, salt=4)
        W_c, U_c = ({k: transposed(M[k]) for k in "figo"} for M in (W, U))
        opened = d4.lstm_peephole(x, h_0, c_0, W_c, U_c, p, b, output_sees_current=True)

        def phased(time: Any) -> Any:
            clock = ([1, 1], [0, 0], [mpf(1) / 2] * 2, 0)
            return others.phased_lstm(x, [time], h_0, c_0, W, U, p, b, *clock)

        kept = ([h_0], [c_0])
        middle = [(o + k) / 2 for o, k in zip(flat(opened), flat(kept), strict=True)]
        assert same(phased(mpf(1) / 4), opened)
        assert same(phased(mpf(3) / 4), kept)
        assert same(flat(phased(mpf(1) / 8)), middle)

    def test_phased_lstm_gates_its_units_apart_and_over_time(self) -> None:
        """τ, s and r_on belong to a unit: one opens for the first step, one never."""
        zero, p = {k: [[0, 0]] * 2 for k in "figo"}, {k: [0, 0] for k in "fio"}
        b = {k: [0, 0] for k in "figo"}
        clock = ([1, 100], [0, -75], [mpf(1) / 2] * 2, 0)
        xs, times = [[0, 0], [0, 0]], [mpf(1) / 4, mpf(7) / 4]

        _, c = others.phased_lstm(xs, times, [0, 0], [8, 8], zero, zero, p, b, *clock)

        assert same(c, [[4, 8], [4, 8]])

    def test_phased_lstm_open_ratio_belongs_to_a_unit(self) -> None:
        """At φ = 1/4 a ratio of 1/2 is wide open and a ratio of 1 half open."""
        zero, p = {k: [[0, 0]] * 2 for k in "figo"}, {k: [0, 0] for k in "fio"}
        b, clock = {k: [0, 0] for k in "figo"}, ([1, 1], [0, 0], [0.5, 1], 0)

        _, c = others.phased_lstm([[0, 0]], [0.25], [0, 0], [8, 8], zero, zero, p, b, *clock)

        assert same(c, [[4, 6]])

    def test_attention_by_hand(self) -> None:
        """Scores log 3 and 0 weigh 3/4 to 1/4, whether log 2 comes from s or h."""
        v = [ln(3) * 5 / 3]

        from_h = others.attention([5], [[ln(2)], [0]], [[0]], [[1]], v)
        from_s = others.attention([ln(2)], [[0], [-ln(2)]], [[1]], [[1]], v)

        assert same(from_h, ([3 * ln(2) / 4], [mpf(3) / 4, mpf(1) / 4], [ln(3), 0]))
        assert same(from_s, ([-ln(2) / 4], [mpf(3) / 4, mpf(1) / 4], [ln(3), 0]))

    def test_clipping_by_hand(self) -> None:
        """(3, 4) has norm 5; only what exceeds the limit is touched."""
        assert others.clip_by_value([[3, -4], [1]], 2) == [[2, -2], [1]]
        assert same(others.clip_by_global_norm([[3], [4]], 1), [[0.6], [0.8]], 15)
        assert others.clip_by_global_norm([[3], [4]], 6) == [[3], [4]]

    @pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
    def test_clipping_refuses_what_is_not_finite(self, bad: str) -> None:
        """E30: NaN and infinity must not pass silently."""
        with pytest.raises(ValueError, match="finite"):
            others.clip_by_value([[1, mpf(bad)]], 2)
        with pytest.raises(ValueError, match="finite"):
            others.clip_by_global_norm([[1, mpf(bad)]], 2)


class TestSkip:
    """E29: copying, accumulating, and the limits."""

    RNN = ([[1]], [[1]], [0])

    def test_quarter_steps_by_hand(self) -> None:
        """δ = 1/4 updates at 1, waits through 1/4 and 1/2, and updates at 3/4."""
        xs = [[1], [1], [1], [1], [1]]

        h, u, u_tilde = others_skip.skip_rnn(xs, [0], *self.RNN, [0], -ln(3))

        assert u == [1, 0, 0, 1, 0]
        assert same(u_tilde, [1, *(mpf(n) / 4 for n in (1, 2, 3, 1, 2))])
        assert h[0] == h[1] == h[2]
        assert h[3] == h[4]
        assert same(h[3], [mp.tanh(1 + mp.tanh(1))])

    def test_accumulation_stops_at_one(self) -> None:
        """From ũ = 1/2 with δ = 3/4 the sum is 1, not 5/4."""
        _, u, u_tilde = others_skip.skip_rnn([[1]], [0], *self.RNN, [0], ln(3), mpf(1) / 2)

        assert u == [0]
        assert same(u_tilde, [mpf(1) / 2, 1])

    def test_delta_reads_the_new_state(self) -> None:
        """h = 3/5 and w_p = 5/3 log 3 make δ = 3/4."""
        _, _, u_tilde = others_skip.skip_rnn([[ln(2)]], [9], [[1]], [[0]], [0], [ln(3) * 5 / 3], 0)

        assert same(u_tilde, [1, mpf(3) / 4])

    def test_always_updating_is_the_plain_cell(self) -> None:
        """δ = 3/4 keeps u at 1: RNN, GRU and LSTM are those of the documents."""
        xs, h_0, c_0 = values(3, 2), values(2, salt=7), values(2, salt=8)
        W, U = by_key("figorzc", 2, 2), by_key("figorzc", 2, 2, salt=2)
        b, gate = by_key("figorzc", 2, salt=3), ([0, 0], ln(3))

        h, u, _ = others_skip.skip_rnn(xs, h_0, W["f"], U["f"], b["f"], *gate)
        assert u == [1, 1, 1]
        assert same(h, d2.rnn(xs, h_0, [*W["f"], *U["f"]], b["f"]))

        h, _, starts = others_skip.skip_gru(xs, h_0, W, U, b, *gate)
        assert starts[0] == 1
        W2, U2, b2 = ({"r": M["r"], "u": M["z"], "g": M["c"]} for M in (W, U, b))
        assert same(h, d2.gru(xs, h_0, W2, U2, b2))

        h, c, _, starts = others_skip.skip_lstm(xs, h_0, c_0, W, U, b, *gate)
        assert starts[0] == 1
        W2, U2, b2 = ({**M, "c": M["g"]} for M in (W, U, b))
        assert same([h, c], d2.lstm(xs, h_0, c_0, W2, U2, b2))

    def test_copies_each_unit_to_itself(self) -> None:
        """A skipped step leaves every unit where it was, in any cell."""

        def step(x: Any, state: Any) -> Any:
            return ([v + x[0] for v in state[0]],)

        states, u, starts = others_skip.skip(step, [[1], [1]], ([5, 7],), [0, 0], -9)

        assert starts[0] == 1
        assert u == [1, 0]
        assert states == [([6, 8],), ([6, 8],)]

    def test_lstm_copies_both_states(self) -> None:
        """At u = 0 neither h nor c moves, and δ may be read from either of them."""
        zero, b = {k: [[0]] for k in "figo"}, {k: [0] for k in "figo"}
        case = ([[1], [1]], [0], [2], zero, zero, b)

        h, c, u, _ = others_skip.skip_lstm(*case, [0], -ln(3))
        assert u == [1, 0]
        assert h[0] == h[1]
        assert c[0] == c[1]
        assert same(c[0], [1])

        in_h = others_skip.skip_lstm(*case, [1], 0)[3][1]
        in_c = others_skip.skip_lstm(*case, [1], 0, delta_reads_cell=True)[3][1]
        assert same([in_h, in_c], [sigmoid(mp.tanh(1) / 2), sigmoid(1)])
