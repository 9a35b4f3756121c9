"""Runs of the user's suite in separate processes, one per mutant, and their results.

A suite with random inputs may catch a mutant in one run and not in the next; with a seed
(``--pytest-args --hypothesis-seed=0``) the results are reproducible.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from ..cases.options import WORDS
from ..checks import check_named
from ..mutants import Mutant, mutants
from .plugin import ORDER, read_notes
from .substitute import not_applicable

PATIENCE, SLOWER = 60.0, 10.0
"""Time limit of a mutant: seconds, or a multiple of the time without a mutant."""

FIRST = 1800.0
"""Seconds for the run without a mutant."""

LAST_WORDS = 12
"""Lines of pytest's output that are kept, from its end."""

NOTHING_COLLECTED = 5
"""pytest's exit code."""


class CouldNotRun(RuntimeError):
    """The suite cannot be audited; the message gives the reason."""


class WrongTarget(ValueError):
    """The target is not a class that can be substituted."""


@dataclass(frozen=True)
class Suite:
    """The user's tests, and the class that they test; ``timeout`` 0 is the default limit."""

    tests: tuple[str, ...]
    target: str
    like: str = ""
    pytest_args: tuple[str, ...] = ()
    timeout: float = 0.0


@dataclass(frozen=True)
class SuiteRun:
    """One run: pytest's exit code (None if it was ended), its last lines, and the notes."""

    exit_code: int | None
    words: str
    seconds: float
    notes: dict[str, list[str]]


@dataclass(frozen=True)
class Baseline:
    """Result of the run with the correct layer: the kind of class, and the time taken."""

    kind: str
    seconds: float


@dataclass
class Row:
    """The result of one mutant: killed, timed out, survived, not planted or not applicable.

    ``by`` are the tests that failed, ``why`` is the reason of other results. ``caught_by`` is the
    property that a test must check to catch the mutant, ``fix`` corrects such a mistake.
    """

    mutant: str
    statement: str
    models: str
    caught_by: str
    fix: str
    result: str = ""
    by: list[str] = field(default_factory=list)
    why: str = ""
    seconds: float = 0.0


def choose(names: Sequence[str]) -> tuple[Mutant, ...]:
    """Return the mutants with these ids, or all; raise ValueError for an unknown id."""
    by_id = {m.id: m for m in mutants()}
    for name in names:
        if name not in by_id:
            raise ValueError(f"mutant {name!r} is not known; there are {', '.join(by_id)}")
    return tuple(by_id[name] for name in dict.fromkeys(names)) or tuple(by_id.values())


def row_of(mutant: Mutant) -> Row:
    """Return the row of a mutant without a result."""
    seen_by = check_named(mutant.killed_by[0]).statement
    return Row(mutant.id, mutant.statement, mutant.models, seen_by, mutant.fix)


class Auditor:
    """Runs a suite in several processes at a time; ``close`` ends those that still run."""

    def __init__(self, suite: Suite, jobs: int) -> None:
        self.suite = suite
        self._threads = ThreadPoolExecutor(jobs)
        self._running: set[subprocess.Popen[bytes]] = set()

    def close(self) -> None:
        """End all processes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            _end(process)
        self._threads.shutdown(wait=True)

    def baseline(self) -> Baseline:
        """Run the suite unchanged and with the correct layer in the class; both must pass."""
        if importlib.util.find_spec("pytest") is None:
            raise CouldNotRun("pytest is not installed; install it with: pip install pytest")
        plain = self._threads.submit(self._run, None, self.suite.timeout or FIRST)
        substituted = self._threads.submit(self._run, "", self.suite.timeout or FIRST)
        _must_pass(plain.result(), "their tests do not pass without a mutant")
        run = substituted.result()
        notes, target = run.notes, self.suite.target
        if "refused" in notes:
            raise WrongTarget(notes["refused"][0])
        if "differs" in notes:
            raise CouldNotRun(
                f"{target} does not compute what torch.nn.{notes['kind'][0]} computes with its "
                f"parameters ({notes['differs'][0]}), so that no layer can stand in its place"
            )
        _must_pass(run, "their tests pass, but not with a right layer in the place of the class")
        if "called" not in notes:
            raise CouldNotRun(f"their tests pass, and never call {target}")
        if "substituted" not in notes:
            why = notes.get("not readable", ["no call of it could be read"])[0]
            raise CouldNotRun(f"{target}: {why}")
        return Baseline(notes["kind"][0], run.seconds)

    def rows(self, chosen: Sequence[Mutant], base: Baseline) -> Iterator[Row]:
        """Yield the row of each mutant when it is decided; inapplicable ones are not run."""
        limit = self.suite.timeout or max(PATIENCE, SLOWER * base.seconds)
        running = {}
        for mutant in chosen:
            row = row_of(mutant)
            if why := not_applicable(mutant, base.kind):
                row.result, row.why = "not applicable", why
                yield row
            else:
                running[self._threads.submit(self._run, mutant.id, limit)] = row, mutant.needs
        for future in as_completed(running):
            yield judged(*running[future], future.result())

    def _run(self, mutant: str | None, limit: float) -> SuiteRun:
        """Run the suite; ``mutant`` "" is the correct layer, None leaves the class unchanged."""
        with tempfile.TemporaryDirectory(prefix="gatewise-audit-") as folder:
            notes = Path(folder, "notes")
            order = {
                "target": self.suite.target,
                "like": self.suite.like,
                "mutant": mutant or "",
                "notes": str(notes),
            }
            command = [sys.executable, "-m", "pytest", *self.suite.tests, "-q", "-x", "--tb=short"]
            command += ["-p", "no:cacheprovider", f"--basetemp={folder}/basetemp"]
            if mutant is not None:
                command += ["-p", f"{__package__}.plugin"]
            started = time.monotonic()
            with Path(folder, "said").open("w+b") as output:
                process = subprocess.Popen(
                    [*command, *self.suite.pytest_args],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that its children end with it
                    env=_environment(folder) | {ORDER: json.dumps(order)},
                )
                code = self._waited(process, limit)
                output.seek(0)
                words = output.read().decode(errors="replace").strip().splitlines()
            seconds = time.monotonic() - started
            return SuiteRun(code, "\n".join(words[-LAST_WORDS:]), seconds, read_notes(notes))

    def _waited(self, process: subprocess.Popen[bytes], limit: float) -> int | None:
        self._running.add(process)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
            self._running.discard(process)


def _environment(folder: str) -> dict[str, str]:
    """Return an environment in which nothing is written into the user's folders."""
    return {
        "OMP_NUM_THREADS": "1",  # because several suites run at a time
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        # examples that failed on one mutant must not be replayed first on another
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis",
        "COVERAGE_FILE": f"{folder}/coverage",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run and its child processes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _must_pass(run: SuiteRun, otherwise: str) -> None:
    if run.exit_code == NOTHING_COLLECTED:
        otherwise = "there are no tests"
    if run.exit_code is None:
        otherwise = f"their tests take more than {run.seconds:.0f} s without a mutant"
    if run.exit_code != 0:
        raise CouldNotRun(f"{otherwise}; pytest said:\n{run.words}")


def judged(row: Row, needs: Sequence[str], run: SuiteRun) -> Row:
    """Return the row with its result; only a mutant that a call has shown can be killed."""
    notes = run.notes
    row.seconds = round(run.seconds, 2)
    if run.exit_code is None and "called" in notes and "ended" not in notes:
        row.result, row.why = "timed out", f"no end after {run.seconds:.0f} s; counts as killed"
    elif "shown" not in notes:
        row.result, row.why = _unseen(run, needs)
    elif run.exit_code == 0:
        row.result = "survived"
    else:
        row.result, row.by = "killed", list(dict.fromkeys(notes.get("failed", [])))
        if run.exit_code is not None and run.exit_code < 0:
            row.why = f"pytest was ended by {signal.Signals(-run.exit_code).name}"
    return row


def _unseen(run: SuiteRun, needs: Sequence[str]) -> tuple[str, str]:
    """Return result and reason of a mutant that changed no call."""
    if "failed" in run.notes:
        return "not planted", "their tests fail now and then, without the mutant as well"
    if "substituted" not in run.notes:
        return "not planted", run.notes.get("not readable", ["the class was not called"])[0]
    options = " and ".join(WORDS[need] for need in needs) or "what would show it"
    if "offered" in run.notes:
        return "survived", f"never reached: no call has {options}"
    return "not planted", f"the class does not offer {options}"
