"""Whatever stands in the files of a run, of checks or of a bench: a report, or one sentence.

GATEWISE_FUZZ says how many hostile runs are tried of each kind; by hand, thousands. They are made
from runs that are right, of which some part is replaced: the report that is published.
"""

import html
import json
import math
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gatewise.bench.run import BenchRun
from gatewise.reports import figures
from gatewise.reports.formats import written
from gatewise.verify.runs.records import RunFileError
from gatewise.verify.runs.run import read
from hostile import SCRIPT, TEXTS, everywhere, spoilt
from junit_rules import broken

EXAMPLES = int(os.environ.get("GATEWISE_FUZZ", "60"))
PUBLISHED = Path(
    os.environ.get(
        "GATEWISE_FUZZ_FROM", Path(__file__).parents[2] / "reports/results/published/runs"
    )
)
ROWS = {"speed": 3, "decay": 8}
"""How many rows of a run are kept, by its kind; of others 12, from everywhere in it."""


def _kept(lines, most):
    step = max(1, len(lines) // most)
    return [json.loads(line) for line in lines[::step]][:most]


def corpus():
    found = {}
    for header in sorted(PUBLISHED.glob("*/run.json")):
        folder = header.parent
        said = json.loads(header.read_text())
        name = "verdicts.jsonl" if (folder / "verdicts.jsonl").exists() else "rows.jsonl"
        kind = said.get("kind", "checks")
        rows = _kept((folder / name).read_text(encoding="utf-8").splitlines(), ROWS.get(kind, 12))
        said["planned"] = said["planned"][:20]
        for row in rows:
            if "plan" in row:
                row["plan"] = ""  # headers are changed below, each in a way of its own
        found[kind] = (said, name, rows)
    return found


CORPUS = corpus()


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Charts are made and not drawn: what draws them takes nothing but numbers and names.

    Nor is their form held to Vega-Lite's schema, as in the tests of the sections.
    """
    if figures.available():
        monkeypatch.setattr("altair.utils.schemapi.validate_jsonschema", lambda *_, **__: None)
    monkeypatch.setattr(figures, "svg", lambda chart, **_: "<svg></svg>")
    monkeypatch.setattr(figures, "library", lambda: "")


def told(folder):
    """Return the run in every form, or why it is refused."""
    try:
        run = read(folder)
        forms = {suffix: written([run], Path(f"a{suffix}")) for suffix in (".html", ".md")}
        if not isinstance(run, BenchRun):
            forms[".xml"] = written([run], Path("a.xml"))
    except RunFileError as refused:
        return {}, str(refused)
    return forms, ""


def harmless(forms, said):
    assert bool(forms) != bool(said)
    assert len(said) < 600
    assert said.isprintable() or not said
    for text in forms.values():
        text.encode("utf-8")
    page, summary = forms.get(".html", ""), forms.get(".md", "")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "<script" not in re.sub(r"```.*?```", "", summary, flags=re.DOTALL).replace("\\<", "")
    assert len(summary) <= 60_000
    if xml := forms.get(".xml"):
        assert [e for e in broken(xml) if not e.startswith("testsuite: [")] == []


FREE = {
    "checks": "message", "claims": "statement", "decay": "title", "evidence": "statement",
    "forms": "cell", "memory": "cell", "mutants": "statement", "speed": "subject",
}  # fmt: skip
"""A text of each kind that may be anything, and that a report shows."""


def made(folder, kind, *, header=None, rows=None, text=None):
    """Write a run that is right, or one with other parts."""
    said, name, good = CORPUS[kind]
    lines = "".join(f"{json.dumps(row)}\n" for row in (good if rows is None else rows))
    (folder / "run.json").write_text(json.dumps(header or said), encoding="utf-8")
    (folder / name).write_text(lines if text is None else text(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", CORPUS)
def test_a_run_that_is_right_is_told(kind, tmp_path):
    """Or what is below would show nothing."""
    forms, said = told(made(tmp_path, kind))
    assert said == ""
    harmless(forms, said)


@pytest.mark.parametrize("odd", TEXTS)
@pytest.mark.parametrize("kind", CORPUS)
def test_odd_text_is_shown_as_text(kind, odd, tmp_path):
    forms, said = told(made(tmp_path, kind, rows=everywhere(CORPUS[kind][2], FREE[kind], odd)))
    assert said == ""
    harmless(forms, said)
    if odd == SCRIPT:
        assert html.escape(SCRIPT) in forms[".html"]


@pytest.mark.parametrize("kind", CORPUS)
def test_a_long_text_is_cut_and_a_longer_one_refused(kind, tmp_path):
    row = next(row for row in CORPUS[kind][2][::-1] if f'"{FREE[kind]}"' in json.dumps(row))

    def forms(length):
        return told(made(tmp_path, kind, rows=[everywhere(row, FREE[kind], "x" * length)]))

    usual = sum(map(len, forms(10)[0].values()))
    found, said = forms(10**5)
    assert said == ""
    assert sum(map(len, found.values())) < usual + 2 * 10**6  # each time it is told, 4000 of them
    assert re.search("(a line of more|larger) than (4|64) MiB", forms(10**7)[1])


@pytest.mark.parametrize("kind", CORPUS)
def test_the_same_twice_is_told(kind, tmp_path):
    header, _, rows = CORPUS[kind]
    twice = {**header, "planned": header["planned"] * 2}
    harmless(*told(made(tmp_path, kind, header=twice, rows=rows * 2)))


@pytest.mark.parametrize(
    ("change", "why"),
    [(lambda h: h | {"schema": h["schema"][:-1] + "99"}, "expected schema"),
     (lambda h: h | {"schema": "somebody.else/1"}, "expected schema"),
     (lambda h: h | {"schema": None}, "expected schema"),
     (lambda h: h | {"schema": [1]}, "expected schema"),
     (lambda h: {k: v for k, v in h.items() if k != "schema"}, "expected schema"),
     (lambda h: h | {"seed": "0"}, "seed: expected int"),
     (lambda h: h | {"seed": math.nan}, "NaN is not a JSON number"),
     (lambda h: h | {"versions": {"a": 10**400}}, "versions[...]: expected str")],
)  # fmt: skip
@pytest.mark.parametrize("kind", CORPUS)
def test_another_header_is_refused(kind, change, why, tmp_path):
    forms, said = told(made(tmp_path, kind, header=change(dict(CORPUS[kind][0]))))
    harmless(forms, said)
    assert why in said


@pytest.mark.parametrize(
    ("change", "why"),
    [(lambda lines: lines.replace("{", "", 1), "not JSON"),
     (lambda lines: lines[: len(lines) // 3] + "\n", "not JSON"),
     (lambda lines: "[1]\n" + lines, "expected a JSON object"),
     (lambda lines: '{"id": NaN, "status": Infinity}\n' + lines, "not a JSON number"),
     (lambda lines: "[" * 10**5 + "\n", "not JSON"),
     (lambda lines: '{"id": ' + "9" * 5000 + "}\n", "not JSON")],
)  # fmt: skip
@pytest.mark.parametrize("kind", CORPUS)
def test_lines_that_are_not_json_are_refused(kind, change, why, tmp_path):
    forms, said = told(made(tmp_path, kind, text=change))
    harmless(forms, said)
    assert why in said


@pytest.mark.parametrize("kind", CORPUS)
def test_a_last_line_that_was_torn_is_left_out(kind, tmp_path):
    assert told(made(tmp_path, kind, text=lambda lines: lines + lines[:30]))[1] == ""


@pytest.mark.parametrize("kind", CORPUS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(data=st.data())
def test_a_spoilt_run_is_told_or_refused_in_a_sentence(kind, tmp_path, data):
    header, _, rows = CORPUS[kind]
    if data.draw(st.integers(0, 4)) == 0:
        header = data.draw(spoilt(header))
    else:
        rows = data.draw(spoilt(rows, most=3))
    harmless(*told(made(tmp_path, kind, header=header, rows=rows)))
