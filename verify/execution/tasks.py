"""Tasks of workers, as JSON: descriptions of subjects, and single verdicts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..cases.case import Case
from ..cases.given_sizes import GivenSizes
from ..cases.options import Options
from ..checks import check_named
from ..checks.check import SubjectCheck
from ..checks.smoke import SMOKE
from ..runs.verdict import Planned, Verdict
from ..subjects import FORM, subject_named
from ..subjects.protocol import Subject
from . import schemes  # noqa: F401 - it makes the names of mutants and recordings known
from .judge import BUDGETS, hold


@dataclass(frozen=True)
class Named:
    """A subject as users name it; ``like`` is the class of torch that it replaces.

    ``like`` may also be the problem that it solves, without the names in ``forbid``. ``quantised``
    is the declared arithmetic, ``device`` where a module computes. A node of a file is compared
    with the layer ``against``, and with recorded ``inputs``, a path.
    """

    name: str
    like: str | None = None
    forbid: str = ""
    quantised: str = ""
    against: str = ""
    inputs: str = ""
    device: str = "cpu"

    def find(self) -> Subject:
        """Import the subject."""
        return subject_named(self.name, self.like, self.forbid, self.quantised, device=self.device)


@dataclass(frozen=True)
class Description:
    """The properties of a subject that are known before its checks.

    ``problem`` says why it cannot run, ``status`` is then that of its verdicts, ``seconds`` the
    time of waiting in vain. A node of a file has ``fixed`` fields of its cases, and the checks
    ``held_to`` that apply to it.
    """

    named: Named
    cells: tuple[str, ...] = ("",)
    dtypes: tuple[str, ...] = ("float64", "float32")
    options: Options = field(default_factory=Options)
    version: str = ""
    problem: str = ""
    status: str = "not tested"
    seconds: float = 0.0
    fixed: tuple[tuple[str, int | bool | str], ...] = ()
    held_to: tuple[str, ...] = ()

    def checks(self, chosen: tuple[SubjectCheck, ...]) -> tuple[SubjectCheck, ...]:
        """Return the checks that apply to it, the smoke check first."""
        if self.problem:
            return (check_named(SMOKE),)
        return tuple(c for c in chosen if c.concerns(self))


@dataclass(frozen=True)
class Task:
    """One check of one subject in one dtype, with its budget."""

    named: Named
    check: str
    dtype: str
    budget: str
    seed: int
    case: str | None = None
    shrink: bool = True
    sizes: tuple[GivenSizes, ...] = ()

    @property
    def planned(self) -> Planned:
        """The key of its verdict."""
        return Planned(self.named.name, self.check, self.dtype)

    def unanswered(self, status: str, message: str, case: str = "") -> Verdict:
        """Return the verdict if the subject's process gave none."""
        check = check_named(self.check)
        verdict = Verdict(
            self.named.name, "", check.id, check.statement, [], self.dtype, self.seed,
            status=status, message=message, case=case,
        )  # fmt: skip
        if case:
            verdict.reproduce = reproduce(self.named, check.id, case)
        return verdict


HANGS = 3
"""The number of checks without an answer after which a subject's other checks are not run."""


NO_ANSWER = "no answer after"
"""The beginning of the message of a verdict without an answer."""


def in_vain(verdict: Verdict) -> bool:
    """Whether there was no answer: the subject hung, or the machine gave it no time."""
    return verdict.status in ("timeout", "not tested") and verdict.message.startswith(NO_ANSWER)


def hung(verdicts: Iterable[Verdict]) -> str:
    """Return the reason why a subject with these verdicts is not run again, "" for none."""
    checks = [f"{v.check} ({v.dtype})" for v in verdicts if in_vain(v)]
    if len(checks) < HANGS:
        return ""
    return f"no answer came in {len(checks)} checks, {', '.join(checks)}; so it was not tried"


def describe(named: Named, subject: Subject) -> Description:
    """Return the description of a subject."""
    version = subject.version()
    return Description(
        named, subject.cells, subject.dtypes, subject.options, version,
        fixed=getattr(subject, "fixed", ()), held_to=getattr(subject, "held_to", ()),
    )  # fmt: skip


def answer(
    task: Task,
    subject: Subject,
    on_case: Callable[[Case], None],
    on_answer: Callable[[], None] | None = None,
) -> Verdict:
    """Return the verdict of the task's check of the subject."""
    verdict = hold(
        subject,
        check_named(task.check),
        task.dtype,
        budget=BUDGETS[task.budget],
        seed_value=task.seed,
        case=None if task.case is None else Case.from_json(task.case),
        on_case=on_case,
        on_answer=on_answer,
        shrink=task.shrink,
        sizes=task.sizes,
    )
    verdict.subject = task.named.name  # an adapter in a file may have another name
    if verdict.reproduce:
        verdict.reproduce = reproduce(task.named, verdict.check, verdict.case)
    if task.check == SMOKE and verdict.status in ("crashed", "not supported"):
        verdict.status = "not tested"
        verdict.message = f"the layer does not run: {verdict.message}"
    return verdict


def reproduce(named: Named, check: str, case: str) -> str:
    """Return the command that reproduces a failure."""
    like = ["--like", named.like] if named.like else []
    if named.like and named.like.startswith(FORM):
        like = ["--form", named.like.removeprefix(FORM)]
    like += ["--forbid", named.forbid] if named.forbid else []
    like += ["--against", named.against] if named.against else []
    like += ["--inputs", named.inputs] if named.inputs else []
    like += ["--quantised", named.quantised] if named.quantised else []
    like += ["--device", named.device] if named.device != "cpu" else []
    return shlex.join(["gatewise", "verify", named.name, *like, "--check", check, "--case", case])
