"""Laws of one step's Jacobian, and of products of a few."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...reference.cells import cell_named, cells
from ...reference.cells.lstm_phased import PhasedLSTM
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.complex_step import derivative
from . import closed_forms
from .methods import Methods
from .problem import Setting, draw, keeping_gate
from .products import log_singular_values
from .transition import Transition, joined, parted
from .validations import EPS, Finding, Validation, compare, worst

BIAS = 0.7
"""Not 0: at z = 1/2 the two polarities of the GRU's update gate are the same."""


def by_complex_step(methods: Methods) -> Finding:
    """Compare every cell's Jacobian, column by column, with complex steps of its equations."""
    return worst(_one_by_complex_step(methods, name) for name in cells())


def _one_by_complex_step(methods: Methods, name: str) -> Finding:
    bias = 1.0 if keeping_gate(cell_named(name)) else None
    problem = draw(Setting(name, 5, 1.5, bias), seed=3, bind=methods.bind)
    transition, x = problem.transition, problem.inputs.block(0)[0]

    def step(state: Array) -> tuple[Array, ...]:
        return transition.step(x, parted(state, transition.widths))[0]

    state = joined(problem.start)
    columns = [joined(derivative(step, state, e[None]))[0] for e in np.eye(state.shape[1])]
    expected = np.array(columns).T
    return compare(expected, _at(methods, transition, x, state), 20 * len(expected) * EPS, name)


def gru_at_rest(methods: Methods) -> Finding:
    """Compare J at h = 0 of all GRUs with the closed form."""
    return worst(_gru_at_rest(methods, cell) for cell in ("gru", "gru-keeps-old", "gru-takes-new"))


def _gru_at_rest(methods: Methods, name: str) -> Finding:
    transition, p, x, state = _at_rest(methods, name, 6)
    expected = closed_forms.gru_at_rest(p.U_n, closed_forms.keep(BIAS))
    return compare(expected, _at(methods, transition, x, state), 10 * EPS, name)


def lstm_at_rest(methods: Methods) -> Finding:
    """Compare the nonzero eigenvalues of J at (h, c) = 0 with f + μ/4."""
    H, f = 8, closed_forms.keep(BIAS)
    transition, p, x, state = _at_rest(methods, "lstm", H)
    expected = closed_forms.lstm_at_rest(p.U_g, f)
    found = np.linalg.eigvals(_at(methods, transition, x, state))
    found = found[np.argsort(-np.abs(found))][:H]
    nearest = found[np.abs(expected[:, None] - found[None, :]).argmin(axis=1)]
    return _compare_complex(expected, nearest, 20 * EPS * _sensitivity(p.U_g, f))


def _sensitivity(U_g: Array, f: float) -> float:
    """Return ‖J‖ times the condition of its eigenvectors (Bauer & Fike 1960), H columns of zero.

    J = B A with B = (I/2, I)ᵀ and A = (U_gᵀ/2, f I): its nonzero eigenvalues are those of A B.
    """
    small = U_g.T / 4 + f * np.eye(len(U_g))
    return float(np.linalg.cond(np.linalg.eig(small)[1]) * np.linalg.norm(small, 2)) * len(small)


def _compare_complex(expected: Array, measured: Array, allowed: float) -> Finding:
    apart = np.abs(measured - expected)
    k = int(apart.argmax())
    return Finding(abs(expected[k]), abs(measured[k]), float(apart[k]), allowed, f"μ {k + 1}")


def phased_path(methods: Methods) -> Finding:
    """Compare the direct path of c with 1 - k + k f at many times, and with 1 where k is 0."""
    return worst(_phased_path(methods, PhasedLSTM(leak)) for leak in (0.001, 0.0))


def _phased_path(methods: Methods, cell: PhasedLSTM) -> Finding:
    sizes, rng = Sizes(1, 5), np.random.default_rng(4)
    shapes, drawn = cell.shapes(sizes), dict(cell.random_parameters(rng, sizes))
    drawn |= {name: np.zeros(shapes[name].full) for name in ("W", "U", "p")}
    p = Parameters(shapes, drawn)
    transition = methods.bind(cell, p, sizes)
    timing = list(zip(p.tau, p.s, p.r_on, p.b_f, strict=True))
    expected, measured = [], []
    for time in rng.uniform(0, 40, 50):
        x, state = np.array([[time, 0.3]]), rng.standard_normal((1, 10))
        measured.append(np.diag(_at(methods, transition, x, state))[5:])
        expected.append([
            closed_forms.phased_keep(time, tau, s, r_on, cell.leak, closed_forms.keep(b))
            for tau, s, r_on, b in timing
        ])  # fmt: skip
    steepest = 40 / min(p.tau) * 2 / min(p.r_on)
    return compare(
        np.array(expected), np.array(measured), 5 * steepest * EPS, f"leak {cell.leak:g}"
    )


def skipped_step(methods: Methods) -> Finding:
    """Compare J of a skipped step, ũ < 1/2, with I on all states of the plain cell."""
    return worst(_skipped_step(methods, name) for name in ("skip-rnn", "skip-lstm", "skip-gru"))


def _skipped_step(methods: Methods, name: str) -> Finding:
    problem = draw(Setting(name, 6), seed=2, bind=methods.bind)
    state = joined((*problem.start[:-1], np.full((1, 1), 0.3)))
    J = _at(methods, problem.transition, problem.inputs.block(0)[0], state)
    plain = state.shape[1] - 1
    return compare(np.eye(plain), J[:plain, :plain], 0.0, name)


def pascanu_bound(methods: Methods) -> Finding:
    """Compare ln ‖∏ J‖ with l ln ‖U‖ over draws, gains and lags; positive where it exceeds it."""
    return worst(_bounds(methods))


def _bounds(methods: Methods) -> Iterator[Finding]:
    lags, H = (1, 2, 5, 20, 60), 10
    for seed, gain in enumerate(np.linspace(0.4, 3.0, 14)):
        setting = Setting("rnn", H, float(gain), None, 0.1)
        problem = draw(setting, seed, methods.bind)
        steps = problem.follow(lags[-1], 20).forwards()
        found = log_singular_values(methods.jacobians(problem.transition, steps), lags)
        bound = closed_forms.pascanu_bound(problem.p.U_a)
        for lag, logs in zip(lags, found, strict=True):
            over, allowed = float(logs[0]) - lag * bound, lag * H * EPS
            yield Finding(lag * bound, float(logs[0]), max(0.0, over), allowed, f"lag {lag}", True)


def counterexample(methods: Methods) -> Finding:
    """Compare ln ‖J^l‖ of a nilpotent U with ln (10 √2 2^(l-1))."""
    U, b, a = closed_forms.counterexample()
    cell, sizes, last = cell_named("rnn"), Sizes(1, 2), 12
    arrays = {"W": np.zeros((1, 1, 2)), "U": U[None], "b": b[None]}
    transition = methods.bind(cell, Parameters(cell.shapes(sizes), arrays), sizes)
    state, x, steps = (a[None],), np.zeros((1, 1)), []
    for _ in range(last):
        new, gates = transition.step(x, state)
        steps.append((x, state, gates, new))
        state = new
    lags = range(1, last + 1)
    found = list(log_singular_values(methods.jacobians(transition, steps), lags))
    expected = math.log(10 * math.sqrt(2)) + np.arange(last) * math.log(2)
    measured = np.array([logs[0] for logs in found])
    return compare(expected, measured, 100 * 2**last * EPS, scale=1.0)


def _at_rest(methods: Methods, name: str, H: int) -> tuple[Transition, Parameters, Array, Array]:
    """Return a cell with the bias of its keeping gate, its parameters, no input and no state."""
    problem = draw(Setting(name, H, 1.3, BIAS), seed=1, bind=methods.bind)
    width = problem.inputs.block(0).shape[-1]
    states = np.zeros((1, sum(problem.transition.widths)))
    return problem.transition, problem.p, np.zeros((1, width)), states


def _at(methods: Methods, transition: Transition, x: Array, joint: Array) -> Array:
    """Return the Jacobian at the state whose arrays lie side by side in ``joint`` (1, n)."""
    state = parted(joint, transition.widths)
    new, gates = transition.step(x, state)
    return methods.jacobian(transition, x, state, gates, new)


VALIDATIONS = (
    Validation(
        "jacobian",
        "The Jacobian of the whole state is what a complex step through the equations gives, "
        "for every cell.",
        "20 roundings of each of n terms",
        by_complex_step,
    ),
    Validation(
        "gru-at-rest",
        "A GRU at h = 0 has J = κ I + (1 - κ) U_nᵀ / 2, κ = σ(b) the share kept: reset before and "
        "after, z for the new and z for the old.",
        "10 roundings",
        gru_at_rest,
    ),
    Validation(
        "lstm-at-rest",
        "An LSTM at (h, c) = 0 has the nonzero eigenvalues f + μ/4, μ those of U_g.",
        "20 roundings times n times the condition of the eigenvectors",
        lstm_at_rest,
    ),
    Validation(
        "phased-path",
        "The cell state of a Phased LSTM keeps 1 - k + k f of itself; all of it where k = 0.",
        "5 roundings of the phase, whose error the time gate's slope multiplies",
        phased_path,
    ),
    Validation(
        "skipped-step",
        "A step that a Skip cell skips has J = I on the states of the plain cell.",
        "nothing: it is a copy",
        skipped_step,
    ),
    Validation(
        "pascanu-bound",
        "‖∂h_T/∂h_t‖ <= (γ ‖U‖₂)^l for the tanh RNN on every draw, with the largest singular "
        "value of U.",
        "one rounding of each of n l terms",
        pascanu_bound,
    ),
    Validation(
        "eigenvalue-counterexample",
        "With the largest eigenvalue instead the bound is false: for a nilpotent U the gradient "
        "is 10 √2 · 2^(l-1).",
        "100 roundings, which the unstable fixed point doubles in each of 12 steps",
        counterexample,
    ),
)
