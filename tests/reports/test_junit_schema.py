"""JUnit XML is valid by the schemas that CI systems use, whatever a run contains.

The rules of ``junit_rules`` are what both schemas have in common. GATEWISE_JUNIT_XSD names schemas
themselves (several, apart by the system's path separator); ``nox -s junit`` fetches one.
"""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.reports.formats import written
from gatewise.reports.junit import junit
from gatewise.verify.runs.run import Planned
from gatewise.verify.runs.status import STATUSES
from junit_rules import broken
from made_runs import run, verdict

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "report.xml"
SCHEMAS = [*filter(None, os.environ.get("GATEWISE_JUNIT_XSD", "").split(os.pathsep))]
ODD = "]]></failure><!--&\"'<x y='\x00\x0b\ud800\ufffe\U0001f600é\n\t"
OF_NO_NAME = {"subject": " \n", "cell": "", "version": "", "check": "", "dtype": ""}
DOCUMENTS = {
    "golden": GOLDEN.read_text(encoding="utf-8"),
    "every status": junit(
        [verdict(subject, check, status=status, message="off", place="step 3", seconds=0.25)
         for subject in ("a:LSTM", "b:GRU") for status in STATUSES for check in ("forward", "jvp")],
        created="2026-01-02T03:04:05+02:00",
    ),
    "hostile": junit(
        [*(verdict(ODD, ODD, status=status, message=ODD, statement=ODD, reproduce=ODD, version=ODD)
           for status in STATUSES),
         verdict(**OF_NO_NAME),
         *(verdict("times", seconds=seconds) for seconds in (-0.0, -1.0, 1e308, 1e308, 1e-9))],
        created="2026-01-02T03:04:05",
    ),
    "nothing": junit([]),
    "of a run": written(
        [run(verdict(), unheard=(Planned("a", "b", "c"),)), run(verdict())], Path("a.xml")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_holds_to_what_both_schemas_ask(name):
    assert broken(DOCUMENTS[name]) == []


@given(st.text(st.characters(exclude_categories=())), st.floats(allow_nan=False))
def test_holds_to_it_whatever_a_verdict_says(text, seconds):
    told = [verdict(text, text, dtype=text, status=status, message=text, version=text,
                    seconds=seconds) for status in STATUSES]  # fmt: skip
    assert broken(junit(told, created="2026-01-02T03:04:05Z")) == []


@pytest.mark.parametrize(
    "created", ["", "yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "\x00"]
)
def test_a_time_that_is_none_is_left_out(created):
    """Jenkins' schema does without; Ant's format has no way to say that it is not known."""
    assert broken(junit([verdict()], created=created)) == [
        "testsuite: ['errors', 'failures', 'hostname', 'id', 'name', 'package', 'skipped', "
        "'tests', 'time']"
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [(' id="0"', ""), ('skipped="', 'ignored="'), ('time="0', 'time="-0'), ('time="0', 'time="inf'),
     ("<system-out />", ""), ("<properties>", "<properties>x"), ("error ", "fault "),
     ('hostname="localhost"', 'hostname=" "'), ("<testsuites>", '<testsuites name="x">'),
     (' type="failed"', "")],
)  # fmt: skip
def test_the_rules_can_fail(old, new):
    text = DOCUMENTS["golden"]
    assert old in text
    assert broken(text.replace(old, new, 1)) != []


@pytest.mark.skipif(not SCHEMAS, reason="GATEWISE_JUNIT_XSD names no schema; see nox -s junit")
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("schema", SCHEMAS)
def test_is_valid_by_the_schema_itself(schema, name):
    xmlschema = pytest.importorskip("xmlschema")
    xmlschema.XMLSchema(schema).validate(DOCUMENTS[name])


@pytest.mark.skipif(not SCHEMAS, reason="GATEWISE_JUNIT_XSD names no schema; see nox -s junit")
@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_schema_can_fail(schema):
    xmlschema = pytest.importorskip("xmlschema")
    wrong = DOCUMENTS["golden"].replace("failures=", "misses=", 1)
    assert not xmlschema.XMLSchema(schema).is_valid(wrong)
