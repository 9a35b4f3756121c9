"""The record of an equation, and the registry of all equations."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Equation:
    """One equation of the catalogue, or one member of it where documents disagree.

    ``id`` is the catalogue's (``E13``); several equations share an id when the documents, or the
    documents and practice, hold different readings of it (``E25``). ``documents`` names where it
    stands (``D0`` ... ``D4``) or the paper it was taken from.
    """

    id: str
    name: str
    latex: str
    documents: tuple[str, ...]
    function: Callable[..., Any]
    note: str = ""

    @property
    def label(self) -> str:
        """The id and the name, as failures and tables print it."""
        return f"{self.id} {self.name}"

    @property
    def source(self) -> str:
        """The location of the code, as ``module.function``."""
        module = self.function.__module__.removeprefix(f"{__package__}.")
        return f"{module}.{self.function.__qualname__}"


_registry: dict[str, Equation] = {}


def equation(
    id: str, name: str, *, latex: str, documents: tuple[str, ...], note: str = ""
) -> Callable[[F], F]:
    """Register the decorated function as equation ``id`` and return it unchanged."""

    def register(function: F) -> F:
        if name in _registry:
            raise ValueError(f"equation name {name!r} is registered twice")
        _registry[name] = Equation(id, name, latex, documents, function, note)
        return function

    return register


_vjps: dict[str, Callable[..., Any]] = {}


def vjp_of(name: str) -> Callable[[F], F]:
    """Register the decorated function as the VJP of the equation ``name``.

    It takes the equation's arguments and then the cotangent, and returns the cotangents of the
    arguments in order; the proofs differentiate the equation and hold the two together.
    """

    def register(function: F) -> F:
        _vjps[name] = function
        return function

    return register


def vjps() -> dict[str, Callable[..., Any]]:
    """Return the VJPs of single equations, by the equation's name."""
    equations()
    return dict(_vjps)


def registered() -> set[str]:
    """Return the names of the equations whose modules have been imported so far."""
    return set(_registry)


def equations() -> tuple[Equation, ...]:
    """Return all equations of the reference, sorted by id, then by name."""
    for module in _modules():
        importlib.import_module(module)
    return tuple(sorted(_registry.values(), key=lambda e: (e.id, e.name)))


def _modules() -> Iterator[str]:
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}."):
        yield module.name
