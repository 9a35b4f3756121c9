"""Measure one group: check every contender, then time in turns those that pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from ...verify.numbers.ledger import Mismatch
from ...verify.subjects.called import NotOffered
from ...verify.subjects.protocol import SubjectUnavailable
from ..cost.shape import Shape
from ..run import UnsupportedError
from ..timing.comparison import noise_floor, rounds
from ..timing.measurement import QUICK, STANDARD, Timing, measure
from . import ceilings, rows
from .contender import FORWARD, TRAINING, FallbackError, Prepared
from .gate import Expected, Gate, WrongError, expected, passed
from .problem import Problem
from .registry import contender_named
from .rows import Entry

ROUNDS = 20
"""The least number of rounds: fewer could all go one way by chance among hundreds of groups."""

EFFORTS = {
    "quick": replace(QUICK, patience=0.3, samples=ROUNDS),
    "standard": replace(STANDARD, samples=ROUNDS),
}
WORK = {"quick": 1.5e7, "standard": 6e7}
"""Weights times steps that the gate may take: seconds, and some ten seconds."""

PATIENT = 1.3
"""The longest wait, as a multiple of the time of the least number of rounds."""


@dataclass(frozen=True)
class Request:
    """A request for a group. ``only`` limits the passes of the contenders that it names.

    ``longest`` is the longest call, in seconds, that is still timed.
    """

    id: str
    cell: str
    shape: Shape
    dtype: str
    subjects: tuple[str, ...]
    passes: tuple[str, ...]
    threads: int = 1
    effort: str = "quick"
    longest: float = 0.5
    seed: int = 0
    like: str | None = None
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def about(self) -> dict[str, Any]:
        """The fields of the request that go into its row."""
        shape = asdict(self.shape)
        return {"cell": self.cell, "shape": shape, "dtype": self.dtype, "threads": self.threads}

    def passes_of(self, subject: str) -> tuple[str, ...]:
        """Return the passes that a contender is to run."""
        allowed = self.only.get(subject, self.passes)
        return tuple(phase for phase in self.passes if phase in allowed)


Say = Callable[[str], None]
"""A callback for the name of each activity, so that it is known if the process ends in it."""


def measured(request: Request, say: Say) -> dict[str, Any]:
    """Return the row of a group, without its id."""
    started = time.perf_counter()
    problem = Problem(request.cell, request.shape, request.dtype, request.seed)
    entries = _Group(request, problem, say).entries()
    timed = tuple(p for p in request.passes if any(e.timing and e.of == p for e in entries))
    say("the ceilings of this group")
    return {
        "status": rows.OK if timed else entries[0].status if entries else rows.UNSUPPORTED,
        **request.about,
        "entries": [_json(entry) for entry in entries],
        "ceiling": ceilings.seconds(problem, timed),
        "work": ceilings.work(problem),
        "seconds": time.perf_counter() - started,
    }


class _Group:
    """The contenders of a group: prepared, checked, timed."""

    def __init__(self, request: Request, problem: Problem, say: Say) -> None:
        self.request, self.problem, self.say = request, problem, say
        self.effort = EFFORTS[request.effort]

    def entries(self) -> list[Entry]:
        """Return an entry for every contender and pass."""
        try:
            self.say("the reference")
            want = expected(self.problem, WORK[self.request.effort])
        except UnsupportedError as reason:
            return [
                Entry(name, phase, rows.UNSUPPORTED, str(reason))
                for name in self.request.subjects
                for phase in self.request.passes_of(name)
            ]
        ready: dict[str, Prepared] = {}
        proven: list[Entry] = []
        for name in self.request.subjects:
            self.say(name)
            proven += self._proven(name, want, ready)
        return self._time(proven, ready)

    def _proven(self, name: str, want: Expected, ready: dict[str, Prepared]) -> list[Entry]:
        """Prepare a contender and compare every pass with the reference."""
        passes, version = self.request.passes_of(name), ""
        try:
            contender = contender_named(name, self.request.like)
            version = contender.version()
            prepared = ready[name] = contender.prepare(self.problem)
        except Exception as error:
            status, message = judged(error)
            return [Entry(name, phase, status, message, version) for phase in passes]
        entries = []
        for phase in passes:
            entry = Entry(name, phase, rows.OK, "", version, prepared.algorithm, prepared.note)
            entries.append(self._check(entry, prepared, want))
        return entries

    def _check(self, entry: Entry, prepared: Prepared, want: Expected) -> Entry:
        try:
            gate: Gate = passed(entry.of, prepared, self.problem, want)
            dense = prepared.to_native(self.problem.cotangents())
            started = time.perf_counter()
            prepared.call(entry.of, dense)
            took = time.perf_counter() - started
            peak = prepared.peak(entry.of, dense)
            device = getattr(prepared, "device_side", lambda phase, d: None)(entry.of, dense)
            counts = prepared.counts(entry.of, dense)
        except Exception as error:
            status, message = judged(error)
            return replace(entry, status=status, message=message)
        first = prepared.first[entry.of]
        entry = replace(entry, gate=gate, first=first, peak=peak, device=device, counts=counts)
        if took > self.request.longest:
            long = f"one call takes {took:.2g} s, more than {self.request.longest:g} s"
            return replace(entry, status=rows.TIMEOUT, message=long)
        return entry

    def _time(self, entries: list[Entry], ready: Mapping[str, Prepared]) -> list[Entry]:
        """Time the contenders that passed the gate in turns, pass by pass."""
        for phase in self.request.passes:
            running = [e.subject for e in entries if e.of == phase and e.status == rows.OK]
            self.say(", ".join(running))
            times = self._turns(phase, {name: ready[name] for name in running})
            for number, entry in enumerate(entries):
                if entry.of == phase and (timing := times.get(entry.subject)):
                    entries[number] = replace(entry, timing=timing, status=timing.status)
        return entries

    def _turns(self, phase: str, ready: Mapping[str, Prepared]) -> Mapping[str, Timing]:
        calls, all_once = {}, 0.0
        for name, prepared in ready.items():
            dense = prepared.to_native(self.problem.cotangents())
            calls[name] = partial(prepared.call, phase, dense)
            started = time.perf_counter()
            calls[name]()
            all_once += time.perf_counter() - started
        needed = PATIENT * ROUNDS * all_once / max(len(calls), 1)
        effort = replace(self.effort, patience=max(self.effort.patience, needed))
        if len(calls) > 1:
            return rounds(calls, effort, self.request.seed).timings
        return {name: measure(call, effort, seed=self.request.seed) for name, call in calls.items()}


def judged(error: Exception) -> tuple[str, str]:
    """Return the status and the message of an error."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, UnsupportedError | SubjectUnavailable | NotOffered | NotImplementedError):
        return rows.UNSUPPORTED, text
    if isinstance(error, FallbackError):
        return rows.FALLBACK, text
    if isinstance(error, WrongError | Mismatch):
        return rows.WRONG, text
    if isinstance(error, MemoryError) or "allocate" in text or "out of memory" in text.lower():
        return rows.OOM, text or "there was not enough memory"
    return rows.UNSUPPORTED, f"it raised {type(error).__name__}: {text}"


def _json(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values; five digits of every sample are kept."""
    value = asdict(entry)
    if entry.timing is not None:
        for key in ("samples", "away"):
            value["timing"][key] = [float(f"{s:.5g}") for s in value["timing"][key]]
    return value


def noise(subjects: Sequence[str], effort: str, seed: int, say: Say) -> dict[str, Any]:
    """Return the noise floor of the session: the differences of contenders from themselves."""
    problem = Problem("lstm", Shape(T=20, B=4, D=64, H=64), "float32", seed)
    floors = {}
    for name in subjects:
        say(name)
        prepared = contender_named(name).prepare(problem)
        for phase in (FORWARD, TRAINING):
            dense = prepared.to_native(problem.cotangents())
            call = partial(prepared.call, phase, dense)
            floors[f"{name} {phase}"] = noise_floor(call, EFFORTS[effort], seed=seed)
    return {"floor": max(floors.values()), "by": floors}
