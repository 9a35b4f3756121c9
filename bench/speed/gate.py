"""The gate: what a contender computes is held to the reference before it gets a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...verify.numbers.bounded import Bounded
from ...verify.numbers.ledger import Ledger, Mismatch
from .contender import DATA, FORWARD, Found, Prepared
from .oracle import Expected, exact, share
from .problem import Problem

SAMPLED = 3
"""Later steps that are looked at one by one."""

ORDINARY = 32
"""Times the median bound: beyond it, a number hangs on a choice that rounding decides."""


@dataclass(frozen=True)
class Gate:
    """What a contender was let through with.

    ``ratio`` is its largest error in units of its bound; ``outputs`` and ``gradients`` are its
    largest errors relative to the largest number of the same kind. ``steps`` of the sequence were
    held to the reference as a whole, ``later`` ones one by one. ``blind`` are quantities of which
    nothing was learned, as their bounds are too wide.
    """

    ratio: float
    outputs: float
    gradients: float | None
    steps: int
    later: int
    blind: tuple[str, ...]


class WrongError(AssertionError):
    """A contender did not compute what the reference does; the message says where."""


def passed(of: str, prepared: Prepared, problem: Problem, want: Expected) -> Gate:
    """Return with what errors a pass of a contender passes; WrongError if it does not."""
    d = problem.cotangents(want.steps)
    found = prepared.found(prepared.call(of, prepared.own(d)))
    held = _Held(problem, want, Ledger(share=share(problem.dtype)))
    try:
        held.outputs(found)
        if of != FORWARD:
            held.gradients(found, prepared.named(want.parameters), weights=of != DATA)
        held.ledger.assert_within()
    except Mismatch as off:
        raise WrongError(str(off)) from off
    worst = held.ledger.worst
    return Gate(
        ratio=worst.ratio if worst else 0.0,
        outputs=max(held.relative["outputs"]),
        gradients=max(held.relative["gradients"], default=None),
        steps=want.steps,
        later=held.later,
        blind=want.blind,
    )


@dataclass
class _Held:
    """A contender's numbers beside what they must be."""

    problem: Problem
    want: Expected
    ledger: Ledger
    relative: Mapping[str, list[float]] = field(
        default_factory=lambda: {"outputs": [], "gradients": []}
    )
    later: int = 0

    def compare(self, kind: str, quantity: str, got: Array, want: Bounded) -> None:
        """Hold an array to its oracle, and note its relative error."""
        self.ledger.compare(quantity, got, want)
        scale = float(np.max(np.abs(want.value), initial=0.0))
        if scale > 0:  # where a ReLU may or may not be open, no error can be told
            error = np.abs(np.asarray(got, dtype=np.float64) - want.value)
            known = want.bound <= ORDINARY * np.median(want.bound)
            self.relative[kind].append(float(np.max(error, where=known, initial=0.0)) / scale)

    def outputs(self, found: Found) -> None:
        """All rows of y over the proven steps, the final states, and some later steps."""
        problem, want, shape = self.problem, self.want, self.problem.shape
        y = np.asarray(found.y)
        width = want.y.shape[-1]
        if y.shape != (shape.T, shape.B, width):
            raise Mismatch(f"y: expected shape {(shape.T, shape.B, width)}, got {y.shape}")
        self.compare("outputs", "y", y[: want.steps], want.y[:, problem.rows])
        names = problem.layer.cell.states
        if not want.final:
            self.ledger.require("y", bool(np.isfinite(y).all()), "expected finite numbers")
            self._later_steps(y)
        for name, got, end in zip(names, found.final, want.final, strict=False):
            self.compare("outputs", f"final {name}", got, end[:, problem.rows])
        if len(found.final) != len(names):
            raise Mismatch(f"final states: expected {len(names)}, got {len(found.final)}")

    def _later_steps(self, y: Array) -> None:
        """Hold some steps beyond the proven ones to one step from the contender's own outputs."""
        problem, steps = self.problem, self.want.steps
        if len(problem.layer.pass_sizes) > 1 or problem.shape.T < steps + 2:
            return
        cell, (given,) = problem.layer.cell, problem.parameters
        p = Parameters(given.shapes, {n: exact(problem, a) for n, a in given.items()})
        for t in np.unique(np.linspace(max(steps, 2), problem.shape.T - 1, SAMPLED, dtype=int)):
            x_before, x = (exact(problem, problem.x[k]) for k in (t - 1, t))
            earlier, before = (exact(problem, y[k]) for k in (t - 2, t - 1))
            state = cell.state_from_outputs(p, x_before, earlier, before)
            if state is None:
                return
            h: Any = cell.step(p, x, state)[0][0]
            self.ledger.compare(f"y[{t}]", y[t], h)
            self.later += 1

    def gradients(self, found: Found, named: Mapping[str, Bounded], *, weights: bool) -> None:
        """Gradients of the parameters, and of x and the initial states where cotangents stand."""
        if weights:
            there = found.parameters or {}
            for name, want in named.items():
                if name not in there:
                    raise Mismatch(f"gradient of {name}: expected shape {want.shape}, got none")
                self.compare("gradients", f"gradient of {name}", there[name], want)
        steps, at = self.want.steps, self.problem.places
        self._placed("gradient of x", found.x, self.problem.x.shape, self.want.x, steps, at)
        names = self.problem.layer.cell.states
        for k, name in enumerate(names):
            got = found.initial[k] if k < len(found.initial) else None
            shape, want = self.problem.state[k].shape, self.want.initial[k]
            self._placed(f"gradient of initial {name}", got, shape, want, shape[0], at)

    def _placed(
        self, quantity: str, got: Array | None, shape: tuple[int, ...], want: Bounded, first: int,
        at: Array,
    ) -> None:  # fmt: skip
        """Compare got[:first, at] with what it must be, and everything else with 0."""
        if got is None or np.shape(got) != shape:
            there = None if got is None else np.shape(got)
            raise Mismatch(f"{quantity}: expected shape {shape}, got {there}")
        self.compare("gradients", quantity, got[:first][:, at], want)
        rest = np.array(got)
        rest[:first, at] = 0
        self.ledger.compare(quantity, rest, exact(self.problem, np.zeros(shape)))
