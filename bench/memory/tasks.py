"""Tasks whose answer depends on an input a chosen number of steps before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...reference.arrays import Floats

TOLERANCE = 0.1
"""The allowed error of an answer to the adding task, a sum between 0 and 2."""

SYMBOLS, STRING = 4, 2
"""The number of symbols of the copy task, and the length of its strings."""


@dataclass(frozen=True)
class Batch:
    """Sequences and their answers.

    ``x`` (T, B, D); ``target`` (A, B), the right answers in the last A steps: numbers for a
    regression, indices of classes otherwise.
    """

    x: Floats
    target: Floats


@dataclass(frozen=True)
class LagTask:
    """A task: widths of its input and output, the success rate of guessing, and its sequences.

    ``draw(rng, rows, lag)`` returns a batch in which the answer needs the input ``lag`` steps
    before it. ``classes``: answers are classes, and ``outputs`` their number.
    """

    id: str
    statement: str
    inputs: int
    outputs: int
    classes: bool
    guessing: float
    draw: Callable[[np.random.Generator, int, int], Batch]


def is_right(task: LagTask, answers: Floats, target: Floats) -> Floats:
    """Return whether each row's answer is right (B,); ``answers`` (A, B, outputs)."""
    if task.classes:
        return np.asarray((answers.argmax(axis=-1) == target).all(axis=0))
    return np.asarray((np.abs(answers[..., 0] - target) < TOLERANCE).all(axis=0))


def _adding(rng: np.random.Generator, rows: int, lag: int) -> Batch:
    T = lag + 1
    values, marks = rng.uniform(size=(T, rows)), np.zeros((T, rows))
    second = rng.integers(1, T, size=rows)
    marks[0] = marks[second, np.arange(rows)] = 1
    target = values[0] + values[second, np.arange(rows)]
    return Batch(np.stack([values, marks], axis=-1), target[None])


def _copy(rng: np.random.Generator, rows: int, lag: int) -> Batch:
    string = rng.integers(0, SYMBOLS, size=(STRING, rows))
    x = np.zeros((lag + STRING, rows, SYMBOLS + 1))
    for t, symbols in enumerate(string):
        x[t, np.arange(rows), symbols] = 1
    x[lag:, :, SYMBOLS] = 1  # the cue: answer now
    return Batch(x, string)


def _counting(rng: np.random.Generator, rows: int, lag: int) -> Batch:
    T, most = lag + 1, max((lag - 1) // 2, 1)  # so that a and b and one more fit
    a = rng.integers(max(most // 2, 1), most + 1, size=rows)
    equal = rng.integers(0, 2, size=rows)
    b = a + np.where(equal, 0, rng.choice((-1, 1), size=rows))
    steps, start = np.arange(T)[:, None], T - 1 - a - b
    x = np.zeros((T, rows, 3))
    x[..., 0] = (steps >= start) & (steps < start + a)
    x[..., 1] = (steps >= start + a) & (steps < T - 1)
    x[-1, :, 2] = 1  # the end: were there as many b as a?
    return Batch(x, equal[None])


TASKS = {
    task.id: task
    for task in (
        LagTask("adding", "The sum of the first number and of another one that is marked.",
                2, 1, False, 2 * TOLERANCE - TOLERANCE**2, _adding),
        LagTask("copy", f"A string of {STRING} symbols of {SYMBOLS}, given again after a pause.",
                SYMBOLS + 1, SYMBOLS, True, SYMBOLS**-STRING, _copy),
        LagTask("counting", "Whether as many b as a were seen: aⁿbⁿ, or one more or less.",
                3, 2, True, 0.5, _counting),
    )
}  # fmt: skip
"""The tasks by id. Adding and copy are short forms of Hochreiter and Schmidhuber's (1997); counting
is C20's and Weiss, Goldberg and Yahav's (2018)."""
