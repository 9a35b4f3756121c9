"""Run proofs of the reference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from ...reference.equation import equations
from ..checks.check import Check
from ..numbers.ledger import Mismatch
from . import proofs
from .material import labels

EXAMPLES = {"quick": 8, "standard": 30, "thorough": 200}


@dataclass(frozen=True)
class Result:
    """The outcome of one proof."""

    proof: str
    statement: str
    equations: tuple[str, ...]
    holds: bool
    message: str
    seconds: float


def choose(patterns: Sequence[str]) -> tuple[Check, ...]:
    """Return the proofs with these ids (wildcards allowed), or about these equations; or all."""
    if not patterns:
        return proofs()
    chosen = []
    ids = {e.name: e.id for e in equations()}
    for pattern in patterns:
        glob = pattern.replace("[", "[[]")  # ids have brackets; only * and ? are wildcards
        matching = [p for p in proofs() if fnmatch(p.id, glob) or _about(p, pattern, ids)]
        if not matching:
            raise ValueError(f"no proof or equation {pattern!r}; see: gatewise checks, equations")
        chosen += matching
    return tuple(dict.fromkeys(chosen))


def _about(proof: Check, pattern: str, ids: dict[str, str]) -> bool:
    return any(pattern in (name, ids[name]) for name in proof.equations)


def attempt(proof: Check, *, budget: str = "quick", seed: int = 0) -> Result:
    """Run one proof; a Mismatch and any other exception are failures."""
    started = time.perf_counter()
    message, holds = "", False
    try:
        proof.run(EXAMPLES[budget], seed)
        holds = True
    except Mismatch as mismatch:
        message = str(mismatch)
    except Exception as error:  # a wrong equation may also crash, which must not stop the others
        message = f"{labels(proof.equations)}: raised {type(error).__name__}: {error}"
    seconds = round(time.perf_counter() - started, 3)
    return Result(proof.id, proof.statement, proof.equations, holds, message, seconds)
