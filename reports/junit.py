"""A run as JUnit XML, which CI systems show.

It is valid by both schemas in use: that of Jenkins' xUnit plugin (``junit-10.xsd``, which pytest
is held to, too) and the stricter one of Apache Ant's format (Windy Road's ``JUnit.xsd``), whose
suites need what no verdict has: a host name, output and errors.
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
"""Seconds: 30 years; the schemas know no infinity and no time below zero."""


def junit(
    verdicts: Sequence[Verdict], diagnoses: Sequence[Diagnosis] = (), *, created: str = ""
) -> str:
    """Return one test suite a subject, one test case a verdict.

    The message of the first failure begins with what is wrong, which the suite's output says in
    full. Wrong and blind or untested verdicts are failures and errors; what a subject does not
    offer, and deviations that were declared, are skipped. ``created`` is when the run was made; a
    time that is none is left out.
    """
    root = ET.Element("testsuites")
    for number, finding in enumerate(findings(verdicts, diagnoses)):
        own = finding.verdicts
        name = _text(finding.subject) if finding.subject.strip() else "(no name)"
        named = {"name": name, "package": "gatewise", "id": str(number), "hostname": "localhost"}
        suite = ET.SubElement(root, "testsuite", {**named, **_time(created), **_counts(own)})
        properties = ET.SubElement(suite, "properties")
        for field in ("cell", "version"):
            if value := next(filter(None, (getattr(v, field) for v in own)), ""):
                ET.SubElement(properties, "property", name=field, value=_text(value))
        for verdict in own:
            cause = finding.cause if finding.diagnosis and verdict is finding.root else ""
            _add(suite, verdict, cause)
        output = ET.SubElement(suite, "system-out")
        if finding.wrong:
            output.text = _text(str(finding))
        ET.SubElement(suite, "system-err")
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _time(created: str) -> dict[str, str]:
    """Return when, in UTC and without saying so, as Ant's schema wants it."""
    try:
        when = datetime.fromisoformat(created)
        utc = when.astimezone(UTC) if when.tzinfo else when
    except (ValueError, OverflowError):
        return {}
    return {"timestamp": utc.strftime("%Y-%m-%dT%H:%M:%S")}


def _counts(own: Sequence[Verdict]) -> dict[str, str]:
    count = Counter(STATUSES[v.status].outcome for v in own)
    return {
        "tests": str(len(own)),
        "failures": str(count[Outcome.WRONG]),
        "errors": str(count[Outcome.OPEN]),
        "skipped": str(count[Outcome.ACCEPTED]),
        "time": _seconds(sum(v.seconds for v in own)),
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
