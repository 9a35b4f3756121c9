"""Does the layer read its parameters by another convention than the one it claims?"""

from __future__ import annotations

from collections.abc import Iterator

from ..calling import NotOffered, SubjectCrashed
from ..check import Mismatch
from ..conventions import Convention, formula
from ..conventions.comparing import differing
from ..conventions.identify import identify
from ..conventions.probing import Unreadable
from ..subjects.protocol import Subject
from .hypotheses import Hypothesis


def other_convention(subject: Subject) -> Iterator[Hypothesis]:
    """Yield the conventions by which the subject turns out to compute, where it states another."""
    stated: Convention | None = getattr(subject, "convention", None)
    if stated is None:
        return
    try:
        found = identify(subject)
    except (SubjectCrashed, NotOffered, Mismatch, Unreadable):
        return
    for convention in found.fits:
        fields = differing(convention, stated)
        if not fields:
            continue
        yield Hypothesis(
            ("convention",),
            (f"It computes by another convention: {formula.summary(convention)}.",),
            (),
            tuple(_field(convention, stated, name) for name in fields),
            ("forward",),
            convention=convention,
        )


def _field(found: Convention, stated: Convention, name: str) -> str:
    words = name.replace("_", " ")
    return f"{words}: it is {_shown(found, name)}, and should be {_shown(stated, name)}"


def _shown(convention: Convention, name: str) -> str:
    value = getattr(convention, name)
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value) or "the same"
