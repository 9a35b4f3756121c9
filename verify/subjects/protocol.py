"""The interface of a subject: what an adapter implements, and what its calls take and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from ...reference.functions import Array
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ParameterMap

Cotangents: TypeAlias = tuple[Array | None, tuple[Array | None, ...]]
"""Cotangents on y and on each final state; None where nothing depends on that output."""


def cotangents_of(function: Callable[[Array], Any], pair: Cotangents) -> Cotangents:
    """Apply a function to each cotangent that is not None."""
    dy, *dfinal = (None if d is None else function(d) for d in (pair[0], *pair[1]))
    return dy, tuple(dfinal)


class SubjectUnavailable(RuntimeError):
    """A subject's own package is missing; the message says how to install it."""


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call of a subject; all arrays are NumPy's, in the case's dtype.

    ``parameters`` have the subject's own names and shapes, x is (T, B, D), states
    (layers * directions, B, width) or None for the subject's default, lengths (B,) or None. One of
    several states may be None (option ``partial_state``). With ``kept``, a call without a state
    continues from the state of the last call (option ``kept_state``); otherwise the subject is
    reset first. ``rows``: the subject first reorders the rows of its states so (option
    ``reorders``). ``layout`` is one of ``RAGGED``, or "" for rows padded at the end. x is always
    padded at the end; ``ragged`` changes the layout.
    Checks look for writes into these arrays, so adapters must copy such writes back.
    """

    parameters: Mapping[str, Array]
    x: Array
    state: tuple[Array, ...] | None
    lengths: Array | None
    kept: bool = False
    rows: tuple[int, ...] | None = None
    layout: str = ""

    def map(self, function: Callable[[Array], Any]) -> Inputs:
        """Apply a function to every array except the lengths."""
        state = self.state and tuple(None if s is None else function(s) for s in self.state)
        named = {name: function(array) for name, array in self.parameters.items()}
        return replace(self, parameters=named, x=function(self.x), state=state)

    @property
    def called_with(self) -> dict[str, Array]:
        """The arguments other than the parameters, by name: ``x``, ``state 0``, ..."""
        states = enumerate(self.state or ())
        return {"x": self.x} | {f"state {k}": s for k, s in states if s is not None}

    @property
    def anew(self) -> bool:
        """Whether a subject that keeps its state is reset before it is called."""
        return self.state is None and not self.kept

    @property
    def leaves(self) -> dict[str, Array]:
        """The arrays whose gradients are computed, by name: the parameters, x and the states."""
        return {**self.parameters, **self.called_with}


@dataclass(frozen=True)
class Result:
    """Outputs y (T, B, width) and final states."""

    y: Array
    final: tuple[Array, ...]


@dataclass(frozen=True)
class Pulled(Result):
    """A result with gradients: of the parameters by the subject's names, of x (T, B, D).

    ``initial`` holds those of the initial states; empty where the subject used its default.
    """

    parameters: Mapping[str, Array]
    x: Array
    initial: tuple[Array, ...]

    @classmethod
    def of_leaves(cls, result: Result, gradients: Mapping[str, Array]) -> Self:
        """Return a result with the gradients of ``Inputs.leaves``."""
        states = sorted(name for name in gradients if name.startswith("state "))
        named = {n: d for n, d in gradients.items() if n != "x" and n not in states}
        initial = tuple(gradients[name] for name in states)
        return cls(result.y, result.final, named, gradients["x"], initial)


class Built(Protocol):
    """A subject built for one case: sizes and options are set, parameters come with each call."""

    def forward(self, inputs: Inputs) -> Result:
        """Run the layer."""

    def gradients(self, inputs: Inputs, cotangents: Sequence[Cotangents]) -> Sequence[Pulled]:
        """Run the layer once, and pull each pair of cotangents back through that run."""

    def jvp(self, inputs: Inputs, tangents: Inputs) -> Result:
        """Return the derivative of the outputs along ``tangents``; option ``jvp``."""

    def train(self, training: bool) -> None:
        """Switch between training and evaluation; option ``dropout``."""


class Watching(Protocol):
    """An observer of the operators and kernels that a subject's calls run."""

    def begin(self) -> None:
        """Forget all observations."""

    @property
    def summary(self) -> str:
        """A sentence that names what ran; "" if nothing was observed."""

    @property
    def lacking(self) -> str:
        """The operators that should have run and did not, in words; "" if none."""


@runtime_checkable
class FixedCases(Protocol):
    """A subject that answers a fixed list of cases alone, as a recording does."""

    def cases_for(self, check: str, dtype: str) -> Sequence[Case]:
        """Return the cases that it can answer for the check with this id."""

    def why_not(self, check: str) -> str:
        """Say why it has no case for the check."""

    def recorded(self, check: str, case: Case) -> tuple[Subject, Case]:
        """Return a layer that answers one case of a check, and that case with its numbers."""


@runtime_checkable
class Loadable(Protocol):
    """A subject's name, cells, dtypes and options, stated without importing its package."""

    def loaded(self) -> Subject:
        """Return the subject; SubjectUnavailable if its package is not installed."""


class Subject(Protocol):
    """An implementation of a recurrent layer, with the meaning of its parameters."""

    @property
    def name(self) -> str:
        """The name that users type."""

    @property
    def options(self) -> Options:
        """The options that it offers; cases use no others."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes in which it computes."""

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the reference's cells that it computes, the default first."""

    def version(self) -> str:
        """Return name and version of the package; SubjectUnavailable if it is not installed."""

    def cell(self, case: Case) -> str:
        """Return the name of the reference's cell that it claims to compute."""

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the map between its parameters and the reference's."""

    def caller(self, case: Case) -> str:
        """Return source that defines ``make()`` and ``call(...)``, for stand-alone scripts.

        "" where there is none. ``call(layer, parameters, x, state, lengths=None, dy=None,
        dfinal=None)`` returns the outputs, and with cotangents the gradients, by name. Where it
        defines ``train(layer, training)``, that switches the mode, else the layer's own method.
        """

    def build(self, case: Case) -> Built:
        """Return the layer, ready to be called."""


class OneCell:
    """A subject that computes its first cell in all cases, and is called by gatewise alone."""

    def cell(self: Subject, case: Case) -> str:
        """Return its cell."""
        return self.cells[0]

    def caller(self, case: Case) -> str:
        """Return "": scripts of failures call it by gatewise."""
        return ""
