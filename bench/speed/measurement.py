"""Measure one group: prove every contender right, then let those that are take turns."""

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
"""Rounds at least: fewer could all go one way by chance, somewhere among hundreds of groups."""

EFFORTS = {
    "quick": replace(QUICK, patience=0.3, samples=ROUNDS),
    "standard": replace(STANDARD, samples=ROUNDS),
}
WORK = {"quick": 1.5e7, "standard": 6e7}
"""Weights times steps that proving right may take: seconds, and some ten seconds."""

PATIENT = 1.3
"""How much longer than the least number of rounds may be waited for."""


@dataclass(frozen=True)
class Request:
    """A group as it is asked for. ``only`` limits the passes of contenders that it names.

    ``longest`` are the seconds that a call may take and still be timed.
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
        """What its row says of it."""
        shape = asdict(self.shape)
        return {"cell": self.cell, "shape": shape, "dtype": self.dtype, "threads": self.threads}

    def passes_of(self, subject: str) -> tuple[str, ...]:
        """Return the passes that are asked of a contender."""
        wanted = self.only.get(subject, self.passes)
        return tuple(of for of in self.passes if of in wanted)


Say = Callable[[str], None]
"""Told what is being done, so that it is known if the process ends in it."""


def measured(request: Request, say: Say) -> dict[str, Any]:
    """Return the row of a group, without its id."""
    started = time.perf_counter()
    problem = Problem(request.cell, request.shape, request.dtype, request.seed)
    entries = _Group(request, problem, say).entries()
    timed = tuple(of for of in request.passes if any(e.timing and e.of == of for e in entries))
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
    """Contenders on their way: prepared, proven, timed."""

    def __init__(self, request: Request, problem: Problem, say: Say) -> None:
        self.request, self.problem, self.say = request, problem, say
        self.effort = EFFORTS[request.effort]

    def entries(self) -> list[Entry]:
        """Return an entry for every contender and pass."""
        try:
            self.say("the reference")
            want = expected(self.problem, WORK[self.request.effort])
        except UnsupportedError as why:
            return [
                Entry(name, of, rows.UNSUPPORTED, str(why))
                for name in self.request.subjects
                for of in self.request.passes_of(name)
            ]
        ready: dict[str, Prepared] = {}
        proven: list[Entry] = []
        for name in self.request.subjects:
            self.say(name)
            proven += self._proven(name, want, ready)
        return self._timed(proven, ready)

    def _proven(self, name: str, want: Expected, ready: dict[str, Prepared]) -> list[Entry]:
        """Prepare a contender and hold every pass to the reference."""
        passes, version = self.request.passes_of(name), ""
        try:
            contender = contender_named(name, self.request.like)
            version = contender.version()
            prepared = ready[name] = contender.prepare(self.problem)
        except Exception as error:
            status, message = judged(error)
            return [Entry(name, of, status, message, version) for of in passes]
        entries = []
        for of in passes:
            entry = Entry(name, of, rows.OK, "", version, prepared.algorithm, prepared.note)
            entries.append(self._held(entry, prepared, want))
        return entries

    def _held(self, entry: Entry, prepared: Prepared, want: Expected) -> Entry:
        try:
            gate: Gate = passed(entry.of, prepared, self.problem, want)
            dense = prepared.own(self.problem.cotangents())
            started = time.perf_counter()
            prepared.call(entry.of, dense)
            took = time.perf_counter() - started
            peak = prepared.peak(entry.of, dense)
            device = getattr(prepared, "device_side", lambda of, d: None)(entry.of, dense)
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

    def _timed(self, entries: list[Entry], ready: Mapping[str, Prepared]) -> list[Entry]:
        """Let the contenders that were let through take turns, pass by pass."""
        for of in self.request.passes:
            running = [e.subject for e in entries if e.of == of and e.status == rows.OK]
            self.say(", ".join(running))
            times = self._turns(of, {name: ready[name] for name in running})
            for number, entry in enumerate(entries):
                if entry.of == of and (timing := times.get(entry.subject)):
                    entries[number] = replace(entry, timing=timing, status=timing.status)
        return entries

    def _turns(self, of: str, ready: Mapping[str, Prepared]) -> Mapping[str, Timing]:
        calls, all_once = {}, 0.0
        for name, prepared in ready.items():
            dense = prepared.own(self.problem.cotangents())
            calls[name] = partial(prepared.call, of, dense)
            started = time.perf_counter()
            calls[name]()
            all_once += time.perf_counter() - started
        needed = PATIENT * ROUNDS * all_once / max(len(calls), 1)
        effort = replace(self.effort, patience=max(self.effort.patience, needed))
        if len(calls) > 1:
            return rounds(calls, effort, self.request.seed).timings
        return {name: measure(call, effort, seed=self.request.seed) for name, call in calls.items()}


def judged(error: Exception) -> tuple[str, str]:
    """Return the status and the sentence that an error means."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, UnsupportedError | SubjectUnavailable | NotOffered | NotImplementedError):
        return rows.UNSUPPORTED, said
    if isinstance(error, FallbackError):
        return rows.FALLBACK, said
    if isinstance(error, WrongError | Mismatch):
        return rows.WRONG, said
    if isinstance(error, MemoryError) or "allocate" in said or "out of memory" in said.lower():
        return rows.OOM, said or "there was not enough memory"
    return rows.UNSUPPORTED, f"it raised {type(error).__name__}: {said}"


def _json(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values; five digits of every sample are kept."""
    value = asdict(entry)
    if entry.timing is not None:
        for kept in ("samples", "away"):
            value["timing"][kept] = [float(f"{s:.5g}") for s in value["timing"][kept]]
    return value


def noise(subjects: Sequence[str], effort: str, seed: int, say: Say) -> dict[str, Any]:
    """Return the noise floor of the session: how much contenders differ from themselves."""
    problem = Problem("lstm", Shape(T=20, B=4, D=64, H=64), "float32", seed)
    floors = {}
    for name in subjects:
        say(name)
        prepared = contender_named(name).prepare(problem)
        for of in (FORWARD, TRAINING):
            dense = prepared.own(problem.cotangents())
            call = partial(prepared.call, of, dense)
            floors[f"{name} {of}"] = noise_floor(call, EFFORTS[effort], seed=seed)
    return {"floor": max(floors.values()), "by": floors}
