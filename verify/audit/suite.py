"""Their suite in processes of its own, once a mutant, and what became of each.

A suite that draws its inputs at random may see a mutant in one run and not in the next; with a
seed (``--pytest-args --hypothesis-seed=0``) the answer is the same every time.
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
"""A mutant may take this many seconds, or so many times as long as no mutant, before it hangs."""

FIRST = 1800.0
"""Seconds for the run without a mutant."""

LAST_WORDS = 12
"""Lines of what pytest said at the end."""

NOTHING_COLLECTED = 5
"""pytest's exit code."""


class CouldNotRun(RuntimeError):
    """There is nothing to compare mutants with; the message says why."""


class WrongTarget(ValueError):
    """What the user named is no class to plant mutants in."""


@dataclass(frozen=True)
class Suite:
    """Somebody's tests, and the class that they test; ``timeout`` 0 is ours to choose."""

    tests: tuple[str, ...]
    target: str
    like: str = ""
    pytest_args: tuple[str, ...] = ()
    timeout: float = 0.0


@dataclass(frozen=True)
class Ran:
    """One run: pytest's exit code (None if it was ended), its last words, and the notes."""

    exit_code: int | None
    words: str
    seconds: float
    notes: dict[str, list[str]]


@dataclass(frozen=True)
class Baseline:
    """What the run with the right layer has shown: the kind of class, and how long it takes."""

    kind: str
    seconds: float


@dataclass
class Row:
    """One mutant: killed, timed out, survived, not planted or not applicable; by what, and why.

    ``caught_by`` is what a test has to look at to see it, ``fix`` what to do about such a mistake.
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
    """Return the mutants with these ids, or all; a ValueError lists them."""
    known = {m.id: m for m in mutants()}
    for name in names:
        if name not in known:
            raise ValueError(f"mutant {name!r} is not known; there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(names)) or tuple(known.values())


def row_of(mutant: Mutant) -> Row:
    """Return the row of a mutant that is not decided."""
    seen_by = check_named(mutant.killed_by[0]).statement
    return Row(mutant.id, mutant.statement, mutant.models, seen_by, mutant.fix)


class Auditor:
    """Runs a suite, several at a time; ``close`` ends what still runs."""

    def __init__(self, suite: Suite, jobs: int) -> None:
        self.suite = suite
        self._threads = ThreadPoolExecutor(jobs)
        self._running: set[subprocess.Popen[bytes]] = set()

    def close(self) -> None:
        """End every process; nothing is left behind."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            _end(process)
        self._threads.shutdown(wait=True)

    def baseline(self) -> Baseline:
        """Run the suite as it is, and with the right layer in the class: both have to pass."""
        if importlib.util.find_spec("pytest") is None:
            raise CouldNotRun("pytest is not installed; install it with: pip install pytest")
        plain = self._threads.submit(self._run, None, self.suite.timeout or FIRST)
        right = self._threads.submit(self._run, "", self.suite.timeout or FIRST)
        _must_pass(plain.result(), "their tests do not pass without a mutant")
        ran = right.result()
        notes, target = ran.notes, self.suite.target
        if "refused" in notes:
            raise WrongTarget(notes["refused"][0])
        if "differs" in notes:
            raise CouldNotRun(
                f"{target} does not compute what torch.nn.{notes['kind'][0]} computes with its "
                f"parameters ({notes['differs'][0]}), so that no layer can stand in its place"
            )
        _must_pass(ran, "their tests pass, but not with a right layer in the place of the class")
        if "called" not in notes:
            raise CouldNotRun(f"their tests pass, and never call {target}")
        if "substituted" not in notes:
            why = notes.get("not readable", ["no call of it could be read"])[0]
            raise CouldNotRun(f"{target}: {why}")
        return Baseline(notes["kind"][0], ran.seconds)

    def rows(self, chosen: Sequence[Mutant], base: Baseline) -> Iterator[Row]:
        """Yield each mutant when it is decided; those that mean nothing here need no run."""
        limit = self.suite.timeout or max(PATIENCE, SLOWER * base.seconds)
        running = {}
        for mutant in chosen:
            row = row_of(mutant)
            if why := not_applicable(mutant, base.kind):
                row.result, row.why = "not applicable", why
                yield row
            else:
                running[self._threads.submit(self._run, mutant.id, limit)] = row, mutant.needs
        for done in as_completed(running):
            yield judged(*running[done], done.result())

    def _run(self, mutant: str | None, limit: float) -> Ran:
        """Run the suite; ``mutant`` "" is the right layer, None their tests as they are."""
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
                    start_new_session=True,  # so that its own children end with it
                    env=_environment(folder) | {ORDER: json.dumps(order)},
                )
                code = self._waited(process, limit)
                output.seek(0)
                words = output.read().decode(errors="replace").strip().splitlines()
            seconds = time.monotonic() - started
            return Ran(code, "\n".join(words[-LAST_WORDS:]), seconds, read_notes(notes))

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
    """Return an environment in which nothing is written into their folders."""
    return {
        "OMP_NUM_THREADS": "1",  # several suites run at a time
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        # examples that failed on one mutant must not be the first that another one meets
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis",
        "COVERAGE_FILE": f"{folder}/coverage",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run, and whatever it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _must_pass(ran: Ran, otherwise: str) -> None:
    if ran.exit_code == NOTHING_COLLECTED:
        otherwise = "there are no tests"
    if ran.exit_code is None:
        otherwise = f"their tests take more than {ran.seconds:.0f} s without a mutant"
    if ran.exit_code != 0:
        raise CouldNotRun(f"{otherwise}; pytest said:\n{ran.words}")


def judged(row: Row, needs: Sequence[str], ran: Ran) -> Row:
    """Say what became of a mutant; only one that their tests were shown can be killed."""
    notes = ran.notes
    row.seconds = round(ran.seconds, 2)
    if ran.exit_code is None and "called" in notes and "ended" not in notes:
        row.result, row.why = "timed out", f"no end after {ran.seconds:.0f} s; counts as killed"
    elif "shown" not in notes:
        row.result, row.why = _unseen(ran, needs)
    elif ran.exit_code == 0:
        row.result = "survived"
    else:
        row.result, row.by = "killed", list(dict.fromkeys(notes.get("failed", [])))
        if ran.exit_code is not None and ran.exit_code < 0:
            row.why = f"pytest was ended by {signal.Signals(-ran.exit_code).name}"
    return row


def _unseen(ran: Ran, needs: Sequence[str]) -> tuple[str, str]:
    """Return result and reason of a mutant that changed nothing in any call."""
    if "failed" in ran.notes:
        return "not planted", "their tests fail now and then, without the mutant as well"
    if "substituted" not in ran.notes:
        return "not planted", ran.notes.get("not readable", ["the class was not called"])[0]
    what = " and ".join(WORDS[need] for need in needs) or "what would show it"
    if "offered" in ran.notes:
        return "survived", f"never reached: no call has {what}"
    return "not planted", f"the class does not offer {what}"
