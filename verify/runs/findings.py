"""The finding on a subject: its verdicts and diagnosis as text, the answer first."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

from .conclusion import conclusion
from .diagnosis import Diagnosis
from .status import STATUSES, Outcome, rank
from .verdict import PARAMETERS, Verdict

WIDTH = 80
"""Columns of a terminal of unknown width."""

LABELS = 16
"""Columns of the labels."""

LISTED = 3
"""Explanations that are listed beside the first, all of which compute the same."""

MEANINGFUL = 100.0
"""Largest deviation, in units of rounding, of another mistake that is worth a remark."""

SAME_AGAIN = ("purity", "repeat")
"""Checks that a layer computes the same in every call; checks of two calls rely on them."""

UNJUDGED = "no equations: its numbers are not judged"

NOT_SHOWN = (
    "The numbers themselves: without equations, the right ones are unknown. The layer is checked "
    "for properties of every recurrence, and its gradients against its own outputs."
)


NO_SOURCE = (
    "Whether its weights are those of the layer that was exported: the check source tells, with "
    "--against SOURCE."
)


def counted(number: int, noun: str) -> str:
    """Return a number of things, in words: ``1 case``, ``2 cases``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class Line(NamedTuple):
    """A label, its text, and whether the text may be wrapped: a command may not."""

    label: str
    text: str
    breaks: bool = True


@dataclass(frozen=True)
class Finding:
    """All verdicts on one subject, in order, and its diagnosis.

    ``chosen`` are the checks that the user named, if any.
    """

    subject: str
    verdicts: tuple[Verdict, ...]
    diagnosis: Diagnosis | None = None
    chosen: tuple[str, ...] = ()

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The verdicts by which it does not conform."""
        return tuple(v for v in self.verdicts if v.wrong)

    @property
    def root(self) -> Verdict | None:
        """The first check that failed, in the dtype of the diagnosis; the plainest come first.

        A layer without equations is compared with itself: there, ``SAME_AGAIN`` come first.
        """
        dtype = self.diagnosis and self.diagnosis.dtype
        failures = [v for v in self.wrong if v.dtype == dtype] or self.wrong
        if failures and self.without_equations:
            failures = sorted(failures, key=lambda v: v.check not in SAME_AGAIN)
        return failures[0] if failures else None

    @property
    def roots(self) -> tuple[Verdict, ...]:
        """One failure for each cause: ``root``, unless the diagnosis names several."""
        if self.root is None:
            return ()
        failures = [v for v in self.wrong if v.dtype == self.root.dtype]
        named = self.diagnosis.roots if self.diagnosis else ()
        verdicts = [v for check in named for v in failures if v.check == check]
        return tuple(verdicts) or (self.root,)

    @property
    def conforms(self) -> bool:
        """Whether no verdict is wrong, and all that were requested are there."""
        return conclusion(self.verdicts, self.chosen).conforms

    @property
    def verdict(self) -> str:
        """``conforms``, or the worst status."""
        return "conforms" if self.conforms else min((v.status for v in self.verdicts), key=rank)

    @property
    def name(self) -> str:
        """The subject's name; of a long path the last part."""
        if len(self.subject) <= WIDTH // 2 or ":" not in self.subject:
            return self.subject
        path, _, member = self.subject.rpartition(":")
        return f"{PurePath(path).name}:{member}"

    @property
    def cause(self) -> str:
        """The reason for failures or open verdicts, in a sentence or two; "" if there are none."""
        if self.diagnosis is not None and self.wrong:
            return self.diagnosis.headline
        root = self.root or next((v for v in self.verdicts if v.open), None)
        return f"{root.check}: {root.message}" if root else ""

    @property
    def headline(self) -> str:
        """A line that says whether the subject conforms."""
        name, total = self.name, counted(len(self.verdicts), "check")
        if self.wrong:
            return f"{name} does not conform: {len(self.wrong)} of {total} failed"
        if not self.conforms:
            return f"{name}: not everything was tested"
        passed = sum(v.status == "passed" for v in self.verdicts)
        if self.without_equations:
            able = sum(v.compared for v in self.verdicts)
            return f"{name}: {passed} of {able} properties hold; {UNJUDGED}"
        return f"{name}: {passed} of {total} passed"

    @property
    def without_equations(self) -> bool:
        """Whether the subject has no equations."""
        return self.verdicts[0].without_equations

    @property
    def without_source(self) -> bool:
        """Whether it is a correct node of a model file that was compared with no source layer."""
        node = ".onnx#" in self.subject and not self.wrong
        return node and not self.chosen and all(v.check != "source" for v in self.verdicts)

    def lines(self) -> Iterator[Line]:
        """Yield the diagnosis (see ``diagnosis_lines``), then the failures that show it."""
        if self.diagnosis is not None and self.wrong:
            yield from diagnosis_lines(self.diagnosis)
        if meaning := self.verdicts[0].version.partition(PARAMETERS)[2]:
            yield Line("parameters", meaning)
        if self.without_equations:
            yield Line("not judged", NOT_SHOWN)
        if self.without_source:
            yield Line("not judged", NO_SOURCE)
        if dependent := next((v.dependent for v in self.verdicts if v.dependent), ""):
            yield Line("dependent", f"{dependent}: it could have made this verdict itself")
        root = self.root
        if root is not None:
            yield from _root_lines(root, self.wrong)
            yield from _others(root, self.wrong)
        for status in STATUSES.values():
            if status.outcome in (Outcome.OPEN, Outcome.ACCEPTED):
                yield from _reasons(status.name, self.verdicts)

    def __str__(self) -> str:
        return "\n".join([self.headline, *laid_out(self.lines())])


def findings(verdicts: Sequence[Verdict], diagnoses: Sequence[Diagnosis] = ()) -> list[Finding]:
    """Return the finding on each subject, in the order of the verdicts."""
    explained = {diagnosis.subject: diagnosis for diagnosis in diagnoses}
    by_subject: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_subject.setdefault(verdict.subject, []).append(verdict)
    return [Finding(name, tuple(group), explained.get(name)) for name, group in by_subject.items()]


def laid_out(lines: Iterator[Line], width: int = WIDTH) -> Iterator[str]:
    """Yield lines of text: the labels in one column, the texts beside them."""
    for label, text, breaks in lines:
        first, rest = f"  {label:{LABELS}}", " " * (LABELS + 2)
        if breaks:
            yield textwrap.fill(
                " ".join(text.split()), width, initial_indent=first, subsequent_indent=rest,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        else:
            yield f"{first}{text}"


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[Line]:
    """Yield the mistake, its fix, its place, and how certain that is."""
    if not diagnosis.explanations:
        yield Line("what is wrong", diagnosis.message)
    different = list({e.statements: e for e in reversed(diagnosis.explanations)}.values())[::-1]
    for number, explanation in enumerate(different[: 1 + LISTED]):
        first = "what it is" if explanation.variant else "what is wrong"
        label = first if number == 0 else "or the same"
        yield Line(label, " ".join(explanation.statements))
        if number == 0 and explanation.fixes:
            yield Line("what to do", "; ".join(explanation.fixes))
    more = len(different) - 1 - LISTED
    if more > 0:
        yield Line("", f"and {more} more that compute the same")
    for note in diagnosis.notes:
        yield Line("note", note)
    if str(diagnosis.location):
        yield Line("where", str(diagnosis.location))
    if diagnosis.reach:
        yield Line("reach", diagnosis.reach)
    if sureness := certainty(diagnosis):
        yield Line("how sure", sureness)


def certainty(diagnosis: Diagnosis) -> str:
    """Return how well an explanation fits, and the deviation of the nearest other; "" for none."""
    if not diagnosis.tried:
        return ""
    experiments = counted(diagnosis.experiments, "experiment")
    count = counted(diagnosis.tried, "mistake")
    if diagnosis.explanations:
        kind = "of this kind" if diagnosis.explanations[0].variant else "with this mistake"
        total = experiments if diagnosis.experiments == 1 else f"all {experiments}"
        text = (
            f"a layer {kind} returns the same numbers in {total}, within "
            f"{diagnosis.residual:.1g} of what rounding explains; tried {count}"
        )
    else:
        text = f"{count} tried in {experiments}"
    near = diagnosis.runner_up is not None and diagnosis.runner_up <= MEANINGFUL
    if near and diagnosis.runner_up_name:
        name = diagnosis.runner_up_name
        text += f"; the nearest other is {diagnosis.runner_up:.1f} times rounding off: {name}"
    return text


def _root_lines(root: Verdict, wrong: Sequence[Verdict]) -> Iterator[Line]:
    dtypes = dict.fromkeys(v.dtype for v in wrong if v.check == root.check)
    label = "first failure" if root.status == "failed" else root.status
    yield Line(label, f"{root.check} ({', '.join(dtypes)}): {root.message}")
    if root.statement:
        yield Line("must hold", root.statement)
    if root.place:
        yield Line("at", root.place)
    if root.equations:
        yield Line("equations", ", ".join(root.equations))
    if root.reproduce:
        yield Line("again", root.reproduce, breaks=False)


def _others(root: Verdict, wrong: Sequence[Verdict]) -> Iterator[Line]:
    """Yield the checks that failed beside the root, in a line for each status."""
    by_status: dict[str, dict[str, list[str]]] = {}
    for v in wrong:
        if v.check != root.check:
            by_status.setdefault(v.status, {}).setdefault(v.check, []).append(v.dtype)
    everywhere = len({v.dtype for v in wrong})
    for status, checks in by_status.items():
        names = [
            name if len(dtypes) == everywhere else f"{name} ({', '.join(dtypes)})"
            for name, dtypes in checks.items()
        ]
        reasons = {v.cause or v.message for v in wrong if v.status == status and v.check in checks}
        why = f": {reasons.pop()}" if len(reasons) == 1 else ""
        yield Line(f"also {status}", ", ".join(names) + why)


OFFER = "the subject does not offer "


def _reasons(status: str, verdicts: Sequence[Verdict]) -> Iterator[Line]:
    """Yield the checks with a status, by reason; options not offered share one paragraph."""
    reasons: dict[str, dict[str, None]] = {}
    for v in verdicts:
        if v.status == status:
            reasons.setdefault(v.message, {})[v.check] = None
    not_offered = []
    for message, checks in reasons.items():
        rest = len({v.check for v in verdicts}) - 1  # the smoke check says why
        names = "all checks" if rest > 1 and len(checks) >= rest else ", ".join(checks)
        if message.startswith(OFFER):
            not_offered.append(f"{message.removeprefix(OFFER)} ({names})")
        else:
            yield Line(status, f"{names}: {message}" if message else names)
    if not_offered:
        yield Line(status, "; ".join(not_offered))
