"""Isolation of untrusted subjects in processes that may crash, hang or exhaust memory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec

from ..cases.case import Case
from ..runs.verdict import SHARED, Verdict
from .limits import MEMORY
from .processes import LAST_WORDS, Child, environment, search_path
from .tasks import NO_ANSWER, Description, Named, Task
from .time_limit import TimeLimit

T = TypeVar("T")

RESTARTS = 2
"""The number of restarts of a task's time: after the import, and after the first answer."""


class ProcessEnded(RuntimeError):
    """The process ended without an answer; the message says how it ended."""


class TimedOut(RuntimeError):
    """The process was ended since it gave no answer in time; the message states the time.

    ``starved``: it had a processor for less than its time limit.
    """

    def __init__(self, limit: TimeLimit) -> None:
        self.starved, self.seconds = limit.starved, round(limit.total, 3)
        busy = limit.own < 0.8 * limit.waited
        own = f", of which it had a processor for {limit.own:.1f} s" if busy else ""
        super().__init__(f"{NO_ANSWER} {limit.waited:.1f} s{own}")


class Isolated:
    """One worker process, started when needed, and again after it has ended.

    ``paths`` come first in its search path for modules; ``hidden`` are folders that users' programs
    do not see, if the system can hide them. ``WORKER`` is the module that it runs. ``option`` is
    the command line option for more time, "" for none.
    """

    WORKER = "gatewise.verify.execution.worker"

    def __init__(
        self,
        memory: int = MEMORY,
        paths: Sequence[str] = (),
        option: str = "--timeout",
        hidden: Sequence[str] = (),
    ) -> None:
        self.memory, self.paths, self.option, self.hidden = memory, paths, option, hidden
        self.last_case = ""
        self._child: Child | None = None
        self._number = 0
        self._dependent: tuple[Named, str] | None = None
        """The subject whose own code runs in the worker, and why: no other is judged there."""

    def describe(self, named: Named, timeout: float) -> Description:
        """Return the description of a subject, or of why it does not run."""
        request = {"do": "describe", "named": vars(named)}
        try:
            self._alone(named)
            return _typed(self._ask(request, timeout), "described", Description)
        except (ProcessEnded, TimedOut) as end:
            problem = f"while it was tried out, {end}"
            if isinstance(end, ProcessEnded):
                return Description(named, problem=problem, status="crashed")
            problem += self._more_time(timeout)
            return Description(named, problem=problem, status=_status(end), seconds=end.seconds)

    def hold(self, task: Task, timeout: float, *, share: float = 1.0) -> Verdict:
        """Return the verdict on a task, also if the subject's process ends or hangs.

        After its import the subject has this share of the time.
        """
        try:
            self._alone(task.named)
            answer = self._ask({"do": "hold", "task": asdict(task)}, timeout, share)
            verdict = _typed(answer, "verdict", Verdict)
            if self._dependent is not None:
                verdict.isolation = f"{SHARED}{self._dependent[1]}"
            return verdict
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
        """Return the answer of a task of ``worker.OTHER_TASKS``, or a ``problem``."""
        try:
            request = {"do": do, "named": vars(named), **more}
            self._alone(named)
            return _typed(self._ask(request, timeout), "answer", dict[str, Any])
        except (ProcessEnded, TimedOut) as end:
            hint = self._more_time(timeout) if isinstance(end, TimedOut) else ""
            return {"problem": f"{end}{hint}"}

    def _more_time(self, seconds: float) -> str:
        if not self.option:
            return ""
        return f"; a layer that is only slow gets more time with {self.option} {4 * seconds:g}"

    def _alone(self, named: Named) -> None:
        """End the process if another subject's own code has run in it."""
        if self._dependent is not None and self._dependent[0] != named:
            self.close()

    def close(self) -> None:
        """End the process and its descendants."""
        self._dependent = None
        if self._child is not None:
            self._child.close()
            self._child = None

    def _start(self) -> Child:
        if self._child is None:
            variables = self._environment() | search_path(self.paths)
            self._child = Child(self.WORKER, str(self.memory), *self.hidden, environment=variables)
        return self._child

    def _environment(self) -> dict[str, str]:
        return environment()

    def _ask(self, request: dict[str, Any], timeout: float, share: float = 1.0) -> dict[str, Any]:
        """Send one task and wait for its answer.

        The clock restarts with each ``ready``: after the subject's import, and after its first
        answer, which compilers make slow.
        """
        child = self._start()
        self._number += 1
        self.last_case = ""
        limit, restarts = TimeLimit(timeout, child.pid, child.kill), 0
        try:
            with contextlib.suppress(BrokenPipeError):
                request = {**request, "number": self._number}
                child.stdin.write(json.dumps(request).encode() + b"\n")
                child.stdin.flush()
            for line in child.stdout:
                message = _answer(line, self._number)
                if message is None:
                    self.close()
                    shown = line[:LAST_WORDS].decode(errors="replace").strip()
                    raise ProcessEnded(f"the process was ended: it spoke out of turn: {shown}")
                if "dependent" in message and "named" in request:
                    self._dependent = Named(**request["named"]), str(message["dependent"])
                elif "dependent" in message:
                    self._dependent = Named(**request["task"]["named"]), str(message["dependent"])
                elif "case" in message:
                    self.last_case = str(message["case"])
                elif "ready" in message:
                    restarts += 1
                    if restarts <= RESTARTS:  # users' code may write there, too
                        limit.restart(share * timeout)
                else:
                    return message
        finally:
            limit.stop()
        how = child.how_it_ended()
        self.close()
        if limit.reached:
            raise TimedOut(limit)
        raise ProcessEnded(how)


def _answer(line: bytes, number: int) -> dict[str, Any] | None:
    """Return the answer in a line to the question of this number; None for anything else.

    Users' adapters run in the answering process, and may fork, or write there, too.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(message, dict) and message.get("number", number) == number
    return message if fits else None


def _typed(answer: dict[str, Any], name: str, kind: type[T]) -> T:
    """Return the value of an answer in its type; ProcessEnded if it has another."""
    try:
        return msgspec.convert(answer[name], kind)
    except (KeyError, msgspec.ValidationError) as error:
        raise ProcessEnded(f"the process gave an answer that is none: {error}") from error


def _status(end: TimedOut) -> str:
    """Return the status of a subject without an answer, "not tested" if it was starved."""
    return "not tested" if end.starved else "timeout"


def _sizes(case: str) -> str:
    """Return the sizes of a case in words, or the text if it is no case, as of a hostile layer."""
    try:
        parsed = Case.from_json(case)
    except ValueError:
        return case[:LAST_WORDS]
    layers = f", {parsed.layers} layers" if parsed.layers > 1 else ""
    return f"T={parsed.T}, B={parsed.B}, D={parsed.D}, H={parsed.H}{layers}"
