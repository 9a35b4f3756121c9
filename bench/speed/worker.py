"""The process in which contenders run: reads what is asked for, answers in JSON, line by line.

``python -m gatewise.bench.speed.worker MEMORY``: MEMORY in MiB is what may be taken beyond what is
in use when PyTorch, if it is there, has been imported; 0 for no limit.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

from ..run import from_json
from ..timing import environment
from . import ceilings
from .measurement import Asked, measured, noise


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what contenders print is no answer

    def say(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value, allow_nan=False) + "\n")
        answers.flush()

    lines = _lines()
    _prepare(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    say({"ready": True})
    while True:
        say({"found": _answer(json.loads(lines.get()), lambda doing: say({"case": doing}))})


def _answer(asked: dict[str, Any], say: Any) -> dict[str, Any]:
    if asked["do"] == "group":
        return measured(from_json(Asked, asked["group"]), say)
    if asked["do"] == "noise":
        return noise(asked["subjects"], asked["effort"], asked["seed"], say)
    return {"ceilings": ceilings.machine(tuple(asked["dtypes"])), "environment": environment()}


def _lines() -> SimpleQueue[str]:
    """Return a queue of lines; the process ends with its parent, also while it is busy."""
    waiting: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return waiting


def _prepare(memory: int) -> None:
    """Import PyTorch, fix its threads, and limit the address space, where the system can."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not memory:
        return
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory * 2**20, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
