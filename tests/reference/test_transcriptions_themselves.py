"""The transcriptions of D0 to D2 hold against values derived by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

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
from transcriptions import d0, d1, d2
from transcriptions.scalar import dot, mp, mpf, sigmoid, tanh

FOLDER = Path(__file__).parents[1] / "doubles" / "transcriptions"
MODULES = sorted(FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    """Every test runs at fifty digits."""
    with mp.workdps(50):
        yield


class TestApart:
    """The transcriptions are witnesses only while they share nothing."""

    @pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
    def test_imports_only_mpmath_and_its_neighbours(self, module: Path) -> None:
        """No NumPy and nothing from the package under test."""
        allowed = {"collections.abc", "typing", "mpmath"}
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= allowed
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.level == 0 and node.module in allowed)


class TestScalar:
    """Arithmetic that everything else rests on."""

    def test_exact_values(self) -> None:
        """σ(log 3) = 3/4, tanh(log 2) = 3/5, and both are odd about their centre."""
        assert same([sigmoid(ln(3)), sigmoid(-ln(3))], [mpf(3) / 4, mpf(1) / 4])
        assert same([tanh(ln(2)), tanh(-ln(2))], [mpf(3) / 5, mpf(-3) / 5])

    def test_extremes_do_not_overflow(self) -> None:
        """The printed exponentials survive arguments of ±1e4."""
        assert sigmoid(10**4) == 1
        assert 0 < sigmoid(-(10**4)) < mpf(10) ** -4000
        assert tanh(10**4) == 1
        assert tanh(-(10**4)) == -1

    def test_dot(self) -> None:
        """Products are summed, and unequal lengths are refused."""
        assert dot([1, 2, 3], [4, 5, 6]) == 32
        with pytest.raises(ValueError, match="shorter"):
            dot([1, 2, 3], [4, 5])

    def test_precision_is_the_callers(self) -> None:
        """σ(log 3) misses 3/4 by what the caller's precision leaves."""
        with mp.workdps(10):
            coarse = sigmoid(mpf(1) / 3)
        assert mpf(10) ** -16 < abs(coarse - sigmoid(mpf(1) / 3)) < mpf(10) ** -9


class TestD0:
    """Concatenated columns."""

    def test_rnn_by_hand(self) -> None:
        """tanh(log 2) = 3/5 through x, then log 2 is rebuilt from a^1 = 3/5."""
        W_a = [[ln(2) * 5 / 3, ln(2)]]

        assert same(d0.rnn([[1], [0]], [0], W_a), [[mpf(3) / 5], [mpf(3) / 5]])
        assert same(d0.rnn([[0]], [0], W_a, [-ln(2)]), [[mpf(-3) / 5]])

    def test_lstm_by_hand(self) -> None:
        """f = 3/4, i = 1/4, g = 3/5, o = 1/2 give c = 3/4 c_0 + 3/20."""
        W = {key: [[0, 0]] for key in "figo"}
        b = {"f": [ln(3)], "i": [-ln(3)], "g": [ln(2)], "o": [0]}

        a, c = d0.lstm([[5]], [7], [2], W, b)

        assert same(c, [[mpf(33) / 20]])
        assert same(a, [[mp.tanh(mpf(33) / 20) / 2]])

    def test_gru_by_hand(self) -> None:
        """r = 1/4 makes log 2 of 4 log 2 before the product; i = 3/4 takes the new."""
        W = {"r": [[0, 0]], "i": [[0, 0]], "c": [[1, 0]]}
        b = {"r": [-ln(3)], "i": [ln(3)], "c": [-2 * ln(2)]}

        c = d0.gru([[9]], [4 * ln(2)], W, b)

        assert same(c, [[mpf(-9) / 20 + ln(2)]])

    def test_gru_units_run_apart(self) -> None:
        """With a diagonal state block two units are two cells of one unit."""
        xs, c_0, b = values(3, 1), values(2, salt=8), by_key("irc", 2, salt=3)
        w, u = by_key("irc", 2, 1), by_key("irc", 2, salt=2)
        W = {k: beside(diagonal(u[k]), w[k]) for k in "irc"}

        both = d0.gru(xs, c_0, W, b)

        for j in range(2):
            W_j = {k: [[u[k][j], w[k][j][0]]] for k in "irc"}
            alone = d0.gru(xs, [c_0[j]], W_j, each(lambda v, j=j: [v[j]], b))
            assert same(unit(j, both), alone)

    def test_gru_without_biases(self) -> None:
        """Leaving the biases out means zeros."""
        xs, W = values(2, 3), by_key("irc", 2, 5)
        zeros = {key: [0, 0] for key in "irc"}

        assert same(d0.gru(xs, [1, -1], W), d0.gru(xs, [1, -1], W, zeros))

    def test_worked_forget_gate(self) -> None:
        """N1: the pre-activations are right, σ(3.59) is 0.97314288 and not 0.7941."""
        s, f = d0.forget_gate_example()

        assert same(s, [mpf("3.59"), mpf("-2.13")])
        assert [mp.nstr(f_j, 8) for f_j in f] == ["0.97314288", "0.10621499"]
        printed = [mpf(v) for v in d0.N1_PRINTED_GATE]
        assert abs(f[0] - printed[0]) > mpf("0.17")
        assert abs(f[1] - printed[1]) < mpf("0.00005")

    @pytest.mark.parametrize(("H", "agree"), [(1, True), (2, False)])
    def test_printed_chain_is_right_for_one_unit_only(self, H: int, agree: bool) -> None:
        """N2: the four braces may be collected only where everything commutes."""
        case = (values(H), values(H, salt=2), values(4, 2), values(H, H + 2, salt=3))

        ordered, printed = d0.chain_ordered(*case), d0.chain_as_printed(*case)

        assert same(ordered, printed) is agree
        assert agree or gap(ordered, printed) > mpf("1e-6")

    def test_printed_chain_is_right_over_one_step(self) -> None:
        """A single factor has nothing to commute with, for any number of units."""
        case = (values(3), values(3, salt=2), values(1, 2), values(3, 5, salt=3))

        assert same(d0.chain_ordered(*case), d0.chain_as_printed(*case))

    def test_ordered_chain_is_the_derivative(self) -> None:
        """E08 for H = 2 equals the derivative of dL · a^4 at a^0, with a bias."""
        dL, a_0, xs = values(2), values(2, salt=2), values(4, 2)
        W_a, b_a = values(2, 4, salt=3), values(2, salt=4)

        def loss(first: Any, second: Any) -> Any:
            return dot(dL, d0.rnn(xs, [first, second], W_a, b_a)[-1])

        numeric = [mp.diff(loss, tuple(a_0), n) for n in [(1, 0), (0, 1)]]
        assert same(d0.chain_ordered(dL, a_0, xs, W_a, b_a), numeric, digits=20)


class TestD1:
    """The LSTMCELL listing."""

    NAMES: ClassVar = {"forget": "f", "candidate": "g", "input": "i", "output": "o"}

    def case(self) -> Any:
        """Three inputs, three units from zeros as printed, weights by layer name."""
        W, b = by_key("figo", 3, 5), by_key("figo", 3, salt=4)
        named = [{n: p[key] for n, key in self.NAMES.items()} for p in (W, b)]
        return values(3, 2), W, b, named

    def test_corrected_loop_is_d0s_lstm(self) -> None:
        """The listing, unpacked in the order of its return, is the LSTM of D0."""
        xs, W, b, named = self.case()

        corrected = d1.loop_corrected(xs, [0, 0, 0], [0, 0, 0], *named)

        assert same(corrected, d0.lstm(xs, [0, 0, 0], [0, 0, 0], W, b))

    def test_swap_only_renames_after_one_step_and_differs_after_two(self) -> None:
        """P1: from equal initial states the first step hides the swap."""
        xs, _, _, named = self.case()
        printed_h, printed_c = d1.loop_as_printed(xs, [0, 0, 0], [0, 0, 0], *named)
        h, c = d1.loop_corrected(xs, [0, 0, 0], [0, 0, 0], *named)

        assert same([printed_h[0], printed_c[0]], [c[0], h[0]])
        assert gap([printed_h[1], printed_c[1]], [c[1], h[1]]) > mpf("1e-3")
        assert gap([printed_h[2], printed_c[2]], [h[2], c[2]]) > mpf("1e-3")


class TestD2:
    """Rows."""

    def test_lstm_is_d0s(self) -> None:
        """Split rows and concatenated columns are one map (C26)."""
        xs, H_0, C_0 = values(3, 2), values(3, salt=8), values(3, salt=9)
        U, W = by_key("fico", 2, 3), by_key("fico", 3, 3, salt=2)
        b = by_key("fico", 3, salt=3)
        joined = {k: beside(transposed(W[k]), transposed(U[k])) for k in "fico"}
        joined["g"], b["g"] = joined["c"], b["c"]

        assert same(d2.lstm(xs, H_0, C_0, U, W, b), d0.lstm(xs, H_0, C_0, joined, b))

    def test_rnn_is_d0s(self) -> None:
        """One matrix on [x, H] with rows is D0's on [a, x] with columns."""
        xs, H_0, C = values(3, 2), values(3, salt=8), values(5, 3)
        b = values(3, salt=3)
        W_a = beside(transposed(C[2:]), transposed(C[:2]))

        assert same(d2.rnn(xs, H_0, C, b), d0.rnn(xs, H_0, W_a, b))

    def test_gru_keeps_the_old(self) -> None:
        """u = 3/4, r = 1/4 by hand: 3/4 of the old and 1/4 of tanh(log 2)."""
        zero, one = [[0]], [[1]]
        U, W = dict.fromkeys("rug", zero), {"r": zero, "u": zero, "g": one}
        b = {"r": [-ln(3)], "u": [ln(3)], "g": [0]}

        H = d2.gru([[9]], [4 * ln(2)], U, W, b)

        assert same(H, [[3 * ln(2) + mpf(3) / 20]])

    def test_gru_is_d0s_with_the_update_gate_negated(self) -> None:
        """E23a and E23b are one equation up to the sign of the update gate."""
        xs, H_0 = values(3, 2), values(3, salt=8)
        U, W = by_key("rug", 2, 3), by_key("rug", 3, 3, salt=2)
        joined = {k: beside(transposed(W[k]), transposed(U[k])) for k in "rug"}
        negated = [[-w for w in row] for row in joined["u"]]

        def in_d0(W_i: Any) -> Any:
            W_d0 = {"r": joined["r"], "c": joined["g"], "i": W_i}
            return d0.gru(xs, H_0, W_d0)

        assert same(d2.gru(xs, H_0, U, W), in_d0(negated))
        assert not same(d2.gru(xs, H_0, U, W), in_d0(joined["u"]), digits=2)

    def test_one_hot_as_printed(self) -> None:
        """N4: six rows of width seven, index 0 unused, "The" is not "the"."""
        words, rows = d2.one_hot("The cat sat on the mat")

        printed = ["0100000", "0010000", "0001000", "0000100", "0000010", "0000001"]
        assert words == ["The", "cat", "sat", "on", "the", "mat"]
        assert ["".join(str(int(v)) for v in row) for row in rows] == printed

    def test_repeated_words_share_a_row_and_embedding_looks_it_up(self) -> None:
        """A one-hot row times E is the row of E (E31)."""
        _, rows = d2.one_hot("a b a")
        E = [[0, 1], [2, 3], [4, 5]]

        assert d2.embed(rows, E) == [[2, 3], [4, 5], [2, 3]]
