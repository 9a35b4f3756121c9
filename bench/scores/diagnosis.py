"""The score of the diagnosis on known mistakes, pairs of them, and unknown ones.

``python -m gatewise.bench.scores.diagnosis [--mutants] [--pairs N] [--unknown]`` diagnoses every
mutant of the catalogue in each of its cells, N random pairs of them, and the mistakes of
``UNKNOWN_MISTAKES``, which the catalogue does not have: blaming a catalogued mistake is a wrong
story, unless it computes the same; no explanation, or one of the layer's computation (a formula, a
place, a convention) is right. It prints the misses, and totals. Without any of the three, all
are scored, with 100 pairs.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median

import click
import numpy as np

from ...verify.cases.case import Case
from ...verify.cases.simplification import NO_OPTIONS
from ...verify.checks import check_named, subject_checks
from ...verify.diagnosis.examination import diagnose
from ...verify.diagnosis.hypotheses import NOTHING_WRONG, Guess, hypotheses
from ...verify.diagnosis.location import WORDS
from ...verify.execution.diagnosis_tasks import diagnoses
from ...verify.execution.isolation import Isolated
from ...verify.execution.judge import BUDGETS, hold
from ...verify.execution.tasks import Named, Task
from ...verify.mutants import Mutant, mutant_subject, mutants
from ...verify.mutants.catalogue import MutantSubject
from ...verify.mutants.held_out import UNKNOWN_MISTAKES
from ...verify.mutants.replaceable_layer import ReplaceableLayer
from ...verify.runs.diagnosis import Diagnosis, Location
from ...verify.runs.verdict import Verdict
from ...verify.subjects.protocol import Subject
from . import score
from .true_location import RICH, differs, part, same_numbers

# One diagnosis of a layer whose mistake is known, and its score.


TOP, IN_CLASS, ONE, MISSED = "first", "in the class", "one masks the other", "MISSED"
SILENT, TRUE, WRONG = "unexplained", "explained by what it computes", "WRONG STORY"

"""The results of an explanation; the last three are for unknown mistakes."""

CHECKS = 2
"""The number of checks that run before a mutant is diagnosed."""

ALIASES = {"D01": "arithmetic float32", "D02": "arithmetic bfloat16", "S15": "random state"}
"""Other names of the same mistake."""

MUST_BE_NAMED = ("lengths", "bidirectional", "layers", "dropout")
"""The options that a location must name if a mutant needs them."""

MEMORY, PATIENCE = 1024, 20.0
"""The limits, in MiB and seconds, of programs that misbehave."""


@dataclass(frozen=True)
class Row:
    """One diagnosis, and its score.

    ``result`` is one of the constants above; ``misplaced`` is the objection to the location, ""
    if it is right or cannot be compared.
    """

    kind: str
    name: str
    result: str
    explanations: tuple[str, ...]
    location: str
    misplaced: str
    seconds: float
    message: str = ""
    story: str = ""

    def __str__(self) -> str:
        explanations = ", ".join(self.explanations[:4]) or self.message
        return f"{self.result} {self.name}: {explanations} ({self.seconds:.1f} s) {self.misplaced}"


def mutant_row(id: str, cell: str) -> Row:
    """Diagnose one mutant in one cell, in its first dtype."""
    mutant = {m.id: m for m in mutants()}[id]
    name, started = f"{id}[{cell}]", time.perf_counter()
    subject = mutant_subject(mutant, cell)
    if mutant.isolated:
        diagnosis, failing = _in_a_process(mutant, subject), []
    else:
        failing = _failing(subject, mutant.killed_by[:CHECKS], mutant.dtypes[0])
        diagnosis = diagnose(subject, mutant.dtypes[0], failing)
    seconds = time.perf_counter() - started
    names = [explanation.name for explanation in diagnosis.explanations]
    rank = next((k for k, n in enumerate(names) if n in (id, ALIASES.get(id))), None)
    result = MISSED if rank is None else IN_CLASS if rank else TOP
    objection = misplaced(mutant, subject, failing, diagnosis.location)
    return _row("mutant", name, result, diagnosis, objection, seconds)


def _row(
    kind: str, name: str, result: str, diagnosis: Diagnosis, objection: str, seconds: float
) -> Row:
    names = tuple(explanation.name for explanation in diagnosis.explanations)
    place = str(diagnosis.location)
    return Row(kind, name, result, names, place, objection, round(seconds, 1), diagnosis.message,
               diagnosis.headline)  # fmt: skip


def _failing(subject: MutantSubject, checks: Sequence[str], dtype: str) -> list[Verdict]:
    concerned = (c for c in map(check_named, checks) if not subject.options.missing(c.needs))
    return [v for v in (hold(subject, check, dtype) for check in concerned) if v.wrong]


def _in_a_process(mutant: Mutant, subject: MutantSubject) -> Diagnosis:
    """Hold a program that misbehaves to its checks in worker processes, and diagnose it."""
    named = Named(subject.name)
    with closing(Isolated(MEMORY)) as isolated:
        verdicts = [
            isolated.hold(Task(named, check, mutant.dtypes[0], "standard", 0), PATIENCE)
            for check in mutant.killed_by
        ]
    return next(iter(diagnoses(verdicts, [named], memory=MEMORY)))


def misplaced(
    mutant: Mutant, subject: MutantSubject, failing: Sequence[Verdict], location: Location
) -> str:
    """Return the objections to a location, "" if it is right."""
    if mutant.isolated:
        return "" if location.part == "program" else f"part {location.part}, should be program"
    cases = [Case.from_json(text) for v in failing for text in (v.case, v.drawn) if text]
    objections, true_part = [], part(subject, cases)
    if location.part != true_part:
        objections.append(f"part {location.part}, should be {true_part}")
    for option in mutant.needs:
        if option in MUST_BE_NAMED and WORDS[option] not in location.needs:
            objections.append(f"should say: only with {WORDS[option]}")
    for option, words in WORDS.items():
        named = any(need.endswith(words) for need in location.needs)
        if named and _shows_without(subject, option, true_part, [*cases, RICH]):
            objections.append(f"shows without {words}")
    return "; ".join(objections)


def _shows_without(
    subject: MutantSubject, option: str, true_part: str, cases: Sequence[Case]
) -> bool:
    """Return whether a mutant is wrong in the same part without an option."""
    plain = (replace(case, **{option: NO_OPTIONS[option]}) for case in cases)  # type: ignore[arg-type]
    return any(differs(subject, c) == true_part for c in plain if not subject.options.lacking(c))


def pairs(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield random pairs of mutants, with a cell of both."""
    rng, drawn = random.Random(seed), 0  # noqa: S311 - nothing is secret
    catalogue = [m for m in mutants() if not m.isolated and m.dtypes[0] == "float64"]
    while drawn < count:
        first, second = rng.sample(catalogue, 2)
        cells = [cell for cell in first.cells if cell in second.cells]
        if cells:
            drawn += 1
            yield first.id, second.id, rng.choice(cells)


def pair_of(first: Mutant, second: Mutant, cell: str) -> Mutant:
    """Return a mutant with both mistakes."""

    def change(layer: ReplaceableLayer) -> None:
        first.change(layer)
        second.change(layer)

    checks = dict.fromkeys(first.killed_by[:CHECKS] + second.killed_by[:CHECKS])
    needs = dict.fromkeys(first.needs + second.needs)
    return replace(
        first, id=f"{first.id}&{second.id}", change=change, cells=(cell,), killed_by=tuple(checks),
        needs=tuple(needs),
    )  # fmt: skip


def pair_row(first: str, second: str, cell: str) -> Row:
    """Diagnose two mutants together.

    If one alone explains all failures, it masks the other, which cannot be named then.
    """
    by_id, started = {m.id: m for m in mutants()}, time.perf_counter()
    both = pair_of(by_id[first], by_id[second], cell)
    subject = mutant_subject(both, cell)
    diagnosis = diagnose(subject, "float64", _failing(subject, both.killed_by, "float64"))
    seconds = time.perf_counter() - started
    names = {v: k for k, v in ALIASES.items()} | {by_id[k].same_as: k for k in (first, second)}
    explanations = [
        {names.get(id, id) for id in explanation.ids} for explanation in diagnosis.explanations
    ]
    result = MISSED
    if {first, second} in explanations:
        result = IN_CLASS if explanations.index({first, second}) else TOP
    elif {first} in explanations or {second} in explanations:
        result = ONE
    return _row("pair", f"{first} + {second} [{cell}]", result, diagnosis, "", seconds)


def unknown_row(id: str) -> Row:
    """Diagnose a mistake that is not in the catalogue."""
    mistake = {m.id: m for m in UNKNOWN_MISTAKES}[id]
    (cell,) = mistake.cells
    subject, started = mutant_subject(mistake, cell), time.perf_counter()
    diagnosis = diagnose(subject, "float64", failing_checks(subject, "float64"))
    seconds = time.perf_counter() - started
    blamed = [e.ids for e in diagnosis.explanations if not true(subject, e.ids)]
    result = WRONG if blamed else TRUE if diagnosis.explanations else SILENT
    return _row("unknown", f"{id} [{cell}]", result, diagnosis, "", seconds)


def true(subject: MutantSubject, ids: Sequence[str]) -> bool:
    """Return whether an explanation blames no catalogued mistake, or only equivalent ones.

    Beside another explanation, a catalogued mistake is a wrong story.
    """
    by_name = {h.name: h for h in hypotheses(subject, "float64")}
    blamed = [id for id in ids if id in by_name]
    if not blamed:
        return True
    if len(blamed) < len(ids):
        return False
    guess = Guess(subject, sum((by_name[id] for id in ids), NOTHING_WRONG))
    sizes = (case for case in SIZES if not subject.options.lacking(case))
    return all(same_numbers(subject, guess.as_subject, case) for case in sizes)


SIZES = (
    Case(4, 3, 2, 5), Case(3, 2, 6, 4, state=False, seed=1),
    Case(4, 3, 2, 5, layers=2, bidirectional=True, lengths=True, seed=2),
)  # fmt: skip
"""The cases in which equivalent mistakes must return the same numbers."""


def diagnosis_of(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Diagnosis:
    """Return a diagnosis; if it raises, one with the error, as in ``gatewise verify``."""
    try:
        return diagnose(subject, dtype, failing)
    except Exception as error:
        message = f"it could not be diagnosed: {type(error).__name__}: {error}"
        failed = tuple(v.check for v in failing)
        return Diagnosis(subject.name, dtype, "unexplained", failed, message=message)


def failing_checks(subject: Subject, dtype: str) -> list[Verdict]:
    """Run every check with the quick budget, and if none fails, with the standard one."""
    concerned = [
        check for check in subject_checks()
        if check.concerns(subject) and not subject.options.missing(check.needs)
    ]  # fmt: skip
    for budget in ("quick", "standard"):
        verdicts = (hold(subject, check, dtype, budget=BUDGETS[budget]) for check in concerned)
        failures = [verdict for verdict in verdicts if verdict.wrong and verdict.case]
        if failures:
            return failures
    return []


def examined(subject: Subject, dtype: str) -> tuple[bool, Diagnosis, score.Duration]:
    """Return whether a check fails, the diagnosis, and the times of both."""
    started = time.perf_counter()
    with np.errstate(all="ignore"):
        failing = failing_checks(subject, dtype)
        checked, processed = time.perf_counter(), time.process_time()
        diagnosis = diagnosis_of(subject, dtype, failing)
    ended, cpu = time.perf_counter(), time.process_time() - processed
    duration = score.Duration(check_seconds=round(checked - started, 2),
                        seconds=round(ended - checked, 2), cpu_seconds=round(cpu, 2))  # fmt: skip
    return bool(failing), diagnosis, duration


PAIRS = 100

GOOD = {"mutant": (TOP,), "pair": (TOP, IN_CLASS, ONE), "unknown": (SILENT, TRUE)}
"""The results that count as right in the totals."""


def work(
    *, all_mutants: bool, count: int, all_unknown: bool, seed: int
) -> Iterator[score.Work[Row]]:
    """Yield the work, each piece as a function and its arguments."""
    if all_mutants:
        for mutant in mutants():
            yield from ((mutant_row, (mutant.id, cell)) for cell in mutant.cells)
    yield from ((pair_row, pair) for pair in pairs(count, seed))
    if all_unknown:
        yield from ((unknown_row, (mistake.id,)) for mistake in UNKNOWN_MISTAKES)


def totals(rows: Iterable[Row]) -> dict[str, dict[str, object]]:
    """Return counts and seconds for each kind of row."""
    counts: dict[str, dict[str, object]] = {}
    for kind in dict.fromkeys(row.kind for row in rows):
        rows_of_kind = [row for row in rows if row.kind == kind]
        seconds = [row.seconds for row in rows_of_kind]
        right_count = sum(row.result in GOOD[kind] for row in rows_of_kind)
        counts[kind] = {
            "rows": len(rows_of_kind),
            "right": right_count,
            "percent": round(100 * right_count / len(rows_of_kind), 1),
            **Counter(row.result for row in rows_of_kind),
            "located": sum(not row.misplaced for row in rows_of_kind),
            "median seconds": round(median(seconds), 1),
            "longest seconds": round(max(seconds), 1),
        }
    return counts


NOT_FIRST: score.Columns = {
    "kind": lambda row: row.kind,
    "is wrong": lambda row: row.name,
    "result": lambda row: row.result,
    "explanations": lambda row: ", ".join(row.explanations) or row.message,
    "seconds": lambda row: f"{row.seconds:.1f}",
}
MISPLACED: score.Columns = {
    "is wrong": lambda row: row.name,
    "is said to be in": lambda row: row.location,
    "what is wrong with that": lambda row: row.misplaced,
}


@click.command()
@click.option("--mutants", "all_mutants", is_flag=True, help="Every mutant, in each of its cells.")
@click.option("--pairs", "count", type=click.IntRange(min=1), help="That many random pairs.")
@click.option("--unknown", "all_unknown", is_flag=True, help="The mistakes that nobody knows.")
@score.sample_option
@score.seed_option
@score.jobs_option
@score.json_option
def main(
    all_mutants: bool,
    count: int | None,
    all_unknown: bool,
    sample: int | None,
    seed: int,
    jobs: int,
    as_json: bool,
) -> None:
    """Score and print."""
    if not (all_mutants or count or all_unknown):
        all_mutants, count, all_unknown = True, PAIRS, True
    tasks = [*work(all_mutants=all_mutants, count=count or 0, all_unknown=all_unknown, seed=seed)]
    if sample:
        tasks = list(score.in_turns(tasks, lambda task: task[0], seed))[:sample]
    rows = sorted(score.results(tasks, jobs), key=lambda row: (row.kind, row.name))
    if as_json:
        score.print_json(rows=rows, totals=totals(rows))
        return
    not_first = [row for row in rows if row.result not in (TOP, SILENT)]
    score.print_table("not named first", NOT_FIRST, not_first)
    score.print_table("in the wrong place", MISPLACED, [row for row in rows if row.misplaced])
    for row in not_first:
        if row.kind == "unknown":
            click.echo(f"{row.result}: {row.name}: {row.story}")
    for kind, numbers in totals(rows).items():
        click.echo(f"{kind}: {score.counted(numbers)}")


if __name__ == "__main__":
    main()
