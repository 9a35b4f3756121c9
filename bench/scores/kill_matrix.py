"""The kill matrix as a run: each mutant's row is on disk as soon as it is decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ...verify.checks import subject_checks
from ...verify.execution.executors import Here
from ...verify.execution.judge import BUDGETS
from ...verify.execution.tasks import Named, Task
from ...verify.mutants import Mutant, equivalences, mutant_subject, mutants
from ...verify.mutants.quantised import HELD_TO, QUANTISATION_MUTANTS, QuantisationMutant
from ...verify.runs.verdict import Verdict
from .. import run
from ..run import from_json

KIND = "mutants"

Wrong: TypeAlias = Mutant | QuantisationMutant
"""A mutant or equivalent program of the catalogue, or a mistake of quantisation."""


IMPATIENT, PATIENT = 40.0, 600.0
"""Time limits in seconds for one check of a mutant that may hang, and of any other."""

MEMORY = 1024
"""The memory limit of a mutant in MiB; one mutant allocates until it is stopped."""


@dataclass
class Row:
    """One mutant of one cell in one dtype, and the status of each check up to the first failure.

    ``expected`` are the checks that should fail; none for an equivalence, which passes if
    ``killed_by`` stays empty.
    """

    mutant: str
    cell: str
    dtype: str
    statement: str
    models: str
    expected: list[str]
    killed_by: list[str] = field(default_factory=list)
    tried: dict[str, str] = field(default_factory=dict)
    cases: int = 0
    seconds: float = 0.0
    message: str = ""

    @property
    def right(self) -> bool:
        """True for a killed mutant and for an equivalence that no check fails."""
        return bool(self.killed_by) == bool(self.expected)

    @property
    def verdict(self) -> str:
        """``right`` in words; capitals mark a wrong result."""
        if self.expected:
            return "killed" if self.right else "SURVIVED"
        return "passes" if self.right else "CALLED WRONG"

    @property
    def id(self) -> str:
        """The row's id in a run."""
        return f"{self.name} {self.dtype}"

    @property
    def name(self) -> str:
        """The subject's name."""
        return f"mutant:{self.mutant}[{self.cell}]"


def decided(
    rows: Sequence[Row], pool: Here, budget: str, seed: int, *, full: bool
) -> Iterator[Row]:
    """Run checks on mutants, until one fails or with ``full`` all; yield each decided row."""
    waiting: dict[Future[list[Verdict]], tuple[Row, list[str]]] = {}

    def ask(row: Row, checks: list[str]) -> None:
        task = Task(Named(row.name), checks[0], row.dtype, budget, seed, shrink=False)
        may_hang = _by_id()[row.mutant].isolated
        waiting[pool.hold([task], IMPATIENT if may_hang else PATIENT)] = row, checks[1:]

    for row in rows:
        ask(row, order(row))
    while waiting:
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in finished:
            row, remaining = waiting.pop(future)
            (verdict,) = future.result()
            _note(row, verdict)
            if remaining and (full or not row.killed_by):
                ask(row, remaining)
            else:
                yield row


def order(row: Row) -> list[str]:
    """Return the checks that should fail, then all others that concern the cell."""
    mutant = _by_id()[row.mutant]
    if isinstance(mutant, QuantisationMutant):
        return list(dict.fromkeys((*mutant.killed_by, *HELD_TO)))
    subject = mutant_subject(mutant, row.cell)
    concerned = [
        c.id for c in subject_checks()
        if c.concerns(subject) and not subject.options.missing(c.needs)
    ]  # fmt: skip
    return sorted(concerned, key=lambda check: (*mutant.killed_by, check).index(check))


def _by_id() -> dict[str, Wrong]:
    """Return mutants, mistakes of quantisation and equivalent programs by id."""
    programs: list[Wrong] = [*mutants(), *QUANTISATION_MUTANTS, *equivalences()]
    return {m.id: m for m in programs}


def blank_rows(chosen: Sequence[Wrong]) -> list[Row]:
    """Return the rows of these mutants, undecided."""
    return [
        Row(m.id, cell, dtype, m.statement, m.models, list(m.killed_by))
        for m in chosen
        for cell in m.cells
        for dtype in m.dtypes
    ]


def _note(row: Row, verdict: Verdict) -> None:
    row.tried[verdict.check] = verdict.status
    row.seconds = round(row.seconds + verdict.seconds, 3)
    if verdict.wrong:
        if not row.killed_by:
            row.cases, row.message = verdict.cases, verdict.message
        row.killed_by.append(verdict.check)


def ids(which: str) -> tuple[str, ...]:
    """Return the ids of the ``wrong`` programs, or of the equivalent, ``right`` ones."""
    return tuple(id for id, m in _by_id().items() if bool(m.killed_by) == (which == "wrong"))


def choose(names: Sequence[str]) -> tuple[Wrong, ...]:
    """Return the mutants and equivalences with these ids, or all; a ValueError lists them."""
    programs = _by_id()
    for name in names:
        if name not in programs:
            raise ValueError(f"mutant {name!r} is not known; there are {', '.join(programs)}")
    chosen = tuple(programs[name] for name in names) or tuple(programs.values())
    checks = {check.id for check in subject_checks()}
    for m in chosen:
        if odd := [id for id in m.killed_by if id not in checks]:
            raise ValueError(f"mutant {m.id}: killed_by: no check is called {', '.join(odd)}")
    return chosen


@dataclass(frozen=True)
class Settings:
    """The settings of a matrix."""

    mutants: tuple[str, ...]
    budget: str
    full: bool


def decide(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    seed: int,
    jobs: int,
    command: str,
    on_plan: Callable[[int], None] = lambda count: None,
) -> Iterator[Row]:
    """Yield every row that the folder lacks, as soon as it is decided and on disk.

    ``settings``: ``mutants`` (ids; none for all), ``budget``, ``full``. A folder that holds a run
    goes on with its own settings; ValueError if it is a run of another kind.
    """
    if (folder / "run.json").exists():
        unfinished = run.unfinished(folder, KIND)
        saved = from_json(Settings, unfinished.settings, f"{folder}: settings")
        if saved.budget not in BUDGETS:
            raise ValueError(f"{folder}: settings: budget: expected one of {', '.join(BUDGETS)}")
        settings, seed = vars(saved), unfinished.seed
        done = {row["id"] for row in unfinished.rows}
    else:
        unfinished, done = None, set()
    planned = blank_rows(choose(settings["mutants"]))
    if unfinished is None:
        run.start(folder, kind=KIND, command=command, seed=seed, settings=settings,
                  planned=[row.id for row in planned])  # fmt: skip
    undecided = [row for row in planned if row.id not in done]
    on_plan(len(undecided))
    with closing(Here(jobs, PATIENT, MEMORY)) as pool, run.locked(folder):
        for row in decided(undecided, pool, settings["budget"], seed, full=settings["full"]):
            run.append(folder, {"id": row.id, "status": "OK", "row": asdict(row)})
            yield row


def rows(values: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a run's rows, mutants before equivalent programs; RunFileError for other rows."""
    read = [from_json(Row, row.get("row"), row["id"]) for row in values]
    return sorted(read, key=lambda row: (not row.expected, row.id))
