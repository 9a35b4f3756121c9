"""The gate: a contender's results are compared with the reference before it is timed.

The reference runs on ``Bounded`` numbers over the problem's own steps, for the rows that differ.
Where that would take too long, or the bounds become too wide to be useful, it runs over the
first steps alone: later steps do not influence them, and only they get cotangents.
In two directions later steps do, so that there it is all steps or none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ...reference.arrays import Array, Floats
from ...reference.parameters import Parameters
from ...verify.numbers.arithmetic import ARITHMETICS, FINER, HALVES, Arithmetic
from ...verify.numbers.bounded import Bounded
from ...verify.numbers.ledger import SHARP, SHARP_ELSEWHERE, Ledger, Mismatch
from ...verify.subjects.protocol import Pulled, Result
from ..run import UnsupportedError
from .contender import DATA, FORWARD, Prepared
from .problem import Problem

WORK = 1.5e7
"""The affordable number of weights times steps: some 1 to 2 s on one core."""

FEWEST = 4
"""The least number of steps that tests a recurrence."""


WIDEST = 0.5
"""The share of the largest number that bounds of halves may reach.

A dozen roundings to 8 bits need as much: a wrong formula still shows, a coarse one does not.
"""


CANCELLED = 0.1
"""The share that bounds of the gradient of x may reach.

Its sums over the units of all gates cancel, so that bounds grow with the width (to 0.06 at 1024
units in float32): a wrong formula still shows. Beyond the dtype's own share it counts as blind
all the same.
"""


def arithmetic(dtype: str) -> Arithmetic:
    """Return the rounding that a dtype is allowed; sums of halves are in float32."""
    return ARITHMETICS[FINER[dtype][0] if dtype in HALVES else dtype]


@dataclass(frozen=True)
class Expected:
    """The witnesses' results over the first ``steps``: outputs and gradients, Bounded.

    y (steps, witnesses, width), final and initial (passes, witnesses, width), x (steps,
    witnesses, D). ``final`` is empty where steps are missing.
    """

    steps: int
    y: Bounded
    final: tuple[Bounded, ...]
    parameters: Sequence[Parameters]
    x: Bounded
    initial: tuple[Bounded, ...]

    @property
    def blind(self) -> tuple[str, ...]:
        """The names of quantities whose bound is too wide to be useful."""
        named = {"y": self.y, "gradient of x": self.x}
        named |= {f"gradient of {n}": a for p in self.parameters for n, a in p.items()}
        return tuple(name for name, b in named.items() if not _sharp(b))

    @property
    def telling(self) -> bool:
        """True if outputs, and the gradients that every cell has, have useful bounds.

        The bounds on other gradients may be too wide: those of a Skip cell's own weights
        are sums over all units of terms that cancel.
        """
        half = self.y.arithmetic.dtype_name in HALVES
        needed = {"y", *(f"gradient of {name}" for name in "WUb")}
        return (half or _sharp(self.x, CANCELLED)) and not needed & {*self.blind}


def share(dtype: str) -> float:
    """Return the largest useful bound of a dtype, as a share of the largest number."""
    return WIDEST if dtype in HALVES else SHARP.get(dtype, SHARP_ELSEWHERE)


def _sharp(b: Bounded, most: float = 0.0) -> bool:
    """Return whether a bound is at most this share, or its dtype's, of the largest number."""
    scale, most = float(np.max(np.abs(b.value))), max(most, share(b.arithmetic.dtype_name))
    return scale == 0 or float(np.median(b.bound)) <= most * scale


def expected(problem: Problem, work: float = WORK) -> Expected:
    """Return the expected results, over as many steps as have sharp bounds."""
    steps, bidirectional = problem.shape.T, problem.shape.directions == 2
    words = sum(a.size for p in problem.parameters for a in p.values())
    affordable = max(FEWEST, math.floor(work / words))
    if bidirectional and steps > affordable:
        raise UnsupportedError(
            f"to prove it right over {steps} steps in two directions takes too long; "
            f"at most {affordable} can be afforded at this width"
        )
    steps = min(steps, affordable)
    while True:
        results = _run_reference(problem, steps)
        if results.telling:
            return results
        if bidirectional or steps <= FEWEST:
            raise UnsupportedError(
                f"it cannot be proven right: over {steps} steps bounds are too wide on "
                f"{', '.join(results.blind)}"
            )
        steps = max(FEWEST, steps // 2)


def _run_reference(problem: Problem, steps: int) -> Expected:
    layer, (x, state) = problem.layer, problem.four
    with np.errstate(all="ignore"):
        p = [Parameters(q.shapes, {n: _parameter(problem, n, a) for n, a in q.items()})
             for q in problem.parameters]  # fmt: skip
        output = layer.forward(
            p, exact(problem, x[:steps]), tuple(exact(problem, s) for s in state)
        )
        d, places = problem.cotangents(steps), problem.places
        dy = exact(problem, d.y[:steps][:, places])
        gradient = layer.vjp(
            p, output, dy, tuple(exact(problem, end[:, places]) for end in d.final)
        )
    final = output.final if steps == problem.shape.T else ()
    return Expected(steps, output.y, final, gradient.parameters, gradient.x, gradient.initial)


def _parameter(problem: Problem, name: str, array: Array) -> Bounded:
    """Return a parameter; a bias is a sum of two halves, as in layers with two biases."""
    if name != "b":
        return exact(problem, array)
    half = exact(problem, array / 2)
    return cast(Bounded, half + half)


def exact(problem: Problem, array: Array) -> Bounded:
    """Return exact numbers in the problem's arithmetic."""
    return Bounded.exact(array, arithmetic(problem.dtype))


# The comparison with a contender.


SAMPLED = 3
"""The number of later steps that are compared one by one."""

ORDINARY = 32
"""Beyond so many median bounds, a number depends on a choice that rounding decides."""


@dataclass(frozen=True)
class Gate:
    """The errors with which a contender passed.

    ``ratio`` is its largest error in units of its bound; ``outputs`` and ``gradients`` are its
    largest errors relative to the largest number of the same kind. ``steps`` of the sequence were
    compared as a whole, ``later`` ones one by one. ``blind`` are quantities that were not
    tested, as their bounds are too wide.
    """

    ratio: float
    outputs: float
    gradients: float | None
    steps: int
    later: int
    blind: tuple[str, ...]


class WrongError(AssertionError):
    """A contender differs from the reference; the message says where."""


def passed(phase: str, prepared: Prepared, problem: Problem, want: Expected) -> Gate:
    """Return the errors of a pass of a contender; WrongError if they are beyond the bounds."""
    d = problem.cotangents(want.steps)
    result = prepared.arrays(prepared.call(phase, prepared.to_native(d)))
    comparison = _Comparison(problem, want, Ledger(share=share(problem.dtype)))
    try:
        comparison.outputs(result)
        if isinstance(result, Pulled):
            comparison.gradients(result, prepared.named(want.parameters), weights=phase != DATA)
        elif phase != FORWARD:
            raise Mismatch("gradients: expected some, got none")
        comparison.ledger.assert_within()
    except Mismatch as off:
        raise WrongError(str(off)) from off
    worst = comparison.ledger.worst
    return Gate(
        ratio=worst.ratio if worst else 0.0,
        outputs=max(comparison.relative["outputs"]),
        gradients=max(comparison.relative["gradients"], default=None),
        steps=want.steps,
        later=comparison.later,
        blind=want.blind,
    )


@dataclass
class _Comparison:
    """A contender's numbers beside the expected ones."""

    problem: Problem
    want: Expected
    ledger: Ledger
    relative: Mapping[str, list[float]] = field(
        default_factory=lambda: {"outputs": [], "gradients": []}
    )
    later: int = 0

    def compare(self, kind: str, quantity: str, got: Floats, want: Bounded) -> None:
        """Compare an array with its oracle, and record its relative error."""
        self.ledger.compare(quantity, got, want)
        scale = float(np.max(np.abs(want.value), initial=0.0))
        if scale > 0:  # where a ReLU may or may not be open, no error can be told
            error = np.abs(np.asarray(got, dtype=np.float64) - want.value)
            certain = want.bound <= ORDINARY * np.median(want.bound)
            self.relative[kind].append(float(np.max(error, where=certain, initial=0.0)) / scale)

    def outputs(self, result: Result) -> None:
        """Compare all rows of y over the expected steps, the final states, and some later steps."""
        problem, want, shape = self.problem, self.want, self.problem.shape
        y = np.asarray(result.y)
        width = want.y.shape[-1]
        if y.shape != (shape.T, shape.B, width):
            raise Mismatch(f"y: expected shape {(shape.T, shape.B, width)}, got {y.shape}")
        self.compare("outputs", "y", y[: want.steps], want.y[:, problem.rows])
        names = problem.layer.cell.states
        if not want.final:
            self.ledger.require("y", bool(np.isfinite(y).all()), "expected finite numbers")
            self._later_steps(y)
        for name, got, end in zip(names, result.final, want.final, strict=False):
            self.compare("outputs", f"final {name}", got, end[:, problem.rows])
        if len(result.final) != len(names):
            raise Mismatch(f"final states: expected {len(names)}, got {len(result.final)}")

    def _later_steps(self, y: Floats) -> None:
        """Compare some later steps with one step of the reference from the contender's outputs."""
        problem, steps = self.problem, self.want.steps
        if len(problem.layer.pass_sizes) > 1 or problem.shape.T < steps + 2:
            return
        cell, (parameters,) = problem.layer.cell, problem.parameters
        p = Parameters(parameters.shapes, {n: exact(problem, a) for n, a in parameters.items()})
        for t in np.unique(np.linspace(max(steps, 2), problem.shape.T - 1, SAMPLED, dtype=int)):
            x_before, x = (exact(problem, problem.x[k]) for k in (t - 1, t))
            earlier, before = (exact(problem, y[k]) for k in (t - 2, t - 1))
            state = cell.state_from_outputs(p, x_before, earlier, before)
            if state is None:
                return
            h: Any = cell.step(p, x, state)[0][0]
            self.ledger.compare(f"y[{t}]", y[t], h)
            self.later += 1

    def gradients(self, pulled: Pulled, named: Mapping[str, Bounded], *, weights: bool) -> None:
        """Compare the gradients of the parameters, of x and of the initial states."""
        if weights:
            for name, want in named.items():
                if name not in pulled.parameters:
                    raise Mismatch(f"gradient of {name}: expected shape {want.shape}, got none")
                self.compare("gradients", f"gradient of {name}", pulled.parameters[name], want)
        self._compare_at_places("gradient of x", pulled.x, self.problem.x.shape, self.want.x)
        for k, name in enumerate(self.problem.layer.cell.states):
            got = pulled.initial[k] if k < len(pulled.initial) else None
            shape = self.problem.state[k].shape
            self._compare_at_places(f"gradient of initial {name}", got, shape, self.want.initial[k])

    def _compare_at_places(
        self, quantity: str, got: Floats | None, shape: tuple[int, ...], want: Bounded
    ) -> None:
        """Compare the witnesses' first rows with the expected numbers, everything else with 0."""
        if got is None or np.shape(got) != shape:
            got_shape = None if got is None else np.shape(got)
            raise Mismatch(f"{quantity}: expected shape {shape}, got {got_shape}")
        first, places = want.shape[0], self.problem.places
        self.compare("gradients", quantity, got[:first][:, places], want)
        rest = np.array(got)
        rest[:first, places] = 0
        self.ledger.compare(quantity, rest, exact(self.problem, np.zeros(shape)))
