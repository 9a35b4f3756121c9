"""Subjects in a file of their own that do to their process what subjects should not.

Each is a right LSTM up to four steps, so that it can be tried out and passes the smoke check.
"""

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from plain_numpy import LSTM


class Faulty(LSTM):
    """Right, but for what ``beyond`` does before a call of more than four steps."""

    def forward(self, params, x, state, lengths=None):
        if len(x) > 4:
            self.beyond(params, x, state)
        return super().forward(params, x, state, lengths)

    def beyond(self, params, x, state):
        pass


class Segfaults(Faulty):
    def beyond(self, params, x, state):
        print("about to read address 0")
        ctypes.string_at(0)


class Hangs(Faulty):
    def beyond(self, params, x, state):
        time.sleep(3600)


class Loops(Faulty):
    """It computes without an end."""

    def beyond(self, params, x, state):
        while True:
            pass


class HangsWithChildren(Faulty):
    """It has started a process that hangs, too."""

    def beyond(self, params, x, state):
        os.fork()
        time.sleep(3600)


class Exits(Faulty):
    def beyond(self, params, x, state):
        os._exit(0)


class EatsMemory(Faulty):
    """A tebibyte, 128 MiB at a time; every page is touched."""

    def beyond(self, params, x, state):
        self.kept = [np.ones(2**24) for _ in range(8192)]


class WritesIntoItsInput(Faulty):
    def beyond(self, params, x, state):
        x[0] = 0


class WritesIntoItsState(Faulty):
    def beyond(self, params, x, state):
        if state is not None:
            state[1][...] = 0


class Raises(Faulty):
    def beyond(self, params, x, state):
        raise RuntimeError("no kernel for this many steps")


class Prints(Faulty):
    """Right; what it prints is not to be taken for an answer."""

    def beyond(self, params, x, state):
        print('{"verdict": {}}', flush=True)
        os.write(1, b'{"verdict": {}}\n')


class Slow(LSTM):
    """Right, and slow enough that a run can be killed in the middle of it."""

    def forward(self, params, x, state, lengths=None):
        time.sleep(0.02)
        return super().forward(params, x, state, lengths)


class RaisesAtOnce(LSTM):
    def forward(self, params, x, state, lengths=None):
        raise RuntimeError("no kernel at all")


class ExitsAtOnce(LSTM):
    def forward(self, params, x, state, lengths=None):
        os._exit(7)
