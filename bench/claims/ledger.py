"""All claims as a plan, and a row of their run, typed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..plan import OK, Piece, Plan
from ..run import from_json
from .claim import Claim, claim_named, claims
from .evidence import NOT_TESTED, Curve, Finding, Number, verdict

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
        return Piece(one.id, lambda: _as_json(judge(one, seed)))

    return Plan("claims", seed, {"only": list(only)}, [piece(one) for one in chosen])


def _as_json(row: Row) -> Mapping[str, Any]:
    """Return the row as JSON values, without its id, which the run adds."""
    values: dict[str, Any] = _lists(asdict(row))
    del values["id"]
    return values


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lists(each) for name, each in value.items()}
    return [_lists(each) for each in value] if isinstance(value, tuple | list) else value


def rows(values: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a run, typed; RunFileError for one that is not as it should be."""
    return [from_json(Row, value) for value in values]
