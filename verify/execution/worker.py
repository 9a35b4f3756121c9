"""The judge's process: it reads tasks and writes answers, one JSON object a line.

``python -m gatewise.verify.execution.worker MEMORY [HIDDEN ...]``: MEMORY in MiB is the limit of a
subject beyond the memory in use after its import; 0 for no limit. HIDDEN are folders that users'
programs do not see. Those run in processes of their own (``remote``); the adapters, mutants and
recordings of this package run here. Each case is written before it runs, so that the parent knows
it if the process dies. A subject's prints go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from queue import SimpleQueue
from typing import IO, Any, cast

import msgspec

from ..cases.case import Case
from ..runs.verdict import SHARED
from ..subjects import SCHEMES, adapter, family, model_file
from ..subjects.called import NotOffered, SubjectCrashed
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Subject, SubjectUnavailable
from ..subjects.quantised import in_arithmetic
from .processes import end_descendants
from .remote import RemoteSubject, SubjectEnded
from .respondent import meaning_of
from .sandbox import adopt_orphans, close_to_others, limit_memory
from .tasks import Description, Named, Task, answer, describe

OTHER_TASKS = {
    "identify": (".convention_tasks", "identify_convention"),
    "diagnose": (".diagnosis_tasks", "diagnose_as_json"),
    "port": (".convention_tasks", "describe_for_conversion"),
    "compute": (".convention_tasks", "compute_outputs"),
    "record": ("..recordings.record", "answer"),
}
"""The tasks of a worker besides checks, by name: a module, imported on demand, and its function.

Functions take the subject, and by name what the task adds to it; they return JSON values.
"""


def main() -> None:
    """Answer tasks until standard input ends."""
    memory = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    adopt_orphans()
    close_to_others()
    worker = _Worker(answers, memory, sys.argv[2:])
    for line in lines():
        worker.do(json.loads(line))


def lines() -> Iterator[str]:
    """Yield lines of standard input; end the process with its parent, even while it is busy."""
    waiting: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


class _Worker:
    def __init__(self, answers: IO[str], memory: int, hidden: Sequence[str] = ()) -> None:
        self.answers, self.memory, self.hidden = answers, memory, hidden
        self.subjects: dict[Named, Subject] = {}
        self.remote: tuple[Named, RemoteSubject] | None = None
        self.isolation: dict[Named, str] = {}
        self.last_case, self.number = "", 0

    def do(self, request: dict[str, Any]) -> None:
        """Do one task; all its answers have its number."""
        self.number = request["number"]
        if request["do"] == "describe":
            self.say({"described": asdict(self.description(Named(**request["named"])))})
            return
        if request["do"] in OTHER_TASKS:
            self.say({"answer": self.other(Named(**request["named"]), request)})
            return
        self.last_case = ""
        task = msgspec.convert(request["task"], Task)
        try:
            subject = self.subject(task.named)
            self.say({"ready": True})
            verdict = answer(task, subject, self.say_case, lambda: self.say({"ready": True}))
        except SubjectEnded as end:
            self.end_remote()
            verdict = task.unanswered("crashed", str(end), self.last_case)
        except Exception as error:  # the judge's, which must not be attributed to the subject
            from .judge import own_failure

            verdict = task.unanswered("not tested", own_failure(error), self.last_case)
        verdict.isolation = self.isolation.get(task.named, "")
        self.say({"verdict": vars(verdict)})

    def other(self, named: Named, request: dict[str, Any]) -> dict[str, Any]:
        try:
            subject = self.subject(named)
        except UnknownSubject as unknown:
            return {"problem": str(unknown), "unknown": True}
        except SubjectEnded as end:
            self.end_remote()
            return {"problem": str(end)}
        except Exception as error:
            kind = "" if isinstance(error, SubjectUnavailable) else f"{type(error).__name__}: "
            return {"problem": f"{kind}{error}"}
        self.say({"ready": True})
        module, function = OTHER_TASKS[request.pop("do")]
        more = {name: value for name, value in request.items() if name not in ("named", "number")}
        try:
            answer: dict[str, Any] = getattr(import_module(module, __package__), function)(
                subject, **more
            )
            return answer
        except SubjectEnded as end:
            self.end_remote()
            return {"problem": str(end)}

    def description(self, named: Named) -> Description:
        try:
            return describe(named, self.subject(named))
        except UnknownSubject as unknown:
            return Description(named, problem=str(unknown), status="unknown")
        except SubjectUnavailable as missing:
            return Description(named, problem=str(missing))
        except SubjectEnded as end:
            self.end_remote()
            problem = f"while it was tried out, {end}"
            return Description(named, problem=problem, status="crashed")
        except (SubjectCrashed, NotOffered) as error:
            return Description(named, problem=f"the layer does not run: {error}")
        except Exception as error:
            problem = f"the layer does not run: {type(error).__name__}: {error}"
            return Description(named, problem=problem)

    def subject(self, named: Named) -> Subject:
        """Return a subject of this package, or a user's program in its own process."""
        if named in self.subjects:
            return self.subjects[named]
        if self.remote is None or self.remote[0] != named:
            self.end_remote()  # one at a time, so that only its descendants are ended
            if remote := self.apart(named):
                self.remote = named, remote
        if self.remote is not None:
            remote = self.remote[1]
            return in_arithmetic(
                cast("Subject", remote), named.quantised or remote.portrait.quantised
            )
        self.subjects[named] = self.here(named)
        return self.subjects[named]

    def apart(self, named: Named) -> RemoteSubject | None:
        """Return a user's program in its own process; None for subjects that must run here.

        These are subjects of this package, and users' recurrences with equations or adapters with
        maps, which determine the right numbers: their code runs beside the oracle's, and their
        verdicts say so.
        """
        if adapter(named.name) or family(named.name) in SCHEMES:
            return None
        if model_file(named.name):
            from .remote_node import RemoteNode

            node = RemoteNode(named, self.memory, self.hidden)
            self.isolation[named] = node.in_force
            return node
        remote = RemoteSubject(named, self.memory, self.hidden)
        if not remote.shared:
            self.isolation[named] = remote.in_force
            return remote
        remote.close()
        # Sent before its code runs here, which could retract later messages.
        self.isolation[named] = f"{SHARED}{remote.shared}"
        self.say({"dependent": remote.shared})
        return None

    def end_remote(self) -> None:
        """End the running user's program, if there is one, and all descendants."""
        if self.remote is not None:
            self.remote[1].close()
            self.remote = None
        end_descendants()

    def here(self, named: Named) -> Subject:
        """Return a subject that runs in this process."""
        subject = named.find()
        if named in self.isolation and meaning_of(getattr(subject, "subject", subject)).kind:
            raise SubjectCrashed("it said that it brings its own map or equations, and does not")
        if getattr(subject, "device", "cpu") == "cpu":
            limit_memory(self.memory)  # drivers of devices reserve far more than they use
        return subject

    def say_case(self, case: Case) -> None:
        self.last_case = case.to_json()
        self.say({"case": self.last_case})

    def say(self, value: dict[str, Any]) -> None:
        self.answers.write(json.dumps({**value, "number": self.number}) + "\n")
        self.answers.flush()


if __name__ == "__main__":
    main()
