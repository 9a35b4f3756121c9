"""A run in one word, in the form that shields.io's endpoint badges read."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..verify.run_files import Run
from ..verify.verdict import WRONG
from . import summary, together

COLOURS = {"conforms": "brightgreen", "differs": "red", "incomplete": "lightgrey"}


def badge(runs: Sequence[Run]) -> str:
    """Return the badge as JSON (https://shields.io/badges/endpoint-badge, schema version 1)."""
    rows = summary.entries(together.together(runs))
    tone = summary.headline(rows).tone
    passed = sum(row.status == "passed" for row in rows)
    wrong = sum(row.status in WRONG for row in rows)
    said = {
        "conforms": f"conforms, {passed} passed",
        "differs": f"{wrong} of {len(rows)} fail",
        "incomplete": f"incomplete, {passed} passed" if passed else "not tested",
    }[tone]
    return json.dumps(
        {"schemaVersion": 1, "label": "gatewise", "message": said, "color": COLOURS[tone]}
    )
