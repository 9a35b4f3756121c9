"""Wrong cells, wrong VJPs and wrong numbers are disproved, however slightly wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.reference.cells import cell_named
from gatewise.reference.cells.lstm import LSTM, candidate, cell_state, cell_state_vjp, tanh_slope
from gatewise.reference.parameters import Parameters
from gatewise.verify.cases.case import Case
from gatewise.verify.checks.check import Check
from gatewise.verify.numbers.ledger import Mismatch
from gatewise.verify.proofs.cell_gradients import cell_gradient, equation_vjp
from gatewise.verify.proofs.enclosures import enclosed
from gatewise.verify.proofs.material import agree, cell_material, proof, small_cases
from gatewise.verify.proofs.runner import attempt

E = 1 + 1e-9


class Wrong(LSTM):
    """An LSTM whose VJP is off by 1e-9 in one result, or its float steps by a tenth."""

    def __init__(self, what):
        super().__init__("lstm", "wrong " + what, "lstm.candidate", candidate, tanh_slope)
        self.what = what

    def step(self, p, x, state):
        (h, c), gates = super().step(p, x, state)
        if self.what == "rounding" and isinstance(x, np.ndarray) and x.dtype.kind == "f":
            h = h * x.dtype.type(1.1)
        return (h, c), gates

    def vjp(self, *arguments):
        dp, dx, (dh, dc) = super().vjp(*arguments)
        wrong = {k: d * (E if k == self.what else 1) for k, d in dp.items()}
        if (
            self.what == "rounding of the gradient"
            and isinstance(dx, np.ndarray)
            and dx.dtype.kind == "f"
        ):
            dx = dx * dx.dtype.type(1.5)
        return (
            Parameters(dp.shapes, wrong),
            dx * E if self.what == "x" else dx,
            (dh * E if self.what == "state 0" else dh, dc * E if self.what == "state 1" else dc),
        )


@pytest.mark.parametrize("what", ["W", "U", "b", "x", "state 0", "state 1"])
def test_a_gradient_that_is_off_by_1e_9(what):
    with pytest.raises(Mismatch, match=r"gradient of "):
        cell_gradient(Wrong(what)).run(8, 0)
    cell_gradient(Wrong("nothing")).run(8, 0)


@pytest.mark.parametrize("what", ["rounding", "rounding of the gradient"])
def test_a_result_outside_its_bound(what):
    with pytest.raises(Mismatch, match="from the exact value, its bound is"):
        enclosed(Wrong(what)).run(30, 0)


def test_a_vjp_that_is_off_by_1e_9():
    for k in range(4):

        def wrong(*a, k=k):
            return tuple(d * (E if j == k else 1) for j, d in enumerate(cell_state_vjp(*a)))

        with pytest.raises(Mismatch, match=f"VJP in argument {k + 1}"):
            equation_vjp("lstm.cell_state", cell_state, wrong).run(8, 0)


@pytest.mark.parametrize(
    "got", [[1.0, 2.0 + 1e-12], [1.0, 2.0 - 1e-12], [1.0, np.nan], [np.inf, 2.0], [1.0]]
)
def test_what_does_not_agree(got):
    with pytest.raises(Mismatch, match="E01 sigmoid: q"):
        agree(["sigmoid"], "q", np.array(got), np.array([1.0, 2.0]))
    agree(["sigmoid"], "q", np.array([1.0, np.nextafter(2.0, 3)]), np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    "error", [Mismatch("no"), Mismatch(""), ValueError("x"), ZeroDivisionError()]
)
def test_whatever_a_proof_raises_it_does_not_hold(error):
    def run(examples, seed):
        raise error

    assert not attempt(Check("a", "b", ("sigmoid",), run)).holds


def test_a_proof_draws_as_many_as_asked_and_follows_its_seed():
    seen = {}
    for seed in (0, 1):
        seen[seed] = []
        proof("a", "b", ["sigmoid"], st.integers(0, 2**16), seen[seed].append).run(30, seed)
    assert len(seen[0]) >= 30
    assert seen[0] != seen[1]


def test_a_proof_draws_as_many_as_its_budget():
    asked = []

    def run(examples, seed):
        asked.append((examples, seed))

    for budget in ("quick", "standard", "thorough"):
        assert attempt(Check("a", "b", ("sigmoid",), run), budget=budget, seed=4).holds
    assert asked == [(8, 4), (30, 4), (200, 4)]


def test_material_is_not_zero_and_cases_vary():
    drawn = []
    given(small_cases())(lambda case: drawn.append(case))()
    for want in (
        lambda c: c.lengths,
        lambda c: not c.lengths,
        lambda c: c.T >= 4,
        lambda c: c.scale == "large",
        lambda c: c.lengths and c.row_lengths().min() < c.T,
        lambda c: c.P,
    ):
        assert any(want(case) for case in drawn)
    m = cell_material(cell_named("lstm-peephole"), Case(4, 2, 3, 3, lengths=True))
    for array in (*m.p.values(), m.x, *m.state, m.dy, *m.dfinal):
        assert (array != 0).all()
        assert len(np.unique(array)) == array.size
