"""What a claim is, and the registry of all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .evidence import READINGS, Evidence

Judge: TypeAlias = Callable[[Evidence, np.random.Generator], None]
"""Measures, and says in the evidence what the numbers say. The generator is the claim's own."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the documents: its id, where it stands, how it is read, and its judge.

    ``documents`` are ids (``D0`` ... ``D4``), ``about`` the ids of the equations it speaks of.
    ``reading`` says what refutes it (see ``evidence``).
    """

    id: str
    statement: str
    documents: tuple[str, ...]
    about: tuple[str, ...]
    reading: str
    judge: Judge

    def evidence(self, seed: int) -> Evidence:
        """Measure; the same seed draws the same numbers, whatever else is judged."""
        evidence = Evidence(self.reading)
        self.judge(evidence, np.random.default_rng([seed, *self.id.encode()]))
        return evidence


_registry: dict[str, Claim] = {}


def claim(
    id: str,
    statement: str,
    *,
    documents: tuple[str, ...],
    about: tuple[str, ...] = (),
    reading: str,
) -> Callable[[Judge], Judge]:
    """Register the decorated function as the judge of claim ``id``, read as ``evidence`` says."""
    if reading not in READINGS:
        raise ValueError(f"claim {id}: reading: expected one of {', '.join(READINGS)}")

    def register(judge: Judge) -> Judge:
        if id in _registry:
            raise ValueError(f"claim {id} is registered twice")
        _registry[id] = Claim(id, statement, documents, about, reading, judge)
        return judge

    return register


def claims() -> tuple[Claim, ...]:
    """Return all claims, by id."""
    package = importlib.import_module(__package__ or "")
    for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        importlib.import_module(module.name)
    return tuple(_registry[id] for id in sorted(_registry))


def claim_named(id: str) -> Claim:
    """Return a claim; ValueError lists the ids there are."""
    for one in claims():
        if one.id == id.upper():
            return one
    raise ValueError(f"no claim {id!r}; there are {', '.join(c.id for c in claims())}")
