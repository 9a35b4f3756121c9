"""A verification run: its request, its plan, and verdicts that are stored one by one."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..cases.case import Case
from ..cases.given_sizes import LARGE, GivenSizes
from ..checks import check_named, subject_checks
from ..checks.smoke import SMOKE
from ..conventions.weight_grid import grid_of
from ..numbers.arithmetic import DTYPES, EVERY, USUAL_DTYPES, chosen_dtypes
from ..numbers.quantisation import Quantisation
from ..runs import run as run_files
from ..runs.deviations import Deviations
from ..runs.provenance import versions
from ..runs.records import RunFileError, typed
from ..runs.run import CheckHeader, Run
from ..runs.verdict import Planned, Verdict
from ..subjects import expanded, family, model_file, require_device, require_like
from ..subjects.loader import PROGRAMS, UnknownSubject, is_file
from .executors import ClusterLost, Elsewhere, Here, workers
from .judge import BUDGETS
from .limits import LARGEST_MEMORY, MEMORY, MOST_SECONDS
from .tasks import Description, Named, Task, hung, in_vain

LOOK = 1.0
"""The seconds between checks of whether workers still run."""

TIMEOUTS = {"quick": 60.0, "standard": 300.0, "thorough": 1800.0}
"""The time limit of one check of one subject in one dtype, in seconds, by budget."""


@dataclass(frozen=True)
class Request:
    """The subjects, checks and dtypes of a run, with its budget and limits.

    A run's header stores it. ``case`` is JSON, ``deviations`` the path of a file, "" for none.
    ``sizes`` are tried beside the drawn ones. Nodes of files are compared with ``against`` and
    ``inputs``; ``device`` is where modules compute. A seed of None is drawn after the plan is made,
    so that nobody can know the cases before.
    """

    subjects: tuple[str, ...]
    like: str | None = None
    forbid: str = ""
    quantised: str = ""
    checks: tuple[str, ...] = ()
    dtype: str | None = None
    budget: str = "standard"
    seed: int | None = 0
    case: str | None = None
    timeout: float | None = None
    memory: int = MEMORY
    deviations: str = ""
    sizes: tuple[GivenSizes, ...] = ()
    against: str = ""
    inputs: str = ""
    device: str = "cpu"

    @classmethod
    def parse(cls, names: Sequence[str], **options: Any) -> Request:
        """Return a validated request; ValueError names a wrong value and the possible ones.

        ``options`` are the fields; None or empty ones take the defaults.
        """
        secret = options.get("seed", 0) is None
        fields = {name: value for name, value in options.items() if value is not None}
        if secret:
            fields["seed"] = None
        if fields.get("case") and fields.get("sizes"):
            raise ValueError("sizes: a case that is given has its own")
        case = Case.from_json(fields["case"]) if "case" in fields else None
        if case and fields.setdefault("dtype", case.dtype) != case.dtype:
            raise ValueError(
                f"case: its dtype is {case.dtype}, but {fields['dtype']} was asked for"
            )
        checks = tuple(dict.fromkeys(fields.get("checks", ())))
        chosen = tuple(map(check_named, checks)) or subject_checks()
        if case and len(chosen) == 1 and (reason := chosen[0].refuses(case)):
            raise ValueError(f"case: check {chosen[0].id}: {reason}; name another with --check")
        fields["checks"] = tuple(c.id for c in chosen if not (case and c.refuses(case)))
        fields["deviations"] = str(fields.get("deviations", ""))
        request = cls(tuple(expanded(names)), **fields)
        if any(family(name) != PROGRAMS for name in request.subjects):
            require_like(request.like, request.forbid)
        require_device(request.device, request.subjects)
        if request.budget not in BUDGETS:
            raise ValueError(f"budget {request.budget}: expected one of {', '.join(BUDGETS)}")
        if request.dtype not in (None, EVERY, *DTYPES):
            raise ValueError(f"dtype {request.dtype}: expected one of {', '.join(DTYPES)}, {EVERY}")
        request.require_ranges()
        if request.quantised:
            grid_of(Quantisation.parse(request.quantised))
        _ = request.known  # so that an unreadable file raises now
        return request

    def require_ranges(self) -> None:
        """Raise ValueError for a number out of range, and for an unprintable name."""
        if self.timeout is not None and not 0 < self.timeout <= MOST_SECONDS:
            raise ValueError(
                f"timeout: expected more than 0 and at most {MOST_SECONDS:.0f} seconds"
            )
        if not 0 <= self.memory <= LARGEST_MEMORY:
            raise ValueError(f"memory: expected 0 to {LARGEST_MEMORY} MiB")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed: expected 0 or more, got {self.seed}")
        for each in self.sizes:
            each.require()
        for name in self.subjects:
            if not name.isprintable():
                raise ValueError(f"subject {name!a:.200}: expected printable text")

    @classmethod
    def resumed(cls, folder: Path) -> Request:
        """Return the request of an unfinished run."""
        header = run_files.read_checks(folder)
        if not header.request or header.schema != run_files.SCHEMA:
            raise ValueError(f"{folder}: was made by an older version and cannot be gone on with")
        here, there = (v.get("hypothesis", "none") for v in (versions(), header.versions))
        if here != there:
            raise ValueError(
                f"{folder}: its cases were drawn by Hypothesis {there}, and here is {here}, which "
                "draws others from the same seed; go on with that version, or begin anew"
            )
        stored = {"budget": header.budget, "seed": header.seed, **header.request}
        options = dict(vars(typed(cls, stored, f"{folder}: request")))
        return cls.parse(options.pop("subjects"), **options)

    @property
    def named(self) -> tuple[Named, ...]:
        """The subjects."""
        every = self.like, self.forbid, self.quantised, self.against, self.inputs, self.device
        return tuple(Named(name, *every) for name in self.subjects)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The checks that were requested by name; () if all that take the case are."""
        case = Case.from_json(self.case) if self.case else None
        every = {c.id for c in subject_checks() if not (case and c.refuses(case))}
        return () if every == {*self.checks} else self.checks

    @cached_property
    def known(self) -> Deviations:
        """The known and accepted deviations."""
        if not self.deviations:
            return Deviations()
        known = Deviations.read(Path(self.deviations))
        known.require([check.id for check in subject_checks()], DTYPES)
        return known

    @property
    def patience(self) -> float:
        """The time limit of one check in seconds."""
        return self.timeout or TIMEOUTS[self.budget]

    def plan(self, descriptions: Sequence[Description]) -> list[Task]:
        """Return the tasks: all combinations that will run."""
        checks = tuple(map(check_named, self.checks))
        sizes = () if self.case else self.sizes + LARGE * (self.budget == "thorough")
        seed = self.seed or 0
        return [
            Task(subject.named, check.id, dtype, self.budget, seed, self.case, sizes=sizes)
            for subject in descriptions
            for number, check in enumerate(subject.checks(checks))
            for dtype in self._dtypes(subject)
            if dtype in subject.dtypes or number == 0  # a missing dtype is reported once
        ]

    def with_seed(self) -> Request:
        """Return the request with its own seed, or with a random one."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(2**32))

    def _dtypes(self, subject: Description) -> tuple[str, ...]:
        """Return the dtypes of a subject's tasks.

        A problem has a single dtype, and so has a node of a file.
        """
        if self.dtype is None and subject.options.problem:
            return subject.dtypes[:1]
        if self.dtype not in (None, EVERY):
            return (str(self.dtype),)
        if self.dtype is None and subject.fixed:
            return subject.dtypes
        usual = self.dtype is None and {*USUAL_DTYPES} & {*subject.dtypes}
        return USUAL_DTYPES if usual else chosen_dtypes(subject.dtypes, self.dtype)


def _digest(named: Named) -> str:
    """Return the digest of a subject's file, "" for subjects without one."""
    where = named.name if named.name.endswith(".py") else named.name.rpartition(":")[0]
    if model_file(named.name):
        from ..models.subject import file_of

        where = file_of(named.name)
    elif not is_file(named.name):
        return ""
    try:
        with open(Path(where).expanduser(), "rb", opener=_without_waiting) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return hashlib.file_digest(file, "sha256").hexdigest() if regular else ""
    except OSError:
        return ""


def _without_waiting(path: str, flags: int) -> int:
    """Open an untrusted file without waiting: it may have become a pipe, or an endless device."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _not_smoke(task: Task) -> bool:
    return task.check != SMOKE


@dataclass
class Session:
    """A running request, with its workers, plan and folder."""

    request: Request
    folder: Path
    pool: Here | Elsewhere
    descriptions: dict[Named, Description] = field(default_factory=dict)
    verdicts: dict[Task, Verdict] = field(default_factory=dict)
    files: dict[Named, str] = field(default_factory=dict)
    hangs: dict[str, list[Verdict]] = field(default_factory=dict)
    plan: str = ""

    def describe(self) -> list[Task]:
        """Describe every subject, and return the plan."""
        request = self.request
        case = Case.from_json(request.case) if request.case else None
        self.files = {named: _digest(named) for named in self.request.named}
        futures = [self.pool.describe(named) for named in self.request.named]
        for future in futures:
            self._wait_for_any([future])
            description = future.result()
            if description.status == "unknown":
                if len(self.request.subjects) == 1 or not is_file(description.named.name):
                    raise UnknownSubject(description.problem)
                # the other files are verified all the same
                description = replace(description, status="not tested")
            if case and (lacking := description.options.lacking(case)):
                raise ValueError(f"case: {description.options.why(lacking)}")
            stacked = any(sizes.layers > 1 for sizes in request.sizes)
            if stacked and description.options.missing(("layers",)):
                raise ValueError(f"sizes: {description.options.why(('layers',))}")
            self.descriptions[description.named] = description
        self.request = request.with_seed()
        return self.request.plan(list(self.descriptions.values()))

    def run(self, plan: Sequence[Task]) -> Iterator[Verdict]:
        """Yield verdicts as they come: of each subject in a dtype the smoke check before the rest.

        Workers elsewhere hold no task back: they are given the rest after all smoke checks.
        """
        smoke = [t for t in plan if t.check == SMOKE and t not in self.verdicts]
        rest = [t for t in plan if t.check != SMOKE and t not in self.verdicts]
        for tasks in ([*smoke, *rest],) if isinstance(self.pool, Here) else (smoke, rest):
            yield from self._verdicts(tasks)

    def _verdict_without_run(self, task: Task) -> Verdict | None:
        """Return the verdict on a task that need not run, or None."""
        description = self.descriptions[task.named]
        if task.dtype not in description.dtypes:
            lacking = f"the subject does not compute in {task.dtype}"
            return self._completed(task, task.unanswered("not supported", lacking))
        if missing := description.options.missing(check_named(task.check).needs):
            why = description.options.why(missing)
            return self._completed(task, task.unanswered("not supported", why))
        if reason := self._does_not_run(task) or hung(self.hangs.get(task.named.name, ())):
            return self._completed(task, task.unanswered("not tested", reason))
        if description.problem:
            verdict = task.unanswered(description.status, description.problem)
            verdict.seconds = description.seconds
            return verdict
        return None

    def _verdicts(self, tasks: Sequence[Task]) -> Iterator[Verdict]:
        unanswered = []
        for task in tasks:
            if verdict := self._verdict_without_run(task):
                yield self._store(task, verdict)
            else:
                unanswered.append(task)
        unanswered.reverse()  # the long sequences stand last; begun first, they do not end last
        waiting = self._hold(sorted(unanswered, key=_not_smoke))
        while waiting:
            finished = self._wait_for_any(waiting)
            # smoke checks first: the verdicts on the others depend on theirs
            for future in sorted(finished, key=lambda future: _not_smoke(waiting[future][0])):
                for task, answer in zip(waiting.pop(future), future.result(), strict=True):
                    reason = self._does_not_run(task)
                    verdict = task.unanswered("not tested", reason) if reason else answer
                    yield self._store(task, self._completed(task, verdict))

    def _hold(self, tasks: Sequence[Task]) -> dict[Future[list[Verdict]], Sequence[Task]]:
        """Submit tasks, of which smoke checks, for which others wait, come first."""
        if not isinstance(self.pool, Here):
            size = self.pool.batch
            batches = [tasks[start : start + size] for start in range(0, len(tasks), size)]
            return {self.pool.hold(batch): batch for batch in batches}
        futures: dict[Task, Future[list[Verdict]]] = {}
        with self.pool.lock:
            for task in tasks:
                smoke = futures.get(replace(task, check=SMOKE))
                futures[task] = self.pool.hold([task], after=smoke)
        return {future: [task] for task, future in futures.items()}

    def _wait_for_any(self, waiting: Collection[Future[Any]]) -> Collection[Future[Any]]:
        """Wait for futures; ClusterLost if no worker runs them any more."""
        while not (finished := wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED).done):
            if why := self.pool.lost():
                raise ClusterLost(why)
        return finished

    def _does_not_run(self, task: Task) -> str:
        """Return the reason to skip a task of a subject that does not run, "" for none."""
        smoke = self.verdicts.get(replace(task, check=SMOKE))
        return f"its smoke check: {smoke.status}" if smoke and not smoke.compared else ""

    def _completed(self, task: Task, verdict: Verdict) -> Verdict:
        """Complete a verdict with the fields that the task and the description determine."""
        description = self.descriptions[task.named]
        verdict.subject, verdict.check, verdict.dtype = vars(task.planned).values()
        verdict.cell = verdict.cell or description.cells[0]
        verdict.version = verdict.version or description.version
        return verdict

    def _store(self, task: Task, verdict: Verdict) -> Verdict:
        if self.files.get(task.named) != _digest(task.named):
            changed = "its file was changed while it was held: run it again, by itself"
            verdict = self._completed(task, task.unanswered("not tested", changed))
        verdict.plan = self.plan
        try:
            verdict = run_files.sound(verdict)
        except RunFileError as error:  # what a subject's process said is untrusted
            why = f"the subject's process gave a verdict that is none: {error}"
            verdict = self._completed(task, task.unanswered("crashed", why))
            verdict.plan = self.plan
        verdict = self.request.known.judge(verdict)
        run_files.append(self.folder, verdict)
        self._count(task, verdict)
        return verdict

    def take_over(self, done: Mapping[Task, Verdict]) -> None:
        """Take over the verdicts of an unfinished run."""
        for task, verdict in done.items():
            self._count(task, verdict)

    def _count(self, task: Task, verdict: Verdict) -> None:
        self.verdicts[task] = verdict
        if in_vain(verdict):
            self.hangs.setdefault(verdict.subject, []).append(verdict)


def run(
    request: Request,
    folder: Path,
    *,
    command: str,
    jobs: int = 1,
    executor: Executor | str | None = None,
    hidden: Sequence[Path] = (),
    on_plan: Callable[[int], None] = lambda count: None,
    on_begin: Callable[[Run], None] = lambda run: None,
) -> Iterator[Verdict]:
    """Yield one verdict after another, each after it is stored in ``folder``.

    An unfinished run of the same request in the folder is continued. ``on_begin`` takes the run
    with its header and earlier verdicts, under a lock. Subjects see neither the folder nor the
    ``hidden`` ones, if the system can hide them.
    """
    folder.mkdir(parents=True, exist_ok=True)  # before any subject runs, so that it can be hidden
    with workers(
        jobs=jobs,
        timeout=request.patience,
        memory=request.memory,
        executor=executor,
        hidden=[str(each.resolve()) for each in (folder, *hidden)],
    ) as pool:
        session = Session(request, folder, pool)
        try:
            plan = session.describe()
        except BaseException:  # also for interrupts
            with suppress(OSError):  # it holds an earlier run
                folder.rmdir()
            raise
        request = session.request
        tasks = {task.planned: task for task in plan}
        header = _begin(folder, request, list(tasks), command)
        with run_files.locked(folder):
            before = Run(**vars(header), verdicts=()) if header else _before(folder, request, tasks)
            session.plan = before.plan
            session.take_over({tasks[verdict.planned]: verdict for verdict in before.verdicts})
            on_begin(before)
            on_plan(len(plan) - len(session.verdicts))
            yield from session.run([task for task in plan if task not in session.verdicts])


def _begin(
    folder: Path, request: Request, planned: list[Planned], command: str
) -> CheckHeader | None:
    """Write and return the run's header, None if there is one."""
    if (folder / "run.json").exists():
        return None
    return run_files.start(folder, command=command, seed=request.seed or 0, budget=request.budget,
                           planned=planned, request=asdict(request))  # fmt: skip


def _before(folder: Path, request: Request, tasks: Mapping[Planned, Task]) -> Run:
    """Return an unfinished run; ValueError or RunFileError unless it fits the request."""
    run_files.drop_torn_line(folder)
    before = run_files.read_checks(folder)
    if (before.seed, before.budget, before.planned) != (request.seed, request.budget, tuple(tasks)):
        raise ValueError(f"{folder}: holds another run; the plan is no longer the same")
    judged: set[Planned] = set()
    plan = before.plan
    for verdict in before.verdicts:
        place = f"{folder}: the verdict on {verdict.subject}, {verdict.check}, {verdict.dtype}"
        if verdict.planned not in tasks or verdict.planned in judged:
            raise RunFileError(f"{place} is not planned, or stands there twice")
        if (verdict.plan, verdict.seed) != (plan, request.seed):
            raise RunFileError(f"{place} is of another plan than run.json, which was changed since")
        judged.add(verdict.planned)
    return before
