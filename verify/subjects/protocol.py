"""What an adapter has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...reference.cell import State
from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..cases import Case, Options


class SubjectUnavailable(RuntimeError):
    """A subject's own package is missing; the message says how to install it."""


@dataclass(frozen=True)
class Inputs:
    """What a subject is called with; all arrays are NumPy's, in the case's dtype.

    ``parameters`` carry the subject's own names and shapes, x is (T, B, D), states
    (layers * directions, B, width) or None for the subject's default, lengths (B,) or None.
    """

    parameters: Mapping[str, Array]
    x: Array
    state: State | None
    lengths: Array | None


@dataclass(frozen=True)
class Result:
    """Outputs y (T, B, width) and final states."""

    y: Array
    final: State


@dataclass(frozen=True)
class Pulled(Result):
    """The same, and the gradients: of the parameters by the subject's names, of x (T, B, D).

    ``initial`` are those of the initial states; empty where the subject took its default.
    """

    parameters: Mapping[str, Array]
    x: Array
    initial: State


class Subject(Protocol):
    """An implementation of a recurrent layer, and the map between its parameters and ours."""

    @property
    def name(self) -> str:
        """What users type."""

    @property
    def options(self) -> Options:
        """Which options it has; cases use no others."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes it computes in."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the reference's cells that it computes, the ordinary one first."""

    def version(self) -> str:
        """Name and version of the package; SubjectUnavailable if it is not there."""

    def cell(self, case: Case) -> str:
        """Return the name of the reference's cell that it claims to compute."""

    def shapes(self, case: Case) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every parameter, by its own name."""

    def to_reference(self, case: Case, parameters: Mapping[str, Array]) -> Sequence[Parameters]:
        """Map its parameters, of any number system, to the reference's."""

    def from_reference(self, case: Case, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Map a gradient in the reference's parameters to one in its own (the transposed map)."""

    def forward(self, case: Case, inputs: Inputs) -> Result:
        """Run the layer."""

    def gradient(self, case: Case, inputs: Inputs, dy: Array, dfinal: State) -> Pulled:
        """Run the layer and pull the cotangents back to parameters, x and initial states."""
