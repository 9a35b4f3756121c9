"""Every form that runs can be told in, by the ending of the file that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..bench.run import BenchRun
from ..verify.runs.deviations import KNOWN
from ..verify.runs.run import Run
from ..verify.runs.status import STATUSES, TONES
from ..verify.runs.verdict import Verdict
from . import summary
from .comparison import Comparison, section, sentence
from .junit import junit
from .markdown import markdown, sections_as_markdown
from .summary import Headline


class FormatError(ValueError):
    """There is no such form, or none for these runs; the message says what there is."""


def _html(runs: Sequence[Run | BenchRun]) -> str:
    from .page import render

    return render(*runs)


def _junit(runs: Sequence[Run | BenchRun]) -> str:
    whole = summary.combined(_held(runs, "JUnit XML"))
    untested = [
        Verdict(p.subject, "", p.check, "", [], p.dtype, 0, "not tested", message=summary.ENDED)
        for p in whole.untested
    ]
    return junit([*whole.verdicts, *untested], whole.diagnoses, created=whole.created)


FORMATS: dict[str, Callable[[Sequence[Run | BenchRun]], str]] = {
    ".html": _html,
    ".md": lambda runs: markdown(*runs),
    ".xml": _junit,
    ".json": lambda runs: badge(_held(runs, "a badge")),
}
"""HTML page, Markdown, JUnit XML, badge (of shields.io)."""


def written(runs: Sequence[Run | BenchRun], output: Path) -> str:
    """Return what is to stand in the file; FormatError where its ending says nothing."""
    if output.suffix not in FORMATS:
        raise FormatError(f"{output}: expected a name that ends in {', '.join(FORMATS)}")
    return FORMATS[output.suffix](runs)


def compared(comparisons: Sequence[Comparison], output: Path) -> str:
    """Return comparisons as HTML or Markdown; FormatError where the file's ending says neither."""
    sections = [section(each, number) for number, each in enumerate(comparisons, start=1)]
    if output.suffix == ".md":
        return sections_as_markdown(sections)
    if output.suffix == ".html":
        from .page import render_sections

        worse = any(each.regressed for each in comparisons)
        headline = "; ".join(map(sentence, comparisons))
        return render_sections(sections, Headline("differs" if worse else "measured", headline))
    raise FormatError(f"{output}: expected a name that ends in .html or .md")


def _held(runs: Sequence[Run | BenchRun], form: str) -> list[Run]:
    check_runs = [run for run in runs if isinstance(run, Run)]
    if not check_runs:
        raise FormatError(f"{form} tells verdicts, and these runs have none")
    return check_runs


def badge(runs: Sequence[Run]) -> str:
    """Return the badge as JSON (https://shields.io/badges/endpoint-badge, schema version 1)."""
    rows = summary.entries(summary.combined(runs))
    tone = summary.headline(rows).tone
    passed = sum(row.status == "passed" for row in rows)
    wrong = sum(row.wrong for row in rows)
    known = sum(row.status == KNOWN for row in rows)
    beside = f", {STATUSES[KNOWN].counted(known)}" if known else ""
    message = {
        "conforms": f"conforms, {passed} passed{beside}",
        "differs": f"{wrong} of {len(rows)} fail",
        "incomplete": f"incomplete, {passed} passed" if passed else "not tested",
    }[tone]
    return json.dumps(
        {"schemaVersion": 1, "label": "gatewise", "message": message, "color": TONES[tone].colour}
    )
