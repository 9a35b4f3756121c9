"""``gatewise.check``: hold a layer from Python, in this process."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..reference.functions import Array
from .cases.case import Case
from .cases.options import Options
from .checks import check_named, subject_checks
from .checks.check import SubjectCheck
from .checks.smoke import SMOKE
from .conventions.convention import Convention
from .conventions.conversion import Conversion, End, infer, verify
from .conventions.conversion import convert as _convert
from .conventions.file_layout import Stored, Unfit
from .conventions.parameter_map import NoHome
from .execution import schemes  # noqa: F401 - it makes the names of mutants and recordings known
from .execution.isolation import Isolated
from .execution.judge import BUDGETS, blank
from .execution.limits import MEMORY
from .execution.tasks import Named, Task, answer
from .numbers.arithmetic import chosen_dtypes
from .numbers.ledger import Undecided
from .runs.conclusion import conclusion
from .runs.diagnosis import Diagnosis
from .runs.findings import Finding
from .runs.verdict import Verdict
from .subjects import adapted, subject_named
from .subjects.loader import UnknownSubject
from .subjects.protocol import FixedCases, Subject
from .subjects.quantised import Quantised, in_arithmetic


@dataclass(frozen=True, repr=False)
class Outcome:
    """All verdicts on one subject, and what explains its failures.

    It is true if nothing is wrong or open, and what had to pass did: the checks that were asked
    for by name, which are ``chosen``, or else those of outputs and gradients.
    """

    verdicts: tuple[Verdict, ...]
    diagnosis: Diagnosis | None = None
    chosen: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return conclusion(self.verdicts, self.chosen).conforms

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The verdicts by which the subject does not conform."""
        return tuple(v for v in self.verdicts if v.wrong)

    def __str__(self) -> str:
        subject = self.verdicts[0].subject if self.verdicts else "nothing"
        return str(Finding(subject, self.verdicts, self.diagnosis, self.chosen))

    __repr__ = __str__  # pytest shows the repr of what an assert was about


def check(
    subject: Any,
    *,
    like: str | None = None,
    quantised: object = "",
    checks: Sequence[str] = (),
    dtype: str | None = None,
    budget: str = "standard",
    seed: int = 0,
    explain: bool = True,
    device: str = "cpu",
) -> Outcome:
    """Hold a layer to the checks, in this process: what it does to the process, it does to you.

    Where it fails, what explains that is looked for, 20 seconds at most; not without ``explain``.

    ``subject`` is a class or object (with ``like`` one with the constructor, parameters and call
    of ``torch.nn.LSTM``, ``GRU`` or ``RNN``; else one with ``cell`` and ``forward``), an adapter,
    or a name. ``quantised`` is its arithmetic, where it does not declare that itself. ``device``
    is where a module of torch's is held. Raises ValueError for what is none of these.
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget {budget!r}: expected one of {', '.join(BUDGETS)}")
    checks = checks.split(",") if isinstance(checks, str) else checks
    found = find(subject, like, quantised, device)
    text = found.quantisation.text if isinstance(found, Quantised) else ""
    named = Named(found.name, like, quantised=text, device=device)
    chosen = [check_named(name) for name in checks] or list(subject_checks())
    one = dtype is None and found.options.problem
    dtypes = found.dtypes[:1] if one else chosen_dtypes(found.dtypes, dtype)
    verdicts = [v for d in dtypes for v in _hold_all(found, named, chosen, d, budget, seed)]
    diagnosis = _explained(found, verdicts) if explain else None
    return Outcome(tuple(verdicts), diagnosis, tuple(checks))


def _explained(subject: Subject, verdicts: Sequence[Verdict]) -> Diagnosis | None:
    if isinstance(subject, FixedCases) or not any(v.wrong for v in verdicts):
        return None  # what explains a failure takes calls that no recording holds
    from .execution.diagnosis_tasks import examined  # what passes has no use for it

    return examined(subject, verdicts)


def find(
    subject: Any, like: str | None = None, quantised: object = "", device: str = "cpu"
) -> Subject:
    """Return the subject that a name, class or object stands for, in the arithmetic declared."""
    if isinstance(subject, str):
        return subject_named(subject, like, quantised=quantised, device=device)
    found = adapted(subject, _name(subject), like, device=device)
    return in_arithmetic(found, quantised or getattr(subject, "quantised", ""))


def _name(subject: Any) -> str:
    """Return the name by which a command finds a class again, or else what is at hand."""
    name: str = getattr(subject, "__qualname__", type(subject).__qualname__)
    try:
        file = Path(inspect.getsourcefile(subject) or "")
    except TypeError:  # an instance, or made by no file
        return name
    if not file.is_file() or "<locals>" in name:
        return name
    here = Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{name}"


def _hold_all(
    subject: Subject,
    named: Named,
    chosen: Sequence[SubjectCheck],
    dtype: str,
    budget: str,
    seed: int,
) -> Iterator[Verdict]:
    runs = True
    for one in chosen:
        if not one.concerns(subject):
            continue
        if not runs:
            verdict = blank(subject, one, dtype, seed)
            verdict.status, verdict.message = "not tested", "the layer does not run"
            yield verdict
            continue
        task = Task(named, one.id, dtype, budget, seed)
        verdict = answer(task, subject, lambda case: None)
        runs = one.id != SMOKE or verdict.status != "not tested"
        yield verdict


# ``gatewise.convert``: a layer's parameters in another framework's arrays, and both held to it.
#
# Subjects run in worker processes, one for each end: frameworks need not bear each other.


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
        except (NoHome, Undecided) as problem:
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
        msgspec.convert(found["convention"], Convention),
        msgspec.convert(found["stored"], Stored),
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
