"""Find the processes that a command has started and not ended."""

import os
import time
import uuid
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


class Mark:
    """A mark in the environment, which every process inherits from the one that started it."""

    name = "GATEWISE_TEST"

    def __init__(self):
        self.value = uuid.uuid4().hex
        self.environment = os.environ | {self.name: self.value}

    def alive(self):
        """The command lines of all processes with the mark."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"{self.name}={self.value}".encode() in path.read_bytes().split(b"\0"):
                    command = (path.parent / "cmdline").read_bytes()
                    found.append(command.replace(b"\0", b" ").decode())
            except OSError:  # it has ended, or is not ours
                continue
        return found

    def left_behind(self):
        """The same after a moment, which the system may take to bury them."""
        deadline = time.monotonic() + 10
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.alive()
