"""The process in which subjects run: reads tasks, writes answers, one JSON object a line.

``python -m gatewise.verify.execution.worker MEMORY``: MEMORY in MiB is what the subject may take
beyond what is in use when it has been imported; 0 for no limit. Before each case the case is
written, so that the parent knows it if the process dies in it. What a subject prints goes to
standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO, Any

import msgspec

from ..cases.case import Case
from ..subjects.loader import UnknownSubject
from ..subjects.protocol import Subject, SubjectUnavailable
from .tasks import Description, Named, Task, answer, describe


def _diagnose(subject: Subject, asked: dict[str, Any]) -> dict[str, Any]:
    from .diagnosis_tasks import diagnosed

    return diagnosed(subject, asked["dtype"], asked["failing"], asked["seconds"])


def _identify(subject: Subject, asked: dict[str, Any]) -> dict[str, Any]:
    from .convention_tasks import identified

    return identified(subject, asked["seed"])


def _port(subject: Subject, asked: dict[str, Any]) -> dict[str, Any]:
    from .convention_tasks import ported

    return ported(subject)


def _compute(subject: Subject, asked: dict[str, Any]) -> dict[str, Any]:
    from .convention_tasks import computed

    return computed(subject, Case.from_json(asked["case"]), asked["path"])


def _record(subject: Subject, asked: dict[str, Any]) -> dict[str, Any]:
    from ..recordings.record import answer

    return answer(subject, asked)


OTHER: dict[str, Callable[[Subject, dict[str, Any]], dict[str, Any]]] = {
    "identify": _identify,
    "diagnose": _diagnose,
    "port": _port,
    "compute": _compute,
    "record": _record,
}
"""What a worker does besides checks: asked for by name, answered in JSON.

Most are never asked: what that needs is imported then.
"""


def main() -> None:
    """Answer until standard input ends."""
    memory = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = _Worker(answers, memory)
    for line in lines():
        worker.do(json.loads(line))


def lines() -> Iterator[str]:
    """Yield lines of standard input; end the process with its parent, also while it is busy."""
    waiting: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def limit(memory: int) -> None:
    """Allow so many MiB of addresses more, where the system can; 0 is no limit.

    It has no measure of memory alone.
    """
    if not memory:
        return
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory * 2**20, resource.RLIM_INFINITY))


class _Worker:
    def __init__(self, answers: IO[str], memory: int) -> None:
        self.answers, self.memory = answers, memory
        self.subjects: dict[Named, Subject] = {}

    def do(self, asked: dict[str, Any]) -> None:
        """Do one task."""
        if asked["do"] == "describe":
            self.say({"described": asdict(self.description(Named(**asked["named"])))})
            return
        if asked["do"] in OTHER:
            self.say({"found": self.other(Named(**asked["named"]), asked)})
            return
        task = msgspec.convert(asked["task"], Task)
        subject = self.subject(task.named)
        self.say({"ready": True})
        verdict = answer(task, subject, self.say_case, lambda: self.say({"ready": True}))
        self.say({"verdict": vars(verdict)})

    def other(self, named: Named, asked: dict[str, Any]) -> dict[str, Any]:
        try:
            subject = self.subject(named)
        except UnknownSubject as unknown:
            return {"problem": str(unknown), "unknown": True}
        except Exception as error:
            kind = "" if isinstance(error, SubjectUnavailable) else f"{type(error).__name__}: "
            return {"problem": f"{kind}{error}"}
        self.say({"ready": True})
        return OTHER[asked["do"]](subject, asked)

    def description(self, named: Named) -> Description:
        try:
            return describe(named)
        except UnknownSubject as unknown:
            return Description(named, problem=str(unknown), status="unknown")
        except SubjectUnavailable as missing:
            return Description(named, problem=str(missing))
        except Exception as error:
            problem = f"the layer does not run: {type(error).__name__}: {error}"
            return Description(named, problem=problem)

    def subject(self, named: Named) -> Subject:
        if named not in self.subjects:
            self.subjects[named] = named.find()
            if getattr(self.subjects[named], "device", "cpu") == "cpu":
                limit(self.memory)  # drivers of devices reserve far more addresses than they use
        return self.subjects[named]

    def say_case(self, case: Case) -> None:
        self.say({"case": case.to_json()})

    def say(self, value: dict[str, Any]) -> None:
        self.answers.write(json.dumps(value) + "\n")
        self.answers.flush()


if __name__ == "__main__":
    main()
