"""The score of one command on a folder of thirty files: right, wrong and broken ones.

``python -m gatewise.bench.scores.homework [--seed 0] [--keep FOLDER] [--json]`` writes five right
layers, twenty with one of the catalogue's mistakes (a mistake that the quick budget sees, drawn in
turns from each style and cell of ``hands``) and five broken files, runs ``gatewise verify FOLDER
--budget quick`` on them, and compares each line with the truth about its file.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ...verify.mutants import mutants
from ...verify.runs import run as run_files
from ...verify.runs.findings import Finding, findings
from . import score
from .other_hands import COMPILED, LOOP, NUMPY, Hand, hands, names, source, texts

WRONG = 20
"""The number of files with a mistake."""

RIGHT = ((LOOP, "lstm"), (LOOP, "gru"), (LOOP, "rnn"), (NUMPY, "lstm"), (NUMPY, "gru"))

FIRST = ("C", "F", "L", "S", "Q")
"""The kinds of mistakes that students make: activations, formulas, layouts, states, sequences."""


@dataclass(frozen=True)
class File:
    """A file: its text, its right verdict, and its mistake or words of the cause."""

    text: str
    verdict: str
    hand: Hand | None = None
    words: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the table, and the objection to it, "" if it is right."""

    file: str
    verdict: str
    cause: str
    objection: str
    seconds: float


def text_of(style: str, cell: str, id: str = "") -> str:
    """Return the text of a layer with a mistake, "" for none."""
    return source(style, cell, texts(style, cell)[id] if id else {})


def broken() -> dict[str, File]:
    """Return files that are no layers, or whose layers crash or hang."""
    layer = text_of(NUMPY, "lstm")
    head, call, rest = layer.partition("    def forward(self, p, x, state, lengths=None):\n")
    endless = "if len(x) > 4:\n            while True:\n                pass"
    crash = "raise RuntimeError('no kernel for this')"
    return {
        "syntax": File(layer.replace("class Layer:", "class Layer"), "not tested",
                       words="SyntaxError"),
        "no_class": File("import numpy as np\n\n\ndef helper(x):\n    return np.tanh(x)\n",
                         "not tested", words="it defines no class with forward"),
        "no_module": File(f"import my_helpers_of_last_year\n{layer}", "not tested",
                          words="No module named 'my_helpers_of_last_year'"),
        "crash": File(f"{head}{call}        {crash}\n{rest}", "not tested",
                      words="no kernel for this"),
        "endless": File(f"{head}{call}        {endless}\n{rest}", "timeout",
                        words="it does not return, or is too slow"),
    }  # fmt: skip


def files(seed: int) -> dict[str, File]:
    """Return all files by their names."""
    by_id = {mutant.id: mutant for mutant in mutants()}
    fit = [
        hand for hand in hands()
        if hand.style != COMPILED and hand.id.startswith(FIRST)
        and "peephole" not in hand.cell and not by_id[hand.id].same_as
    ]  # fmt: skip
    wrong: dict[str, Hand] = {}
    for hand in score.in_turns(fit, lambda hand: (hand.style, hand.cell), seed):
        wrong.setdefault(hand.id, hand)
    layers = [File(text_of(style, cell), "conforms") for style, cell in RIGHT]
    layers += [
        File(text_of(hand.style, hand.cell, hand.id), "failed", hand)
        for hand in [*wrong.values()][:WRONG]
    ]
    numbered = {f"student_{number:02}": file for number, file in enumerate(layers, 1)}
    return numbered | {f"student_{name}": file for name, file in broken().items()}


def objection(file: File, finding: Finding | None) -> str:
    """Return the objection to a line, "" if it is right."""
    if finding is None:
        return "it has no line"
    if finding.verdict != file.verdict:
        return f"expected {file.verdict}, got {finding.verdict}"
    if file.words and file.words not in finding.cause:
        return f"expected words: {file.words}"
    if file.hand is not None:
        mutant = next(m for m in mutants() if m.id == file.hand.id)
        explanations = finding.diagnosis.explanations if finding.diagnosis else []
        if not any(names(mutant, explanation.ids) for explanation in explanations):
            return f"expected {mutant.id}: {mutant.statement}"
    return ""


@dataclass(frozen=True)
class Time:
    """The seconds of a command, and the processor time of its processes."""

    seconds: float
    cpu_seconds: float


def judged(folder: Path, files: Mapping[str, File]) -> tuple[list[Row], Time]:
    """Write the files and run the command; return its lines and its time."""
    work = folder / "homework"
    work.mkdir(parents=True)
    for name, file in files.items():
        (work / f"{name}.py").write_text(file.text, encoding="utf-8")
    command = [sys.executable, "-m", "gatewise", "verify", "homework", "--budget", "quick"]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run([*command, "-o", "grades.csv"], cwd=folder, capture_output=True,
                          text=True, check=False)  # fmt: skip
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    (folder / "output.txt").write_text(process.stdout + process.stderr, encoding="utf-8")
    run = run_files.read_checks(run_files.newest(folder / "runs"))
    by_name = {Path(f.subject).stem: f for f in findings(run.verdicts, run.diagnoses)}
    rows = []
    for name, file in files.items():
        finding = by_name.get(name)
        seconds_of_file = sum(v.seconds for v in finding.verdicts) if finding else 0.0
        rows.append(Row(
            f"{name}.py {file.hand or ''}".strip(), finding.verdict if finding else "",
            finding.cause if finding else "", objection(file, finding), round(seconds_of_file, 1),
        ))  # fmt: skip
    return rows, Time(round(seconds, 1), round(cpu, 1))


@click.command()
@score.seed_option
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder for files and run.")
@score.json_option
def main(seed: int, keep: Path | None, as_json: bool) -> None:
    """Judge the folder; the exit code is 1 if a line is wrong."""
    with tempfile.TemporaryDirectory(prefix="gatewise-homework-") as folder:
        rows, took = judged(keep or Path(folder), files(seed))
    wrong = [row for row in rows if row.objection]
    if as_json:
        score.print_json(rows=rows, **asdict(took))
    else:
        for row in rows:
            mark = f"WRONG ({row.objection})" if row.objection else "right"
            click.echo(f"{mark:6} {row.file}: {row.verdict}: {row.cause} ({row.seconds} s)")
        click.echo(
            f"{len(rows) - len(wrong)} of {len(rows)} lines are right; "
            f"{took.seconds} s, {took.cpu_seconds} s of processors"
        )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
