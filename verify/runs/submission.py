"""The finding on a submission to a benchmark's problem, as JSON for the program that wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .conclusion import conclusion
from .findings import Finding
from .verdict import Verdict

SCHEMA = "gatewise.submission/1"


def submission_json(finding: Finding, problem: str, time: object = None) -> dict[str, Any]:
    """Return the finding as a JSON object.

    ``correct``; ``reason``, a sentence, "" if it is correct; ``worst``, the largest error in units
    of its bound, with its check and quantity; ``bound``, the bound of the number that ``reason`` is
    about, None if it is about none; ``diagnosis``, the mistakes and their fixes. ``time`` is left
    out if it was not measured.
    """
    root = finding.root
    diagnosis = finding.diagnosis if finding.wrong else None
    explanations = diagnosis.explanations if diagnosis else []
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "subject": finding.subject,
        "problem": problem,
        "correct": finding.conforms,
        "reason": _reason(finding),
        "check": root.check if root else "",
        "bound": _bound(root),
        "worst": _worst(finding.verdicts),
        "diagnosis": {
            "statements": [" ".join(explanation.statements) for explanation in explanations],
            "fixes": [fix for explanation in explanations for fix in explanation.fixes],
            "message": diagnosis.message if diagnosis and not explanations else "",
        },
        "checks": {verdict.check: verdict.status for verdict in finding.verdicts},
    }  # fmt: skip
    return fields if time is None else fields | {"time": time}


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
