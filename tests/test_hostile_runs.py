"""Whatever stands in the files of a run, of checks or of a bench: a report, or one sentence.

GATEWISE_FUZZ says how many hostile runs are tried of each kind; by hand, thousands. They are made
from runs that are right, of which some part is replaced: the report that is published.
"""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gatewise.bench.run import BenchRun
from gatewise.reports import figures
from gatewise.reports.any_run import read
from gatewise.reports.formats import written
from gatewise.verify.reading import RunFileError
from hostile import spoilt
from junit_rules import broken

EXAMPLES = int(os.environ.get("GATEWISE_FUZZ", "60"))
PUBLISHED = Path(
    os.environ.get("GATEWISE_FUZZ_FROM", Path(__file__).parent.parent / "reports/published/runs")
)
ROWS = {"ladder": 1, "speed": 3, "decay": 8}
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
        found[kind] = (said, name, rows)
    return found


CORPUS = corpus()


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Charts are made and not drawn: what draws them takes nothing but numbers and names."""
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
def test_a_spoilt_run_is_told_or_refused_in_a_sentence(kind, tmp_path_factory, data):
    header, name, rows = CORPUS[kind]
    if data.draw(st.integers(0, 4)) == 0:
        header = data.draw(spoilt(header))
    else:
        rows = data.draw(spoilt(rows, most=3))
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.json").write_text(json.dumps(header), encoding="utf-8")
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    harmless(*told(folder))
