"""What ``gatewise verify`` says of every layer in a folder, beside what each file expects.

``python -m gatewise.bench.scores.cases FOLDER... [--only 'e*'] [--json]`` holds the layers of each
Python file at the quick budget: modules that come from torch.nn's LSTM, GRU or RNN, or have it in
their name, with ``--like`` that, and classes with ``cell`` and ``forward``. It does so as a user
would, and with one case alone that shows what small cases hide: three rows, batch first, an initial
state, 5 steps; once with one layer, once with two layers and directions. It prints a line for each:
exit code, seconds, the first sentence of the diagnosis, and what the file says behind ``expect:``.
Whether the two agree is for people to judge.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import click

from ...verify.cases.case import Case
from ...verify.runs import run as run_files
from ...verify.runs.records import RunFileError
from ...verify.subjects import LIKE

FAMILIES = {name.rpartition(".")[2]: name for name in LIKE}

CASE = Case(5, 3, 4, 6, layout="batch-first")
"""A case that tells a reshape from a transposition: B > 2, and T mod B is neither 0 nor 1."""

CASES = {"one case": CASE, "deep case": replace(CASE, layers=2, bidirectional=True)}
"""Cases to which layers are held besides, by the word of it."""

PATIENCE = 900.0
"""Seconds for one layer, diagnosis included."""

USUAL = "quick"


@dataclass(frozen=True)
class Held:
    """A class in a file, torch.nn's class that it is like ("" for an explicit one)."""

    path: Path
    name: str
    like: str
    expect: str


@dataclass(frozen=True)
class Row:
    """What was said of one class: the exit code of ``verify``, its counts, the diagnosis.

    ``sentence`` is the first of what is wrong, or the last line where there is no diagnosis.
    """

    file: str
    name: str
    how: str
    exit_code: int
    seconds: float
    sentence: str
    notes: tuple[str, ...]
    status: str
    counts: str
    expect: str

    def __str__(self) -> str:
        told = f"{self.file}:{self.name} [{self.how}] exit {self.exit_code}, {self.seconds:.0f} s"
        return f"{told}, {self.status}: {self.sentence} | expect: {self.expect}"


def held_in(path: Path) -> list[Held]:
    """Return the classes of a file that can be held; where none can, the last one there is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    expect = _expected(ast.get_docstring(tree) or "")
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    bases = {name for node in classes.values() for name in map(_last, node.bases)}
    found = []
    for name, node in classes.items():
        like = _like(node, classes)
        if name not in bases and (like or _explicit(node, classes)):
            found.append(Held(path, name, like, expect))
    last = [Held(path, name, "", expect) for name in list(classes)[-1:]]
    return found or last


def _expected(text: str) -> str:
    said = re.search(r"expect:\s*(.*)", text, re.IGNORECASE)
    return said[1].strip() if said else ""


def _last(base: ast.expr) -> str:
    """Return the last name of a dotted one."""
    return ast.unparse(base).rpartition(".")[2]


def _like(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> str:
    """Return the class of torch.nn that one comes from, or, of other modules, has in its name."""
    for base in map(_last, node.bases):
        if base in classes and base != node.name:
            if like := _like(classes[base], classes):
                return like
        elif base in FAMILIES:
            return FAMILIES[base]
        elif base == "Module":
            longest = sorted(FAMILIES, key=len, reverse=True)  # LSTMCell before LSTM
            return next((FAMILIES[family] for family in longest if family in node.name), "")
    return ""


def _explicit(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    """Whether a class has ``cell`` and ``forward``, of its own or from another of the file."""
    names, todo = set(), [node]
    while todo:
        one = todo.pop()
        for statement in one.body:
            if isinstance(statement, ast.FunctionDef):
                names.add(statement.name)
            elif isinstance(statement, ast.Assign):
                names |= {ast.unparse(target) for target in statement.targets}
            elif isinstance(statement, ast.AnnAssign):
                names.add(ast.unparse(statement.target))
        todo += [classes[base] for base in map(_last, one.bases) if base in classes]
    return {"cell", "forward"} <= names


def row(held: Held, how: str, jobs: int, timeout: float = PATIENCE) -> Row:
    """Run ``gatewise verify`` on one class."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "gatewise", "verify", f"{held.path}:{held.name}",
                   "--budget", "quick", "--jobs", str(jobs), "--runs", "runs",
                   *(("--like", held.like) if held.like else ()),
                   *(("--case", case_of(held, how).to_json()) if how in CASES else ())]  # fmt: skip
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
            )
            code, said = done.returncode, (done.stdout + done.stderr).strip()
        except subprocess.TimeoutExpired:
            code, said = -1, f"no answer after {timeout:.0f} s"
        seconds = round(time.perf_counter() - started, 1)
        return _told(held, how, Path(folder) / "runs", (code, seconds, said))


def case_of(held: Held, how: str) -> Case:
    """Return a case for a class; explicit ones have the time first, and one layer."""
    return CASES[how] if held.like else Case(CASE.T, CASE.B, CASE.D, CASE.H)


def _told(held: Held, how: str, runs: Path, said: tuple[int, float, str]) -> Row:
    code, seconds, text = said
    lines = [line for line in text.splitlines() if line.strip()]
    sentence, notes, status = lines[-1] if lines else "", list[str](), "no diagnosis"
    counts = next((line for line in lines[::-1] if re.match(r"\d+ \w+", line)), "")
    try:
        diagnoses = run_files.read_checks(run_files.newest(runs)).diagnoses
    except RunFileError:
        diagnoses = ()
    for found in diagnoses:
        sentence, status = first_sentence(found.headline), found.status
        notes = [str(found.location), *getattr(found, "notes", ())]
    if not diagnoses and counts:
        sentence = counts
    return Row(held.path.name, held.name, how, code, seconds, sentence, tuple(notes), status,
               counts, held.expect)  # fmt: skip


def first_sentence(text: str) -> str:
    """Return the first sentence, with its full stop if it has one."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z0-9(])", text.strip(), maxsplit=1)[0]


def rows(folders: Sequence[Path], only: str, ways: Sequence[str], jobs: int) -> Iterator[Row]:
    """Yield what is said of every class in the folders' files."""
    for path in (p for folder in folders for p in sorted(folder.glob(f"{only}.py"))):
        for held in held_in(path.resolve()):
            mine = [how for how in ways if held.like or how != "deep case"]
            yield from (row(held, how, jobs) for how in mine)


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...",
                type=click.Path(path_type=Path, exists=True, file_okay=False))  # fmt: skip
@click.option("--only", default="*", metavar="GLOB", help="Only files of this name, without .py.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True,
              help="Worker processes of verify.")  # fmt: skip
@click.option(
    "--how", "ways", multiple=True, type=click.Choice([USUAL, *CASES]), default=[USUAL, *CASES],
    show_default=True, help="Checks at the quick budget, or one case; several may be given.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(folders: Sequence[Path], only: str, jobs: int, ways: Sequence[str], as_json: bool) -> None:
    """Hold, and print a line for each."""
    found = []
    for told in rows(folders, only, ways, jobs):
        found.append(told)
        click.echo(str(told), err=as_json)
    if as_json:
        click.echo(json.dumps([asdict(told) for told in found], indent=1, ensure_ascii=False))
        return
    for how in dict.fromkeys(told.how for told in found):
        seconds = [told.seconds for told in found if told.how == how]
        explained = sum(told.how == how and told.status == "explained" for told in found)
        click.echo(f"{how}: {len(seconds)} layers, {explained} explained, median "
                   f"{median(seconds):.0f} s, longest {max(seconds):.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
