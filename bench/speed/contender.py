"""A contender: an implementation that is made ready for a problem, checked, and timed."""

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
    """What ran is not what was asked for; the message says what did."""


class Prepared(ABC):
    """A contender with its problem: everything is built and converted, only calls are left.

    A call returns the contender's own objects; ``arrays`` are NumPy's of them, off the clock.
    ``algorithm`` says what ran, where that can be known; ``note`` what is on the clock besides.
    ``first`` are the seconds of the very first call of a pass, where it has been made already.
    """

    algorithm = ""
    note = ""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first: dict[str, float] = {}

    @abstractmethod
    def forward(self) -> Any:
        """Run the layer, recording nothing."""

    @abstractmethod
    def training(self, cotangents: Any) -> Any:
        """Run the layer and return all gradients."""

    def backward(self, cotangents: Any) -> Any:
        """Return all gradients of a run that was made before."""
        raise UnsupportedError("its backward pass cannot be had without the forward pass")

    def backward_data(self, cotangents: Any) -> Any:
        """Return the gradients of x and of the initial states of a run that was made before."""
        raise UnsupportedError("it has no gradients of data without those of weights")

    def own(self, cotangents: Cotangents) -> Any:
        """Return cotangents as its own objects."""
        return cotangents

    @abstractmethod
    def arrays(self, result: Any) -> Result:
        """Return what a call returned as NumPy arrays; gradients by the contender's own names.

        A call with gradients gives ``Pulled``, without any of parameters where those of data were
        asked for alone.
        """

    @abstractmethod
    def named(self, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return a gradient of the reference, of any number system, by its own names."""

    def peak(self, of: str, cotangents: Any) -> int | None:
        """Return the most bytes that one call of a pass holds beyond what there was before."""
        return None

    def counts(self, of: str, cotangents: Any) -> dict[str, int] | None:
        """Return what one call of a pass does, where that can be counted (``rows.Entry``)."""
        return None

    def call(self, of: str, cotangents: Any) -> Any:
        """Make one call of a pass; the first is timed."""
        started = time.perf_counter()
        if of == FORWARD:
            result = self.forward()
        else:
            named = {TRAINING: self.training, BACKWARD: self.backward, DATA: self.backward_data}
            result = named[of](cotangents)
        self.first.setdefault(of, time.perf_counter() - started)
        return result


@dataclass(frozen=True)
class Contender:
    """An implementation that can be timed, by the name that users type.

    ``cells`` are those of the reference that it computes, ``version`` tells that of what runs, and
    ``prepare`` makes it ready for a problem; UnsupportedError says why it cannot be.
    """

    name: str
    cells: tuple[str, ...]
    version: Callable[[], str]
    prepare: Callable[[Problem], Prepared]
