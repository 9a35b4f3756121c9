"""Runs as Markdown, JUnit XML and a badge: golden files, limits, and text that stays text."""

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import invoke
from gatewise.bench import run as bench_run
from gatewise.reports.formats import badge, written
from gatewise.reports.markdown import LIMIT, code, markdown, plain
from gatewise.verify.runs.diagnosis import Diagnosis, Explanation
from gatewise.verify.runs.run import Planned
from made_runs import failure, kept, run, verdict

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
KNOWN = verdict(
    "my:GRU", "gradient", status="known deviation",
    message="halves until 2.0 (until 2027-06-30): dx[0] = 1, expected 2 ± 3e-4",
)  # fmt: skip
MIXED = run(
    verdict("my:LSTM"),
    failure("my:GRU"),
    verdict("my:GRU", "padding", status="not supported", message="it takes no lengths"),
    verdict("my:GRU", "repeat", status="known deviation", message="atomics"),
    unheard=(Planned("my:RNN", "forward", "float32"),),
    diagnoses=(
        Diagnosis("my:GRU", "float64", "explained", ("forward",),
                  [Explanation(("L13",), ("The blocks of r and z are exchanged.",), ("swap",))]),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "made"),
    [("report.md", markdown(MIXED)), ("report.xml", written([MIXED], Path("a.xml"))),
     ("badge.json", badge([MIXED]) + "\n")],
)  # fmt: skip
def test_is_as_it_was_read_and_found_good(name, made):
    """The golden files were read by people; a change of them is to be read again."""
    assert made == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("made", "message", "colour"), [
    (run(verdict()), "conforms, 1 passed", "brightgreen"),
    (run(verdict(), KNOWN), "conforms, 1 passed, 1 known deviation", "brightgreen"),
    (run(verdict(), failure()), "1 of 2 fail", "red"),
    (run(unheard=(Planned("a", "b", "c"),)), "not tested", "lightgrey"),
])  # fmt: skip
def test_a_badge_is_green_only_where_all_conforms(made, message, colour):
    read = json.loads(badge([made]))
    assert (read["message"], read["color"]) == (message, colour)


def test_known_deviations_stand_with_reason_and_end():
    other = replace(KNOWN, check="cotangents", message=KNOWN.message.replace("3e-4", "7e-2"))
    text = markdown(run(verdict(), KNOWN, other))
    assert text.count("halves until 2.0 (until 2027-06-30)") == 1
    assert "- my:GRU: gradient float64, cotangents float64: halves" in text


def test_what_does_not_fit_is_counted():
    many = run(*(failure(f"torch:{k}", message="x" * 3000) for k in range(300)))
    text = markdown(many)
    assert len(text) <= LIMIT
    assert re.search(r"_\d+ more parts did not fit here._", text)


def test_the_first_failures_are_told_and_the_others_counted():
    text = markdown(run(*(failure(f"torch:{k}") for k in range(30))))
    assert text.count("**❌") == 20
    assert "_And 10 more subjects that do not conform._" in text


@given(st.text(st.characters(exclude_categories=())))
def test_foreign_text_is_no_markup(text):
    said = plain(text)
    bare = re.sub(r"\\.|&(amp|lt|gt|#64|#8203);", "", said)

    assert "\n" not in said
    assert not re.search(r"[<>@`*_\[\]|$\\]", bare)
    assert "://" not in bare
    assert not re.match(r"[#+\-=]|\d+[.)]", bare)


@given(st.text(st.sampled_from("`~a\n"), max_size=40))
def test_code_ends_where_it_should(text):
    first, *_, last = code(text).split("\n")
    fence = first.removesuffix("text")
    assert last == fence
    assert fence not in text


def test_junit_has_every_verdict_once_and_counts_them():
    root = ET.fromstring(written([MIXED], Path("a.xml")))
    for suite in root.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        assert int(suite.get("tests")) == len(cases)
        for kind in ("failure", "error", "skipped"):
            key = {"failure": "failures", "error": "errors"}.get(kind, kind)
            assert int(suite.get(key)) == sum(case.find(kind) is not None for case in cases)
        assert all(len(list(case)) <= 2 for case in cases)
    assert sum(1 for _ in root.iter("testcase")) == len(MIXED.planned)


@pytest.fixture
def folder(tmp_path):
    return kept(tmp_path / "r", verdict())


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.md", "# ✅ gatewise"), ("a.xml", "<?xml"), ("a.json", '{"schemaVersion"'),
     ("a.html", "<!DOCTYPE html>")],
)  # fmt: skip
def test_the_name_of_the_file_says_what_it_is(folder, tmp_path, name, begins):
    told = invoke("report", folder, "-o", tmp_path / name)
    assert told.exit_code == 0, told.output
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


def test_another_name_is_a_usage_error(folder, tmp_path):
    told = invoke("report", folder, "-o", tmp_path / "a.pdf")
    assert told.exit_code == 2
    assert "expected a name that ends in .html, .md, .xml, .json" in told.stderr


def test_a_hostile_run_makes_a_report_without_markup():
    evil = replace(verdict(), subject="<img src=x>|@all", message="[a](http://b) `x`",
                   status="failed", worst_ratio=2.0)  # fmt: skip
    text = re.sub(r"^(```+)text\n.*?\n\1$", "", markdown(run(evil)), flags=re.DOTALL | re.MULTILINE)
    assert "does not conform" in text
    assert "<img" not in text
    assert "@all" not in text
    assert "](http://" not in text


def test_a_folder_gets_everything(folder, tmp_path):
    told = invoke("report", folder, "-o", tmp_path / "all")
    assert told.exit_code == 0, told.output
    names = {path.name for path in (tmp_path / "all").iterdir()}
    assert names == {"index.html", "report.md", "junit.xml", "badge.json", "README.md", "runs"}


def test_figures_are_files_with_black_text_on_white(tmp_path):
    pytest.importorskip("altair")
    bench_run.start(tmp_path / "b", kind="memory", command="c", seed=0, settings={}, planned=["a"])
    row = {
        "id": "a", "status": "OK", "task": "copy", "cell": "gru", "lag": 8, "seed": 0, "hidden": 9,
        "parameters": 99, "success": 1.0, "loss": 0.1, "diverged": False, "seconds": 1.0,
    }  # fmt: skip
    bench_run.append(tmp_path / "b", row)
    invoke("report", tmp_path / "b", "-o", tmp_path / "all")
    drawn = (tmp_path / "all" / "figures" / "memory-lag.svg").read_text(encoding="utf-8")
    picture = (tmp_path / "all" / "figures" / "memory-lag.png").read_bytes()

    assert "currentColor" not in drawn
    assert picture.startswith(b"\x89PNG")
    assert not (tmp_path / "all" / "badge.json").exists()
