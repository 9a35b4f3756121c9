"""A subject in a quantised arithmetic, in which the oracle computes other values."""

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
    """A subject and its quantised arithmetic; other attributes are the subject's."""

    subject: Subject
    quantisation: Quantisation

    def __getattr__(self, name: str) -> object:
        return getattr(self.subject, name)

    @cached_property
    def options(self) -> Options:
        """The subject's options, with gradients only if nothing but weights is rounded."""
        options = replace(self.subject.options, quantised=True)
        if not self.quantisation.stepwise:
            return options
        reasons = (("gradient", NO_GRADIENT), ("jvp", NO_GRADIENT))
        return replace(options, gradient=False, jvp=False, reasons=(*options.reasons, *reasons))

    @property
    def as_subject(self) -> Subject:
        """Return it with the type Subject: __getattr__ supplies the rest of the protocol."""
        return cast("Subject", self)

    def version(self) -> str:
        """Return the subject's version, and the arithmetic."""
        return f"{self.subject.version()} ({self.quantisation.words})".strip()

    def parameter_map(self, case: Case) -> ParameterMap:
        """Return the subject's map with weights rounded to their grid."""
        plain_map, grid = self.subject.parameter_map(case), grid_of(self.quantisation)
        if grid is None:
            return plain_map
        return RoundedMap(plain_map, grid, self.quantisation.gradient == "straight", case)


def in_arithmetic(subject: Subject, arithmetic: object) -> Subject:
    """Return a subject in an arithmetic, or the subject itself if ``arithmetic`` is empty.

    UnknownSubject says what is wrong with the arithmetic.
    """
    if not arithmetic:
        return subject
    try:
        quantisation = Quantisation.parse(arithmetic)
        grid_of(quantisation)
        _require_states(subject, quantisation)
    except QuantisationError as error:
        raise UnknownSubject(f"subject {subject.name!r}: {error}") from error
    return Quantised(subject, quantisation).as_subject


INTEGERS_ALONE = ("lstm", "lstm-coupled", "lstm-projected")
"""The cells that have a step in integers alone."""

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
