"""The project's own report: what README shows and says of it is what is there.

``nox -s publish`` makes it anew; README's date and machine are then to be changed by hand.
"""

import re
import zlib
from pathlib import Path

import pytest

from gatewise.bench.run import BenchRun
from gatewise.reports import summary, tables
from gatewise.reports.figures import as_link
from gatewise.reports.formats import written
from gatewise.reports.sections import ORDER
from gatewise.verify.runs.run import Run, read

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "reports" / "results" / "published"
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNS = {path.parent.name: read(path.parent) for path in sorted(PUBLISHED.glob("runs/*/run.json"))}
TEXTS = sorted(p for p in PUBLISHED.rglob("*") if p.is_file() and p.suffix != ".png")
LOCAL = re.compile(r"(?<![\w./])/(?:tmp|home|root|Users|work|workspace|builds?)/\w")
"""Paths of somebody's own machine."""


def test_it_is_there_with_checks_and_benches():
    kinds = {run.kind if isinstance(run, BenchRun) else "checks" for run in RUNS.values()}
    assert kinds == {"checks", *ORDER}
    assert not any(run.untested for run in RUNS.values())


def test_the_readme_shows_a_picture_of_it():
    shown = re.findall(r"!\[[^\]]+\]\((reports/results/published/[^)]+)\)", README)
    assert len(shown) == 1
    for name in shown:
        assert "</svg>" in (ROOT / name).read_text(encoding="utf-8")


def test_the_readme_says_how_old_it_is_and_on_which_machine_it_was_made():
    said = re.search(r"made on (\S+) on (.+?), (\d+) cores", " ".join(README.split()))
    made = {
        (run.created[:10], run.machine["processor"], run.machine["cores"]) for run in RUNS.values()
    }
    assert made == {said.groups()}


def test_the_index_lists_every_file_and_its_links_lead_somewhere():
    index = (PUBLISHED / "README.md").read_text(encoding="utf-8")
    links = {PUBLISHED / link for link in re.findall(r"\]\(([^)]+)\)", index)}
    assert not [link for link in links if not link.exists()]
    others = {path for path in PUBLISHED.rglob("*") if path.is_file()} - links
    assert {path.relative_to(PUBLISHED).parts[0] for path in others} == {"README.md", "runs"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(PUBLISHED)))
def test_nothing_of_it_names_a_place_on_a_machine(path):
    assert LOCAL.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", ["badge.json", "junit.xml", "report.md"])
def test_it_was_made_of_these_runs(name):
    assert written([*RUNS.values()], Path(name)) == (PUBLISHED / name).read_text(encoding="utf-8")


def test_the_page_says_what_these_runs_say():
    rows = summary.entries(summary.combined([run for run in RUNS.values() if isinstance(run, Run)]))
    page = (PUBLISHED / "index.html").read_text(encoding="utf-8")

    assert page.count(f"{summary.headline(rows).text}</h1>") == 1
    assert as_link(tables.as_csv(rows)) in page
    assert f"All {len(rows)} results (CSV)" in page


def test_it_is_modest_in_size():
    """Packed as git packs it, as everybody who clones the repository gets it."""
    files = [path.read_bytes() for path in PUBLISHED.rglob("*") if path.is_file()]
    assert sum(len(zlib.compress(content)) for content in files) < 4 * 2**20
