"""The plan of a run: the contenders in each shape, and their order."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...reference.cells import cell_named, cells
from ...reference.errors import InputError
from ...verify.execution import availability
from ...verify.execution.isolation import Isolated
from ...verify.execution.tasks import Named
from ...verify.subjects import adapter, family
from ...verify.subjects.loader import UnknownSubject
from ..cost.shape import Shape
from ..run import Piece, Plan, from_json
from . import rows, shapes
from .contender import BACKWARD, DATA, FORWARD, PASSES, TRAINING
from .measurement import Request
from .problem import STORED
from .process import SpeedProcess
from .registry import check_family, expanded, package_contenders
from .torch_layers import CAP

QUICK_PASSES = (FORWARD, BACKWARD, TRAINING)
FULL_SETS = ("quick", "cpu-small", "deep", "compile")
LONGEST = {False: 0.5, True: 5.0}
"""The default limit on a call, in seconds, in a quick and in a full run."""

BASELINES = ("torch-native", "torch", "cudnn", "numpy")
"""Families of baselines; the first one present is the baseline."""


@dataclass(frozen=True)
class Wanted:
    """The options of ``gatewise bench speed``, as JSON values; empty means the default."""

    subjects: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    passes: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    full: bool = False
    threads: int = 1
    baseline: str = ""
    like: str | None = None
    longest: float | None = None
    timeout: float = 600.0
    memory: int = 4096

    @classmethod
    def checked(cls, **options: Any) -> Wanted:
        """Return checked options; an InputError says in one sentence what is impossible."""
        wanted = from_json(cls, options, "options")
        for cell in wanted.cells:
            cell_named(cell)
        for name, allowed in (("passes", PASSES), ("dtypes", tuple(STORED))):
            for value in getattr(wanted, name):
                if value not in allowed:
                    raise InputError(name, f"one of {', '.join(allowed)}", repr(value))
        return wanted

    @property
    def chosen_passes(self) -> tuple[str, ...]:
        """The passes, in order."""
        chosen = self.passes or (PASSES if self.full else QUICK_PASSES)
        return tuple(phase for phase in PASSES if phase in chosen)

    @property
    def chosen_dtypes(self) -> tuple[str, ...]:
        """The dtypes of shapes that come without their own."""
        return self.dtypes or (("float32", "float64") if self.full else ("float32",))

    @property
    def chosen_shapes(self) -> tuple[str, ...]:
        """The sets and grids."""
        return self.shapes or (FULL_SETS if self.full else ("quick",))


def plan(*, seed: int, **options: Any) -> Plan:
    """Return the plan of a run; the same options make the same pieces."""
    wanted = Wanted.checked(**options)
    requests = list(groups(wanted, seed))
    if not requests:
        raise InputError("subjects", "some that compute the cells that are asked for", "none")
    process = SpeedProcess(wanted.threads, wanted.memory, wanted.timeout)
    atexit.register(process.close)
    pieces_of_groups = [Piece(request.id, partial(process.group, request)) for request in requests]
    last = pieces_of_groups[-1]

    def measure_last() -> Mapping[str, Any]:
        with closing(process):
            return last.measure()

    pieces = [*_first(wanted, process, seed), *pieces_of_groups[:-1], Piece(last.id, measure_last)]
    return Plan("speed", seed, options, pieces)


def _first(wanted: Wanted, process: SpeedProcess, seed: int) -> Iterator[Piece]:
    """Yield the pieces that a session measures first: the machine, and its noise."""
    yield Piece(rows.CEILINGS, lambda: process.plain("machine", dtypes=list(wanted.chosen_dtypes)))
    alike = ["numpy:lstm", *(["torch-native:LSTM"] if find_spec("torch") else [])]
    yield Piece(
        rows.NOISE,
        lambda: process.plain("noise", subjects=alike, effort=_effort(wanted), seed=seed),
    )


def _effort(wanted: Wanted) -> str:
    return "standard" if wanted.full else "quick"


def groups(wanted: Wanted, seed: int) -> Iterator[Request]:
    """Yield every group once: a cell, a shape, a dtype, and its contenders."""
    by_cell = contenders(wanted)
    ids: set[str] = set()
    for text, cell in itertools.product(wanted.chosen_shapes, wanted.cells or by_cell):
        if _lonely(wanted, text, by_cell.get(cell, ())):
            continue
        for part in shapes.parts(text):
            if part.cells and cell not in part.cells:
                continue
            dtypes = wanted.dtypes or part.dtypes or wanted.chosen_dtypes
            for shape, dtype in itertools.product(part.shapes, dtypes):
                id = f"{cell} {shape} {dtype}"
                chosen = _fitting(wanted, by_cell.get(cell, ()), shape)
                if chosen and id not in ids:
                    ids.add(id)
                    yield _request(wanted, id, cell, shape, dtype, chosen, seed)


def _lonely(wanted: Wanted, text: str, names: Sequence[str]) -> bool:
    """Return whether a full run skips a cell: only the reference has it, beyond quick shapes."""
    chosen = wanted.subjects or wanted.cells or wanted.shapes or text == FULL_SETS[0]
    return not chosen and all(family(n) == "numpy" or n not in package_contenders() for n in names)


def _request(
    wanted: Wanted, id: str, cell: str, shape: Shape, dtype: str, chosen: Sequence[str], seed: int
) -> Request:
    compiled = [name for name in chosen if family(name) == "torch-compile"]
    light = not (wanted.full or wanted.subjects)
    baseline = baseline_of(chosen, wanted.baseline)
    return Request(
        id=id, cell=cell, shape=shape, dtype=dtype,
        subjects=(*(name for name in chosen if name != baseline), baseline),
        passes=wanted.chosen_passes, threads=wanted.threads, effort=_effort(wanted),
        longest=LONGEST[wanted.full] if wanted.longest is None else wanted.longest,
        seed=seed, like=wanted.like, only=dict.fromkeys(compiled, (FORWARD,)) if light else {},
    )  # fmt: skip


def _fitting(wanted: Wanted, names: Sequence[str], shape: Shape) -> list[str]:
    """Return the contenders that suit a shape, or all if the user named them."""
    if wanted.subjects:
        return list(names)
    single = shape.layers == shape.directions == 1
    loops = {"torch-compile", *({"numpy-fast"} if not single else set())}
    tied = [name for name in names if single or not name.endswith("Cell")]
    return [name for name in tied if family(name) not in loops or (single and shape.T <= CAP)]


def baseline_of(names: Sequence[str], baseline: str = "") -> str:
    """Return the baseline: the user's choice, or the most familiar contender."""
    if baseline in names:
        return baseline
    ranked = {kind: rank for rank, kind in enumerate(BASELINES)}
    return min(names, key=lambda name: ranked.get(family(name), len(ranked)))


def contenders(wanted: Wanted) -> dict[str, list[str]]:
    """Return the names of contenders by cell; InputError or UnknownSubject for unknown names.

    By default they are the reference, PyTorch's if it is there, and on a full run every framework
    that is installed.
    """
    names = expanded(wanted.subjects) if wanted.subjects else _default(full=wanted.full)
    by_cell: dict[str, list[str]] = {}
    for name in names:
        for cell in _cells_of(name, wanted.like):
            by_cell.setdefault(cell, []).append(name)
    return {cell: by_cell[cell] for cell in cells() if cell in by_cell}


def _default(*, full: bool) -> list[str]:
    families = ["numpy", "numpy-fast"]
    if find_spec("torch"):
        families += ["torch-native", "torch-compile"]
    names = [name for name in package_contenders() if family(name) in families]
    if shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists():
        names += expanded(("cudnn:*", "cudnn-graph:*", "torch-cuda:*"))
    if find_spec("torch"):
        names += ["torch-onednn:LSTM", *(f"torch:{cell}Cell" for cell in ("RNN", "LSTM", "GRU"))]
    if full:  # and those of other frameworks that are installed, asked in processes
        ours = {family(name) for name in package_contenders()}
        installed = (
            d.named.name for d in availability.probed(jobs=os.cpu_count() or 1) if not d.problem
        )
        names += [name for name in installed if family(name) not in ours]
    return list(dict.fromkeys(names))


def _cells_of(name: str, like: str | None) -> tuple[str, ...]:
    """Return the cells that a contender computes; a user's own is imported in a process."""
    if name in package_contenders():
        return package_contenders()[name].cells
    if subject := adapter(name):
        return subject.cells
    check_family(name)
    with closing(Isolated(memory=0, paths=[str(Path.cwd())])) as isolated:
        description = isolated.describe(Named(name, like), availability.TIMEOUT)
    if problem := description.problem:
        raise UnknownSubject(problem if name in problem else f"{name}: {problem}")
    return description.cells


def left_out(wanted: Wanted) -> list[str]:
    """Return in words what a run of default size leaves out."""
    if wanted.full:
        return []
    lines = []
    if not wanted.shapes:
        sets = ", ".join(name for name in shapes.named() if name != "quick")
        lines.append(f"shapes: {sets} (--shapes NAME)")
    if not wanted.passes:
        lines.append(f"pass: {DATA}, which tells the gradients of data from those of weights")
    if not wanted.dtypes:
        lines.append("dtypes: float64, float16, bfloat16")
    if not wanted.subjects:
        lines.append("torch.compile: gradients, and all but one shape; other frameworks' adapters")
    return lines
