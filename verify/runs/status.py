"""The statuses of verdicts: mark, rank, sentences and exit code of each.

Tables, pages, JUnit XML and exit codes follow from the entries of ``STATUSES``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

CONFORMS, DIFFERS, COULD_NOT_RUN = 0, 1, 3
"""Exit codes; 2 is a usage error."""


class Outcome(Enum):
    """The meaning of a status for the subject; the values are the words of JUnit XML."""

    RIGHT = ""
    WRONG = "failure"
    OPEN = "error"
    """No error was found, but a run with these statuses is not green either."""
    ACCEPTED = "skipped"


@dataclass(frozen=True)
class Status:
    """One status of a verdict.

    ``mark`` stands on pages, ``emoji`` in Markdown, ``style`` is rich's on a terminal;
    ``meaning`` explains it in a legend; ``singular`` and ``plural`` follow a number of checks;
    ``title`` and ``intro`` stand above a page's list of them. ``compared``: the subject ran, and
    its results were compared.
    """

    name: str
    outcome: Outcome
    mark: str
    emoji: str
    style: str
    meaning: str
    singular: str
    plural: str
    title: str = ""
    intro: str = ""
    compared: bool = False

    @property
    def slug(self) -> str:
        """Its name in addresses and classes."""
        return self.name.replace(" ", "-")

    @property
    def explained(self) -> bool:
        """Whether a terminal shows the reason; options that a subject does not offer need none."""
        if self.outcome is Outcome.ACCEPTED:
            return self.compared
        return self.outcome is not Outcome.RIGHT

    def counted(self, number: int) -> str:
        """Return a number of verdicts with this status, in words."""
        return f"{number} {self.singular if number == 1 else self.plural}"


_ALL = (
    Status(
        "failed", Outcome.WRONG, "✕", "❌", "bold red", "error above its bound",
        "failed", "failed", compared=True,
    ),
    Status(
        "crashed", Outcome.WRONG, "‼", "💥", "bold red",
        "the subject raised, or its process ended", "crashed", "crashed",
    ),
    Status(
        "timeout", Outcome.WRONG, "◔", "⌛", "bold red", "no answer in time",
        "timed out", "timed out",
    ),
    Status(
        "not tested", Outcome.OPEN, "○", "⚪", "bold yellow", "planned, no result",
        "was not tested", "were not tested", "What was not tested",
        "These were planned, and this run has no results of them.",
    ),
    Status(
        "fallback", Outcome.OPEN, "↩", "↩️", "bold yellow", "something else ran than was asked for",
        "ran something else", "ran something else", "What ran something else",
        "The profiler did not see the kernels that the subject is named for: PyTorch silently used "
        "others, and the results are theirs.",
    ),
    Status(
        "blind", Outcome.OPEN, "◌", "🕶️", "yellow", "no bound was sharp enough to fail",
        "was blind", "were blind", "What could not have failed",
        "These ran, but rounding alone would have allowed almost any result: no case had a sharp "
        "bound.",
    ),
    Status(
        "known deviation", Outcome.ACCEPTED, "≈", "☑️", "yellow", "failed as declared",
        "known deviation", "known deviations", "Known deviations",
        "These failed, as was declared and accepted beforehand.", compared=True,
    ),
    Status(
        "not supported", Outcome.ACCEPTED, "–", "➖", "dim", "the subject does not offer it",
        "was not supported", "were not supported", "What is not supported",
        "The subjects do not offer what these checks need. They are neither right nor wrong there.",
    ),
    Status("passed", Outcome.RIGHT, "✓", "✅", "green", "", "passed", "passed", compared=True),
)  # fmt: skip

STATUSES = {status.name: status for status in _ALL}
"""All statuses by name, the worst first."""


def rank(status: str) -> int:
    """Return a status's place in order, 0 for the worst."""
    return list(STATUSES).index(status)


def shown(names: Iterable[str]) -> list[Status]:
    """Return statuses in the order of tables: passed, then the worst first."""
    present = set(names)
    statuses = [status for status in STATUSES.values() if status.name in present]
    return sorted(statuses, key=lambda status: status.outcome is not Outcome.RIGHT)


@dataclass(frozen=True)
class Tone:
    """The look of a whole run's result: its mark on pages and in Markdown, its badge's colour."""

    mark: str
    emoji: str
    colour: str


TONES = {
    "conforms": Tone("✓", "✅", "brightgreen"),
    "differs": Tone("✕", "❌", "red"),
    "incomplete": Tone("○", "⚪", "lightgrey"),
    "measured": Tone("◷", "", ""),
}
"""The tones of a headline; a measurement is neither right nor wrong, and has no badge."""
