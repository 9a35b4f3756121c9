"""C04-C06 and C22: σ and tanh, their slopes, and their places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference import functions
from ...reference.arrays import Floats
from ...reference.cells import cell_named
from ...verify.numbers.complex_step import derivative
from .ledger import LAW, Evidence, claim
from .material import FAR, apart, draw

DRAWS = 200
ROUNDING = 8 * 2.0**-53
"""The error of a few roundings of numbers up to 1."""


def steepest(name: str) -> tuple[Floats, Floats]:
    """Return points and the derivative of ``functions.name`` there, by a complex step."""
    tails = np.geomspace(1e-6, 60.0, 2000)
    s = np.concatenate([-tails[::-1], [0.0], tails])
    function = getattr(functions, name)
    (slope,) = derivative(lambda z: (function(z),), s, np.ones_like(s))
    return s, slope


@claim(
    "C04", "The candidate g of the LSTM is exactly the vanilla RNN's update.",
    documents=("D0",), about=("E04", "E15"), reading=LAW,
)  # fmt: skip
def candidate_is_rnn(e: Evidence, rng: np.random.Generator) -> None:
    """Hold g against a' of an RNN with the same weights, and both against D3's σ."""
    worst, with_sigma = 0.0, 0.0
    for _ in range(DRAWS):
        sample = draw("lstm", rng)
        a = sample.rnn()
        worst = max(worst, apart(sample.step()[1]["g"], a))
        sigma = cell_named("lstm-sigmoid-candidate").step(sample.p, sample.x, sample.state)[1]["g"]
        with_sigma = max(with_sigma, apart(sigma, a))
    e.number(f"largest |g - a'| in {DRAWS} draws", worst)
    e.number("largest difference with σ in place of tanh, as D3 prints it (E15σ)", with_sigma)
    e.says("g = tanh(W_g[a, x] + b_g) is a', to the last bit", worst == 0.0,
           f"with the same weights g and a' are {worst:.3g} apart")  # fmt: skip
    e.instead("with D3's σ it is another number", with_sigma > ROUNDING)


@claim(
    "C05", "The derivative of σ is bounded by 1.",
    documents=("D3",), about=("E01",), reading=LAW,
)  # fmt: skip
def sigmoid_slope(e: Evidence, rng: np.random.Generator) -> None:
    """Look for the largest σ' on a fine grid through 0, twice: by formula and by complex step."""
    s, slope = steepest("sigmoid")
    formula = np.asarray(functions.sigmoid_slope(functions.sigmoid(s)))
    largest = e.number("largest σ' found", slope.max())
    e.number("at s =", s[np.argmax(slope)])
    e.number("largest σ(1 - σ) found", formula.max())
    e.says("σ' <= 1", max(largest, formula.max()) <= 1, f"σ'({s[np.argmax(slope)]:.3g}) > 1")
    quarter = max(abs(largest - 0.25), abs(formula.max() - 0.25)) <= ROUNDING
    e.instead("the bound is loose: the largest value is 1/4, at s = 0", quarter)
    e.instead("so a product of k such factors is at most 4^-k", largest <= 0.25 + ROUNDING)


@claim(
    "C06", "The derivative of tanh is bounded by 1.",
    documents=("D3",), about=("E02",), reading=LAW,
)  # fmt: skip
def tanh_slope(e: Evidence, rng: np.random.Generator) -> None:
    """Look for the largest tanh' on a fine grid through 0."""
    s, slope = steepest("tanh")
    formula = np.asarray(functions.tanh_slope(functions.tanh(s)))
    largest = e.number("largest tanh' found", slope.max())
    at = e.number("at s =", s[np.argmax(slope)])
    e.number("largest 1 - tanh² found", formula.max())
    e.says("tanh' <= 1", max(largest, formula.max()) <= 1 + ROUNDING, f"tanh'({at:.3g}) > 1")
    e.instead("the bound is tight: tanh'(0) = 1", abs(largest - 1) <= ROUNDING and at == 0)


@claim(
    "C22", "Sigmoids are for gating, with values in (0, 1); tanh is the recurrent nonlinearity.",
    documents=("D4",), about=("E13", "E14", "E15", "E16"), reading=LAW,
)  # fmt: skip
def sigmoid_gates(e: Evidence, rng: np.random.Generator) -> None:
    """Write with f = 1 for many steps: with tanh c goes both ways, with σ only up."""
    results = {name: _writing(name, rng) for name in ("lstm", "lstm-sigmoid-candidate")}
    (gates, tanh_moves), (_, sigma_moves) = results["lstm"], results["lstm-sigmoid-candidate"]
    low, high = e.number("smallest gate", gates.min()), e.number("largest gate", gates.max())
    down = e.number("steps at which c falls, tanh candidate", np.mean(tanh_moves < 0), "share")
    e.number("steps at which c falls, σ candidate (D3)", np.mean(sigma_moves < 0), "share")
    e.number("mean drift of c a step, tanh candidate", tanh_moves.mean())
    drift = e.number("mean drift of c a step, σ candidate (D3)", sigma_moves.mean())
    e.says("gates lie in (0, 1)", low > 0 and high < 1, f"a gate of {low:.3g} or {high:.3g}")
    e.says("with tanh the state moves both ways", 0.1 < down < 0.9,
           f"with f = 1 the cell state falls at {down:.0%} of the steps")  # fmt: skip
    e.instead("with σ in its place, as D3 prints it, c can only grow", not (sigma_moves < 0).any())
    e.instead("and drifts away", drift > 0.1)


def _writing(name: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the gates i and o, and the changes of c over 100 steps with f held at 1."""
    sample = draw(name, rng, B=16, biases={"f": FAR})
    gates, moves = [], []
    for _ in range(100):
        sample = replace(sample, x=rng.standard_normal(sample.x.shape))
        new, values = sample.step()
        gates.append(np.stack([values["i"], values["o"]]))
        moves.append(new[1] - sample.state[1])
        sample = sample.with_state(*new)
    return np.array(gates), np.array(moves)
