"""The LSTM arranged for speed computes what the plain cell computes, both ways.

The tolerance is derived, not chosen. The plain cell runs in float64 on ``Bounded`` numbers: beside
every value travels a bound of what rounding in the dtype under test may do to it. A sum of n
products is allowed γ_n = n u / (1 - n u) times the sum of the products' *magnitudes*, in whatever
order it is added up (Higham 2002, sec. 4.2); a product one rounding; an activation 8 u, absolutely;
and what has gone wrong before is passed on by the derivative. Two right programs may therefore
differ by the bound and no more, element by element. (In fact the fast LSTM uses 7 % of it.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatewise.reference import fast
from gatewise.reference.cells import cell_named
from gatewise.reference.errors import InputError
from gatewise.reference.parameters import Parameters, Sizes
from gatewise.reference.sequence import backpropagate, unroll
from gatewise.verify.numbers.arithmetic import ARITHMETICS
from gatewise.verify.numbers.bounded import Bounded

LSTM = cell_named("lstm")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Problem:
    """Everything that a run and its way back take."""

    p: Parameters
    x: Any
    h0: Any
    c0: Any
    dy: Any
    dh: Any
    dc: Any

    def map(self, function: Any) -> "Problem":
        """Return the same problem with ``function`` applied to every array."""
        rest = (self.x, self.h0, self.c0, self.dy, self.dh, self.dc)
        return Problem(self.p.map(function), *map(function, rest))


def draw(
    dtype: str, T: int, B: int, D: int, H: int, *, seed: int = 0, scale: float = 1.0
) -> Problem:
    """Draw a problem without zeros."""
    rng, sizes = np.random.default_rng(seed), Sizes(D, H)

    def normal(*shape: int) -> Any:
        return scale * rng.standard_normal(shape)

    p = LSTM.random_parameters(rng, sizes).map(lambda array: scale * array)
    x, dy = normal(T, B, D), normal(T, B, H)
    problem = Problem(p, x, normal(B, H), normal(B, H), dy, normal(B, H), normal(B, H))
    return problem.map(lambda array: array.astype(dtype))


def run_fast(problem: Problem) -> dict[str, Any]:
    """Return every output and every gradient of the fast LSTM."""
    q = problem
    run = fast.lstm_forward(q.p, q.x, q.h0, q.c0)
    dp, dx, dh0, dc0 = fast.lstm_backward(q.p, run, q.dy, q.dh, q.dc)
    return {"y": run.y, "h": run.h, "c": run.c, **named(dp), "dx": dx, "dh0": dh0, "dc0": dc0}


def run_plain(problem: Problem) -> dict[str, Bounded]:
    """Return the same of the plain cell, in float64, with bounds for the problem's dtype."""
    arithmetic = ARITHMETICS[problem.x.dtype.name]
    q = problem.map(lambda array: Bounded.exact(array, arithmetic))
    run = unroll(LSTM, q.p, q.x, (q.h0, q.c0))
    dp, dx, (dh0, dc0) = backpropagate(LSTM, q.p, run, q.dy, (q.dh, q.dc))
    h, c = run.final
    return {"y": run.y, "h": h, "c": c, **named(dp), "dx": dx, "dh0": dh0, "dc0": dc0}


def named(dp: Parameters) -> dict[str, Any]:
    """Return gradients gate by gate, as attributes name them."""
    return {f"d{name}": getattr(dp, name) for name in sorted(dp.names())}


def assert_equal(got: Mapping[str, Any], want: Mapping[str, Bounded], dtype: str) -> None:
    """Every element lies within the bound, and is of the right shape and dtype."""
    assert got.keys() == want.keys()
    for name, bounded in want.items():
        assert got[name].shape == bounded.shape, name
        assert got[name].dtype == dtype, name
        error = np.abs(got[name].astype(np.float64) - bounded.value)
        assert (error <= bounded.bound).all(), f"{name}: off by {error}, allowed {bounded.bound}"


class TestEqualsThePlainCell:
    """Outputs, final states and all gradients."""

    @settings(max_examples=50, deadline=None)
    @given(dtype=st.sampled_from(DTYPES), T=st.integers(0, 8), B=st.integers(1, 4),
           D=st.integers(1, 6), H=st.integers(1, 6), seed=st.integers(0, 2**32 - 1),
           scale=st.sampled_from([1e-3, 1.0, 4.0]))  # fmt: skip
    @example(dtype="float64", T=0, B=2, D=3, H=4, seed=0, scale=1.0)
    @example(dtype="float32", T=1, B=1, D=1, H=1, seed=0, scale=1.0)
    @example(dtype="float64", T=5, B=1, D=4, H=1, seed=1, scale=1.0)
    def test_drawn(
        self, dtype: str, T: int, B: int, D: int, H: int, seed: int, scale: float
    ) -> None:
        problem = draw(dtype, T, B, D, H, seed=seed, scale=scale)
        assert_equal(run_fast(problem), run_plain(problem), dtype)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_the_tolerance_is_small(self, dtype: str) -> None:
        """No bound exceeds 5000 u of its array's largest element: 3e-4 in float32."""
        u = float(np.finfo(dtype).eps) / 2
        for name, bounded in run_plain(draw(dtype, 4, 2, 3, 4)).items():
            assert bounded.bound.max() < 5000 * u * np.abs(bounded.value).max(), name

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("size", [50.0, 1000.0])
    def test_saturated(self, dtype: str, size: float) -> None:
        """Pre-activations of ±50 and ±1000, every sign on every gate, neither overflow nor warn."""
        signs = 2 * (np.arange(16) >> np.arange(4)[:, None] & 1) - 1
        drawn = draw(dtype, 4, 2, 3, 16)
        arrays = {**drawn.p, "b": (size * signs).astype(dtype)}
        problem = Problem(Parameters(drawn.p.shapes, arrays), *list(vars(drawn).values())[1:])

        with np.errstate(over="raise", divide="raise", invalid="raise"):
            got = run_fast(problem)

        assert all(np.isfinite(array).all() for array in got.values())
        assert_equal(got, run_plain(problem), dtype)


class TestTheComparisonSees:
    """Planted faults."""

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("order", ["iofg", "ofig", "oigf", "ifgo"])
    def test_wrong_gate_order(
        self, monkeypatch: pytest.MonkeyPatch, dtype: str, order: str
    ) -> None:
        """Planes are filled with other gates than the step takes them for."""
        problem = draw(dtype, 3, 2, 3, 4)
        assert_equal(run_fast(problem), run_plain(problem), dtype)

        monkeypatch.setattr(fast, "ORDER", tuple(order))

        with pytest.raises(AssertionError, match="y: off by"):
            assert_equal(run_fast(problem), run_plain(problem), dtype)

    def test_gradients_left_in_the_order_of_planes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Outputs are right, the gradients of the gates are exchanged."""
        problem = draw("float32", 3, 2, 3, 4)

        monkeypatch.setattr(fast, "_from_planes", lambda p, name, array: array)

        with pytest.raises(AssertionError, match="dU_f: off by"):
            assert_equal(run_fast(problem), run_plain(problem), "float32")


class TestManners:
    """What a caller may rely on."""

    @pytest.mark.parametrize("T", [0, 3])
    def test_inputs_are_not_modified(self, T: int) -> None:
        def lock(array: Any) -> Any:
            array.flags.writeable = False
            return array

        problem = draw("float64", T, 2, 3, 4).map(lock)

        assert_equal(run_fast(problem), run_plain(problem), "float64")

    def test_strided_inputs(self) -> None:
        problem = draw("float64", 3, 2, 3, 4)
        strided = problem.map(lambda array: np.stack([array, -array], axis=-1).T[0].T)
        assert not strided.x.flags.c_contiguous
        assert_equal(run_fast(strided), run_plain(problem), "float64")

    def test_a_run_can_be_pulled_back_through_twice(self) -> None:
        q = draw("float32", 3, 2, 3, 4)
        run = fast.lstm_forward(q.p, q.x, q.h0, q.c0)

        first = fast.lstm_backward(q.p, run, q.dy, q.dh, q.dc)
        fast.lstm_backward(q.p, run, -q.dy, q.dc, q.dh)
        again = fast.lstm_backward(q.p, run, q.dy, q.dh, q.dc)

        assert all(np.array_equal(first[0][name], again[0][name]) for name in "WUb")
        assert all(np.array_equal(a, b) for a, b in zip(first[1:], again[1:], strict=True))

    def test_parameters_of_another_cell(self) -> None:
        p = cell_named("lstm-peephole").random_parameters(np.random.default_rng(0), Sizes(3, 4))
        with pytest.raises(InputError, match='p: expected W, U and b of the cell "lstm"'):
            fast.lstm_forward(p, np.ones((2, 1, 3)), np.ones((1, 4)), np.ones((1, 4)))
