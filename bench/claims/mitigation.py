"""C14 and C23: the effect of gates on decay, and the influence of initial states."""

from __future__ import annotations

import numpy as np

from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from ...reference.sequence import unroll
from ..cost.layer import parameters
from ..decay.closed_forms import half_life as direct_half_life
from ..decay.spectra import exponents
from .ledger import OPEN, Evidence, claim
from .material import FAR, half_life, log_gradients, problem, rate, with_gates
from .vanishing_gradient import SIZES, gaussian, torch_default

DRAWS, STEPS, TRANSIENT = 6, 300, 30
BIASES = (0.0, 1.0, 2.0, 5.0)
GATED = {"lstm": ("LSTM", "f"), "gru-keeps-old": ("GRU", "z")}
"""The cells, and the gate whose bias keeps the old state."""

MITIGATED = 1.5
"""The factor of slower decay than in a plain RNN from which vanishing is mitigated."""


@claim(
    "C14", "LSTM and GRU mitigate vanishing gradients, because their interactions are additive.",
    documents=("D0", "D1", "D2", "D3", "D4"), about=("E17", "E19", "E23a", "E23b"), reading=OPEN,
)  # fmt: skip
def gates_mitigate(e: Evidence, rng: np.random.Generator) -> None:
    """Compare decay rates with PyTorch's initialisation and several biases of the keeping gate."""
    seeds = rng.integers(2**32, size=DRAWS).tolist()
    plain = [_rate("rnn", None, seed, e, "RNN") for seed in seeds]
    e.number("RNN: half-life", half_life(np.median(plain)), "steps", "does not decay")
    enough: dict[tuple[str, float], bool] = {}
    for name, (title, gate) in GATED.items():
        for bias in BIASES:
            label = f"{title}, b_{gate} = {bias:g}"
            gated = [_rate(name, {gate: bias}, seed, e, label) for seed in seeds]
            e.number(f"{label}: half-life", half_life(np.median(gated)), "steps", "does not decay")
            e.number(f"{label}: draws of {DRAWS} whose gradient grows", sum(r > 0 for r in gated))
            pairs = zip(gated, plain, strict=True)
            enough[title, bias] = all(r >= r_plain / MITIGATED for r, r_plain in pairs)
        H = _as_many_parameters(name)
        small = [_rate(name, {gate: 1.0}, seed, H=H) for seed in seeds]
        e.number(f"{title}, b_{gate} = 1, H = {H}, as many parameters as the RNN: half-life",
                 half_life(np.median(small)), "steps", "does not decay")  # fmt: skip
    _exponents(e, seeds[0], plain[0])
    failing = [f"{title} with a bias of {b:g}" for (title, b), does in enough.items() if not does]
    e.says(f"in every draw the gradient decays {MITIGATED:g} times more slowly than the RNN's",
           not failing, f"not so: {', '.join(failing)}")  # fmt: skip
    least = {title: _least(enough, title) for title, _ in GATED.values()}
    e.when("; ".join(f"the bias of the {title}'s keeping gate is at least {bias:g}"
                     for title, bias in least.items()),
           within=max(least.values()) < np.inf, beyond=bool(failing))  # fmt: skip


def _exponents(e: Evidence, seed: int, plain: float) -> None:
    """Record the first Lyapunov exponents of the first draw, which must agree with the rates."""
    largest, residuals = {}, []
    for name, label, biases in (
        ("rnn", "RNN", {}),
        ("lstm", "LSTM, b_f = 1", {"f": 1.0}),
        ("gru-keeps-old", "GRU, b_z = 1", {"z": 1.0}),
    ):
        rng = np.random.default_rng(seed)
        instance = problem(name, with_gates(torch_default(name, rng), b=biases), rng)
        jacobians = instance.jacobians(TRANSIENT)
        spectrum = exponents(jacobians, steps=STEPS, transient=TRANSIENT)
        largest[label] = e.number(f"{label}: first Lyapunov exponent", spectrum.values[0], "1/step")
        residuals.append(abs(spectrum.residual))
    residual = np.max(residuals)  # NaN if one is, where max() would pass over it
    e.number("sum of all exponents against the mean of ln |det J|: largest difference", residual)
    e.number("LSTM, b_f = 1: half-life of the direct path, ln 2 / ln(1 + 1/e)", direct_half_life(1))
    near = abs(largest["RNN"] - plain) < 0.1 * abs(plain)
    e.instead("the exponents add up to ln |det J| and the first is the rate of decay, within 10 %",
              near and residual < 1e-8)  # fmt: skip


def _as_many_parameters(name: str) -> int:
    """Return the H at which a cell has about as many parameters as the RNN."""

    def count(name: str, H: int) -> int:
        return parameters(cell_named(name), Sizes(SIZES.D, H))

    return min(range(1, SIZES.H), key=lambda H: abs(count(name, H) - count("rnn", SIZES.H)))


def _rate(
    name: str,
    biases: dict[str, float] | None,
    seed: int,
    e: Evidence | None = None,
    label: str = "",
    H: int = SIZES.H,
) -> float:
    """Return the decay rate of one draw; record the first draw's curve under ``label``."""
    rng = np.random.default_rng(seed)
    p = with_gates(torch_default(name, rng, Sizes(SIZES.D, H)), b=biases or {})
    logs = log_gradients(name, p, rng, STEPS)
    if e is not None and not any(curve.series == label for curve in e.curves):
        shown = np.median(logs[:101], axis=1) - np.median(logs[0])
        e.curve("mitigation", label, range(101), shown / np.log(10))
    return rate(logs, TRANSIENT)


def _least(enough: dict[tuple[str, float], bool], title: str) -> float:
    """Return the least bias from which all larger ones are enough."""
    least = np.inf
    for bias in reversed(BIASES):
        if not enough[title, bias]:
            break
        least = bias
    return least


FORGOTTEN = 1e-6
"""The distance below which outputs are the same."""


@claim(
    "C23", "The initial state is a matrix of random values (D2); it is all zeros (D1, D3).",
    documents=("D1", "D2", "D3"), about=("E04", "E18", "E23b"), reading=OPEN,
)  # fmt: skip
def initial_state(e: Evidence, rng: np.random.Generator) -> None:
    """Run from zeros and from N(0, 1) over the same input, until the outputs meet."""
    cases: dict[str, tuple[str, Parameters]] = {
        "RNN, PyTorch's default": ("rnn", torch_default("rnn", rng)),
        "LSTM, PyTorch's default": ("lstm", torch_default("lstm", rng)),
        "GRU, PyTorch's default": ("gru-keeps-old", torch_default("gru-keeps-old", rng)),
        "LSTM, b_f = 5": ("lstm", with_gates(torch_default("lstm", rng), b={"f": 5.0})),
        "RNN, W ~ N(0, 3²/H): chaos": ("rnn", gaussian("rnn", 3.0, rng)),
        "LSTM, f = 1 and i = 0": (
            "lstm", with_gates(torch_default("lstm", rng), b={"f": FAR, "i": -FAR})),
    }  # fmt: skip
    forgotten = {}
    for name, (cell, p) in cases.items():
        distance = _distances(cell, p, rng)
        near = int(np.flatnonzero(distance >= FORGOTTEN)[-1]) + 1  # at the start it is far
        steps = float(near) if near < len(distance) else np.inf
        e.number(f"{name}: outputs within {FORGOTTEN:g} of each other after", steps, "steps",
                 f"not within {len(distance) - 1} steps")  # fmt: skip
        last = min(near, len(distance) - 1)
        with np.errstate(divide="ignore"):
            contraction = np.log(distance[last] / distance[0]) / last
        e.number(f"{name}: contraction", contraction, "1/step", "complete in one step")
        forgotten[name] = np.isfinite(steps)
        e.says(f"{name}: either will do", forgotten[name],
               f"{name}: the two starts are still {distance[-1]:.2g} apart at the end")  # fmt: skip
    contracting = [name for name, does in forgotten.items() if does]
    e.when("the layer contracts, so that it forgets how it started: " + ", ".join(contracting),
           within=len(contracting) > 0, beyond=len(contracting) < len(cases))  # fmt: skip


def _distances(name: str, p: Parameters, rng: np.random.Generator, steps: int = 3000) -> Array:
    """Return the largest difference of outputs, from zeros and from N(0, 1): (steps + 1,)."""
    cell, (D, H) = cell_named(name), p["W"].shape[1:]
    x = np.repeat(rng.standard_normal((steps, 1, D)), 2, axis=1)
    state = tuple(np.stack([np.zeros(H), rng.standard_normal(H)]) for _ in cell.states)
    y = np.concatenate([state[0][None], unroll(cell, p, x, state).y])
    return np.abs(y[:, 0] - y[:, 1]).max(axis=1)
