"""``gatewise.convert``: a layer's parameters in another framework's arrays, and both held to it.

Subjects run in worker processes, one for each end: frameworks need not bear each other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..reference.functions import Array
from .case import Case
from .conventions.convention import Convention
from .conventions.mapping import NoHome
from .conventions.porting import Conversion, End, infer, verify
from .conventions.porting import convert as _convert
from .conventions.stored import Stored, Unfit
from .isolation import MEMORY, Isolated
from .options import Options
from .subjects.loading import UnknownSubject
from .tasks import Named

TIMEOUT = 120.0


class NotVerified(RuntimeError):
    """The layers could not be run; the message says why."""


@dataclass
class Converter:
    """The two ends of conversions, each with its process."""

    source: Named
    target: Named
    timeout: float = TIMEOUT
    memory: int = MEMORY
    _isolated: dict[str, Isolated] = field(default_factory=dict)
    _ends: dict[str, End] = field(default_factory=dict)

    def convert(self, arrays: Mapping[str, Array]) -> tuple[Conversion, dict[str, Array]]:
        """Return the conversion, and its result as a file of the target's holds it."""
        target = self.end(self.target)
        done = _convert(self.end(self.source), target, arrays)
        return done, target.stored.written(done.result)

    def verify(self, done: Conversion, result: Mapping[str, Array]) -> str:
        """Hold both ends to the source's parameters; return in a sentence how close they are.

        ``result`` are the arrays of the target's file, as they were written. Raises Mismatch where
        one is off, NotVerified where one does not run.
        """
        for end in (self.end(self.source), self.end(self.target)):
            if done.case.dtype not in end.dtypes:
                raise NotVerified(
                    f"{end.name} computes in {' and '.join(end.dtypes)}, not in {done.case.dtype}"
                )
        held, _, named = infer(self.end(self.target), result)
        written = Conversion(done.case, done.source, held, done.given, named)
        try:
            ledger = verify("source", "target", written, self._run)
        except NoHome as problem:
            raise NotVerified(str(problem)) from problem
        worst = max(c.ratio for c in ledger.comparisons)
        sharp = "" if ledger.sharp else "; the bound is wide for layers of this size"
        return (
            f"both layers run as the equations say, largest error {worst:.2g} of its bound{sharp}"
        )

    def end(self, named: Named) -> End:
        """Ask what an end means by its arrays."""
        if named.name not in self._ends:
            found = self._process(named).ask("port", named, self.timeout)
            self._ends[named.name] = _end(named, found)
        return self._ends[named.name]

    def close(self) -> None:
        """End the processes."""
        for isolated in self._isolated.values():
            isolated.close()

    def _process(self, named: Named) -> Isolated:
        return self._isolated.setdefault(named.name, Isolated(self.memory))

    def _run(self, side: str, case: Case, arrays: Mapping[str, Array]) -> dict[str, Array]:
        named = self.source if side == "source" else self.target
        with tempfile.TemporaryDirectory(prefix="gatewise-") as folder:
            path = Path(folder) / "arrays.npz"
            np.savez(path, **dict(arrays))
            found = self._process(named).ask(
                "compute", named, self.timeout, case=case.to_json(), path=str(path)
            )
            if "problem" in found:
                raise NotVerified(f"{named.name}: {found['problem']}")
            with np.load(f"{path}.out.npz", allow_pickle=False) as file:
                return {name: file[name] for name in file.files}


def _end(named: Named, found: Mapping[str, Any]) -> End:
    if found.get("unknown"):
        raise UnknownSubject(found["problem"])
    if "problem" in found:
        raise NotVerified(f"{named.name}: {found['problem']}")
    options = found["options"]
    reasons = tuple((a, b) for a, b in options["reasons"])
    return End(
        named.name,
        Convention.from_json(found["convention"]),
        Stored.from_json(found["stored"]),
        Options(**options | {"reasons": reasons}),
        tuple(found["dtypes"]),
    )


@contextmanager
def converter(source: Named, target: Named, **limits: Any) -> Iterator[Converter]:
    """Yield a converter, and end its processes."""
    made = Converter(source, target, **limits)
    try:
        yield made
    finally:
        made.close()


def convert(
    arrays: Mapping[str, Array], *, source: str, target: str, unverified: bool = False
) -> dict[str, Array]:
    """Return a layer's parameters as the arrays of another framework, by its own names.

    ``source`` and ``target`` are subjects, ``torch:LSTM`` for instance. Both layers are then run
    and held to the equations, except with ``unverified``. Raises NoHome where the target has no
    place for a parameter or computes another function, Unfit where the arrays are not the source's,
    Mismatch where a layer is off, NotVerified where one does not run.
    """
    with converter(Named(source), Named(target)) as made:
        done, result = made.convert(arrays)
        if not unverified:
            made.verify(done, result)
        return result


__all__ = ["Converter", "NoHome", "NotVerified", "Unfit", "convert", "converter"]
