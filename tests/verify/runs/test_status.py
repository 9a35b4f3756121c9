"""A status is one entry: whatever shows verdicts shows a new one by what it says of itself."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from gatewise.reports import summary, terminal
from gatewise.reports.formats import badge, written
from gatewise.reports.markdown import markdown
from gatewise.verify.runs.conclusion import conclusion
from gatewise.verify.runs.status import STATUSES, Outcome, Status
from made_runs import Page, run, verdict, words

CODES = {Outcome.RIGHT: 0, Outcome.WRONG: 1, Outcome.OPEN: 3, Outcome.ACCEPTED: 3}
"""Of a run of this alone: what was accepted shows nothing, unless something was compared."""


@pytest.fixture(params=[o for o in Outcome if o is not Outcome.RIGHT], ids=lambda o: o.name)
def new(request):
    """A status that gatewise does not have, one of each outcome, the worst but one."""
    status = Status("in doubt", request.param, "⁇", "🦉", "bold magenta", "nobody knows",
                    "is in doubt", "are in doubt", "What is in doubt", "Ask an owl.")  # fmt: skip
    (worst, before), *others = known = list(STATUSES.items())
    STATUSES.clear()
    STATUSES.update([(worst, before), (status.name, status), *others])
    yield status
    STATUSES.clear()
    STATUSES.update(known)


def test_a_new_status_is_shown_everywhere(new):
    made = run(verdict("b"), verdict("a", status="in doubt", message="whoo"))
    page = written([made], Path("a.html"))
    html, shown = Page(page), words(page)
    (suite, _) = ET.fromstring(written([made], Path("a.xml")))
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    console.print(terminal.check_table(made.verdicts))

    assert "1 is in doubt" in shown or "1 of 2 checks is in doubt" in shown
    assert "nobody knows" in shown
    assert "⁇ in doubt" in shown
    assert "#show-in-doubt:not(:checked)) .grid .in-doubt" in page
    assert "show-in-doubt" in html.having("id")
    assert ("Ask an owl." in shown) is (new.outcome is not Outcome.WRONG)
    assert ("What is wrong" in shown) is (new.outcome is Outcome.WRONG)
    assert "🦉 in doubt" in markdown(made)
    assert "\x1b[1;35m" in console.file.getvalue()
    assert terminal.counts(made.verdicts) == "1 passed, 1 in doubt"
    assert [child.tag for child in suite.find("testcase")] in ([], [new.outcome.value])
    assert json.loads(badge([made]))["color"] == {
        Outcome.WRONG: "red", Outcome.OPEN: "lightgrey", Outcome.ACCEPTED: "brightgreen",
    }[new.outcome]  # fmt: skip
    assert conclusion(made.verdicts).code == CODES[new.outcome]


def test_the_worst_of_two_verdicts_stands(new):
    for pair in (("in doubt", "passed"), ("passed", "in doubt"), ("blind", "in doubt")):
        made = run(*(verdict("a", status=status) for status in pair))
        assert [row.status for row in summary.entries(made)] == ["in doubt"]


@pytest.mark.parametrize("name", STATUSES)
def test_every_status_is_complete(name):
    status = STATUSES[name]
    others = [other for other in STATUSES.values() if other is not status]

    assert name == status.name
    assert status.mark not in {other.mark for other in others}
    assert status.emoji not in {other.emoji for other in others}
    assert status.counted(1).startswith("1 ")
    assert status.counted(2).startswith("2 ")
    listed = status.outcome in (Outcome.OPEN, Outcome.ACCEPTED)
    assert bool(status.title) == bool(status.intro) == listed
    assert bool(status.meaning) == (name != "passed")
