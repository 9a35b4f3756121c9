"""One diagnosis of something whose mistake is known, and what is right about it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..verify.case import Case
from ..verify.checks import check_named, subject_checks
from ..verify.diagnosis.asking import diagnoses
from ..verify.diagnosis.diagnosing import diagnose
from ..verify.diagnosis.diagnosis import Diagnosis
from ..verify.diagnosis.location import WORDS, Location
from ..verify.isolation import Isolated
from ..verify.mutants import Mutant, mutant_subject, mutants
from ..verify.mutants.catalogue import MutantSubject
from ..verify.mutants.workshop import Workshop
from ..verify.runner import BUDGETS, hold
from ..verify.shrinking import PLAIN
from ..verify.subjects.protocol import Subject
from ..verify.tasks import Named, Task
from ..verify.verdict import WRONG, Verdict
from .unknown_mistakes import unknown_mistakes
from .where_it_differs import RICH, differs, part

TOP, IN_CLASS, ONE, MISSED = "first", "in the class", "one masks the other", "MISSED"

"""How good an explanation is: for an unknown mistake, none at all is ``TOP``."""

CHECKS = 2
"""Of the checks that must see a mutant, those that are run before it is diagnosed."""

ALIASES = {"D01": "arithmetic float32", "D02": "arithmetic bfloat16"}
"""Other names of the same mistake."""

MUST_BE_NAMED = ("lengths", "bidirectional", "layers", "dropout")
"""Options that a location has to name where a mutant needs them."""

MEMORY, PATIENCE = 1024, 20.0
"""MiB and seconds for programs that misbehave."""


@dataclass(frozen=True)
class Row:
    """What was diagnosed, and how well.

    ``result`` is one of the four above; ``misplaced`` says what is wrong with the location, ""
    if it is right or there is none to compare with.
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
        told = ", ".join(self.explanations[:4]) or self.message
        return f"{self.result} {self.name}: {told} ({self.seconds:.1f} s) {self.misplaced}"


def mutant_row(id: str, cell: str) -> Row:
    """Diagnose one mutant in one cell, in its first dtype."""
    mutant = {m.id: m for m in mutants()}[id]
    name, started = f"{id}[{cell}]", time.perf_counter()
    subject = mutant_subject(mutant, cell)
    if mutant.isolated:
        found, failing = _in_a_process(mutant, subject), []
    else:
        failing = _failing(subject, mutant.killed_by[:CHECKS], mutant.dtypes[0])
        found = diagnose(subject, mutant.dtypes[0], failing)
    seconds = time.perf_counter() - started
    names = [one.name for one in found.explanations]
    rank = next((k for k, n in enumerate(names) if n in (id, ALIASES.get(id))), None)
    result = MISSED if rank is None else IN_CLASS if rank else TOP
    said = misplaced(mutant, subject, failing, found.location)
    return _row("mutant", name, result, found, said, seconds)


def _row(kind: str, name: str, result: str, found: Diagnosis, said: str, seconds: float) -> Row:
    names = tuple(one.name for one in found.explanations)
    place = str(found.location)
    return Row(kind, name, result, names, place, said, round(seconds, 1), found.message,
               found.headline)  # fmt: skip


def _failing(subject: MutantSubject, checks: Sequence[str], dtype: str) -> list[Verdict]:
    found = []
    for check in map(check_named, checks):
        if not subject.options.missing(check.needs):
            found.append(hold(subject, check, dtype))
    return [v for v in found if v.status in WRONG]


def _in_a_process(mutant: Mutant, subject: MutantSubject) -> Diagnosis:
    """Hold a program that misbehaves to its checks in worker processes, and ask about it."""
    named, isolated = Named(subject.name), Isolated(MEMORY)
    try:
        verdicts = [
            isolated.hold(Task(named, check, mutant.dtypes[0], "standard", 0), PATIENCE)
            for check in mutant.killed_by
        ]
    finally:
        isolated.close()
    return next(iter(diagnoses(verdicts, [named], memory=MEMORY)))


def misplaced(
    mutant: Mutant, subject: MutantSubject, failing: Sequence[Verdict], said: Location
) -> str:
    """Return what is wrong with a location, "" if nothing is."""
    if mutant.isolated:
        return "" if said.part == "program" else f"part {said.part}, should be program"
    cases = [Case.from_json(text) for v in failing for text in (v.case, v.drawn) if text]
    found, right = [], part(subject, cases)
    if said.part != right:
        found.append(f"part {said.part}, should be {right}")
    for option in mutant.needs:
        if option in MUST_BE_NAMED and WORDS[option] not in said.needs:
            found.append(f"should say: only with {WORDS[option]}")
    for option, words in WORDS.items():
        named = any(one.endswith(words) for one in said.needs)
        if named and _shows_without(subject, option, right, [*cases, RICH]):
            found.append(f"shows without {words}")
    return "; ".join(found)


def _shows_without(subject: MutantSubject, option: str, right: str, cases: Sequence[Case]) -> bool:
    """Whether a mutant is wrong in the same part without an option."""
    plain = (replace(case, **{option: PLAIN[option]}) for case in cases)  # type: ignore[arg-type]
    return any(differs(subject, c) == right for c in plain if not subject.options.lacking(c))


def pairs(count: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Yield two mutants and a cell that both are of, drawn at random."""
    rng, found = random.Random(seed), 0  # noqa: S311 - nothing is secret
    known = [m for m in mutants() if not m.isolated and m.dtypes[0] == "float64"]
    while found < count:
        one, other = rng.sample(known, 2)
        cells = [cell for cell in one.cells if cell in other.cells]
        if cells:
            found += 1
            yield one.id, other.id, rng.choice(cells)


def pair_of(one: Mutant, other: Mutant, cell: str) -> Mutant:
    """Return two mutants as one."""

    def change(layer: Workshop) -> None:
        one.change(layer)
        other.change(layer)

    checks = dict.fromkeys(one.killed_by[:CHECKS] + other.killed_by[:CHECKS])
    needs = dict.fromkeys(one.needs + other.needs)
    return replace(
        one, id=f"{one.id}&{other.id}", change=change, cells=(cell,), killed_by=tuple(checks),
        needs=tuple(needs),
    )  # fmt: skip


def pair_row(one: str, other: str, cell: str) -> Row:
    """Diagnose two mutants together.

    Where one alone explains all that was seen, it masks the other, which cannot be told then.
    """
    by_id, started = {m.id: m for m in mutants()}, time.perf_counter()
    both = pair_of(by_id[one], by_id[other], cell)
    subject = mutant_subject(both, cell)
    found = diagnose(subject, "float64", _failing(subject, both.killed_by, "float64"))
    seconds = time.perf_counter() - started
    names = {v: k for k, v in ALIASES.items()}
    told = [{names.get(id, id) for id in explained.ids} for explained in found.explanations]
    result = MISSED
    if {one, other} in told:
        result = IN_CLASS if told.index({one, other}) else TOP
    elif {one} in told or {other} in told:
        result = ONE
    return _row("pair", f"{one} + {other} [{cell}]", result, found, "", seconds)


def unknown_row(id: str) -> Row:
    """Diagnose a mistake that is not in the catalogue; right is that nothing explains it."""
    mistake = {m.id: m for m in unknown_mistakes()}[id]
    (cell,) = mistake.cells
    subject, started = mutant_subject(mistake, cell), time.perf_counter()
    found = diagnose(subject, "float64", failing_checks(subject, "float64"))
    seconds = time.perf_counter() - started
    result = TOP if found.status == "unexplained" else MISSED
    return _row("unknown", f"{id} [{cell}]", result, found, "", seconds)


def failing_checks(subject: Subject, dtype: str) -> list[Verdict]:
    """Hold the subject to every check, briefly; only where nothing fails, at length."""
    concerned = [
        check for check in subject_checks()
        if check.concerns(subject) and not subject.options.missing(check.needs)
    ]  # fmt: skip
    for budget in ("quick", "standard"):
        held = (hold(subject, check, dtype, budget=BUDGETS[budget]) for check in concerned)
        found = [verdict for verdict in held if verdict.status in WRONG and verdict.case]
        if found:
            return found
    return []
