"""Measure all rungs at a size: prove, count, then let those that are right take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ...verify.numbers.ledger import Mismatch
from ..timing import QUICK, STANDARD, THOROUGH, Effort, Timing, environment, rounds
from .counting import Counts, counted
from .problem import Problem, Size, draw
from .proof import Proof, oracles, prove
from .rungs import RUNGS, Rung

OK, NOISY, WRONG = "OK", "NOISY", "WRONG"

FORWARD, TRAINING = "forward", "training"
PASSES = (FORWARD, TRAINING)
"""Forward alone, and forward with backward."""

EFFORTS = {"quick": QUICK, "standard": STANDARD, "thorough": THOROUGH}

AGAIN = " again"
"""The top rung takes its turns twice: by how much it differs from itself is the noise floor."""

CALLS = 30
"""Calls of the slowest rung for which there is patience in any case."""


@dataclass(frozen=True)
class RungRow:
    """One rung at one size; ``timings`` and ``counts`` by pass. WRONG ones have neither."""

    name: str
    status: str
    message: str = ""
    proof: Proof | None = None
    timings: dict[str, Timing] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """All rungs at one size; ``floor`` is the noise floor of each pass, a share."""

    id: str
    status: str
    size: Size
    effort: str
    seed: int
    rungs: tuple[RungRow, ...]
    floor: dict[str, float]
    environment: dict[str, str]
    seconds: float


def measured(size: Size, effort: str, seed: int, rungs: Sequence[Rung] = RUNGS) -> dict[str, Any]:
    """Return the row of a size as JSON values, without its id."""
    started, problem = time.perf_counter(), draw(size, seed)
    proven = _proven(rungs, oracles(size, problem))
    right = [rung for rung in rungs if isinstance(proven[rung.name], Proof)]
    timings: dict[str, dict[str, Timing]] = {rung.name: {} for rung in rungs}
    floor: dict[str, float] = {}
    for of in PASSES:
        calls = {rung.name: call(rung, problem, of) for rung in right}
        if not right:
            break
        top = right[-1].name
        taken = rounds(calls | {top + AGAIN: calls[top]}, _patient(calls, EFFORTS[effort]), seed)
        floor[of] = taken.compare(top, top + AGAIN).furthest
        for name in calls:
            timings[name][of] = taken.timings[name]
    found = [_row(rung, proven[rung.name], timings[rung.name], problem) for rung in rungs]
    return {
        "status": next((s for s in (WRONG, NOISY) if s in [r.status for r in found]), OK),
        "size": asdict(size),
        "effort": effort,
        "seed": seed,
        "rungs": [_short(rung) for rung in found],
        "floor": floor,
        "environment": environment(),
        "seconds": time.perf_counter() - started,
    }


def _proven(rungs: Sequence[Rung], held: Sequence[Any]) -> Mapping[str, Proof | str]:
    """Return each rung's proof, or what is wrong; the rung below is the last that was right."""
    found: dict[str, Proof | str] = {}
    below = None
    for rung in rungs:
        try:
            found[rung.name] = prove(rung, below, held)
            below = rung
        except Mismatch as off:
            found[rung.name] = str(off)
    return found


def call(rung: Rung, q: Problem, of: str) -> Callable[[], object]:
    """Return what is timed."""

    def forward() -> object:
        return rung.forward(q.p, q.x, q.h0, q.c0)

    def training() -> object:
        return rung.backward(q.p, rung.forward(q.p, q.x, q.h0, q.c0), q.dy, q.dh, q.dc)

    return forward if of == FORWARD else training


def _patient(calls: Mapping[str, Callable[[], object]], effort: Effort) -> Effort:
    """Return the effort with patience for enough calls of the slowest."""
    slowest = 0.0
    for call in calls.values():
        started = time.perf_counter()
        call()
        slowest = max(slowest, time.perf_counter() - started)
    return replace(effort, patience=max(effort.patience, CALLS * slowest))


def _row(
    rung: Rung, proof: Proof | str, timings: Mapping[str, Timing], problem: Problem
) -> RungRow:
    if isinstance(proof, str):
        return RungRow(rung.name, WRONG, proof)
    counts = {of: counted(rung, problem, backward=of == TRAINING) for of in PASSES}
    noisy = any(timing.status == NOISY for timing in timings.values())
    return RungRow(rung.name, NOISY if noisy else OK, "", proof, dict(timings), counts)


def _short(rung: RungRow) -> dict[str, Any]:
    """Return a rung as JSON values, its samples with five digits."""
    value = asdict(rung)
    for timing in value["timings"].values():
        timing["samples"] = [float(f"{seconds:.5g}") for seconds in timing["samples"]]
    return value
