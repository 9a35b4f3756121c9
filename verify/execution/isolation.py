"""Subjects are untrusted programs: each runs in a process that may crash, hang or eat memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from typing import IO, Any

import msgspec

from ..cases.case import Case
from ..runs.verdict import Verdict
from .tasks import NO_ANSWER, Description, Named, Task
from .time_limit import TimeLimit

MEMORY = 4096
"""MiB that a subject may take, by default."""

RESTARTS = 2
"""How often the time of a task begins anew: after the import, and after the first answer."""

LAST_WORDS = 300
"""Characters of what a process said before it died."""


class ProcessEnded(RuntimeError):
    """The process ended without an answer; the message says how."""


class TimedOut(RuntimeError):
    """The process gave no answer in time, and was ended; the message says after how long.

    ``starved``: it was not given a processor for as long as it may take.
    """

    def __init__(self, limit: TimeLimit) -> None:
        self.starved, self.seconds = limit.starved, round(limit.total, 3)
        busy = limit.own < 0.8 * limit.waited
        own = f", of which it had a processor for {limit.own:.1f} s" if busy else ""
        super().__init__(f"{NO_ANSWER} {limit.waited:.1f} s{own}")


class Isolated:
    """One worker process, started when needed and again after it has died.

    ``paths`` are where it looks for modules first. ``WORKER`` is the module that it runs.
    ``option`` is what users give it more time with, "" for nothing.
    """

    WORKER = "gatewise.verify.execution.worker"

    def __init__(
        self, memory: int = MEMORY, paths: Iterable[str] = (), option: str = "--timeout"
    ) -> None:
        self.memory, self.paths, self.option = memory, list(paths), option
        self.last_case = ""
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None

    def describe(self, named: Named, timeout: float) -> Description:
        """Return what a subject offers, or why it does not run."""
        asked = {"do": "describe", "named": vars(named)}
        try:
            return msgspec.convert(self._ask(asked, timeout)["described"], Description)
        except (ProcessEnded, TimedOut) as end:
            problem = f"while it was tried out, {end}"
            if isinstance(end, ProcessEnded):
                return Description(named, problem=problem, status="crashed")
            problem += self._more_time(timeout)
            return Description(named, problem=problem, status=_status(end), seconds=end.seconds)

    def hold(self, task: Task, timeout: float, *, share: float = 1.0) -> Verdict:
        """Return the verdict; what the subject's process does becomes one, too.

        Once it is imported, the subject has this share of the time.
        """
        try:
            found = self._ask({"do": "hold", "task": asdict(task)}, timeout, share)["verdict"]
            return Verdict(**found)
        except ProcessEnded as end:
            return task.unanswered("crashed", str(end), self.last_case)
        except TimedOut as end:
            place = f"check {task.check} in {task.dtype}"
            if self.last_case:
                place += f", {_sizes(self.last_case)}"
            message = f"{end} ({place}){self._more_time(timeout)}"
            verdict = task.unanswered(_status(end), message, self.last_case)
            verdict.seconds = end.seconds
            return verdict

    def ask(self, do: str, named: Named, timeout: float, **more: Any) -> dict[str, Any]:
        """Return what ``worker.OTHER`` does with a subject, or under ``problem`` why it did not."""
        try:
            asked = {"do": do, "named": vars(named), **more}
            found: dict[str, Any] = self._ask(asked, timeout)["found"]
        except (ProcessEnded, TimedOut) as end:
            hint = self._more_time(timeout) if isinstance(end, TimedOut) else ""
            return {"problem": f"{end}{hint}"}
        return found

    def _more_time(self, seconds: float) -> str:
        if not self.option:
            return ""
        return f"; a layer that is only slow gets more time with {self.option} {4 * seconds:g}"

    def close(self) -> None:
        """End the process, and whatever it has started."""
        if self._process is None:
            return
        self._kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process = None

    def _kill(self) -> None:
        assert self._process is not None  # noqa: S101
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _start(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.WORKER, str(self.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                encoding="utf-8",
                start_new_session=True,  # so that its own children end with it
                env=self._environment() | self._search_path(),
            )
        return self._process

    def _environment(self) -> dict[str, str]:
        return {"OMP_NUM_THREADS": "1", **os.environ}

    def _search_path(self) -> dict[str, str]:
        paths = [*self.paths, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}

    def _ask(self, asked: dict[str, Any], timeout: float, share: float = 1.0) -> dict[str, Any]:
        """Send one task and wait for its answer.

        The clock starts again with each ``ready``: once the subject is imported, and once it has
        answered its first call, which compilers make slow.
        """
        process = self._start()
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        self.last_case = ""
        limit, restarts = TimeLimit(timeout, process.pid, self._kill), 0
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked) + "\n")
                process.stdin.flush()
            for line in process.stdout:
                said: dict[str, Any] = json.loads(line)
                if "case" in said:
                    self.last_case = said["case"]
                elif "ready" in said:
                    restarts += 1
                    if restarts <= RESTARTS:  # a hostile layer may write there, too
                        limit.restart(share * timeout)
                else:
                    return said
        finally:
            limit.stop()
        how = self._how_it_ended(process)
        self.close()
        if limit.reached:
            raise TimedOut(limit)
        raise ProcessEnded(how)

    def _how_it_ended(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        if code < 0:
            how = f"the process was ended by {signal.Signals(-code).name}"
        else:
            how = f"the process ended itself with exit code {code}"
        words = self._last_words()
        return f"{how}; it said: {words}" if words else how

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - LAST_WORDS))
        return " ".join(self._errors.read().decode(errors="replace").split())


def _status(end: TimedOut) -> str:
    """Return what no answer says of a subject: nothing, where the machine gave it no time."""
    return "not tested" if end.starved else "timeout"


def _sizes(case: str) -> str:
    """Return the sizes of a case; the text itself where it is none, as a hostile layer's may be."""
    try:
        given = Case.from_json(case)
    except ValueError:
        return case[:LAST_WORDS]
    layers = f", {given.layers} layers" if given.layers > 1 else ""
    return f"T={given.T}, B={given.B}, D={given.D}, H={given.H}{layers}"
