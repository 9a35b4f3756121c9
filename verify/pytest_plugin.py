"""pytest: ``pytest --gatewise my_lstm.py:MyLSTM``, and ``gatewise.conforms`` for test files.

With ``--gatewise`` each check in each dtype is one test item. Subjects run in a process of their
own, so a crash or a hang costs one item and not the run. An item passes if the check holds, and is
skipped if the subject does not offer what the check needs. All other statuses fail, also *blind*
and *not tested*, because nothing has been shown. If a layer does not run at all, its smoke item
gives the reason and its other items fail in one line each; ``-x`` stops at the smoke item, which
comes first. The diagnosis of a subject stands once, in pytest's summary.

``conforms`` works in pytest's own process: a layer that crashes ends pytest.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .runs.status import STATUSES, Outcome

if TYPE_CHECKING:
    from .execution.session import Request
    from .execution.tasks import Description, Task
    from .runs.diagnosis import Diagnosis
    from .runs.verdict import Verdict

Verdicts = Callable[["Task"], "Verdict"]

UNABLE = "the layer does not run: "


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; nothing happens without ``--gatewise``."""
    group = parser.getgroup("gatewise", "recurrent layers against the equations (gatewise)")
    group.addoption(
        "--gatewise", action="append", default=[], metavar="SUBJECT",
        help="Hold path/to/file.py:Class or package.module:Name to every check; may be repeated.",
    )  # fmt: skip
    group.addoption(
        "--gatewise-like", metavar="CLASS",
        help="The class has the constructor, parameters and call of torch.nn.LSTM, GRU or RNN.",
    )  # fmt: skip
    group.addoption(
        "--gatewise-budget", choices=("quick", "standard", "thorough"), default="standard",
        help="How many cases for each check and dtype (standard).",
    )  # fmt: skip
    group.addoption(
        "--gatewise-seed", type=int, default=0, metavar="N",
        help="The same seed draws the same cases (0).",
    )  # fmt: skip
    group.addoption(
        "--gatewise-check", action="append", default=[], metavar="ID[,ID]",
        help="Only these checks; see: gatewise checks.",
    )  # fmt: skip
    group.addoption(
        "--gatewise-timeout", type=float, metavar="SECONDS",
        help="For one check in one dtype (60, 300 or 1800 by budget).",
    )  # fmt: skip
    group.addoption(
        "--gatewise-no-diagnosis", action="store_true",
        help="Do not diagnose failures.",
    )  # fmt: skip


NODES: pytest.StashKey[list[SubjectNode]] = pytest.StashKey()
"""The subjects of a session."""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the finding on each subject that does not conform, before the list of its items."""
    from .runs.findings import Finding, laid_out

    for node in config.stash.get(NODES, ()):
        verdicts = tuple(item.result for item in node.items if item.result is not None)
        if not any(v.wrong for v in verdicts):
            continue
        diagnosis = None if config.getoption("gatewise_no_diagnosis") else node.diagnosis(verdicts)
        finding = Finding(node.name, verdicts, diagnosis)
        terminalreporter.write_sep("=", "gatewise")
        terminalreporter.line(finding.headline, red=True, bold=True)
        for text in laid_out(finding.lines()):
            terminalreporter.line(text)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Add the subjects to the folders and files that pytest has collected."""
    report = yield
    if isinstance(collector, pytest.Session) and collector.config.getoption("gatewise"):
        report.result = [*(report.result or ()), *_nodes(collector)]
    return report


def _nodes(session: pytest.Session) -> Iterable[SubjectNode]:
    """Return the subjects with their plans; an unknown name is a usage error."""
    from .execution.hangs import Hangs
    from .execution.isolation import Isolated
    from .execution.session import Request

    option = session.config.getoption
    if option("gatewise_seed") < 0:
        raise pytest.UsageError("--gatewise-seed: expected 0 or more")
    timeout = option("gatewise_timeout")
    if timeout is not None and not timeout > 0:
        raise pytest.UsageError("--gatewise-timeout: expected seconds, more than 0")
    try:
        request = Request.parse(
            option("gatewise"),
            like=option("gatewise_like"),
            checks=[name for names in option("gatewise_check") for name in names.split(",")],
            budget=option("gatewise_budget"),
            seed=option("gatewise_seed"),
            timeout=timeout,
        )
    except ValueError as error:
        raise pytest.UsageError(f"gatewise: {error}") from error
    paths = [str(path) for path in session.config.getini("pythonpath")]
    isolated = Isolated(request.memory, paths, option="--gatewise-timeout")
    session.config.add_cleanup(isolated.close)
    hangs = Hangs()
    verdicts = _cached(lambda task: hangs.hold(task, isolated, request.patience))
    descriptions = [isolated.describe(named, request.patience) for named in request.named]
    for description in descriptions:
        if description.status == "unknown":
            raise pytest.UsageError(f"gatewise: {description.problem}")
    nodes = [_node(session, request, description, verdicts) for description in descriptions]
    session.config.stash[NODES] = nodes
    return nodes


def _node(
    session: pytest.Session, request: Request, description: Description, verdicts: Verdicts
) -> SubjectNode:
    file = Path(description.named.name.rpartition(":")[0])
    path = file.resolve() if file.is_file() else session.path
    node: SubjectNode = SubjectNode.from_parent(
        session, name=description.named.name, nodeid=description.named.name, path=path
    )
    node.described, node.plan, node.verdicts = description, request.plan([description]), verdicts
    node.memory, node.items = request.memory, []
    return node


def _cached(hold: Verdicts) -> Verdicts:
    """Return ``hold`` with a cache; if the smoke check fails, no other task is run."""
    from dataclasses import replace

    from .checks.smoke import SMOKE

    @functools.cache
    def verdict(task: Task) -> Verdict:
        if task.check == SMOKE:
            return hold(task)
        smoke = verdict(replace(task, check=SMOKE))
        if not smoke.compared:
            reason = smoke.message.removeprefix(UNABLE)
            return task.unanswered("not tested", f"{UNABLE}{reason}")
        return hold(task)

    return verdict


class SubjectNode(pytest.Collector):
    """A subject: the parent of its check items."""

    described: Description
    plan: Sequence[Task]
    verdicts: Verdicts
    memory: int
    items: list[CheckItem]

    def collect(self) -> Iterator[CheckItem]:
        """Yield an item for each check and dtype, the smoke check first."""
        from .checks.smoke import SMOKE

        for task in sorted(self.plan, key=lambda task: task.check != SMOKE):
            item: CheckItem = CheckItem.from_parent(self, name=f"{task.check}[{task.dtype}]")
            item.task = task
            self.items.append(item)
            yield item

    def diagnosis(self, verdicts: Sequence[Verdict]) -> Diagnosis | None:
        """Return the diagnosis of the failures, made in a process of its own."""
        from .execution.diagnosis_tasks import diagnoses

        return next(diagnoses(verdicts, [self.described.named], memory=self.memory), None)

    def verdict(self, task: Task) -> Verdict:
        """Return the verdict on a task, or the problem of a subject that was not imported."""
        if self.described.problem:
            return task.unanswered(self.described.status, self.described.problem)
        return self.verdicts(task)


class NotShown(Exception):
    """The check failed, or could not be judged."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class CheckItem(pytest.Item):
    """One check of one subject in one dtype."""

    task: Task
    parent: SubjectNode
    result: Verdict | None = None

    def runtest(self) -> None:
        """Pass, skip or raise, as the verdict says."""
        verdict = self.result = self.parent.verdict(self.task)
        if verdict.worst_ratio is not None:
            self.user_properties.append(("error/bound", verdict.worst_ratio))
        outcome = STATUSES[verdict.status].outcome
        if outcome is Outcome.ACCEPTED:
            raise pytest.skip.Exception(verdict.message, _use_item_location=True)
        if outcome is not Outcome.RIGHT:
            raise NotShown(verdict)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the verdict as text; only errors of gatewise itself have a traceback."""
        if isinstance(excinfo.value, NotShown):
            return FailureText(excinfo.value.verdict)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the subject stands, and the item's title."""
        return self.path, 0, f"{self.parent.name} {self.name}"


@dataclass(frozen=True)
class FailureText:
    """A verdict as pytest prints it; ``reprcrash`` is the line in its summary."""

    verdict: Verdict

    @property
    def reprcrash(self) -> Crash:
        """Return the line in the summary."""
        return Crash(f"{self.verdict.status}: {self.verdict.message}")

    def __str__(self) -> str:
        v = self.verdict
        details = {"first wrong": v.place, "again": v.reproduce}
        lines = [v.statement, f"{v.status}: {v.message}"]
        return "\n".join(lines + [f"{name}: {text}" for name, text in details.items() if text])

    def toterminal(self, terminal: Any) -> None:
        """Print it."""
        statement, *rest = str(self).split("\n")
        terminal.line(statement)
        for line in rest:
            terminal.line(f"E   {line}", red=True, bold=True)


@dataclass(frozen=True)
class Crash:
    """The line of a failure in pytest's summary."""

    message: str

    def __str__(self) -> str:
        return self.message


def conforms(
    subject: Any,
    *,
    like: str | None = None,
    checks: Sequence[str] = (),
    dtype: str | None = None,
    budget: str = "standard",
    seed: int = 0,
) -> Callable[[Callable[..., Any]], Any]:
    """Parametrize a test with the ``verdict`` on a layer, for each check and dtype.

    ```python
    @gatewise.conforms(MyLSTM, like="torch.nn.LSTM", budget="quick")
    def test_my_lstm(verdict):
        assert verdict.status == "passed", verdict.message
    ```

    The arguments are those of ``gatewise.check``. The verdict is computed when the test runs. The
    test is skipped if the layer does not offer what the check needs.
    """
    from .api import find
    from .execution.session import Request
    from .execution.tasks import Description, Named, answer

    adapter = find(subject, like)
    request = Request.parse([adapter.name], like=like, checks=checks, dtype=dtype, budget=budget,
                            seed=seed)  # fmt: skip
    described = Description(
        Named(adapter.name, like), adapter.cells, adapter.dtypes, adapter.options
    )
    verdicts = _cached(lambda task: answer(task, adapter, lambda case: None))
    pending = [
        pytest.param(Pending(task, verdicts), id=f"{task.check}-{task.dtype}")
        for task in request.plan([described])
    ]

    def decorate(test: Callable[..., Any]) -> Any:
        if "verdict" not in inspect.signature(test).parameters:
            raise TypeError(f"{test.__name__}: expected an argument named verdict")

        @functools.wraps(test)
        def judged(*arguments: Any, verdict: Pending, **others: Any) -> Any:
            __tracebackhide__ = True
            return test(*arguments, verdict=verdict.computed(), **others)

        return pytest.mark.parametrize("verdict", pending)(judged)

    return decorate


@dataclass(frozen=True)
class Pending:
    """A verdict that is computed on demand."""

    task: Task
    verdicts: Verdicts = field(repr=False)

    def computed(self) -> Verdict:
        """Return the verdict; skip the test if the layer does not offer what the check needs."""
        __tracebackhide__ = True
        verdict = self.verdicts(self.task)
        if STATUSES[verdict.status].outcome is Outcome.ACCEPTED:
            raise pytest.skip.Exception(verdict.message, _use_item_location=True)
        return verdict
