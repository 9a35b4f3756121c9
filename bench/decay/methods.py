"""The measurements as one bundle, so that a validation can be given a wrong one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ...reference.cell import Gates, State
from ...reference.functions import Array
from .adjoint import Scaled, carried
from .jacobian import state_jacobian
from .trajectory import Step, Trajectory
from .transition import Binding, Bound, Transition


@dataclass(frozen=True)
class Methods:
    """How a cell is bound, a Jacobian taken, a cotangent carried; one QR every ``qr_every``."""

    bind: Binding = Bound
    jacobian: Callable[[Transition, Array, State, Gates, State], Array] = state_jacobian
    carried: Callable[[Trajectory, State], Iterator[Scaled]] = carried
    qr_every: int = 1

    def jacobians(self, transition: Transition, steps: Iterable[Step]) -> Iterator[Array]:
        """Yield the Jacobian of every step."""
        for step in steps:
            yield self.jacobian(transition, *step)


RIGHT = Methods()
"""The measurements that the bench makes."""
