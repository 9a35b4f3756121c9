"""A run as JUnit XML, which CI systems show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..verify.verdict import OPEN, WRONG, Verdict

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot hold, escaped or not."""


def junit(verdicts: Sequence[Verdict], *, name: str = "gatewise") -> str:
    """Return one test suite a subject, one test case a verdict.

    Wrong and blind or untested verdicts are failures and errors; what a subject does not offer,
    and deviations that were declared, are skipped.
    """
    root = ET.Element("testsuites", name=name)
    for subject in dict.fromkeys(v.subject for v in verdicts):
        own = [v for v in verdicts if v.subject == subject]
        suite = ET.SubElement(root, "testsuite", _counts(subject, own))
        for verdict in own:
            _add(suite, verdict)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _counts(subject: str, own: Sequence[Verdict]) -> dict[str, str]:
    failures = sum(v.status in WRONG for v in own)
    errors = sum(v.status in OPEN for v in own)
    skipped = len(own) - failures - errors - sum(v.status == "passed" for v in own)
    return {
        "name": _text(subject),
        "tests": str(len(own)),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(skipped),
        "time": f"{sum(v.seconds for v in own):.3f}",
    }


def _add(suite: ET.Element, v: Verdict) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_text(v.subject),
        name=_text(f"{v.check}[{v.dtype}]"),
        time=f"{v.seconds:.3f}",
    )
    if v.status == "passed":
        return
    kind = "failure" if v.status in WRONG else "error" if v.status in OPEN else "skipped"
    entry = ET.SubElement(case, kind, message=_text(f"{v.status}: {v.message}"))
    if kind != "skipped":
        entry.text = _text("\n".join(filter(None, (v.statement, v.place, v.reproduce))))


def _text(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
