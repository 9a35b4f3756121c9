"""Pages made from the code, so that nothing is said twice: a hook of MkDocs."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.bench.claims.ledger import claims
from gatewise.reference.documents import TITLES
from gatewise.reports import conventions, field, markdown
from gatewise.reports.section import Table
from gatewise.reports.typeset import mathml
from gatewise.verify.checks import subject_checks
from gatewise.verify.mutants import mutants
from gatewise.verify.mutants.quantised import QUANTISATION_MUTANTS
from gatewise.verify.proofs.coverage import coverage
from gatewise.verify.runs.findings import counted
from gatewise.verify.subjects import subjects

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "reports" / "results" / "published" / "figures"
FIGURES = ("decay-lag.svg", "forms-error.svg", "forms-share.svg", "speed-sizes.svg")
FINDINGS = ROOT / "reports" / "results" / "conformance"
HISTORY = ROOT / "reports" / "results" / "field" / "history.jsonl"
MATRIX = "<!-- the matrix of the field -->"
"""The mark in a page that the matrix replaces."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, path, content="\n".join(page())))
    for figure in FIGURES:
        source = str(PUBLISHED / figure)
        files.append(File.generated(config, f"figures/{figure}", abs_src_path=source))
    return files


def on_page_markdown(text: str, **_page: Any) -> str:
    """Put the matrix of the field where a page has a place for it."""
    if MATRIX not in text:
        return text
    return text.replace(MATRIX, f"{field.matrix(_history())}\n\n{field.legend()}")


def _history() -> Sequence[field.Standing]:
    return field.complete(field.read(HISTORY), subjects())


def equations() -> Iterator[str]:
    """Yield every equation with its id, its documents, and what proves it."""
    yield "# Equations\n"
    yield (
        "Every equation of the reference, from the code itself. An id is an equation of the five "
        "documents; where documents disagree, each reading stands by itself.\n"
    )
    yield "\n".join(f"* **{id}** {title}" for id, title in TITLES.items()) + "\n"
    before = ""
    for each in coverage():
        if each.id != before:
            yield f"\n## {each.id}\n"
            before = each.id
        documents = " · ".join(each.documents)
        facts = (
            f"`reference.{each.source}`; {counted(len(each.proofs), 'proof')}, "
            f"{counted(len(each.checks), 'check')}; {documents}"
        )
        note = f" {html.escape(each.note)}" if each.note else ""
        yield f"\n### {each.name}\n"
        yield f"{mathml(each.latex)}\n"
        yield f"{facts}.{note}\n"


def checks() -> Iterator[str]:
    """Yield every check and what it states."""
    yield "# What is checked\n"
    yield (
        "Each check is a sentence that must hold. `gatewise checks` prints them, `--check ID` runs "
        "one.\n"
    )
    rows = [(f"`{check.id}`", check.statement) for check in subject_checks()]
    yield table(("check", "what must hold"), rows)
    yield (ROOT / "docs" / "cases.inc").read_text(encoding="utf-8")


def stated_conventions() -> Iterator[str]:
    """Yield by which convention each adapter's layers compute."""
    yield "# Conventions of the frameworks\n"
    for section in conventions.section(subjects()):
        yield from (f"{paragraph}\n" for paragraph in section.intro)
        for part in section.parts:
            if isinstance(part, Table):
                yield markdown.grid(part.headings, part.rows, part.numeric)


def documents_claims() -> Iterator[str]:
    """Yield every claim of the documents that is judged by measuring."""
    yield "# Claims of the documents\n"
    yield "`gatewise claims` judges each of them by measuring it.\n"
    yield table(("id", "claim"), [(c.id, c.statement) for c in claims()])


def mistakes() -> Iterator[str]:
    """Yield the catalogue of mistakes."""
    yield "# Mistakes\n"
    yield (
        "Wrong layers that gatewise plants to see that its checks catch them (`gatewise mutants`), "
        "looks for when a layer fails, and plants in your tests (`gatewise audit`). Each is "
        "modelled on a defect that somebody really had.\n"
    )
    rows = [(m.id, m.statement, m.fix, ", ".join(m.killed_by)) for m in mutants()]
    yield table(("id", "what is wrong", "what to do", "seen by"), rows)
    yield "\n## In integers\n"
    yield (
        "Layers that quantise wrongly, each held to the arithmetic that it declares. With ordinary "
        "numbers none is off by 1e-2.\n"
    )
    wrong = [(m.id, m.statement, m.killed_by[0], m.models) for m in QUANTISATION_MUTANTS]
    yield table(("id", "what is wrong", "seen by", "modelled on"), wrong)


def findings() -> Iterator[str]:
    """Yield what was found in real frameworks."""
    text = (FINDINGS / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\[script\]\(findings/([^)]+)\)", r"`\1`", text)
    yield re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", text)
    yield "\nThe scripts are in `reports/results/conformance/findings/`.\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    return markdown.table(headings, ([*map(_cell, row)] for row in rows)) + "\n"


def _cell(text: Any) -> str:
    return str(text).replace("|", "\\|").replace("<", "&lt;")


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "field.md": lambda: field.page(_history()),
    "reference/equations.md": equations,
    "checks.md": checks,
    "reference/conventions.md": stated_conventions,
    "reference/claims.md": documents_claims,
    "reference/mistakes.md": mistakes,
    "findings.md": findings,
}
"""The pages by their place in the site."""
