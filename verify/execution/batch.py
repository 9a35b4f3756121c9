"""Tasks of a cluster's worker, done in a process of its own.

A layer may end the process that started its own; that is this process, not the cluster's worker.
``python -m gatewise.verify.execution.batch`` reads one line of JSON, writes one line for each
answer, and ends with its parent.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from .hangs import Hangs
from .isolation import Isolated
from .tasks import Description, Named, Task


def hold_batch(
    tasks: Sequence[dict[str, Any]], timeout: float, memory: int
) -> list[dict[str, Any]]:
    """Return the verdicts on tasks; runs on a cluster's workers.

    If the process ends without an answer, the current task has crashed, and the others are done in
    another process.
    """
    verdicts: list[dict[str, Any]] = []
    while len(verdicts) < len(tasks):
        remaining = tasks[len(verdicts) :]
        answers = _answers({"tasks": remaining, "timeout": timeout, "memory": memory})
        verdicts += answers[: len(remaining)]
        if len(verdicts) < len(tasks):
            task = msgspec.convert(tasks[len(verdicts)], Task)
            verdicts.append(vars(task.unanswered("crashed", ENDED)))
    return verdicts


ENDED = "the process that had started the layer's own was ended"


def describe_one(named: dict[str, Any], timeout: float, memory: int) -> dict[str, Any]:
    """Return the description of a subject; runs on a cluster's workers."""
    answers = _answers({"named": named, "timeout": timeout, "memory": memory})
    return next(iter(answers), None) or asdict(
        Description(Named(**named), problem=f"while it was tried out, {ENDED}", status="crashed")
    )


def _answers(request: dict[str, Any]) -> list[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          encoding="utf-8") as process:  # fmt: skip
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(f"{json.dumps(request)}\n")
        process.stdin.flush()
        lines = process.stdout.read().split("\n")
    return [json.loads(line) for line in lines[:-1]]


def main() -> None:
    """Answer the request on standard input; end when it ends."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for answer in _answers_to(request):
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    os._exit(0)  # the thread waits for input


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _answers_to(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    isolated, timeout = Isolated(request["memory"]), request["timeout"]
    try:
        if "named" in request:
            yield asdict(isolated.describe(Named(**request["named"]), timeout))
            return
        hangs = Hangs()
        for task in request["tasks"]:
            yield vars(hangs.hold(msgspec.convert(task, Task), isolated, timeout))
    finally:
        isolated.close()


if __name__ == "__main__":
    main()
