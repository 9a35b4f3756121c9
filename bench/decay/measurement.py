"""All measurements of one setting, over seeds or on the first seed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ...reference.cell import Gates, State
from ...reference.functions import Array
from ..run import OK, UnsupportedError
from ..timing.measurement import traced_bytes
from . import closed_forms
from .adjoint import DTYPES, Loss, Scaled, carried, log_norms, loss
from .problem import Problem, Setting, draw
from .rates import Rate, band, half_life, log_of_mean, or_none, rate, slope
from .rows import CostRow, DecayRow, Product, Spectrum
from .spectra import Exponents, direct_rate, exponents, log_singular_values
from .trajectory import (
    BLOCK,
    Binding,
    Bound,
    Inputs,
    Step,
    Trajectory,
    Transition,
    follow,
    state_jacobian,
)

POINTS = 100
"""The most lags of a curve."""

WARM_UP = 2 * BLOCK
"""The steps in which the state forgets its start."""

PRODUCT_LAGS = (1, 10, 100)
REST_STEPS = 80


@dataclass(frozen=True)
class Effort:
    """The amount of measurement: lags, seeds, steps of the exponents, most lags of the dtypes."""

    steps: int
    seeds: int
    lyapunov_steps: int
    horizon_steps: int

    @property
    def transient(self) -> int:
        """The lags in which the gradient finds its direction; the rate is measured after them."""
        return self.steps // 5

    @property
    def lags(self) -> Array:
        """The lags of curves, from 0 to the last, evenly spaced."""
        return np.unique(np.linspace(0, self.steps, min(POINTS, self.steps) + 1).astype(int))


def measured(setting: Setting, effort: Effort, seed: int, *, deep: bool) -> DecayRow:
    """Measure a setting over seeds; with ``deep`` products of Jacobians and dtypes, too."""
    seeds = seeds_of(seed, effort.seeds)
    problems = [draw(setting, s) for s in seeds]
    logs, finite = _curves(problems, effort)
    first, cell = problems[finite[0]], problems[0].cell
    bound, excess = _bound([problems[k] for k in finite], effort.lags, logs)
    late = effort.lags >= effort.transient
    slopes = np.array(
        [[slope(effort.lags[late], curve[late]) for curve in curves.T] for curves in logs]
    )
    names = [*cell.states, "joint"]
    rates = {name: rate(slopes[:, k]) for k, name in enumerate(names)}
    last, slope_of_all = logs[:, -1, -1], rates["joint"].value
    walk = islice(first.wander(WARM_UP), effort.steps)
    direct = direct_rate(cell, first.transition, walk)
    return DecayRow(
        id="", status=OK, what="decay", cell=cell.name, title=cell.title,
        hidden=setting.hidden, gain=setting.gain, forget_bias=setting.forget_bias,
        steps=effort.steps, seeds=effort.seeds,
        overflowed=len(problems) - len(finite), vanished=int(np.isneginf(last).sum()),
        lags=tuple(effort.lags.tolist()),
        bands={name: band(logs[:, :, k]) for k, name in enumerate(names)},
        rates=rates,
        half_life=None if slope_of_all is None else or_none(half_life(slope_of_all)),
        mean_of_logs=or_none(last.mean()), log_of_mean=or_none(log_of_mean(last)),
        bound=bound, bound_excess=excess, direct=None if direct is None else or_none(direct),
        rest=_rest(setting, seeds),
        rest_theory=closed_forms.rate_at_rest(cell.name, setting.gain, setting.forget_bias),
        threshold=closed_forms.threshold(cell.name, setting.forget_bias),
        spectrum=_spectrum(first, effort, slopes[0, -1]),
        products=_products(first, effort) if deep else (),
        losses=_losses(first, effort, slope_of_all) if deep else (),
    )  # fmt: skip


def seeds_of(seed: int, count: int) -> list[int]:
    """Return the seeds of the problems of a run with ``seed``."""
    return [1000 * seed + k for k in range(count)]


def _curves(problems: Sequence[Problem], effort: Effort) -> tuple[Array, list[int]]:
    """Return log-norms (seeds, lags, states + 1), and the indices of their problems.

    Problems whose state overflows are left out.
    """
    curves = {}
    for k, problem in enumerate(problems):
        trajectory = problem.follow(effort.steps, WARM_UP)
        if not trajectory.overflowed:
            curves[k] = log_norms(trajectory, problem.cotangent, effort.lags.tolist())
    if not curves:
        raise UnsupportedError("the state overflows, for every seed: take fewer steps")
    return np.array(list(curves.values())), list(curves)


def _rest(setting: Setting, seeds: Sequence[int]) -> Rate | None:
    """Return the rate in the zero state without input; None if the state leaves it."""
    lags, slopes = np.arange(REST_STEPS + 1), []
    resting = Setting(setting.cell, setting.hidden, setting.gain, setting.forget_bias, at_rest=True)
    for seed in seeds:
        problem = draw(resting, seed)
        trajectory = problem.follow(REST_STEPS, 20)
        states = [step[1] for step in islice(trajectory.forwards(), 2)]
        if not all(np.array_equal(a, b) for a, b in zip(*states, strict=True)):
            return None
        logs = log_norms(trajectory, problem.cotangent, lags.tolist())[:, -1]
        slopes.append(slope(lags[REST_STEPS // 4 :], logs[REST_STEPS // 4 :]))
    return rate(np.array(slopes))


def _bound(
    problems: Sequence[Problem], lags: Array, logs: Array
) -> tuple[float | None, float | None]:
    """Return the mean of ln ‖U‖₂, and the largest excess of a log-norm over its seed's bound.

    Both are None for cells other than a' = φ(x W + a U + b) with φ' <= 1.
    """
    if any(set(problem.p.names()) != {"W_a", "U_a", "b_a"} for problem in problems):
        return None, None
    bounds = np.array([closed_forms.pascanu_bound(problem.p.U_a) for problem in problems])
    excess = logs[:, 1:, -1] - bounds[:, None] * lags[1:]
    return float(bounds.mean()), or_none(excess.max())


def _spectrum(problem: Problem, effort: Effort, same_seed_rate: float) -> Spectrum:
    steps = effort.lyapunov_steps
    spectrum = exponents(problem.jacobians(WARM_UP), steps=steps, transient=effort.transient)
    return Spectrum(
        tuple(map(or_none, spectrum.values)), tuple(map(float, spectrum.errors)),
        or_none(spectrum.log_det), or_none(spectrum.residual), steps, or_none(same_seed_rate),
        spectrum.lost,
    )  # fmt: skip


def _products(problem: Problem, effort: Effort) -> tuple[Product, ...]:
    lags, products = [lag for lag in PRODUCT_LAGS if lag <= effort.steps], []
    values = log_singular_values(problem.jacobians(WARM_UP), lags)
    for lag, logs in zip(lags, values, strict=True):
        with np.errstate(invalid="ignore"):
            condition = or_none(logs[0] - logs[-1])
        shown = tuple(or_none(round(value, 5)) for value in logs.tolist())
        products.append(Product(lag, shown, condition, or_none(log_of_mean(2 * logs))))
    return tuple(products)


def _losses(problem: Problem, effort: Effort, rate: float | None) -> tuple[Loss, ...]:
    """Search the lags that float64 should need at this rate, and 30 % more."""
    steps = effort.horizon_steps
    if rate:
        steps = min(steps, math.ceil(1.3 * 745 / abs(rate)))
    trajectory = problem.follow(steps, WARM_UP)
    return tuple(loss(problem, trajectory, dtype) for dtype in DTYPES)


# The time and memory of the adjoint of an LSTM, beside one plain step of the reference. The
# plain steps alternate with those of the adjoint, at every block of inputs, so that other load
# on the machine slows both. The peak of memory is the most that Python allocated
# (``tracemalloc``), which slows everything down and is therefore measured apart from the times.


EVERY = 10
"""The blocks of inputs from one run of plain steps to the next."""

MEMORY, LYAPUNOV = Setting("rnn", 64), Setting("rnn", 4)
"""Small settings, since tracing memory over many steps is slow."""


def cost(
    hidden: int, steps: int, seed: int, adjoint: Sequence[int], lyapunov: Sequence[int]
) -> CostRow:
    """Time one adjoint over ``steps`` steps; measure peaks of memory for both kinds of lengths."""
    setting = Setting("lstm", hidden, 1.0, 1.0)
    problem = draw(setting, seed)
    interrupted = _Interrupted(problem)
    begin = time.perf_counter()
    last = _carried_to_the_end(problem, interrupted, steps)
    seconds = time.perf_counter() - begin - interrupted.seconds
    adjoint_step, plain_step = seconds / steps, interrupted.seconds / interrupted.steps
    for once in _adjoint(seed, 1), _exponents(seed, 1):  # modules that stay loaded do not count
        once()
    return CostRow(
        id="", status=OK, what="cost", hidden=hidden, steps=steps,
        plain_step=plain_step, adjoint_step=adjoint_step, ratio=adjoint_step / plain_step,
        log10_norm=float(last.log_norms()[-1]) / math.log(10),
        adjoint_peaks={str(n): traced_bytes(_adjoint(seed, n))[1] for n in adjoint},
        lyapunov_peaks={str(n): traced_bytes(_exponents(seed, n))[1] for n in lyapunov},
    )  # fmt: skip


class _Interrupted(Inputs):
    """A problem's inputs, which time plain steps at every tenth block."""

    def __init__(self, problem: Problem) -> None:
        self.__dict__.update(vars(problem.inputs))
        self._problem, self._state = problem, problem.start
        self.seconds, self.steps, self._blocks = 0.0, 0, 0

    def block(self, k: int) -> Array:
        inputs = super().block(k)
        self._blocks += 1
        if self._blocks % EVERY != 1:
            return inputs
        cell, p, state = self._problem.cell, self._problem.p, self._state
        begin = time.perf_counter()
        for x in inputs:
            state, _ = cell.step(p, x, state)
        self.seconds += time.perf_counter() - begin
        self._state, self.steps = state, self.steps + len(inputs)
        return inputs


def _carried_to_the_end(problem: Problem, inputs: Inputs, steps: int) -> Scaled:
    trajectory = follow(problem.transition, inputs, problem.start, steps)
    (last,) = deque(carried(trajectory, problem.cotangent), maxlen=1)
    return last


def _adjoint(seed: int, steps: int) -> Callable[[], object]:
    problem = draw(MEMORY, seed)
    return lambda: _carried_to_the_end(problem, problem.inputs, steps)


def _exponents(seed: int, steps: int) -> Callable[[], object]:
    jacobians = draw(LYAPUNOV, seed).jacobians()
    return lambda: exponents(jacobians, steps=steps, transient=100)


# The measurements as one bundle, so that tests can replace one by a wrong one.


@dataclass(frozen=True)
class Methods:
    """The methods of binding cells, Jacobians and cotangents; one QR per ``qr_every`` steps."""

    bind: Binding = Bound
    jacobian: Callable[[Transition, Array, State, Gates, State], Array] = state_jacobian
    carried: Callable[[Trajectory, State], Iterator[Scaled]] = carried
    qr_every: int = 1

    def jacobians(self, transition: Transition, steps: Iterable[Step]) -> Iterator[Array]:
        """Yield the Jacobian of every step."""
        for step in steps:
            yield self.jacobian(transition, *step)

    def exponents(self, jacobians: Iterable[Array], *, steps: int, transient: int) -> Exponents:
        """Return the Lyapunov exponents."""
        return exponents(jacobians, steps=steps, transient=transient, qr_every=self.qr_every)


RIGHT = Methods()
"""The methods of the bench."""
