"""C01, C18, C19 and C21: gates at their limits, and their purposes."""

from __future__ import annotations

import numpy as np

from ...reference.functions import Array
from .ledger import LAW, OPEN, Evidence, claim
from .material import (
    FAR,
    GRUS,
    apart,
    draw,
    horizon,
    log_gradients,
    logit,
    with_gates,
)

SCALES = (1e-3, 1.0, 10.0, 1e3)
GATES = {"lstm": "ifo", "gru-takes-new": "rz", "gru-keeps-old": "rz"}


@claim(
    "C01", "The outputs of gates lie between 0 and 1; 1 keeps everything, 0 forgets everything.",
    documents=("D0", "D1", "D2"), about=("E01", "E13", "E14", "E16", "E17", "E20", "E21"),
    reading=LAW,
)  # fmt: skip
def gates_between_0_and_1(e: Evidence, rng: np.random.Generator) -> None:
    """Draw gates at many scales; then hold f at 1 and 0, and measure the change of c."""
    gates = np.concatenate([_gates(name, scale, rng) for name in GATES for scale in SCALES])
    low, high = e.number("smallest gate", gates.min()), e.number("largest gate", gates.max())
    rounded = np.mean((gates == 0) | (gates == 1))
    e.number(f"of {gates.size} gates, rounded to 0 or 1 (float64: from s = 37)", rounded, "share")
    drift = e.number("largest |c' - c| at f = 1, i = 0", _change_of_c(rng, f=FAR, factor=1))
    rest = e.number("largest |c'| at f = 0, i = 0", _change_of_c(rng, f=-FAR, factor=0))
    e.says("gates lie in [0, 1]", low >= 0 and high <= 1, f"a gate of {low:.4g} or {high:.4g}")
    e.says(
        "f = 1 keeps c, to the last bit", drift == 0, f"c changes by {drift:.3g} at f = 1, i = 0"
    )
    e.says("f = 0 leaves nothing of c", rest == 0, f"{rest:.3g} of c is left at f = 0, i = 0")
    e.instead("exactly 0 and 1 are reached by rounding alone: the exact σ lies in (0, 1)",
              not ((_gates("lstm", 1.0, rng) == 0).any()))  # fmt: skip


def _gates(name: str, scale: float, rng: np.random.Generator) -> Array:
    """Return the gates of 50 draws, flat."""
    draws = [draw(name, rng, scale=scale).step()[1] for _ in range(50)]
    return np.concatenate([np.ravel(gates[k]) for gates in draws for k in GATES[name]])


def _change_of_c(rng: np.random.Generator, *, f: float, factor: float) -> float:
    """Return the largest |c' - factor · c| with the given bias of f, and i = 0."""
    sample = draw("lstm", rng, B=64, biases={"f": f, "i": -FAR})
    return apart(sample.step()[0][1], factor * sample.state[1])


@claim(
    "C18", "If r_t is 0, nothing of the previous state is remembered; if it is 1, everything is.",
    documents=("D2",), about=("E21", "E22", "E23b"), reading=OPEN,
)  # fmt: skip
def reset_gate(e: Evidence, rng: np.random.Generator) -> None:
    """Hold r at 0 and at 1; change the old state, and look at the candidate and at the new one."""
    changes = {r: _changes(rng, r) for r in (-FAR, FAR)}
    candidate = e.number("r = 0: largest change of the candidate", changes[-FAR][0])
    state = e.number("r = 0: largest change of the new state", changes[-FAR][1])
    plain = draw("gru-keeps-old", rng, B=64, biases={"r": FAR})
    rnn = e.number("r = 1: candidate against the vanilla RNN's update",
                   apart(plain.step()[1]["n"], plain.rnn()))  # fmt: skip
    lost = e.number("r = 1: largest |h_t - h_{t-1}|", changes[FAR][2])
    e.says("at r = 0 the new state does not depend on the old one", state == 0,
           f"at r = 0 another h_(t-1) changes h_t by up to {state:.3g}: u_t ⊙ h_(t-1) is still"
           " there")  # fmt: skip
    e.says("at r = 1 the old state stays as it was", lost == 0)
    e.when("it is said of the candidate: r = 0 hides the old state from it, r = 1 makes it the"
           " update of a vanilla RNN",
           within=candidate == 0 and rnn == 0, beyond=state > 0)  # fmt: skip


def _changes(rng: np.random.Generator, r: float) -> tuple[float, float, float]:
    """Return the changes of candidate and state with the old state, and the distance from it."""
    sample = draw("gru-keeps-old", rng, B=64, biases={"r": r})
    changed = sample.with_state(rng.standard_normal(sample.state[0].shape))
    ((h,), gates), ((h2,), gates2) = sample.step(), changed.step()
    return apart(gates["n"], gates2["n"]), apart(h, h2), apart(h, sample.state[0])


@claim(
    "C19", "If u_t is 1, the new state is the old one; if it is 0, it is the candidate.",
    documents=("D2",), about=("E20", "E23a", "E23b"), reading=OPEN,
)  # fmt: skip
def update_gate(e: Evidence, rng: np.random.Generator) -> None:
    """Hold the update gate at 1 and at 0, in both polarities."""
    errors, reverse = {}, {}
    for name in GRUS:
        at_one, at_zero = (draw(name, rng, B=64, biases={"z": z}) for z in (FAR, -FAR))
        (((h1,), g1), ((h0,), g0)) = at_one.step(), at_zero.step()
        errors[name] = max(apart(h1, at_one.state[0]), apart(h0, g0["n"]))
        reverse[name] = max(apart(h1, g1["n"]), apart(h0, at_zero.state[0]))
        e.number(f"{at_one.cell.title}: largest difference from the claim", errors[name])
        e.number(f"{at_one.cell.title}: largest difference from its reverse", reverse[name])
    e.says("in every GRU of the documents", max(errors.values()) == 0,
           f"D0 blends the other way round (E23a): there u = 1 takes the candidate, and what is"
           f" claimed is off by up to {errors['gru-takes-new']:.3g}")  # fmt: skip
    e.when("the update gate keeps the old (E23b: D2, and PyTorch); in D0's E23a it is the reverse,"
           " exactly",
           within=errors["gru-keeps-old"] == errors["gru"] == reverse["gru-takes-new"] == 0,
           beyond=errors["gru-takes-new"] > 0)  # fmt: skip


LASTING = 100
"""The steps beyond which a memory is long; it ends where less than 1 % of a change arrives."""

UPDATE_GATES = (0.0, 0.5, 0.9, 1.0)
"""The values of the update gate, for r at 0 and at 1."""


@claim(
    "C21", "Reset gates serve short-term dependencies, update gates long-term ones.",
    documents=("D1", "D2"), about=("E21", "E22", "E23b"), reading=OPEN,
)  # fmt: skip
def what_gates_are_for(e: Evidence, rng: np.random.Generator) -> None:
    """Hold both gates at values from 0 to 1, and count the steps over which a change arrives."""
    span = {}
    for name, norm in (("‖U_n‖₂ = 0.9", 0.9), ("orthogonal U_n, small states", None)):
        for r in (0.0, 1.0):
            reached = {z: _memory(rng, r, z, norm) for z in UPDATE_GATES}
            span.update({(norm, r, z): reached[z] for z in UPDATE_GATES})
            for z in UPDATE_GATES:
                e.number(f"memory, {name}, r = {r:g}, u = {z:g}", reached[z], "steps",
                         "longer than was measured")  # fmt: skip
    short = _one_step(rng, -FAR), _one_step(rng, FAR)
    e.number("share of a change one step back in the candidate, r = 0", short[0])
    e.number("share of a change one step back in the candidate, r = 1", short[1])
    contracting = [v for (norm, _, z), v in span.items() if norm and z < 1]
    orthogonal = [v for (norm, _, z), v in span.items() if not norm and z < 1]
    e.says("the reset gate decides about the step before", short[0] == 0 < short[1])
    lasting = all(v == np.inf for (_, _, z), v in span.items() if z == 1)
    e.says("u = 1 remembers for ever, whatever r is", lasting)
    e.says(f"with u < 1 nothing lasts over {LASTING} steps, whatever r is",
           max(contracting + orthogonal) <= LASTING,
           "with an orthogonal U_n, small states, r = 1 and u = 0 the GRU is an RNN that forgets"
           " nothing: long memory through the reset gate alone")  # fmt: skip
    e.when("the candidate's own path contracts (‖U_n‖₂ < 1), so that memory is the update gate's",
           within=max(contracting) <= LASTING and lasting and short[0] == 0 < short[1],
           beyond=max(orthogonal) > LASTING)  # fmt: skip


def _memory(rng: np.random.Generator, r: float, z: float, norm: float | None) -> float:
    """Return the lag up to which 1 % of a change arrives; infinity beyond four times LASTING."""
    sample = draw("gru-keeps-old", rng, D=4, H=16, B=1)
    U: Array = np.linalg.qr(sample.p.U_n)[0]
    if norm is not None:
        U = sample.p.U_n * (norm / np.linalg.norm(sample.p.U_n, 2))
    biases = {"r": logit(r), "z": logit(z), "n": 0.0}
    p = with_gates(sample.p, U={"r": 0.0, "z": 0.0, "n": U}, W={"r": 0.0, "z": 0.0}, b=biases)
    inputs, size = (1.0, 1.0) if norm is not None else (0.0, 1e-3)
    start = (size * sample.state[0],)
    logs = log_gradients("gru-keeps-old", p, rng, 4 * LASTING, inputs=inputs, rows=2, start=start)
    return horizon(logs, 0.01)


def _one_step(rng: np.random.Generator, r: float) -> float:
    """Return the share of a small change of the old state in the candidate."""
    sample = draw("gru-keeps-old", rng, B=64, biases={"r": r})
    change = 1e-6 * rng.standard_normal(sample.state[0].shape)
    changed = sample.with_state(sample.state[0] + change)
    moved = sample.step()[1]["n"] - changed.step()[1]["n"]
    return float(np.linalg.norm(moved) / np.linalg.norm(change))
