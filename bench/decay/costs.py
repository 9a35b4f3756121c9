"""What the adjoint of an LSTM costs beside one plain step of the reference, and what memory.

The plain steps are taken in turns with those of the adjoint, at every block of inputs, so that
what else the machine does meets both. The peak of memory is the most that Python held
(``tracemalloc``), which slows everything down and is therefore measured apart from the times.
"""

from __future__ import annotations

import math
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence

from ...reference.functions import Array
from ..plan import OK
from .adjoint import Scaled, carried
from .inputs import Inputs
from .jacobian import state_jacobians
from .lyapunov import exponents
from .problem import Problem, Setting, draw
from .rows import CostRow
from .trajectory import follow, wander

EVERY = 10
"""At one of so many blocks of inputs, the first included, plain steps are taken."""

MEMORY, LYAPUNOV = Setting("rnn", 64), Setting("rnn", 4)
"""Quick ones, as the memory alone is looked at, over many steps that are traced slowly."""


def cost(
    hidden: int, steps: int, seed: int, adjoint: Sequence[int], lyapunov: Sequence[int]
) -> CostRow:
    """Time one adjoint over ``steps`` steps; find peaks of memory for lengths of both kinds."""
    setting = Setting("lstm", hidden, 1.0, 1.0)
    problem = draw(setting, seed)
    interrupted = _Interrupted(problem)
    begin = time.perf_counter()
    last = _carried_to_the_end(problem, interrupted, steps)
    seconds = time.perf_counter() - begin - interrupted.seconds
    adjoint_step, plain_step = seconds / steps, interrupted.seconds / interrupted.steps
    for once in _adjoint(seed, 1), _exponents(seed, 1):  # what stays loaded does not count
        once()
    return CostRow(
        id="", status=OK, what="cost", hidden=hidden, steps=steps,
        plain_step=plain_step, adjoint_step=adjoint_step, ratio=adjoint_step / plain_step,
        log10_norm=float(last.log_norms()[-1]) / math.log(10),
        adjoint_peaks={str(n): _peak(_adjoint(seed, n)) for n in adjoint},
        lyapunov_peaks={str(n): _peak(_exponents(seed, n)) for n in lyapunov},
    )  # fmt: skip


class _Interrupted(Inputs):
    """A problem's inputs; at every tenth block plain steps are taken, whose time is kept."""

    def __init__(self, problem: Problem) -> None:
        self.__dict__.update(vars(problem.inputs))
        self._problem, self._state = problem, problem.start
        self.seconds, self.steps, self._blocks = 0.0, 0, 0

    def block(self, k: int) -> Array:
        found = super().block(k)
        self._blocks += 1
        if self._blocks % EVERY != 1:
            return found
        cell, p, state = self._problem.cell, self._problem.p, self._state
        begin = time.perf_counter()
        for x in found:
            state, _ = cell.step(p, x, state)
        self.seconds += time.perf_counter() - begin
        self._state, self.steps = state, self.steps + len(found)
        return found


def _carried_to_the_end(problem: Problem, inputs: Inputs, steps: int) -> Scaled:
    trajectory = follow(problem.transition, inputs, problem.start, steps)
    (last,) = deque(carried(trajectory, problem.cotangent), maxlen=1)
    return last


def _adjoint(seed: int, steps: int) -> Callable[[], object]:
    problem = draw(MEMORY, seed)
    return lambda: _carried_to_the_end(problem, problem.inputs, steps)


def _exponents(seed: int, steps: int) -> Callable[[], object]:
    problem = draw(LYAPUNOV, seed)
    walk = wander(problem.transition, problem.inputs, problem.start)
    jacobians = state_jacobians(problem.transition, walk)
    return lambda: exponents(jacobians, steps=steps, transient=100)


def _peak(run: Callable[[], object]) -> int:
    """Return the most bytes that Python held during ``run``, beyond those before it."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
