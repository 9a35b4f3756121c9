"""C08, C09 and C24: the gradient of a plain RNN against lag."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...reference.arrays import Array
from ...reference.bptt import state_jacobian
from ...reference.cells import cell_named
from ...reference.parameters import Parameters, Sizes
from ..decay.adjoint import loss
from ..decay.closed_forms import counterexample
from .ledger import OPEN, POSSIBLE, Evidence, claim
from .material import half_life, log_gradients, problem, rate, with_gates

SIZES = Sizes(D=8, H=64)
ROWS, TRANSIENT = 4, 20
ROUNDING = 1e-9


def torch_default(name: str, rng: np.random.Generator, sizes: Sizes = SIZES) -> Parameters:
    """Draw all parameters from U(-1/√H, 1/√H), as ``torch.nn`` does."""
    k = 1 / np.sqrt(sizes.H)
    shapes = cell_named(name).shapes(sizes)
    return Parameters(shapes, {n: rng.uniform(-k, k, s.full) for n, s in shapes.items()})


def gaussian(name: str, gain: float, rng: np.random.Generator) -> Parameters:
    """Draw U from N(0, gain²/H), W from N(0, 1/D); the biases are 0."""
    shapes = cell_named(name).shapes(SIZES)
    sizes = {"W": SIZES.D**-0.5, "U": gain * SIZES.H**-0.5, "b": 0.0}
    arrays = {n: sizes.get(n, 0.0) * rng.standard_normal(s.full) for n, s in shapes.items()}
    return Parameters(shapes, arrays)


def scaled_to(norm: float, rng: np.random.Generator) -> Parameters:
    """Draw an RNN whose ‖W‖₂ is ``norm``."""
    p = gaussian("rnn", 1.0, rng)
    return with_gates(p, U={"a": p.U_a * (norm / np.linalg.norm(p.U_a, 2))})


def orthogonal(gain: float, rng: np.random.Generator) -> Parameters:
    """Draw an RNN whose recurrent matrix is orthogonal times a gain."""
    p = gaussian("rnn", 1.0, rng)
    return with_gates(p, U={"a": gain * np.linalg.qr(p.U_a)[0]})


@claim(
    "C08", "With many multiplications gradients shrink exponentially; the contributions of far-away"
    " steps become zero.",
    documents=("D3", "D4"), about=("E07", "E08", "E11"), reading=OPEN,
)  # fmt: skip
def gradients_shrink(e: Evidence, rng: np.random.Generator) -> None:
    """Vary ‖W‖₂; measure rate and straightness of the logarithm, and its bound at every lag."""
    steps, shrinks, bounded = 1000, {}, True
    for norm in (0.5, 0.9, 0.99, 2.0, 6.0):
        logs = log_gradients("rnn", scaled_to(norm, rng), rng, steps, rows=ROWS)
        decay, median = rate(logs, TRANSIENT), np.median(logs, axis=1)[TRANSIENT:]
        straight = np.corrcoef(np.arange(len(median)), median)[0, 1] ** 2  # R² of a line
        e.number(f"rate at ‖W‖₂ = {norm:g}", decay, "1/step")
        e.number(f"half-life at ‖W‖₂ = {norm:g}", half_life(decay), "steps", "does not decay")
        e.curve("vanishing", f"‖W‖₂ = {norm:g}", range(101), np.median(logs[:101], axis=1))
        shrinks[norm] = decay < 0 and straight > 0.99
        lag = np.arange(steps + 1)[:, None]
        bounded &= bool((logs - logs[0] <= lag * np.log(norm) + ROUNDING).all())
    growing = [norm for norm, does in shrinks.items() if not does]
    zero = e.number("float32: exactly 0 from lag, ‖W‖₂ = 0.9", _zero_lag(rng), "steps", "never")
    e.number("spectral radius 0, ‖W‖₂ = 16: rate", _nilpotent_rate(), "1/step")
    e.says("gradients shrink exponentially whatever the weights", not growing,
           f"at ‖W‖₂ = {growing[-1]:g} they grow" if growing else "")  # fmt: skip
    small = [does for norm, does in shrinks.items() if norm < 1]
    e.when("‖W‖₂ max tanh' < 1 (beyond that they may shrink or grow)",
           within=all(small) and np.isfinite(zero), beyond=bool(growing))  # fmt: skip
    e.instead("at lag k what arrives is at most ‖W‖₂^k of what left, for every W", bounded)
    e.instead("a spectral radius below 1 is not enough: with a nilpotent W gradients double",
              abs(_nilpotent_rate() - np.log(2)) < 1e-6)  # fmt: skip


def _zero_lag(rng: np.random.Generator) -> float:
    """Return the lag at which an unscaled float32 gradient becomes exactly 0 in every entry."""
    instance = problem("rnn", scaled_to(0.9, rng), rng)
    zero = loss(instance, instance.follow(1000, 0), "float32").zero
    return np.inf if zero is None else float(zero)


def _nilpotent_rate() -> float:
    """Return the rate at a fixed point of an RNN whose W is nilpotent.

    The condition for vanishing of Pascanu, Mikolov & Bengio 2013 is stated with the largest
    eigenvalue, here 0; its proof needs the largest singular value, here 16.
    """
    U, b, a = counterexample()
    cell, sizes = cell_named("rnn"), Sizes(1, 2)
    arrays = {"W": np.zeros((1, 1, 2)), "U": U[None], "b": b[None]}
    p = Parameters(cell.shapes(sizes), arrays)
    logs = log_gradients("rnn", p, np.random.default_rng(0), 30, start=(a[None],))
    return rate(logs, 10)


@claim(
    "C09", "Depending on activations and parameters gradients may explode instead.",
    documents=("D0", "D2", "D3"), about=("E04", "E07"), reading=POSSIBLE,
)  # fmt: skip
def gradients_explode(e: Evidence, rng: np.random.Generator) -> None:
    """Look for families of weights where the gradient grows, in plain RNNs and in gated cells."""
    families: dict[str, tuple[str, Callable[[], Parameters], float]] = {
        "RNN, W = 1.5 · orthogonal, no input": ("rnn", lambda: orthogonal(1.5, rng), 0.0),
        "RNN, W ~ N(0, 3²/H), N(0, 1) input": ("rnn", lambda: gaussian("rnn", 3.0, rng), 1.0),
        "ReLU RNN, W ~ N(0, 3²/H), N(0, 1) input": (
            "rnn-relu", lambda: gaussian("rnn-relu", 3.0, rng), 1.0),
    }  # fmt: skip
    rates = {}
    for family, (name, make, inputs) in families.items():
        logs = log_gradients(name, make(), rng, 300, inputs=inputs, rows=ROWS)
        rates[family] = rate(logs, TRANSIENT)
        e.number(f"{family}: rate", rates[family], "1/step")
        e.says(f"{family}: the gradient grows", rates[family] > 0)
    first = next(iter(rates.values()))
    e.instead("at the zero state the rate is the logarithm of the gain",
              abs(first - np.log(1.5)) < ROUNDING)  # fmt: skip
    _measure_gated_cells(e)


def _measure_gated_cells(e: Evidence) -> None:
    """Hold the Jacobians of gated cells at zero states against their closed forms."""
    H, mu = 3, 2.5
    cell, sizes = cell_named("lstm"), Sizes(1, H)
    zero = cell.random_parameters(np.random.default_rng(0), sizes).map(lambda a: 0 * a)
    p = with_gates(zero, U={"g": mu * np.eye(H)}, b={"f": 1.0})
    lstm = _radius(state_jacobian(cell, p, np.zeros(1), (np.zeros(H), np.zeros(H))))
    f = 1 / (1 + np.exp(-1.0))
    gru_cell = cell_named("gru-keeps-old")
    zero = gru_cell.random_parameters(np.random.default_rng(0), sizes).map(lambda a: 0 * a)
    q = with_gates(zero, U={"n": mu * np.eye(H)})
    gru = _radius(state_jacobian(gru_cell, q, np.zeros(1), (np.zeros(H),)))
    e.number(f"LSTM at 0, U_g = {mu:g} I, b_f = 1: growth a step", lstm)
    e.number(f"GRU at 0, U_n = {mu:g} I: growth a step", gru)
    off = max(abs(lstm - (f + mu / 4)), abs(gru - (0.5 + mu / 4)))
    e.instead("gated cells may explode too: an LSTM at 0 by f + μ/4, a GRU by 1/2 + μ/4, where μ"
              " is an eigenvalue of the candidate's matrix", off < ROUNDING)  # fmt: skip


def _radius(J: Array) -> float:
    return float(np.abs(np.linalg.eigvals(J)).max())


WORDS, LEFT, DRAWS = 20, 0.01, 20
"""The claim's lag, the share below which a gradient is lost, and draws of each kind."""


@claim(
    "C24", "Sequences of 20 words or more are already long for plain RNNs.",
    documents=("D3",), about=("E07", "E11"), reading=OPEN,
)  # fmt: skip
def twenty_words(e: Evidence, rng: np.random.Generator) -> None:
    """Measure the share of a gradient at lag 20, for several initialisations."""
    inits: dict[str, tuple[Callable[[], Parameters], float]] = {
        "PyTorch's default, U(-1/√H, 1/√H)": (lambda: torch_default("rnn", rng), 1.0),
        "N(0, 0.5²/H)": (lambda: gaussian("rnn", 0.5, rng), 1.0),
        "N(0, 1/H)": (lambda: gaussian("rnn", 1.0, rng), 1.0),
        "orthogonal, N(0, 1) input": (lambda: orthogonal(1.0, rng), 1.0),
        "orthogonal, N(0, 0.1²) input": (lambda: orthogonal(1.0, rng), 0.1),
        "N(0, 2²/H)": (lambda: gaussian("rnn", 2.0, rng), 1.0),
    }
    lost = {}
    for name, (make, inputs) in inits.items():
        draws = (make() for _ in range(DRAWS))
        logs = np.concatenate([
            log_gradients("rnn", p, rng, 60, inputs=inputs, rows=ROWS) for p in draws
        ], axis=1)  # fmt: skip
        shares = np.exp(logs - logs[0])
        low, middle, high = np.quantile(shares, [0.1, 0.5, 0.9], axis=1)
        e.number(f"{name}: left at lag {WORDS}", middle[WORDS], "share")
        e.curve("twenty", name, range(61), *(np.log10(q) for q in (middle, low, high)))
        lost[name] = bool(high[WORDS] < LEFT)
    losing = [name for name, is_lost in lost.items() if is_lost]
    rest = [name for name in lost if name not in losing]
    e.says(f"less than {LEFT:.0%} of the gradient is left at lag {WORDS}, in 9 of 10 rows",
           not rest, f"more is left with W drawn as: {'; '.join(rest)}")  # fmt: skip
    e.when(f"W is drawn as: {'; '.join(losing)}", within=bool(losing), beyond=bool(rest))
