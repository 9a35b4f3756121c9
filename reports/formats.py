"""Every form that runs can be told in, by the ending of the file that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..bench.run import BenchRun
from ..verify.runs.run import Run
from ..verify.runs.status import TONES
from ..verify.runs.verdict import Verdict
from . import combined as together
from . import summary
from .comparison import Comparison
from .sections.comparison import section, sentence
from .summary import Headline


class FormatError(ValueError):
    """There is no such form, or none for these runs; the message says what there is."""


def _html(runs: Sequence[Run | BenchRun]) -> str:
    from .page import render

    return render(*runs)


def _markdown(runs: Sequence[Run | BenchRun]) -> str:
    from .markdown import markdown

    return markdown(*runs)


def _junit(runs: Sequence[Run | BenchRun]) -> str:
    from .combined import together
    from .junit import junit
    from .summary import ENDED

    whole = together(_held(runs, "JUnit XML"))
    untested = [
        Verdict(p.subject, "", p.check, "", [], p.dtype, 0, status="not tested", message=ENDED)
        for p in whole.untested
    ]
    return junit([*whole.verdicts, *untested], created=whole.created)


def _badge(runs: Sequence[Run | BenchRun]) -> str:
    return badge(_held(runs, "a badge"))


FORMATS: dict[str, Callable[[Sequence[Run | BenchRun]], str]] = {
    ".html": _html,
    ".md": _markdown,
    ".xml": _junit,
    ".json": _badge,
}
"""HTML page, Markdown, JUnit XML, badge (of shields.io)."""


def written(runs: Sequence[Run | BenchRun], output: Path) -> str:
    """Return what is to stand in the file; FormatError where its ending says nothing."""
    if output.suffix not in FORMATS:
        raise FormatError(f"{output}: expected a name that ends in {', '.join(FORMATS)}")
    return FORMATS[output.suffix](runs)


def compared(found: Sequence[Comparison], output: Path) -> str:
    """Return comparisons as HTML or Markdown; FormatError where the file's ending says neither."""
    told = [section(each, number) for number, each in enumerate(found, start=1)]
    if output.suffix == ".md":
        from .markdown import sections_as_markdown

        return sections_as_markdown(told)
    if output.suffix == ".html":
        from .page import render_sections

        worse = any(each.regressed for each in found)
        headline = "; ".join(map(sentence, found))
        return render_sections(told, Headline("differs" if worse else "measured", headline))
    raise FormatError(f"{output}: expected a name that ends in .html or .md")


def _held(runs: Sequence[Run | BenchRun], form: str) -> list[Run]:
    held = [run for run in runs if isinstance(run, Run)]
    if not held:
        raise FormatError(f"{form} tells verdicts, and these runs have none")
    return held


# A run in one word, in the form that shields.io's endpoint badges read.


def badge(runs: Sequence[Run]) -> str:
    """Return the badge as JSON (https://shields.io/badges/endpoint-badge, schema version 1)."""
    rows = summary.entries(together.together(runs))
    tone = summary.headline(rows).tone
    passed = sum(row.status == "passed" for row in rows)
    wrong = sum(row.wrong for row in rows)
    said = {
        "conforms": f"conforms, {passed} passed",
        "differs": f"{wrong} of {len(rows)} fail",
        "incomplete": f"incomplete, {passed} passed" if passed else "not tested",
    }[tone]
    return json.dumps(
        {"schemaVersion": 1, "label": "gatewise", "message": said, "color": TONES[tone].colour}
    )
