"""Time limits: what counts as a process's own time, and what it waits for."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from gatewise.verify.execution import time_limit
from gatewise.verify.execution.time_limit import MOST_WAITING, TimeLimit, Use, use
from processes import needs_proc


@pytest.fixture
def process():
    """Start a program in a session of its own, which ends with the test."""
    started = []

    def start(program):
        started.append(subprocess.Popen([sys.executable, "-c", program], start_new_session=True))
        return started[-1]

    yield start
    for each in started:  # and the processes that they started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def ended(seconds, uses, monkeypatch):
    """Return the limit that has ended a process which uses the processor like this."""
    began = time.monotonic()
    monkeypatch.setattr(time_limit, "use", lambda session: uses(time.monotonic() - began))
    over = threading.Event()
    limit = TimeLimit(seconds, 0, over.set)
    assert over.wait(10 * MOST_WAITING * seconds)
    return limit


@pytest.mark.parametrize("uses", [
    lambda now: None, lambda now: Use(0.0, ready=False), lambda now: Use(now, ready=True),
    lambda now: Use(8 * now, ready=True),
], ids=["unknown", "asleep", "busy", "threads"])  # fmt: skip
def test_what_sleeps_or_computes_is_ended_after_its_limit(uses, monkeypatch):
    limit = ended(0.4, uses, monkeypatch)
    assert 0.35 <= limit.waited < 0.4 * MOST_WAITING
    assert not limit.starved


def test_what_is_given_half_a_processor_has_twice_the_time(monkeypatch):
    limit = ended(0.4, lambda now: Use(now / 2, ready=True), monkeypatch)
    assert 0.7 < limit.waited
    assert not limit.starved


def test_what_is_given_no_processor_has_not_hung(monkeypatch):
    """It is ended all the same, after the factor that is stated."""
    limit = ended(0.3, lambda now: Use(0.0, ready=True), monkeypatch)
    assert limit.waited >= MOST_WAITING * 0.3
    assert limit.starved


def test_a_restart_gives_time_anew(monkeypatch):
    monkeypatch.setattr(time_limit, "use", lambda session: None)
    over = threading.Event()
    limit = TimeLimit(1.0, 0, over.set)
    time.sleep(0.6)
    limit.restart(1.0)
    assert not over.wait(0.6)
    assert limit.waited < limit.total
    limit.stop()
    assert not over.wait(1.0), "it rang after it had been stopped"


@needs_proc
def test_the_use_of_a_process(process):
    """Its children's counts, too: a layer may compute in processes of its own."""
    busy = process("import subprocess, sys\n"
                   "subprocess.run([sys.executable, '-c', 'while True: pass'])")  # fmt: skip
    asleep = process("import time; time.sleep(60)")
    deadline = time.monotonic() + 20
    while (found := use(busy.pid)).processor < 0.2 and time.monotonic() < deadline:
        time.sleep(0.1)

    assert found.processor >= 0.2
    assert any(use(busy.pid).ready for _ in range(50))
    assert use(asleep.pid).processor < found.processor
    assert use(busy.pid + 10**8) is None


@needs_proc
@pytest.mark.parametrize("program", [
    "while True: pass",
    "import time; time.sleep(60)",
    "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    f"import os; os.kill(os.getpid(), {int(signal.SIGSTOP)})",
], ids=["loops", "sleeps", "deadlocks", "stops itself"])  # fmt: skip
def test_whatever_does_not_answer_is_ended(process, program):
    hostile = process(program)
    limit = TimeLimit(0.5, hostile.pid, lambda: os.killpg(hostile.pid, signal.SIGKILL))

    assert hostile.wait(60) == -signal.SIGKILL
    assert limit.reached
    assert limit.waited <= MOST_WAITING * 0.5 + 20
