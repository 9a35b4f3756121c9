"""Source with marked places: ``«name: text»`` stands for its text, unless another is given.

A mark that is alone on its line may be replaced by several lines; one that runs over several lines
ends where ``»`` does. Marks do not lie in each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

MARK = re.compile(r"«(\w+):?[ \n]?(.*?)»", re.DOTALL)

Texts = Mapping[str, str]
"""Places and what stands in them."""


def places(template: str) -> set[str]:
    """Return the names of a template's places."""
    return {mark[1] for mark in MARK.finditer(template)}


def filled(template: str, texts: Texts) -> str:
    """Return the source with these texts in its places; KeyError for a place that is not there."""
    if unknown := sorted(texts.keys() - places(template)):
        raise KeyError(f"no such place: {', '.join(unknown)}")

    def text(mark: re.Match[str]) -> str:
        start = template.rfind("\n", 0, mark.start()) + 1
        before = template[start : mark.start()]
        indent = re.match(r" *", before)
        lines = texts.get(mark[1], mark[2]).split("\n")
        margin = indent[0] if indent and mark[1] in texts else ""
        return ("\n" + margin).join(lines)

    return MARK.sub(text, template)
