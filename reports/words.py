"""The text of numbers, and of foreign strings, on a page."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping

from ..verify.runs.verdict import Verdict
from .section import grouped

LONGEST = 4000
"""The most characters of one text of a run."""

COLOURS = 8
"""The steps of the colour scale, half a decade of error/bound each, from 1e-4 to 1."""

UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, controls of the writing direction, halves of surrogate pairs."""

BEYOND = 1e30
"""The largest ratio that is shown: beyond, the bound was almost 0."""

LARGEST = sys.float_info.max
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    """Replace characters that browsers cannot show or show misleadingly; cut long text."""
    return cut(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text))


def cut(text: str) -> str:
    """Return a text, or its beginning and the number of characters omitted."""
    if len(text) > LONGEST:
        return f"{text[:LONGEST]} … (and {len(text) - LONGEST} characters more)"
    return text


def shown(ratio: float | None) -> str:
    """Return a ratio in two digits, with powers of ten as superscripts."""
    if ratio is None:
        return ""
    if abs(ratio) >= LARGEST:
        return "∞"
    if math.isnan(ratio):
        return "NaN"
    if abs(ratio) >= BEYOND:
        return "> 10³⁰"
    if ratio == 0 or 1e-3 <= abs(ratio) < 1000:
        return f"{ratio:.0f}" if ratio == 0 or abs(ratio) >= 9.95 else f"{ratio:#.2g}"
    return _in_powers(f"{ratio:.1e}")


def cell(value: float | None) -> str:
    """Return a number as a table's cell: integers in full, others in three digits, "" for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return _in_powers(f"{value:.2e}")


def _in_powers(text: str) -> str:
    """Return 1.5e-07 as 1.5·10⁻⁷."""
    digits, _, exponent = text.partition("e")
    return f"{digits}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def heat(ratio: float | None) -> int:
    """Return the step of a ratio on the colour scale, 0 (1e-4 and less) to 8 (1 and more)."""
    if ratio is None or not ratio > 1e-4:
        return 0
    if ratio >= 1:
        return COLOURS
    return round(2 * (math.log10(ratio) + 4))


def case_items(text: str) -> tuple[tuple[str, str], ...]:
    """Return a case's names and values; none if the text is not a case."""
    try:
        return tuple(
            (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for name, value in json.loads(text).items()
        )
    except (ValueError, AttributeError, RecursionError):
        return ()


def machine(facts: Mapping[str, str]) -> str:
    """Return the facts of a machine on one line."""
    return ", ".join(f"{fact} cores" if name == "cores" else fact for name, fact in facts.items())


def isolation(verdicts: Iterable[Verdict]) -> str:
    """Return the isolation of the subjects' processes, "" if there was none."""
    return "; ".join(dict.fromkeys(v.isolation for v in verdicts if v.isolation))


def families(ids: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Group ids like ``gradient[lstm]`` by the part before the bracket."""
    members = grouped(id.partition("[")[::2] for id in ids)
    return {family: tuple(m.removesuffix("]") for m in of if m) for family, of in members.items()}
