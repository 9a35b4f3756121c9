"""Frameworks whose LSTM may project its hidden state: one more array, and another cell."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ...reference.functions import Array
from ...reference.parameters import Parameters
from ..case import Case
from .framework import FrameworkSubject


@dataclass(frozen=True)
class ProjectingSubject(FrameworkSubject, ABC):
    """A layer whose convention depends on whether the case has a projection."""

    def at(self, case: Case) -> Self:
        """Return the subject with the case's convention."""
        return replace(self, convention=replace(self.convention, projected=case.P > 0))

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the cell of the reference, and the projected one where it is offered."""
        return (*super().cells, *(["lstm-projected"] if self.options.projection else []))

    def cell(self, case: Case) -> str:
        """Return the reference's cell; with a projection it is the projected LSTM."""
        return "lstm-projected" if case.P else self.cells[0]

    def shapes(self, case: Case) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the convention's arrays."""
        return FrameworkSubject.shapes(self.at(case), case)

    def to_reference(self, case: Case, parameters: Mapping[str, Array]) -> Sequence[Parameters]:
        """Map the convention's arrays to the reference's parameters."""
        return FrameworkSubject.to_reference(self.at(case), case, parameters)

    def pack(self, case: Case, parameters: Sequence[Parameters]) -> Mapping[str, Array]:
        """Return arrays that mean the reference's parameters."""
        return FrameworkSubject.pack(self.at(case), case, parameters)

    def from_reference(self, case: Case, gradient: Sequence[Parameters]) -> Mapping[str, Array]:
        """Map a gradient in the reference's parameters to one in the convention's arrays."""
        return FrameworkSubject.from_reference(self.at(case), case, gradient)

    def place(self, case: Case, name: str, index: tuple[int, ...]) -> str:
        """Say which gate and unit an entry of an array belongs to."""
        return FrameworkSubject.place(self.at(case), case, name, index)
