"""Runs made up for reports, and pages taken apart."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from gatewise.verify.execution.judge import Verdict
from gatewise.verify.runs import run as run_files
from gatewise.verify.runs.run import BENCH_SCHEMA, SCHEMA, BenchRun, Planned, Run

CASE = '{"T": 3, "B": 1, "D": 2, "H": 2, "scale": "large"}'

HOSTILE = """</style></title><script>alert(1)</script><img src=x onerror=alert(1)>"'&{{7*7}}"""
"""What must be shown as text, wherever it comes from."""


def verdict(subject: str = "torch:LSTM", check: str = "forward", **changes: Any) -> Verdict:
    """A verdict that passed, unless changed."""
    passed = Verdict(
        subject, "lstm", check, "Outputs are right.", ["lstm.forget_gate"], "float64", 0,
        cases=12, worst_ratio=0.25, worst="final c", version="torch 2.9",
    )  # fmt: skip
    return replace(passed, **changes)


def failure(subject: str = "torch:GRU", **changes: Any) -> Verdict:
    """A verdict that failed on a case."""
    told: dict[str, Any] = {
        "status": "failed", "worst_ratio": 4e12, "message": "y[0] = 1, expected 2 ± 3e-16",
        "case": CASE, "reproduce": f"gatewise verify torch:GRU --case '{CASE}'",
        "equations": ["gru.reset_gate", "no.such"],
    }  # fmt: skip
    return verdict(subject, **(told | changes))


def run(*verdicts: Verdict, unheard: tuple[Planned, ...] = (), **changes: Any) -> Run:
    """A run of these verdicts, all planned, and of plans that were not heard of again."""
    planned = (*(Planned(v.subject, v.check, v.dtype) for v in verdicts), *unheard)
    made = Run(
        schema=SCHEMA, command="gatewise verify torch:LSTM", created="2026-01-02T03:04:05Z", seed=7,
        budget="quick", versions={"gatewise": "0.1.0"}, machine={"cores": "8"},
        source="0123456789ab+", planned=planned, verdicts=verdicts,
    )  # fmt: skip
    return replace(made, **changes)


def bench_run(kind: str, *rows: dict[str, Any], **changes: Any) -> BenchRun:
    """A bench's run of these rows, all planned."""
    made = BenchRun(
        schema=BENCH_SCHEMA, kind=kind, command="c", created="", seed=0, versions={}, machine={},
        source="", settings={}, planned=tuple(row["id"] for row in rows), rows=rows,
    )  # fmt: skip
    return replace(made, **changes)


def kept(folder: Path, *verdicts: Verdict, command: str = "c") -> Path:
    """Keep a run of these verdicts in a folder."""
    planned = [Planned(v.subject, v.check, v.dtype) for v in verdicts]
    run_files.start(folder, command=command, seed=0, budget="quick", planned=planned)
    for each in verdicts:
        run_files.append(folder, each)
    return folder


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def having(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def words(html: str, part: str = "") -> str:
    """All text of a page, or from the section of this id on."""
    text = Page(html[html.index(f'<section id="{part}"') :] if part else html).text
    return " ".join(" ".join(text).split())
