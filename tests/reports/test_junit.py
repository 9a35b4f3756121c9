"""JUnit XML: well formed whatever a run contains, and counted as CI systems count."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import invoke, refused
from gatewise.reports.junit import junit
from gatewise.verify.runs.status import STATUSES
from gatewise.verify.runs.verdict import Verdict

HOSTILE = "]]></failure><!--&\"'<x y='\x00\x0b\ud800\ufffe\U0001f600é\n\t"
KINDS = {
    "passed": None, "known deviation": "skipped", "not supported": "skipped",
    "failed": "failure", "crashed": "failure", "timeout": "failure",
    "not tested": "error", "fallback": "error", "blind": "error",
}  # fmt: skip


def verdict(status="passed", text="", **changes):
    given = {"subject": text or "my:LSTM", "check": text or "forward", "statement": text}
    given |= {"place": text, "reproduce": text, "message": text, "dtype": text or "float64"}
    return Verdict(**given | {"cell": "lstm", "equations": [], "seed": 0, "seconds": 1.5}
                   | {"status": status} | changes)  # fmt: skip


def parsed(verdicts):
    return ET.fromstring(junit(verdicts, created="2026-01-02T03:04:05Z").encode("utf-8"))


@pytest.mark.parametrize("status", STATUSES)
def test_hostile_text_stays_text(status):
    hostile, harmless = parsed([verdict(status, HOSTILE)]), parsed([verdict(status, "harmless")])

    assert [(e.tag, sorted(e.keys())) for e in hostile.iter()] == [
        (e.tag, sorted(e.keys())) for e in harmless.iter()
    ]
    readable = "]]></failure><!--&\"'<x y='"
    assert hostile.find("testsuite").get("name").startswith(readable)
    assert hostile.find("testsuite/testcase").get("name").startswith(readable)


@given(st.text(st.characters(), max_size=50))
def test_any_text_is_well_formed(text):
    """Also what XML cannot hold at all."""
    parsed([verdict(status, text) for status in STATUSES])


@pytest.mark.parametrize("status", STATUSES)
def test_what_a_status_is(status):
    root = parsed([verdict(status, message="y is off", statement="It holds.", place="step 3")])
    (case,) = root.iter("testcase")
    suite = root.find("testsuite")
    counted = {"failure": "failures", "error": "errors", "skipped": "skipped"}

    for kind, count in counted.items():
        assert suite.get(count) == str(int(KINDS[status] == kind)), f"{count} of {status}"
    expected = [KINDS[status]] if KINDS[status] else []
    assert [child.tag for child in case] == expected, f"what {status} is"
    for child in case:
        assert child.get("message") == f"{status}: y is off"
        if child.tag != "skipped":
            assert child.get("type") == status
            assert child.text == "It holds.\nstep 3"


def test_counts():
    first = [verdict(status) for status in STATUSES]
    second = [verdict(subject="other:GRU", dtype="float32")]
    one, other = parsed([*first, *second]).findall("testsuite")
    counts = {kind: one.get(kind) for kind in ("failures", "errors", "skipped")}

    assert counts == {"failures": "3", "errors": "3", "skipped": "2"}, f"of 9 statuses: {counts}"
    assert one.attrib == {
        "name": "my:LSTM", "package": "gatewise", "id": "0", "hostname": "localhost",
        "timestamp": "2026-01-02T03:04:05", "tests": "9", "failures": "3", "errors": "3",
        "skipped": "2", "time": "13.500",
    }  # fmt: skip
    assert (other.get("name"), other.get("tests"), other.get("failures")) == ("other:GRU", "1", "0")
    assert other.find("testcase").get("name") == "forward[float32]"
    assert other.find("testcase").get("time") == "1.500"


def test_the_command_writes_it(root, here):
    arguments = ["verify", f"{root}/tests/doubles/plain_numpy.py:GRU", "--check", "forward,padding",
                 "--budget", "quick", "--junit"]  # fmt: skip
    result = invoke(*arguments, "ci/junit.xml")
    suite = ET.parse(here / "ci" / "junit.xml").find("testsuite")

    assert result.exit_code == 3  # padding was asked for, and nothing of it was judged
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("4", "2", "0")
    (here / "file").write_text("")
    result = invoke(*arguments, "file/junit.xml")
    refused(result, 3, "cannot be written")
    assert len(list((here / "runs").iterdir())) == 1
