"""A process for contenders: whatever happens to it becomes a status, and the run goes on."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict, replace
from typing import Any

from ...verify.execution.isolation import Isolated, ProcessEnded, TimedOut
from ..run import UnsupportedError
from ..timing.environment import THREADS
from . import rows
from .measurement import Request


class SpeedProcess(Isolated):
    """A worker process of this bench, with a fixed number of threads."""

    WORKER = "gatewise.bench.speed.worker"

    def __init__(self, threads: int, memory: int, timeout: float) -> None:
        super().__init__(memory, [os.getcwd()])  # where a user's own module may be
        self.threads, self.timeout = threads, timeout
        self.cache = ""

    def _environment(self) -> dict[str, str]:
        """Return the thread count for every library, and compilers without caches."""
        self.cache = tempfile.mkdtemp(prefix="gatewise-")
        compiling = {
            "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": self.cache,
        }
        return os.environ | dict.fromkeys(THREADS, str(self.threads)) | compiling

    def close(self) -> None:
        """End the process, and remove the files of its compilers."""
        super().close()
        if self.cache:
            shutil.rmtree(self.cache, ignore_errors=True)
            self.cache = ""

    def plain(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the answer to any request but a group; UnsupportedError says why there is none."""
        try:
            return dict(self._answer(do, **request))
        except (ProcessEnded, TimedOut) as end:
            raise UnsupportedError(": ".join(filter(None, (self.last_case, str(end))))) from end

    def _answer(self, do: str, **request: Any) -> Any:
        return self._ask({"do": do, **request}, self.timeout)["answer"]

    def group(self, request: Request) -> dict[str, Any]:
        """Return the row of a group; a contender that ends the process has only a status in it.

        If the contender is unknown, the whole group gets the status.
        """
        gone: list[rows.Entry] = []
        while True:
            try:
                row = self._answer("group", group=asdict(request))
                return {**row, "entries": [*row["entries"], *map(asdict, gone)]}
            except (ProcessEnded, TimedOut) as end:
                status, message = _status(end)
                lost = [self.last_case] if self.last_case in request.subjects else request.subjects
                gone += [
                    rows.Entry(name, phase, status, message)
                    for name in lost
                    for phase in request.passes_of(name)
                ]
                remaining = tuple(name for name in request.subjects if name not in lost)
                request = replace(request, subjects=remaining)
                if not remaining:
                    return {
                        "status": gone[0].status, "message": gone[0].message, **request.about,
                        "entries": [*map(asdict, gone)], "ceiling": {}, "work": {}, "seconds": 0.0,
                    }  # fmt: skip


def _status(end: Exception) -> tuple[str, str]:
    if isinstance(end, TimedOut):
        return rows.TIMEOUT, str(end)
    text = str(end)
    starved = "SIGKILL" in text or "MemoryError" in text or "bad_alloc" in text
    return rows.OOM if starved else rows.UNSUPPORTED, text
