"""The ledger: what a claim is, the registry of all, their plan, and a row of a run, typed."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ..plan import OK, Piece, Plan
from ..run import RunFileError, from_json, to_json
from .evidence import NOT_TESTED, READINGS, VERDICTS, Curve, Evidence, Finding, Number, verdict

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


ERROR = "ERROR"


@dataclass(frozen=True)
class Row:
    """One claim of a run: what it says, its verdict, and what that was computed from.

    ``condition`` completes ``holds when``, or says why nothing could be judged. ``status`` is OK,
    or ERROR where a measurement broke off, with the error in ``message``.
    """

    id: str
    status: str
    statement: str
    documents: tuple[str, ...]
    about: tuple[str, ...]
    reading: str
    verdict: str
    condition: str = ""
    counterexample: str = ""
    numbers: tuple[Number, ...] = ()
    findings: tuple[Finding, ...] = ()
    curves: tuple[Curve, ...] = ()
    seconds: float = 0.0
    message: str = ""

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on the claim itself."""
        return self.verdict != NOT_TESTED


def judge(claim: Claim, seed: int) -> Row:
    """Measure a claim and draw the verdict; whatever a measurement raises is the row's message.

    A wrong equation may as well crash a measurement; that must not hide the other claims.
    """
    row = Row(claim.id, OK, claim.statement, claim.documents, claim.about, claim.reading,
              verdict=NOT_TESTED)  # fmt: skip
    started = time.perf_counter()
    try:
        evidence = claim.evidence(seed)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        return replace(row, status=ERROR, condition="the measurement broke off", message=why)
    judged, condition = verdict(evidence)
    return replace(
        row, verdict=judged, condition=condition, counterexample=evidence.counterexample,
        numbers=tuple(evidence.numbers), findings=tuple(evidence.findings),
        curves=tuple(evidence.curves), seconds=round(time.perf_counter() - started, 2),
    )  # fmt: skip


def plan(*, seed: int, only: Sequence[str]) -> Plan:
    """Plan all claims, or those with these ids; ValueError for an id that there is none of."""
    chosen = [claim_named(id) for id in only] or list(claims())
    chosen = list({one.id: one for one in chosen}.values())

    def piece(one: Claim) -> Piece:
        return Piece(one.id, lambda: to_json(judge(one, seed)))

    return Plan("claims", seed, {"only": list(only)}, [piece(one) for one in chosen])


def rows(values: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a run, typed; RunFileError for one that is not as it should be."""
    read = [from_json(Row, value) for value in values]
    for row in read:
        if row.verdict not in VERDICTS:
            raise RunFileError(f"row {row.id}: verdict: expected one of {', '.join(VERDICTS)}")
    return read
