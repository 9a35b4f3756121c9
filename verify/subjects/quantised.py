"""A subject in a quantised arithmetic: what it has to compute is another thing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

from ...reference.cells import cell_named
from ..cases.case import Case
from ..cases.options import Options
from ..conventions.parameter_map import ParameterMap
from ..conventions.rounded_map import RoundedMap
from ..conventions.weight_grid import grid_of
from ..numbers.quantisation import Quantisation, QuantisationError
from .loader import UnknownSubject
from .protocol import Subject

NO_GRADIENT = "what is rounded in every step has no gradient to hold its own to"


@dataclass(frozen=True)
class Quantised:
    """A subject, and the arithmetic in which it computes; the rest is the subject's own."""

    subject: Subject
    quantisation: Quantisation

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)

    @cached_property
    def options(self) -> Options:
        """What it offers: gradients only where nothing but weights is rounded."""
        options = replace(self.subject.options, quantised=True)
        if not self.quantisation.stepwise:
            return options
        said = (("gradient", NO_GRADIENT), ("jvp", NO_GRADIENT))
        return replace(options, gradient=False, jvp=False, reasons=(*options.reasons, *said))

    @property
    def as_subject(self) -> Subject:
        """Return it as what it is: the rest of the protocol is the subject's own."""
        return cast("Subject", self)

    def version(self) -> str:
        """Return its version, and the arithmetic."""
        return f"{self.subject.version()} ({self.quantisation.words})".strip()

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return its map, which reads weights on their grid."""
        own, grid = self.subject.parameter_map(case), grid_of(self.quantisation)
        if grid is None:
            return own
        return RoundedMap(own, grid, self.quantisation.gradient == "straight", case)


def in_arithmetic(subject: Subject, given: object) -> Subject:
    """Return a subject in the arithmetic that is given, itself where none is.

    UnknownSubject says what is wrong with what is given.
    """
    if not given:
        return subject
    try:
        quantisation = Quantisation.parse(given)
        grid_of(quantisation)
        _require_states(subject, quantisation)
    except QuantisationError as error:
        raise UnknownSubject(f"subject {subject.name!r}: {error}") from error
    return Quantised(subject, quantisation).as_subject


INTEGERS_ALONE = ("lstm", "lstm-coupled", "lstm-projected")
"""The cells that have a step of integers alone."""

HIDDEN_FROM_C = ("lstm", "lstm-sigmoid-candidate", "lstm-coupled")
"""The cells whose output is o tanh(c), with c as it is stored."""


def _require_states(subject: Subject, quantisation: Quantisation) -> None:
    cells = [name for name in subject.cells if name not in INTEGERS_ALONE]
    if quantisation.gates:
        if cells:
            raise QuantisationError(f"quantised: gates: {cells[0]} has no step of integers alone")
        if "lstm-projected" in subject.cells and "m" not in quantisation.given_scales:
            raise QuantisationError("quantised: scales: expected one of m, which is projected")
        return
    for name in quantisation.state_formats:
        cell = cell_named(subject.cells[0])
        if name not in cell.states or (name == "c" and cell.name not in HIDDEN_FROM_C):
            raise QuantisationError(f"quantised: states: {cell.name} has no state {name} for this")
