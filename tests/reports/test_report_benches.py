"""Sections of benches on the page: figures, tables, data, and nothing that runs but our scripts."""

import base64
import csv
import hashlib
import io
import re

import pytest

pytest.importorskip("altair", reason="figures need Altair: pip install 'gatewise[figures]'")
pytest.importorskip("vl_convert", reason="figures need vl-convert-python")

import altair

from gatewise.reports import figures, page, sections
from gatewise.reports.section import Figure, Section, Table
from gatewise.verify.runs.records import RunFileError
from made_runs import bench_run

EVIL = "</script><script>alert(1)</script><b>"
ROWS = [{"lag": lag, "norm": 2.0**-lag, "cell": EVIL} for lag in range(4)]


def chart():
    lines = altair.Chart(altair.Data(values=ROWS)).mark_line()
    return lines.encode(x="lag:Q", y="norm:Q", color="cell:N")


FIGURE = Figure("norms", "Norms", "What is seen.", "Norms fall with lag.", chart)
TABLE = Table("Rates", ("cell", "rate (1/step)", "steps"), ((EVIL, -0.0112, 20000), ("b", None, 3)))
SECTION = Section("decay", "Gradient decay", (EVIL,), (FIGURE, TABLE))


def run(kind="decay"):
    return bench_run(
        kind, planned=("a",), settings={"hidden": EVIL}, created="2026-01-01T00:00:00Z"
    )


@pytest.fixture
def html(monkeypatch):
    monkeypatch.setattr(sections, "_section", lambda kind, runs: SECTION)
    return page.render(run())


def test_nothing_from_a_run_becomes_markup(html):
    assert "alert(1)</script>" not in html
    assert "<b>" not in html.replace("<b>gatewise</b>", "")


def test_only_our_scripts_may_run(html):
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    policy = re.search(r"script-src ([^;]*);", html).group(1)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]

    assert len(scripts) == 2
    assert policy.split() == [f"'sha256-{each}'" for each in hashes]


def test_a_page_without_figures_has_no_script(monkeypatch):
    bare = Section("decay", "Gradient decay", (), (TABLE,))
    monkeypatch.setattr(sections, "_section", lambda kind, runs: bare)
    assert "<script" not in page.render(run())


def test_the_data_of_a_figure_are_one_click_away(html):
    link = re.search(r'href="data:text/csv;base64,([^"]*)"', html).group(1)
    read = csv.DictReader(io.StringIO(base64.b64decode(link).decode()))
    assert [float(row["norm"]) for row in read] == [row["norm"] for row in ROWS]


def test_without_altair_the_figure_says_so(html, monkeypatch):
    monkeypatch.setattr(figures, "available", lambda: False)
    assert "Altair and vl-convert-python are not installed" in page.render(run())


def test_columns_of_numbers_stand_right(html):
    assert TABLE.numeric == (1, 2)
    assert '<td class="n">-0.0112</td>' in html


def test_figures_take_the_colour_of_text_from_the_page():
    drawn = figures.svg(chart())
    assert 'fill="currentColor"' in drawn
    assert figures.png(chart()).startswith(b"\x89PNG")


def test_a_run_of_an_unknown_kind_is_refused():
    with pytest.raises(RunFileError, match="unknown kind: 'odd'"):
        sections.sections([run("odd")])
