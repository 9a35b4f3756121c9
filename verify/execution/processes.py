"""Processes that run users' programs, and end with all their descendants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

LAST_WORDS = 300
"""The most characters of a process's last output."""

ROUNDS = 50
"""The most rounds of ending a process's descendants, which may start others meanwhile."""


class Entry(NamedTuple):
    """One process of the system, as in ``/proc/PID/stat``, without its name."""

    pid: int
    state: str
    parent: int
    session: int
    seconds: float

    @classmethod
    def read(cls, process: Path) -> Entry:
        """Read one process; OSError, ValueError or IndexError if it is gone or inaccessible."""
        fields = stat_fields(process / "stat")
        ticks = sum(map(int, fields[11:15]))  # its own, and those of its ended children
        parent, session = int(fields[1]), int(fields[3])
        seconds = ticks / os.sysconf("SC_CLK_TCK")
        return cls(int(process.name), fields[0], parent, session, seconds)


def stat_fields(stat: Path) -> list[str]:
    """Return the fields of a ``stat`` file after the name, which may hold anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def entries() -> list[Entry]:
    """Return the processes of the system, by ``/proc`` or ``ps``; [] without both."""
    members = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            members.append(Entry.read(process))
    return members or _entries_by_ps()


def _entries_by_ps() -> list[Entry]:
    """Return processes with their parents and states, but not their sessions and times."""
    try:
        listing = subprocess.run(
            ["ps", "-axo", "pid=,stat=,ppid="], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    rows = (line.split() for line in listing.stdout.splitlines())
    return [Entry(int(pid), state[0], int(parent), 0, 0.0) for pid, state, parent in rows]


def family(pid: int) -> list[Entry]:
    """Return a process, its session and all their descendants, as far as the system shows them."""
    entries_now = entries()
    members = {entry.pid for entry in entries_now if pid in (entry.pid, entry.session)}
    grown = True
    while grown:
        children = {e.pid for e in entries_now if e.parent in members} - members
        members |= children
        grown = bool(children)
    return [entry for entry in entries_now if entry.pid in members]


def end_family(pid: int) -> None:
    """End a process, the leader of its session, with all its descendants.

    It is stopped first, so that it starts no more processes.
    """
    _send(pid, getattr(signal, "SIGSTOP", signal.SIGTERM))
    end_descendants(pid)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    _send(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def end_descendants(pid: int | None = None) -> None:
    """End the descendants of a process, by default of this one.

    A process that left its session, and whose parent has ended, still counts if the root adopts
    orphans (``sandbox.adopt_orphans``).
    """
    root = os.getpid() if pid is None else pid
    for _ in range(ROUNDS):
        living = [e.pid for e in family(root) if e.pid != root and e.state not in "ZX"]
        for member in living:
            _send(member, signal.SIGKILL)
        if not living:
            return


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants; without ``/proc`` only itself."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text(encoding="ascii").split()):
                yield from descendants(child)


def memory(pid: int, *, shared: bool = True) -> float:
    """Return the memory of a process and its descendants in MiB.

    Memory that several share counts for each of them, or, without ``shared``, once.
    """
    total = 0.0
    for member in descendants(pid):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if shared:
                pages = Path(f"/proc/{member}/statm").read_text(encoding="ascii").split()[1]
                total += int(pages) * os.sysconf("SC_PAGESIZE") / 2**20
            else:
                lines = Path(f"/proc/{member}/smaps_rollup").read_text(encoding="ascii")
                total += int(lines.partition("Pss:")[2].split()[0]) / 2**10
    return total


MOST_PROCESSES = 300
"""The most processes of a program at a time; more would only hinder others."""


class MemoryLimit:
    """A limit that ends a process if it and its descendants exceed a memory size in MiB.

    Shared memory counts once; ``for_imports`` is allowed in addition until the import is done. Too
    many processes end it, too.
    """

    LOOKS = 0.25
    """The seconds between two measurements."""

    def __init__(self, child: Child, mebibytes: int, for_imports: int) -> None:
        self.child, self.mebibytes = child, mebibytes
        self.allowed: float = mebibytes + for_imports
        self.reached = ""
        """A clause that names the exceeded limit; "" for none."""
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def set_baseline(self) -> None:
        """Allow the limit beyond the memory now in use, since the import is done."""
        self.allowed = self.mebibytes + memory(self.child.pid, shared=False)

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(self.LOOKS):
            self.reached = self._look()
            if self.reached:
                self.child.kill()
                return

    def _look(self) -> str:
        pid = self.child.pid
        if memory(pid) > self.allowed and memory(pid, shared=False) > self.allowed:
            return f"not enough memory: it took more than {self.mebibytes} MiB"
        if sum(1 for _ in descendants(pid)) > MOST_PROCESSES:
            return f"it started more than {MOST_PROCESSES} processes"
        return ""


class Child:
    """A Python process of gatewise with binary pipes; its standard error goes into a file.

    ``leads``: it leads a session of its own, so that all its descendants can be ended with it.
    """

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str], leads: bool = True
    ) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=leads,
            process_group=None if leads or os.name != "posix" else 0,
            env=dict(environment),
        )
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self.stdin: IO[bytes] = self._process.stdin
        self.stdout: IO[bytes] = self._process.stdout
        self.pid = self._process.pid

    def kill(self) -> None:
        """End it and its descendants."""
        end_family(self.pid)

    def how_it_ended(self) -> str:
        """Wait for its end; return a clause on how it ended, with its last output."""
        code = self._process.wait()
        if code < 0:
            how = f"the process was ended by {signal.Signals(-code).name}"
        else:
            how = f"the process ended itself with exit code {code}"
        words = self._last_words()
        return f"{how}; it said: {words}" if words else how

    def close(self) -> None:
        """End it and close its pipes."""
        self.kill()
        self._process.wait()
        for stream in (self.stdin, self.stdout, self._errors):
            with contextlib.suppress(OSError):
                stream.close()

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - LAST_WORDS))
        return " ".join(self._errors.read().decode(errors="replace").split())


def environment() -> dict[str, str]:
    """Return the environment of a subject's process: with one thread."""
    return {"OMP_NUM_THREADS": "1", **os.environ}


def search_path(paths: Sequence[str]) -> dict[str, str]:
    """Return the variable of the search path for modules, with these paths first."""
    searched = [*paths, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(searched)} if searched else {}
