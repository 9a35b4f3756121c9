"""Laws of long products: half-lives, exponents, adjoints, stacks, the mean field."""

from __future__ import annotations

import math
from functools import partial
from itertools import islice

import numpy as np

from ...reference.cells import cell_named, cells
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...verify.complex_step import derivative
from . import closed_forms
from .adjoint import carried
from .inputs import Inputs
from .jacobian import state_jacobians
from .lyapunov import exponents
from .methods import Methods
from .problem import Setting, draw, keeping_gate
from .rates import slope
from .stack import Stack
from .trajectory import Trajectory, follow, wander
from .transition import Bound, joined, parted
from .validations import EPS, Finding, Validation, compare, worst

BIASES = (0.0, 1.0, 2.0, 5.0)


def half_life(methods: Methods, b: float) -> Finding:
    """Compare the measured half-life of an LSTM's direct path with ln 2 / ln(1 + e^-b)."""
    measured = math.log(2) * _direct_e_fold(methods, b, 2000)
    return compare(closed_forms.half_life(b), measured, 2 * EPS * 2000, f"b = {b:g}")


def chrono(methods: Methods) -> Finding:
    """Compare the measured e-fold for b = ln(T - 1) with T - 1/2."""
    T = 1000
    measured = _direct_e_fold(methods, math.log(T - 1), 2000)
    return compare(T - 0.5, measured, 1.1 / (12 * T) / T, f"T = {T}")


def _direct_e_fold(methods: Methods, b: float, steps: int) -> float:
    """Return in how many steps ‖∂L/∂c‖ of an LSTM without W and U falls by e, over all steps."""
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
    found = slope(lags[1:], logs[1:])
    return -1 / found if found else math.inf


def sum_rule(methods: Methods) -> Finding:
    """Compare the sum of all exponents with the mean of ln |det J|."""
    return worst(_sum_rule(methods, name) for name in ("rnn", "lstm", "gru", "lstm-peephole"))


def _sum_rule(methods: Methods, name: str) -> Finding:
    steps, transient = 400, 100
    bias = 1.0 if keeping_gate(cell_named(name)) else None
    problem = draw(Setting(name, 16, 1.0, bias), 0, methods.bind)
    walk = islice(wander(problem.transition, problem.inputs, problem.start), steps + transient)
    found = list(methods.jacobians(problem.transition, walk))
    measured = exponents(found, steps=steps, transient=transient, qr_every=methods.qr_every)
    condition = max(float(np.linalg.cond(J)) for J in found)
    allowed = len(found[0]) ** 2 * EPS * condition
    return compare(measured.log_det, measured.values.sum(), allowed, name, scale=1.0)


def first_exponent(methods: Methods) -> Finding:
    """Compare λ₁ of an LSTM with the slope of its adjoint over the same steps."""
    steps = 2000
    problem = draw(Setting("lstm", 16, 1.0, 1.0), 0, methods.bind)
    trajectory = problem.follow(steps, 100)
    jacobians = methods.jacobians(problem.transition, trajectory.forwards())
    measured = exponents(jacobians, steps=steps - 1, transient=1, qr_every=methods.qr_every)
    logs = [s.log_norms()[-1] for s in methods.carried(trajectory, problem.cotangent)]
    rate = (logs[-1] - logs[0]) / steps
    return compare(rate, measured.values[0], 10 / steps, scale=1.0)


def symmetric(methods: Methods) -> Finding:
    """Compare the exponents of an RNN at rest, U symmetric, with the logs of U's eigenvalues."""
    H, rng = 8, np.random.default_rng(5)
    eigenvalues = np.geomspace(1.2, 0.2, H)
    Q = np.linalg.qr(rng.standard_normal((H, H)))[0]
    cell, sizes = cell_named("rnn"), Sizes(1, H)
    U = Q @ np.diag(eigenvalues) @ Q.T
    arrays = {"W": np.zeros((1, 1, H)), "U": U[None], "b": np.zeros((1, H))}
    transition = methods.bind(cell, Parameters(cell.shapes(sizes), arrays), sizes)
    walk = wander(transition, Inputs(cell, sizes, (0,), 1.0), (np.zeros((1, H)),))
    found = exponents(
        methods.jacobians(transition, walk), steps=100, transient=200, qr_every=methods.qr_every
    )
    condition = float(eigenvalues[0] / eigenvalues[-1])
    return compare(np.log(eigenvalues), found.values, 10 * H * EPS * condition, scale=1.0)


def tangent_adjoint(methods: Methods) -> Finding:
    """Compare ⟨u, P v⟩ by a complex step over all steps with ⟨Pᵀ u, v⟩ by the adjoint."""
    return worst(_tangent_adjoint(methods, name) for name in cells())


def _tangent_adjoint(methods: Methods, name: str) -> Finding:
    steps = 20
    bias = 1.0 if keeping_gate(cell_named(name)) else None
    problem = draw(Setting(name, 6, 1.2, bias, 0.5), 6, methods.bind)
    trajectory, widths = problem.follow(steps, 5), problem.transition.widths
    rng = np.random.default_rng(7)
    u, v = (rng.standard_normal((1, sum(widths))) for _ in range(2))
    *_, pulled = methods.carried(trajectory, parted(u, widths))
    measured = float(np.ldexp(np.vdot(joined(pulled.cotangent), v), pulled.exponent))
    (tangent,) = derivative(
        lambda state: _after(trajectory, state), joined(trajectory.checkpoints[0]), v
    )
    norms = [np.linalg.norm(J, 2) for J in state_jacobians(problem.transition,
                                                           trajectory.forwards())]  # fmt: skip
    scale = float(np.prod(np.maximum(norms, 1)) * np.linalg.norm(u) * np.linalg.norm(v))
    return compare(np.vdot(u, tangent), measured, steps * len(v[0]) * EPS * scale, name, scale=1.0)


def _after(trajectory: Trajectory, state: Array) -> tuple[Array, ...]:
    transition = trajectory.transition
    arrays = parted(state, transition.widths)
    for x, *_ in trajectory.forwards():
        arrays, _ = transition.step(x, arrays)
    return (joined(arrays),)


def bit_by_bit(methods: Methods) -> Finding:
    """Count the entries of the scaled adjoint that differ from the unscaled one, while normal."""
    problem = draw(Setting("lstm", 8, 0.8, 0.0), 0, methods.bind)
    trajectory = problem.follow(400, 20)
    plain = carried(trajectory, problem.cotangent, scaled=False)
    scaled, differing = methods.carried(trajectory, problem.cotangent), 0
    for ours, one in zip(scaled, plain, strict=True):
        raw, kept = joined(one.cotangent), joined(ours.cotangent)
        normal = np.abs(raw) >= np.finfo(raw.dtype).tiny
        differing += int((np.ldexp(kept, ours.exponent) != raw)[normal].sum())
    return Finding(0.0, float(differing), float(differing), 0.0)


def stack(methods: Methods) -> Finding:
    """Compare the exponents of two layers as one state with those of both layers apart."""
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

    def found(jacobians: list[Array]) -> Array:
        return exponents(
            jacobians, steps=steps, transient=transient, qr_every=methods.qr_every
        ).values

    together = found(list(methods.jacobians(both, walk)))
    union = -np.sort(-np.concatenate([found(jacobians) for jacobians in apart]))
    return compare(union, together, 40 / steps, scale=1.0)


def mean_field(methods: Methods) -> Finding:
    """Compare ‖J‖²_F / H of wide random RNNs, chaotic at g = 1.5, with χ = g² E[φ'²]."""
    H, gain, steps, seeds = 200, 1.5, 40, 6
    found = []
    for seed in range(seeds):
        problem = draw(Setting("rnn", H, gain, None, 0.0), seed, methods.bind)
        walk = problem.follow(steps, 200).forwards()
        jacobians = methods.jacobians(problem.transition, islice(walk, 0, steps, 5))
        found.append(np.mean([np.linalg.norm(J) ** 2 / H for J in jacobians]))
    expected = closed_forms.tanh_chi(gain, 0.0)
    return compare(expected, np.mean(found), 3 / math.sqrt(H * seeds))


VALIDATIONS = (
    *(
        Validation(
            f"half-life b={b:g}",
            f"The direct path of an LSTM's c halves in ln 2 / ln(1 + e^-b) steps, b = {b:g}.",
            "two roundings in each of 2000 steps",
            partial(half_life, b=b),
        )
        for b in BIASES
    ),
    Validation(
        "e-fold b=ln(T-1)",
        "With b = ln(T - 1) that path falls by e in T - 1/2 steps, T = 1000.",
        "the next term of the series, 1/(12 T)",
        chrono,
    ),
    Validation(
        "sum-rule",
        "All Lyapunov exponents add up to the mean of ln |det J|.",
        "one rounding of each entry of J, times the condition of J",
        sum_rule,
    ),
    Validation(
        "first-exponent",
        "The first Lyapunov exponent of an LSTM is the slope of its gradient over the same steps.",
        "10 / T: the logs of two angles, over T steps",
        first_exponent,
    ),
    Validation(
        "symmetric",
        "An RNN at rest whose U is symmetric has the logs of U's eigenvalues as exponents.",
        "10 roundings of each of n terms, times the condition of U",
        symmetric,
    ),
    Validation(
        "tangent-adjoint",
        "⟨u, P v⟩ forward is ⟨Pᵀ u, v⟩ backward over 20 steps, for every cell.",
        "one rounding of each of n terms in each step, carried on by the norms of the others",
        tangent_adjoint,
    ),
    Validation(
        "bit-by-bit",
        "Scaling by powers of two changes no bit of the adjoint while that is normal.",
        "nothing: it is exact",
        bit_by_bit,
    ),
    Validation(
        "stack",
        "The exponents of two layers together are those of both apart.",
        "40 / T: the logs of angles, over T steps",
        stack,
    ),
    Validation(
        "mean-field",
        "A wide random tanh RNN has ‖J‖²_F / H = g² E[φ'²], the mean over its own activity.",
        "3 standard deviations of a mean over H units and 6 seeds, each of relative size 1",
        mean_field,
    ),
)
