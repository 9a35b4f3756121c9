"""What a run says of a submission to a benchmark's problem, for a program that writes kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .conclusion import conclusion
from .findings import Finding
from .verdict import Verdict

SCHEMA = "gatewise.submission/1"


def submission_json(finding: Finding, problem: str, time: object = None) -> dict[str, Any]:
    """Return one object of JSON.

    ``correct``; ``reason``, a sentence, "" if it is; ``worst``, the largest error in units of its
    bound, and where; ``bound``, the bound of the number that ``reason`` is about, None where it is
    about no number; ``diagnosis``: what is wrong, what to do, and how sure that is. ``time`` is
    there where it was measured.
    """
    root = finding.root
    explained = finding.diagnosis if finding.wrong else None
    explanations = explained.explanations if explained else []
    said: dict[str, Any] = {
        "schema": SCHEMA,
        "subject": finding.subject,
        "problem": problem,
        "correct": finding.conforms,
        "reason": _reason(finding),
        "check": root.check if root else "",
        "bound": _bound(root),
        "worst": _worst(finding.verdicts),
        "diagnosis": {
            "statements": [" ".join(each.statements) for each in explanations],
            "fixes": [fix for each in explanations for fix in each.fixes],
            "message": explained.message if explained and not explanations else "",
        },
        "checks": {verdict.check: verdict.status for verdict in finding.verdicts},
    }  # fmt: skip
    return said if time is None else said | {"time": time}


def _reason(finding: Finding) -> str:
    if finding.conforms:
        return ""
    root = finding.root or next((v for v in finding.verdicts if v.open), None)
    if root is None:
        return conclusion(finding.verdicts, finding.chosen).reason
    return f"{root.check}: {root.message}"


def _bound(root: Verdict | None) -> float | None:
    """Return the bound of the number that a failure is about."""
    bound = re.search(r" ± ([-+.\de]+)", root.message) if root else None
    return float(bound[1]) if bound else None


def _worst(verdicts: Sequence[Verdict]) -> dict[str, Any] | None:
    judged = [v for v in verdicts if v.worst_ratio is not None]
    if not judged:
        return None
    worst = max(judged, key=lambda v: v.worst_ratio or 0.0)
    return {"check": worst.check, "quantity": worst.worst, "error_over_bound": worst.worst_ratio}
