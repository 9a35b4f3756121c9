"""A run as JUnit XML, which CI systems show.

It is valid by both schemas in use: that of Jenkins' xUnit plugin (``junit-10.xsd``, which pytest
follows, too) and the stricter one of Apache Ant's format (Windy Road's ``JUnit.xsd``), whose
suites also need a host name, output and errors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from ..verify.runs.diagnosis import Diagnosis
from ..verify.runs.findings import findings
from ..verify.runs.status import STATUSES, Outcome
from ..verify.runs.verdict import Verdict
from . import words

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, escaped or not."""

LONGEST = 1e9
"""Seconds: 30 years; the schemas have no infinity and no negative times."""


def junit(
    verdicts: Sequence[Verdict], diagnoses: Sequence[Diagnosis] = (), *, created: str = ""
) -> str:
    """Return one test suite per subject, one test case per verdict.

    The message of the first failure begins with the cause, which the suite's output has in
    full. Wrong verdicts are failures, blind and untested ones errors; unsupported checks and
    declared deviations are skipped. ``created`` is the time of the run; an invalid time is
    left out.
    """
    root = ET.Element("testsuites")
    for number, finding in enumerate(findings(verdicts, diagnoses)):
        checks = finding.verdicts
        name = _text(finding.subject) if finding.subject.strip() else "(no name)"
        facts = {"name": name, "package": "gatewise", "id": str(number), "hostname": "localhost"}
        suite = ET.SubElement(root, "testsuite", {**facts, **_time(created), **_counts(checks)})
        properties = ET.SubElement(suite, "properties")
        for field in ("cell", "version"):
            if value := next(filter(None, (getattr(v, field) for v in checks)), ""):
                ET.SubElement(properties, "property", name=field, value=_text(value))
        for verdict in checks:
            cause = finding.cause if finding.diagnosis and verdict is finding.root else ""
            _add(suite, verdict, cause)
        output = ET.SubElement(suite, "system-out")
        if finding.wrong:
            output.text = _text(str(finding))
        ET.SubElement(suite, "system-err")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _time(created: str) -> dict[str, str]:
    """Return the time in UTC, without its offset, as Ant's schema requires."""
    try:
        time = datetime.fromisoformat(created)
        utc = time.astimezone(UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        return {}
    return {"timestamp": utc.strftime("%Y-%m-%dT%H:%M:%S")}


def _counts(verdicts: Sequence[Verdict]) -> dict[str, str]:
    count = Counter(STATUSES[v.status].outcome for v in verdicts)
    return {
        "tests": str(len(verdicts)),
        "failures": str(count[Outcome.WRONG]),
        "errors": str(count[Outcome.OPEN]),
        "skipped": str(count[Outcome.ACCEPTED]),
        "time": _seconds(sum(v.seconds for v in verdicts)),
    }


def _add(suite: ET.Element, v: Verdict, cause: str) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_text(v.subject),
        name=_text(f"{v.check}[{v.dtype}]"),
        time=_seconds(v.seconds),
    )
    outcome = STATUSES[v.status].outcome
    if outcome is Outcome.RIGHT:
        return
    message = f"{v.status}: {v.message}"
    first = f"{cause} ({message})" if cause else message
    entry = ET.SubElement(case, outcome.value, message=_text(first))
    if outcome is not Outcome.ACCEPTED:  # in Ant's format that has a message alone
        entry.set("type", v.status)
        entry.text = _text("\n".join(filter(None, (v.statement, v.place, v.reproduce))))


def _seconds(value: float) -> str:
    return f"{abs(min(max(value, 0.0), LONGEST)):.3f}"  # abs: a zero, too, may have a sign


def _text(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", words.cut(text))
