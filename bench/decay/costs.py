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

TURN = 100
"""Plain steps at every block of inputs."""

LYAPUNOV = Setting("lstm", 4, 1.0, 1.0)
"""A small one, as the memory alone is looked at, over many steps."""


def cost(
    hidden: int, steps: int, seed: int, adjoint: Sequence[int], lyapunov: Sequence[int]
) -> CostRow:
    """Time one adjoint over ``steps`` steps; find peaks of memory for lengths of both kinds."""
    setting = Setting("lstm", hidden, 1.0, 1.0)
    problem = draw(setting, seed, steps)
    interrupted = _Interrupted(problem)
    begin = time.perf_counter()
    last = _carried_to_the_end(problem, interrupted, steps)
    seconds = time.perf_counter() - begin - interrupted.seconds
    adjoint_step, plain_step = seconds / steps, interrupted.seconds / interrupted.steps
    _exponents(seed, 1)()  # what is loaded once does not count
    return CostRow(
        id="", status=OK, what="cost", hidden=hidden, steps=steps,
        plain_step=plain_step, adjoint_step=adjoint_step, ratio=adjoint_step / plain_step,
        log10_norm=float(last.log_norms()[-1]) / math.log(10),
        adjoint_peaks={str(n): _peak(_adjoint(setting, seed, n)) for n in adjoint},
        lyapunov_peaks={str(n): _peak(_exponents(seed, n)) for n in lyapunov},
    )  # fmt: skip


class _Interrupted(Inputs):
    """A problem's inputs; at every block some plain steps are taken, whose time is kept."""

    def __init__(self, problem: Problem) -> None:
        self.__dict__.update(vars(problem.inputs))
        self._problem, self._state = problem, problem.start
        self.seconds, self.steps = 0.0, 0

    def block(self, k: int) -> Array:
        found = super().block(k)
        cell, p, state = self._problem.cell, self._problem.p, self._state
        begin = time.perf_counter()
        for x in found[:TURN]:
            state, _ = cell.step(p, x, state)
        self.seconds += time.perf_counter() - begin
        self._state, self.steps = state, self.steps + len(found[:TURN])
        return found


def _carried_to_the_end(problem: Problem, inputs: Inputs, steps: int) -> Scaled:
    trajectory = follow(problem.transition, inputs, problem.start, steps)
    (last,) = deque(carried(trajectory, problem.cotangent), maxlen=1)
    return last


def _adjoint(setting: Setting, seed: int, steps: int) -> Callable[[], object]:
    problem = draw(setting, seed, steps)
    return lambda: _carried_to_the_end(problem, problem.inputs, steps)


def _exponents(seed: int, steps: int) -> Callable[[], object]:
    problem = draw(LYAPUNOV, seed, 10_000)  # the same blocks of inputs for every length
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
