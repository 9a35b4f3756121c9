"""C02, C03, C07 and C13: the factors of one step backwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...reference.bptt import state_jacobian
from ...reference.cell import Cell
from ...reference.cells import cell_named
from ...reference.functions import Array
from ...reference.parameters import Parameters, Sizes
from .ledger import LAW, OPEN, Evidence, claim
from .material import FAR, Sample, adjoint_error, apart, draw, logit, with_gates

DRAWS, STEPS = 200, 10_000
ROUNDING = 64 * 2.0**-53
"""The error of a few dozen roundings of numbers of order 1."""

DERIVATIVE = "the VJP is the derivative of the step (complex step)"


@claim(
    "C02", "Backpropagation from a_t to a_{t-1} multiplies by W_aaᵀ.",
    documents=("D0",), about=("E04", "E07"), reading=LAW,
)  # fmt: skip
def rnn_backwards(e: Evidence, rng: np.random.Generator) -> None:
    """Pull cotangents back through a step; compare with the printed factor and with the whole."""
    printed_errors, exact_errors, shares = [], [], []
    e.ground(DERIVATIVE, adjoint_error(draw("rnn", rng), rng) <= ROUNDING)
    for _ in range(DRAWS):
        sample = draw("rnn", rng)
        cotangent = rng.standard_normal(sample.state[0].shape)
        (a,), (got,) = sample.step()[0], sample.pulled_back(cotangent)
        printed_errors.append(apart(got, cotangent @ sample.p.U_a.T))
        exact_errors.append(apart(got, (cotangent * (1 - a * a)) @ sample.p.U_a.T))
        shares.append(np.linalg.norm(got) / np.linalg.norm(cotangent @ sample.p.U_a.T))
    off = e.number("largest difference from W_aaᵀ ḡ", max(printed_errors))
    exact = e.number("largest difference from W_aaᵀ ((1 - a_t²) ⊙ ḡ)", max(exact_errors))
    part = e.number("median size of what arrives, as a share of W_aaᵀ ḡ", np.median(shares))
    e.says("what arrives is W_aaᵀ ḡ", off <= ROUNDING,
           f"for N(0, 1/H) weights what arrives is {part:.2f} times as large as W_aaᵀ ḡ, and points"
           " elsewhere: the factor 1 - a_t² is missing")  # fmt: skip
    e.instead("it is W_aaᵀ ((1 - a_t²) ⊙ ḡ)", exact <= ROUNDING)


@claim(
    "C03", "Backpropagation from c_t to c_{t-1} is elementwise multiplication by f, without any"
    " matrix product.",
    documents=("D0",), about=("E17", "E19"), reading=OPEN,
)  # fmt: skip
def lstm_backwards(e: Evidence, rng: np.random.Generator) -> None:
    """Differentiate c_t in c_{t-1}, with h_{t-1} held fixed and with all paths over two steps."""
    direct, total, share = 0.0, [], []
    e.ground(DERIVATIVE, adjoint_error(draw("lstm", rng), rng) <= ROUNDING)
    for _ in range(DRAWS // 4):
        sample = draw("lstm", rng, B=1)
        (before, middle), (x, H) = _two_steps(sample), (sample.x[0], sample.state[0].shape[1])
        J1 = state_jacobian(sample.cell, sample.p, x, tuple(s[0] for s in sample.state))
        J2 = state_jacobian(sample.cell, sample.p, x, tuple(s[0] for s in before))
        f2 = middle["f"][0]
        direct = max(direct, apart(J2[H:, H:], np.diag(f2)))
        through_h = (J2 @ J1)[H:, H:] - J2[H:, H:] @ J1[H:, H:]
        total.append(apart(through_h, 0 * through_h))
        share.append(np.linalg.norm(through_h) / np.linalg.norm(J2[H:, H:] @ J1[H:, H:]))
    fixed = e.number("largest difference from diag(f), h_{t-1} held fixed", direct)
    entry = e.number("largest entry added by the path through h, over two steps", max(total))
    part = e.number("median size of that path, as a share of the direct one", np.median(share))
    e.says("with all paths from c to c it is f alone", max(fixed, entry) <= ROUNDING,
           f"over two steps the path c → h → gates → c adds a full matrix, {part:.2f} times as"
           " large as diag(f) diag(f)")  # fmt: skip
    e.when("h_{t-1} is held fixed, which leaves out the path c → h → gates → c",
           within=fixed <= ROUNDING, beyond=entry > ROUNDING)  # fmt: skip


def _two_steps(sample: Sample) -> tuple[tuple[Array, ...], dict[str, Array]]:
    """Return the state after one step, and the gates of the next."""
    new, _ = sample.step()
    return new, dict(sample.with_state(*new).step()[1])


@claim(
    "C07", "The 2-norm of the Jacobian ∂s_j/∂s_{j-1} has an upper bound of 1.",
    documents=("D3",), about=("E04", "E07"), reading=LAW,
)  # fmt: skip
def jacobian_norm(e: Evidence, rng: np.random.Generator) -> None:
    """Try W = 2I at s = 0, then many W of many sizes: the bound is ‖W‖₂."""
    cell, H = cell_named("rnn"), 6
    e.ground(DERIVATIVE, adjoint_error(draw("rnn", rng), rng) <= ROUNDING)
    zero = cell.random_parameters(rng, Sizes(H, H)).map(lambda a: 0 * a)
    two = with_gates(zero, U={"a": 2 * np.eye(H)})
    largest = e.number("‖J‖₂ at W = 2I, s = 0", _norm(cell, two, np.zeros(H), np.zeros(H)))
    norms, ratios = [], []
    for gain in np.geomspace(0.1, 10, 10 * DRAWS):
        sample = draw("rnn", rng, D=H, H=H, B=1)
        p = with_gates(sample.p, U={"a": sample.p.U_a * gain})
        J = _norm(cell, p, sample.x[0] * rng.uniform(0, 2), sample.state[0][0] * rng.uniform(0, 2))
        norms.append(J)
        ratios.append(J / np.linalg.norm(p.U_a, 2))
    e.number(f"largest ‖J‖₂ in {len(norms)} draws with gains 0.1 to 10", max(norms))
    share = e.number("draws with ‖J‖₂ > 1", np.mean(np.array(norms) > 1), "share")
    tight = e.number("largest ‖J‖₂ / ‖W‖₂", max(ratios))
    e.says("‖J‖₂ <= 1", max(largest, *norms) <= 1,
           f"W = 2I at s = 0: J = 2I, ‖J‖₂ = {largest:.4g}; and {share:.0%} of draws")  # fmt: skip
    e.instead("‖J‖₂ <= ‖W‖₂, since J = diag(1 - s²) W", tight <= 1 + ROUNDING)


def _norm(cell: Cell, p: Parameters, x: Array, s: Array) -> float:
    return float(np.linalg.norm(state_jacobian(cell, p, x, (s,)), 2))


@claim(
    "C13", "Setting ∂s_j/∂s_{j-1} = 1 gives neither vanishing nor exploding gradients.",
    documents=("D4",), about=("E17", "E19"), reading=LAW,
)  # fmt: skip
def carousel(e: Evidence, rng: np.random.Generator) -> None:
    """Hold f at 1 and i at 0 in an LSTM, and carry a cotangent of c back over many steps."""
    steps, arrived = STEPS, {}
    e.ground(DERIVATIVE, adjoint_error(draw("lstm", rng), rng) <= ROUNDING)
    for f in (1.0, 0.999):
        sample = draw("lstm", rng, B=2, H=3, biases={"f": logit(f), "i": -FAR})
        p = with_gates(sample.p, U={"f": 0.0}, W={"f": 0.0})
        arrived[f] = _carry(replace(sample, p=p), steps)
        e.number(f"what is left of 1 after {steps} steps, f = {f:g}", arrived[f].mean())
    exact = e.number("largest |product - 1|, f = 1 and i = 0", apart(arrived[1.0], 1.0))
    e.says("the product of the factors is 1 at every lag", exact == 0,
           f"after {steps} steps {arrived[1.0].mean():.3g} is left of 1")  # fmt: skip
    e.instead(f"a factor that is 0.001 less than 1 leaves e^{steps * np.log(0.999):.1f} by then",
              abs(np.log(arrived[0.999].mean()) - steps * np.log(0.999)) < 1e-6)  # fmt: skip


def _carry(sample: Sample, steps: int) -> Array:
    """Return a cotangent of ones on c, carried back over so many steps."""
    states = [sample.state]
    for _ in range(steps):
        states.append(sample.with_state(*states[-1]).step()[0])
    dh: Array = np.zeros(sample.state[0].shape)
    dc: Array = np.ones(sample.state[1].shape)
    for state in reversed(states[:-1]):
        dh, dc = sample.with_state(*state).pulled_back(dh, dc)
    return dc
