"""Validations: measurements compared with theory, before every bench."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from ...reference.cells import cell_named, gating_cells
from ...reference.cells.lstm_phased import PhasedLSTM
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.numbers.complex_step import derivative
from . import closed_forms
from .adjoint import carried
from .measurement import Methods
from .problem import Problem, Setting, draw, has_gain, keeping_gate
from .rates import slope
from .spectra import log_singular_values
from .trajectory import (
    Bound,
    Inputs,
    Stack,
    Transition,
    follow,
    joined,
    parted,
    state_jacobians,
    wander,
)

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Finding:
    """An expected and a measured value, their difference, and the allowed difference.

    ``where`` names the worst of several cases. With ``at_most`` the expected value is a bound, and
    the error is the excess.
    """

    expected: float
    measured: float
    error: float
    allowed: float
    where: str = ""
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """True if the error is allowed; NaN is not."""
        return bool(self.error <= self.allowed)

    @property
    def digits(self) -> float | None:
        """The digits that agree, at most the 15.95 of float64; None for a bound."""
        if self.at_most:
            return None
        if not self.error >= 0 or self.error == math.inf:
            return 0.0
        return max(0.0, -math.log10(max(self.error, EPS / 2)))


@dataclass(frozen=True)
class Validation:
    """A law: its id, its statement, the reason of its allowance, and its measurement."""

    id: str
    statement: str
    allowance: str
    measure: Callable[[Methods], Finding]


def compare(
    expected: Array, measured: Array, allowed: float, where: str = "", scale: float | None = None
) -> Finding:
    """Compare arrays entry by entry, relative to the largest expected one; report the worst."""
    expected, measured = np.atleast_1d(expected), np.atleast_1d(measured)
    if expected.shape != measured.shape:
        return Finding(math.nan, math.nan, math.inf, allowed, f"{where}: shape {measured.shape}")
    allowed = float(allowed)
    apart = np.abs(measured - expected) / (scale or np.abs(expected).max())
    apart = np.where(np.isnan(apart), np.inf, apart)
    k = np.unravel_index(apart.argmax(), apart.shape)
    return Finding(float(expected[k]), float(measured[k]), float(apart[k]), allowed, where)


LAWS: list[Validation] = []


def law(
    id: str, statement: str, allowance: str, over: Iterable[Any] | None = None
) -> Callable[[Callable[..., Finding]], Callable[..., Finding]]:
    """Register the measurement of a law; with ``over``, the worst of these cases counts.

    ``allowance`` is the reason of the allowed error.
    """

    def register(measure: Callable[..., Finding]) -> Callable[..., Finding]:
        def measure_all(methods: Methods) -> Finding:
            return worst(measure(methods, case) for case in over or ())

        LAWS.append(Validation(id, statement, allowance, measure if over is None else measure_all))
        return measure

    return register


def worst(findings: Iterable[Finding]) -> Finding:
    """Return the finding with the largest error over the allowed one."""
    return max(findings, key=lambda f: f.error / f.allowed if f.allowed else f.error and math.inf)


def _draw_problem(
    methods: Methods, name: str, hidden: int, gain: float, seed: int, input_scale: float = 1.0
) -> Problem:
    """Draw a cell, with a bias of 1 on the gate that keeps its state."""
    bias = 1.0 if keeping_gate(cell_named(name)) else None
    gain = gain if has_gain(cell_named(name)) else 1.0
    return draw(Setting(name, hidden, gain, bias, input_scale), seed, methods.bind)


# Laws of one step's Jacobian, and of products of a few.


BIAS = 0.7
"""Not 0: at z = 1/2 the two polarities of the GRU's update gate are the same."""


@law(
    "jacobian",
    "The Jacobian of the whole state is what a complex step through the equations gives, "
    "for every cell.",
    "20 roundings of each of n terms",
    over=gating_cells(),
)
def _by_complex_step(methods: Methods, name: str) -> Finding:
    problem = _draw_problem(methods, name, 5, 1.5, seed=3)
    transition, x = problem.transition, problem.inputs.block(0)[0]

    def step(state: Array) -> tuple[Array, ...]:
        return transition.step(x, parted(state, transition.widths))[0]

    state = joined(problem.start)
    columns = [joined(derivative(step, state, e[None]))[0] for e in np.eye(state.shape[1])]
    expected = np.array(columns).T
    return compare(
        expected, _jacobian(methods, transition, x, state), 20 * len(expected) * EPS, name
    )


@law(
    "gru-at-rest",
    "A GRU at h = 0 has J = κ I + (1 - κ) U_nᵀ / 2, κ = σ(b) the share kept: reset before and "
    "after, z for the new and z for the old.",
    "10 roundings",
    over=("gru", "gru-keeps-old", "gru-takes-new"),
)
def _gru_at_rest(methods: Methods, name: str) -> Finding:
    transition, p, x, state = _at_rest(methods, name, 6)
    expected = closed_forms.gru_at_rest(p.U_n, closed_forms.keep(BIAS))
    return compare(expected, _jacobian(methods, transition, x, state), 10 * EPS, name)


@law(
    "lstm-at-rest",
    "An LSTM at (h, c) = 0 has the nonzero eigenvalues f + μ/4, μ those of U_g.",
    "20 roundings times n times the condition of the eigenvectors",
)
def _lstm_at_rest(methods: Methods) -> Finding:
    H, f = 8, closed_forms.keep(BIAS)
    transition, p, x, state = _at_rest(methods, "lstm", H)
    expected = closed_forms.lstm_at_rest(p.U_g, f)
    eigenvalues = np.linalg.eigvals(_jacobian(methods, transition, x, state))
    eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues))][:H]
    nearest = eigenvalues[np.abs(expected[:, None] - eigenvalues[None, :]).argmin(axis=1)]
    apart = np.abs(nearest - expected)
    k = int(apart.argmax())
    return Finding(
        abs(expected[k]),
        abs(nearest[k]),
        float(apart[k]),
        20 * EPS * _sensitivity(p.U_g, f),
        f"μ {k + 1}",
    )


def _sensitivity(U_g: Array, f: float) -> float:
    """Return ‖J‖ times the condition of its eigenvectors (Bauer & Fike 1960), H columns of zero.

    J = B A with B = (I/2, I)ᵀ and A = (U_gᵀ/2, f I): its nonzero eigenvalues are those of A B.
    """
    small = U_g.T / 4 + f * np.eye(len(U_g))
    return float(np.linalg.cond(np.linalg.eig(small)[1]) * np.linalg.norm(small, 2)) * len(small)


@law(
    "phased-path",
    "The cell state of a Phased LSTM keeps 1 - k + k f of itself; all of it where k = 0.",
    "5 roundings of the phase, whose error the time gate's slope multiplies",
    over=(PhasedLSTM(0.001), PhasedLSTM(0.0)),
)
def _phased_path(methods: Methods, cell: PhasedLSTM) -> Finding:
    sizes, rng = Sizes(1, 5), np.random.default_rng(4)
    shapes, drawn = cell.shapes(sizes), dict(cell.random_parameters(rng, sizes))
    drawn |= {name: np.zeros(shapes[name].full) for name in ("W", "U", "p")}
    p = Parameters(shapes, drawn)
    transition = methods.bind(cell, p, sizes)
    timing = list(zip(p["tau"], p["s"], p["r_on"], np.asarray(p.b_f), strict=True))
    expected, measured = [], []
    for time in rng.uniform(0, 40, 50):
        x, state = np.array([[time, 0.3]]), rng.standard_normal((1, 10))
        measured.append(np.diag(_jacobian(methods, transition, x, state))[5:])
        expected.append([
            closed_forms.phased_keep(time, tau, s, r_on, cell.leak, closed_forms.keep(b))
            for tau, s, r_on, b in timing
        ])  # fmt: skip
    steepest = 40 / min(p["tau"]) * 2 / min(p["r_on"])
    return compare(
        np.array(expected), np.array(measured), 5 * steepest * EPS, f"leak {cell.leak:g}"
    )


@law(
    "skipped-step",
    "A step that a Skip cell skips has J = I on the states of the plain cell.",
    "nothing: it is a copy",
    over=("skip-rnn", "skip-lstm", "skip-gru"),
)
def _skipped_step(methods: Methods, name: str) -> Finding:
    problem = draw(Setting(name, 6), seed=2, bind=methods.bind)
    state = joined((*problem.start[:-1], np.full((1, 1), 0.3)))
    J = _jacobian(methods, problem.transition, problem.inputs.block(0)[0], state)
    plain = state.shape[1] - 1
    return compare(np.eye(plain), J[:plain, :plain], 0.0, name)


@law(
    "pascanu-bound",
    "‖∂h_T/∂h_t‖ <= (γ ‖U‖₂)^l for the tanh RNN on every draw, with the largest singular "
    "value of U.",
    "one rounding of each of n l terms",
)
def _pascanu_bound(methods: Methods) -> Finding:
    lags, H, findings = (1, 2, 5, 20, 60), 10, []
    for seed, gain in enumerate(np.linspace(0.4, 3.0, 14)):
        setting = Setting("rnn", H, float(gain), None, 0.1)
        problem = draw(setting, seed, methods.bind)
        steps = problem.follow(lags[-1], 20).forwards()
        products = log_singular_values(methods.jacobians(problem.transition, steps), lags)
        bound = closed_forms.pascanu_bound(problem.p.U_a)
        for lag, logs in zip(lags, products, strict=True):
            over, allowed = float(logs[0]) - lag * bound, lag * H * EPS
            findings.append(
                Finding(lag * bound, float(logs[0]), max(0.0, over), allowed, f"lag {lag}", True)
            )
    return worst(findings)


@law(
    "eigenvalue-counterexample",
    "With the largest eigenvalue instead the bound is false: for a nilpotent U the gradient "
    "is 10 √2 · 2^(l-1).",
    "100 roundings, which the unstable fixed point doubles in each of 12 steps",
)
def _counterexample(methods: Methods) -> Finding:
    U, b, a = closed_forms.counterexample()
    cell, sizes, last = cell_named("rnn"), Sizes(1, 2), 12
    arrays = {"W": np.zeros((1, 1, 2)), "U": U[None], "b": b[None]}
    transition = methods.bind(cell, Parameters(cell.shapes(sizes), arrays), sizes)
    state: tuple[Array, ...] = (a[None],)
    x, steps = np.zeros((1, 1)), []
    for _ in range(last):
        new, gates = transition.step(x, state)
        steps.append((x, state, gates, new))
        state = new
    lags = range(1, last + 1)
    products = list(log_singular_values(methods.jacobians(transition, steps), lags))
    expected = math.log(10 * math.sqrt(2)) + np.arange(last) * math.log(2)
    measured = np.array([logs[0] for logs in products])
    return compare(expected, measured, 100 * 2**last * EPS, scale=1.0)


def _at_rest(methods: Methods, name: str, H: int) -> tuple[Transition, Parameters, Array, Array]:
    """Return a cell with the bias of its keeping gate, its parameters, no input and no state."""
    problem = draw(Setting(name, H, 1.3, BIAS), seed=1, bind=methods.bind)
    width = problem.inputs.block(0).shape[-1]
    states = np.zeros((1, sum(problem.transition.widths)))
    return problem.transition, problem.p, np.zeros((1, width)), states


def _jacobian(methods: Methods, transition: Transition, x: Array, joint: Array) -> Array:
    """Return the Jacobian at the state whose arrays lie side by side in ``joint`` (1, n)."""
    state = parted(joint, transition.widths)
    new, gates = transition.step(x, state)
    return methods.jacobian(transition, x, state, gates, new)


# Laws of long products: half-lives, exponents, adjoints, stacks, the mean field.


def _half_life(methods: Methods, b: float) -> Finding:
    measured = math.log(2) * _direct_e_fold(methods, b, 2000)
    return compare(closed_forms.half_life(b), measured, 2 * EPS * 2000, f"b = {b:g}")


for _b in (0.0, 1.0, 2.0, 5.0):
    law(
        f"half-life b={_b:g}",
        f"The direct path of an LSTM's c halves in ln 2 / ln(1 + e^-b) steps, b = {_b:g}.",
        "two roundings in each of 2000 steps",
    )(partial(_half_life, b=_b))


@law(
    "e-fold b=ln(T-1)",
    "With b = ln(T - 1) that path falls by e in T - 1/2 steps, T = 1000.",
    "the next term of the series, 1/(12 T)",
)
def _chrono(methods: Methods) -> Finding:
    T = 1000
    measured = _direct_e_fold(methods, math.log(T - 1), 2000)
    return compare(T - 0.5, measured, 1.1 / (12 * T) / T, f"T = {T}")


def _direct_e_fold(methods: Methods, b: float, steps: int) -> float:
    """Return the number of steps in which ‖∂L/∂c‖ of an LSTM without W and U falls by e."""
    cell, sizes = cell_named("lstm"), Sizes(1, 4)
    shapes = cell.shapes(sizes)
    arrays = {name: np.zeros(shape.full) for name, shape in shapes.items()}
    arrays["b"] += np.array([0.3, b, 0.0, 0.1])[:, None]
    transition = methods.bind(cell, Parameters(shapes, arrays), sizes)
    inputs = Inputs(cell, sizes, (0,), 1.0)
    start = tuple(np.full((1, 4), 0.1) for _ in range(2))
    trajectory = follow(transition, inputs, start, steps)
    cotangent = np.full((1, 4), 0.5), np.zeros((1, 4))
    logs = np.array([s.log_norms()[1] for s in methods.carried(trajectory, cotangent)])
    lags = np.arange(steps + 1)
    rate = slope(lags[1:], logs[1:])
    return -1 / rate if rate else math.inf


@law(
    "sum-rule",
    "All Lyapunov exponents add up to the mean of ln |det J|.",
    "one rounding of each entry of J, times the condition of J",
    over=("rnn", "lstm", "gru", "lstm-peephole"),
)
def _sum_rule(methods: Methods, name: str) -> Finding:
    steps, transient = 400, 100
    problem = _draw_problem(methods, name, 16, 1.0, seed=0)
    walk = islice(problem.wander(), steps + transient)
    jacobians = list(methods.jacobians(problem.transition, walk))
    measured = methods.exponents(jacobians, steps=steps, transient=transient)
    condition = max(float(np.linalg.cond(J)) for J in jacobians)
    allowed = len(jacobians[0]) ** 2 * EPS * condition
    return compare(measured.log_det, measured.values.sum(), allowed, name, scale=1.0)


@law(
    "first-exponent",
    "The first Lyapunov exponent of an LSTM is the slope of its gradient over the same steps.",
    "10 / T: the logs of two angles, over T steps",
)
def _first_exponent(methods: Methods) -> Finding:
    steps = 2000
    problem = draw(Setting("lstm", 16, 1.0, 1.0), 0, methods.bind)
    trajectory = problem.follow(steps, 100)
    jacobians = methods.jacobians(problem.transition, trajectory.forwards())
    measured = methods.exponents(jacobians, steps=steps - 1, transient=1)
    logs = [s.log_norms()[-1] for s in methods.carried(trajectory, problem.cotangent)]
    rate = (logs[-1] - logs[0]) / steps
    return compare(rate, measured.values[0], 10 / steps, scale=1.0)


@law(
    "symmetric",
    "An RNN at rest whose U is symmetric has the logs of U's eigenvalues as exponents.",
    "10 roundings of each of n terms, times the condition of U",
)
def _symmetric(methods: Methods) -> Finding:
    H, rng = 8, np.random.default_rng(5)
    eigenvalues = np.geomspace(1.2, 0.2, H)
    Q = np.linalg.qr(rng.standard_normal((H, H)))[0]
    cell, sizes = cell_named("rnn"), Sizes(1, H)
    U = Q @ np.diag(eigenvalues) @ Q.T
    arrays = {"W": np.zeros((1, 1, H)), "U": U[None], "b": np.zeros((1, H))}
    transition = methods.bind(cell, Parameters(cell.shapes(sizes), arrays), sizes)
    walk = wander(transition, Inputs(cell, sizes, (0,), 1.0), (np.zeros((1, H)),))
    spectrum = methods.exponents(methods.jacobians(transition, walk), steps=100, transient=200)
    condition = float(eigenvalues[0] / eigenvalues[-1])
    return compare(np.log(eigenvalues), spectrum.values, 10 * H * EPS * condition, scale=1.0)


@law(
    "tangent-adjoint",
    "⟨u, P v⟩ forward is ⟨Pᵀ u, v⟩ backward over 20 steps, for every cell.",
    "one rounding of each of n terms in each step, carried on by the norms of the others",
    over=gating_cells(),
)
def _tangent_adjoint(methods: Methods, name: str) -> Finding:
    steps = 20
    problem = _draw_problem(methods, name, 6, 1.2, seed=6, input_scale=0.5)
    trajectory, widths = problem.follow(steps, 5), problem.transition.widths
    rng = np.random.default_rng(7)
    u, v = (rng.standard_normal((1, sum(widths))) for _ in range(2))
    *_, pulled = methods.carried(trajectory, parted(u, widths))
    measured = float(np.ldexp(np.vdot(joined(pulled.cotangent), v), pulled.exponent))

    def end(start: Array) -> tuple[Array, ...]:
        state = parted(start, widths)
        for x, *_ in trajectory.forwards():
            state, _ = problem.transition.step(x, state)
        return (joined(state),)

    (tangent,) = derivative(end, joined(trajectory.checkpoints[0]), v)
    jacobians = state_jacobians(problem.transition, trajectory.forwards())
    norms = [np.linalg.norm(J, 2) for J in jacobians]
    scale = float(np.prod(np.maximum(norms, 1)) * np.linalg.norm(u) * np.linalg.norm(v))
    return compare(np.vdot(u, tangent), measured, steps * len(v[0]) * EPS * scale, name, scale=1.0)


@law(
    "bit-by-bit",
    "Scaling by powers of two changes no bit of the adjoint while that is normal.",
    "nothing: it is exact",
)
def _bit_by_bit(methods: Methods) -> Finding:
    problem = draw(Setting("lstm", 8, 0.8, 0.0), 0, methods.bind)
    trajectory = problem.follow(400, 20)
    plain = carried(trajectory, problem.cotangent, scaled=False)
    scaled, differing = methods.carried(trajectory, problem.cotangent), 0
    for ours, unscaled in zip(scaled, plain, strict=True):
        unscaled_vector, scaled_vector = joined(unscaled.cotangent), joined(ours.cotangent)
        normal = np.abs(unscaled_vector) >= np.finfo(unscaled_vector.dtype).tiny
        differing += int((np.ldexp(scaled_vector, ours.exponent) != unscaled_vector)[normal].sum())
    return Finding(0.0, float(differing), float(differing), 0.0)


@law(
    "stack",
    "The exponents of two layers together are those of both apart.",
    "40 / T: the logs of angles, over T steps",
)
def _stack(methods: Methods) -> Finding:
    cell, steps, transient = cell_named("rnn"), 4000, 500
    lower, upper = (
        draw(Setting("rnn", 6, gain), seed, methods.bind) for gain, seed in ((1.0, 0), (1.4, 1))
    )
    sizes = Sizes(6, 6)
    reads_lower = {**upper.p, "W": np.random.default_rng(8).standard_normal((1, 6, 6)) / 2}
    above = Bound(cell, Parameters(cell.shapes(sizes), reads_lower), sizes)
    below = Bound(cell, lower.p, Sizes(lower.p["W"].shape[1], 6))
    both = Stack(below, above)
    walk = list(islice(wander(both, lower.inputs, (*lower.start, *upper.start)), steps + transient))
    apart = [
        [methods.jacobian(below, x, s[:1], {}, new[:1]) for x, s, _, new in walk],
        [methods.jacobian(above, new[0], s[1:], {}, new[1:]) for _, s, _, new in walk],
    ]

    def exponents(jacobians: list[Array]) -> Array:
        return methods.exponents(jacobians, steps=steps, transient=transient).values

    together = exponents(list(methods.jacobians(both, walk)))
    union = -np.sort(-np.concatenate([exponents(jacobians) for jacobians in apart]))
    return compare(union, together, 40 / steps, scale=1.0)


@law(
    "mean-field",
    "A wide random tanh RNN has ‖J‖²_F / H = g² E[φ'²], the mean over its own activity.",
    "3 standard deviations of a mean over H units and 6 seeds, each of relative size 1",
)
def _mean_field(methods: Methods) -> Finding:
    H, gain, steps, seeds = 200, 1.5, 40, 6
    sizes = []
    for seed in range(seeds):
        problem = draw(Setting("rnn", H, gain, None, 0.0), seed, methods.bind)
        walk = problem.follow(steps, 200).forwards()
        jacobians = methods.jacobians(problem.transition, islice(walk, 0, steps, 5))
        sizes.append(np.mean([np.linalg.norm(J) ** 2 / H for J in jacobians]))
    expected = closed_forms.tanh_chi(gain, 0.0)
    return compare(expected, np.mean(sizes), 3 / math.sqrt(H * seeds))
