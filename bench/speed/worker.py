"""The process in which contenders run: reads requests and answers in JSON, line by line.

``python -m gatewise.bench.speed.worker MEMORY``: MEMORY in MiB is the limit beyond the memory in
use when PyTorch, if installed, has been imported; 0 for no limit.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from typing import Any

from ...verify.execution.sandbox import limit_memory
from ...verify.execution.worker import lines
from ..run import from_json
from ..timing.environment import environment
from . import ceilings
from .measurement import Request, measured, noise


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what contenders print is no answer

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value, allow_nan=False) + "\n")
        answers.flush()

    questions = lines()
    if find_spec("torch"):
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    limit_memory(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    say({"ready": True})
    for line in questions:
        say({"answer": _answer(json.loads(line), lambda doing: say({"case": doing}))})


def _answer(request: dict[str, Any], say: Any) -> dict[str, Any]:
    if request["do"] == "group":
        return measured(from_json(Request, request["group"]), say)
    if request["do"] == "noise":
        return noise(request["subjects"], request["effort"], request["seed"], say)
    if request["do"] == "submission":
        from .submission import measured as of_submission

        names = ("name", "like", "forbid", "device")
        return of_submission(*(request[name] for name in names))
    return {"ceilings": ceilings.machine(tuple(request["dtypes"])), "environment": environment()}


if __name__ == "__main__":
    main()
