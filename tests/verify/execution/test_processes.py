"""Families of processes are found and ended, also where the system says little of them."""

import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from gatewise.verify.execution import processes, sandbox
from gatewise.verify.execution.processes import (
    Entry,
    MemoryLimit,
    descendants,
    end_family,
    family,
    memory,
)
from processes import needs_proc

SLEEPS = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print(); time.sleep(60)"


@pytest.fixture
def parent():
    """A process that leads a session and has a child; it is ended with it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    end_family(process.pid)
    process.wait()
    process.stdout.close()


def living(pid):
    return [entry.pid for entry in family(pid) if entry.state not in "ZX"]


def ended(pid):
    """Whether all of a family end soon: what is killed takes a moment."""
    deadline = time.monotonic() + 10
    while living(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not living(pid)


class Ended:
    """Stands for the child of a limit; ``kill`` is noted."""

    def __init__(self, pid):
        self.pid, self.killed = pid, threading.Event()

    def kill(self):
        self.killed.set()


@needs_proc
@pytest.mark.parametrize(("most", "reached"), [(1, "it started more than 1 processes"), (2, "")])
def test_a_family_that_grows_too_large_is_ended(parent, monkeypatch, most, reached):
    monkeypatch.setattr(processes, "MOST_PROCESSES", most)
    monkeypatch.setattr(MemoryLimit, "LOOKS", 0.01)
    child = Ended(parent.pid)

    limit = MemoryLimit(child, 4096, 0)
    ended = child.killed.wait(60 if reached else 0.1)
    limit.stop()

    assert (ended, limit.reached) == (bool(reached), reached)


@needs_proc
def test_a_family_is_found_and_ended(parent):
    assert len(living(parent.pid)) == 2
    assert len(list(descendants(parent.pid))) == 2
    assert 0 < memory(parent.pid, shared=False) <= memory(parent.pid)

    end_family(parent.pid)
    parent.wait()

    assert ended(parent.pid)


@needs_proc
@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps")
def test_ps_says_the_same(parent, monkeypatch):
    """Where there is no /proc, parents and children are known from it."""
    by_proc = {entry.pid for entry in family(parent.pid)}

    monkeypatch.setattr(processes, "entries", processes._entries_by_ps)

    assert {entry.pid for entry in family(parent.pid)} == by_proc


def test_without_either_the_group_is_ended(parent, monkeypatch):
    """A system that says nothing still ends what has not left the group."""
    monkeypatch.setattr(processes, "entries", list)

    end_family(parent.pid)

    assert parent.wait(timeout=20) != 0


@needs_proc
def test_an_orphan_is_a_descendant_of_who_adopts_it():
    """What leaves its session, and whose parent ends, is found and ended all the same."""
    source = (
        "import os, time\n"
        "from gatewise.verify.execution.processes import end_descendants, family\n"
        "from gatewise.verify.execution.sandbox import adopt_orphans\n"
        "adopt_orphans()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execvp('sleep', ['sleep', '60'])\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "living = lambda: [e.pid for e in family(os.getpid()) if e.state not in 'ZX']\n"
        "before = len(living())\n"
        "end_descendants()\n"
        "deadline = time.monotonic() + 10\n"
        "while len(living()) > 1 and time.monotonic() < deadline:\n"
        "    time.sleep(0.01)\n"  # what is killed takes a moment to end
        "print(before, len(living()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["2", "1"]


def test_an_entry_is_read_whatever_the_name_is(tmp_path):
    """A process may be called anything, brackets and blanks included."""
    numbers = " ".join(str(n) for n in range(4, 50))
    (tmp_path / "42").mkdir()
    (tmp_path / "42" / "stat").write_text(f"42 (a) b) (c) S 1 2 3 {numbers}", encoding="ascii")

    entry = Entry.read(tmp_path / "42")

    assert (entry.pid, entry.state, entry.parent, entry.session) == (42, "S", 1, 3)


def test_a_system_without_namespaces_says_so(monkeypatch):
    monkeypatch.setenv("GATEWISE_NAMESPACES", "none")
    before = os.getpid()

    source = (
        "import os\nfrom gatewise.verify.execution.sandbox import enter\n"
        "before = os.getpid()\nprint(enter([]))\nassert os.getpid() == before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == sandbox.NOT_IN_FORCE
    assert os.getpid() == before


def test_the_end_of_a_process_in_namespaces_is_its_own():
    """An exit code stays an exit code, and a signal a signal, through all the processes between."""
    source = (
        "import os, signal, sys\nfrom gatewise.verify.execution.sandbox import enter\n"
        "enter([])\nif sys.argv[1] == 'exit':\n    os._exit(7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)\n"
    )
    started = time.monotonic()
    codes = [
        subprocess.run([sys.executable, "-c", source, how], check=False).returncode
        for how in ("exit", "kill")
    ]

    assert codes == [7, -9]
    assert time.monotonic() - started < 50
