"""A page of many verdicts: it tells some in full, counts all, and does not grow with their number.

GATEWISE_LARGE=200000 says how many the largest run has.
"""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from gatewise.reports import page
from gatewise.reports.formats import written
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.verdict import Planned, Verdict

LARGE = int(os.environ.get("GATEWISE_LARGE", "3000"))
KINDS = ("passed",) * 6 + ("failed", "crashed", "not supported", "not tested")


def made(folder, count):
    """Write a run with so many verdicts, 20 of a subject; every reason is another."""
    planned = [Planned(f"work/{n // 20}.py:L", f"check{n % 20}", "float64") for n in range(count)]
    header = run_files.start(folder, command="gatewise verify work", seed=0, budget="quick",
                             planned=planned)  # fmt: skip
    plan = header.plan
    with (folder / "verdicts.jsonl").open("w", encoding="utf-8") as file:
        for n, each in enumerate(planned):
            status = KINDS[(n * 7 + n // 20) % len(KINDS)]
            verdict = Verdict(
                each.subject, "lstm", each.check, "A sentence.", ["lstm.cell_state"], each.dtype, 0,
                status, cases=9, worst_ratio=0.5, message=f"y[{n}] = 1, expected 2", plan=plan,
                script="a = 1\n" * 300, reproduce="gatewise verify a",
            )  # fmt: skip
            file.write(json.dumps(asdict(verdict)) + "\n")
    return run_files.read(folder)


@pytest.fixture
def small(monkeypatch):
    """Limits as small as these runs."""
    monkeypatch.setattr(page, "DETAILED", 20)
    monkeypatch.setattr(page, "NAMED", 5)
    monkeypatch.setattr(page, "LISTED", 50)
    monkeypatch.setattr(page, "LARGEST_LINK", 20_000)
    monkeypatch.setattr(page.tables, "MOST", 500)


def test_a_page_does_not_grow(small, tmp_path):
    few, many = made(tmp_path / "few", 1000), made(tmp_path / "many", 3000)
    first, second = (written([run], Path("a.html")) for run in (few, many))

    assert len(second) < 1.05 * len(first)
    assert second.count('id="failure-') == 20
    assert "and 145 more subjects; the run&#39;s folder has all".replace("&#39;", "'") in second
    assert "All 3000 results stand in verdicts.jsonl" in second


def test_no_link_leads_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "DETAILED", 20)
    text = written([made(tmp_path / "run", 400)], Path("a.html"))
    ids = {*re.findall(r'id="([^"]+)"', text)}

    assert text.count('id="failure-') == 20
    assert {*re.findall(r'href="#([^"]+)"', text)} <= ids


def test_the_largest(tmp_path):
    assert len(written([made(tmp_path / "run", LARGE)], Path("a.html")).encode()) < 20e6
