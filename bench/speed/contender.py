"""A contender: an implementation that is prepared for a problem, checked, and timed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ...verify.subjects.protocol import Result
from ..run import UnsupportedError
from .problem import Cotangents, Problem

FORWARD, BACKWARD, DATA, TRAINING = "forward", "backward", "backward-data", "training"
PASSES = (FORWARD, BACKWARD, DATA, TRAINING)
"""``forward`` records nothing; ``training`` is a forward pass that does, and all gradients;
``backward`` is the latter alone, ``backward-data`` those of x and the initial states alone."""


class FallbackError(RuntimeError):
    """Something else ran than the request named; the message says what."""


class Prepared(ABC):
    """A contender with its problem: everything is built and converted, ready for calls.

    A call returns the contender's own objects; ``arrays`` converts them to NumPy's, off the clock.
    ``algorithm`` names what ran, where that can be known; ``note`` other work that is on the clock.
    ``first`` has the seconds of the very first call of each pass that has been called.
    """

    algorithm = ""
    note = ""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first: dict[str, float] = {}

    @abstractmethod
    def forward(self) -> Any:
        """Run the layer without recording for gradients."""

    @abstractmethod
    def training(self, cotangents: Any) -> Any:
        """Run the layer and return all gradients."""

    def backward(self, cotangents: Any) -> Any:
        """Return all gradients of an earlier run."""
        raise UnsupportedError("its backward pass cannot be had without the forward pass")

    def backward_data(self, cotangents: Any) -> Any:
        """Return the gradients of x and of the initial states of an earlier run."""
        raise UnsupportedError("it has no gradients of data without those of weights")

    def to_native(self, cotangents: Cotangents) -> Any:
        """Return cotangents as the contender's own objects."""
        return cotangents

    @abstractmethod
    def arrays(self, result: Any) -> Result:
        """Return the result of a call as NumPy arrays; gradients have the contender's own names.

        A call with gradients gives ``Pulled``, without gradients of parameters if the pass was
        ``backward-data``.
        """

    @abstractmethod
    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient of the reference, in any number system, under the contender's names."""

    def peak(self, phase: str, cotangents: Any) -> int | None:
        """Return the peak of bytes that one call of a pass allocates."""
        return None

    def counts(self, phase: str, cotangents: Any) -> dict[str, int] | None:
        """Return the operations of one call of a pass, if they can be counted (``rows.Entry``)."""
        return None

    def call(self, phase: str, cotangents: Any) -> Any:
        """Make one call of a pass; the first is timed."""
        started = time.perf_counter()
        if phase == FORWARD:
            result = self.forward()
        else:
            calls = {TRAINING: self.training, BACKWARD: self.backward, DATA: self.backward_data}
            result = calls[phase](cotangents)
        self.first.setdefault(phase, time.perf_counter() - started)
        return result


@dataclass(frozen=True)
class Contender:
    """An implementation that can be timed, by the name that users type.

    ``cells`` are the reference's cells that it computes, ``version`` returns the library's version,
    and ``prepare`` prepares it for a problem; UnsupportedError says why it cannot.
    """

    name: str
    cells: tuple[str, ...]
    version: Callable[[], str]
    prepare: Callable[[Problem], Prepared]
