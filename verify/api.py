"""``gatewise.check`` and ``gatewise.convert``: the interface for Python programs."""

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
from .checks import check_named, subject_checks
from .checks.check import SubjectCheck
from .checks.smoke import SMOKE
from .conventions.conversion import Conversion, End, infer, verify
from .conventions.conversion import convert as _convert
from .conventions.file_layout import Unfit
from .conventions.parameter_map import NoHome
from .execution import schemes  # noqa: F401 - registers the names of mutants and recordings
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
    """All verdicts on one subject, and the diagnosis of its failures.

    An outcome is true if no verdict is wrong or open and the essential checks passed: those
    requested by name (``chosen``), or else those of outputs and gradients.
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
    """Check a layer against the equations, in this process: a layer that crashes ends it.

    With ``explain``, failures are diagnosed, which takes 20 seconds at most.

    ``subject`` is a class or object (with ``like`` one with the constructor, parameters and call
    of ``torch.nn.LSTM``, ``GRU`` or ``RNN``; else one with ``cell`` and ``forward``), an adapter,
    or a name. ``quantised`` is its arithmetic, unless the subject declares it. ``device`` is where
    a module of torch's computes. Raises ValueError for any other subject.
    """
    if budget not in BUDGETS:
        raise ValueError(f"budget {budget!r}: expected one of {', '.join(BUDGETS)}")
    checks = checks.split(",") if isinstance(checks, str) else checks
    adapter = find(subject, like, quantised, device)
    text = adapter.quantisation.text if isinstance(adapter, Quantised) else ""
    named = Named(adapter.name, like, quantised=text, device=device)
    chosen = [check_named(name) for name in checks] or list(subject_checks())
    verdicts = tuple(verdicts_on(adapter, named, chosen, dtype, budget, seed))
    diagnosis = _diagnosis(adapter, verdicts) if explain else None
    return Outcome(verdicts, diagnosis, tuple(checks))


def _diagnosis(subject: Subject, verdicts: Sequence[Verdict]) -> Diagnosis | None:
    if isinstance(subject, FixedCases) or not any(v.wrong for v in verdicts):
        return None  # a diagnosis needs calls that a recording does not have
    from .execution.diagnosis_tasks import diagnose_failures  # a layer that passes does not need it

    return diagnose_failures(subject, verdicts)


def find(
    subject: Any, like: str | None = None, quantised: object = "", device: str = "cpu"
) -> Subject:
    """Return the subject of a name, class or object, in the arithmetic that it declares."""
    if isinstance(subject, str):
        return subject_named(subject, like, quantised=quantised, device=device)
    adapter = adapted(subject, _name(subject), like, device=device)
    return in_arithmetic(adapter, quantised or getattr(subject, "quantised", ""))


def _name(subject: Any) -> str:
    """Return the name that a command line accepts for a class, or else its qualified name."""
    name: str = getattr(subject, "__qualname__", type(subject).__qualname__)
    try:
        file = Path(inspect.getsourcefile(subject) or "")
    except TypeError:  # an instance, or made by no file
        return name
    if not file.is_file() or "<locals>" in name:
        return name
    folder = Path.cwd()
    return f"{file.relative_to(folder) if file.is_relative_to(folder) else file}:{name}"


def verdicts_on(
    subject: Subject,
    named: Named,
    chosen: Sequence[SubjectCheck],
    dtype: str | None,
    budget: str,
    seed: int,
    *,
    shrink: bool = True,
) -> Iterator[Verdict]:
    """Yield the verdicts of the checks in one dtype, or in all that count.

    Without ``shrink``, failing cases stay as they were drawn.
    """
    if dtype is None and subject.options.problem:
        dtypes = subject.dtypes[:1]
    else:
        dtypes = chosen_dtypes(subject.dtypes, dtype)
    for each in dtypes:
        yield from _verdicts(subject, named, chosen, each, budget, seed, shrink)


def _verdicts(
    subject: Subject,
    named: Named,
    chosen: Sequence[SubjectCheck],
    dtype: str,
    budget: str,
    seed: int,
    shrink: bool,
) -> Iterator[Verdict]:
    runs = True
    for check in chosen:
        if not check.concerns(subject):
            continue
        if not runs:
            verdict = blank(subject, check, dtype, seed)
            verdict.status, verdict.message = "not tested", "the layer does not run"
            yield verdict
            continue
        task = Task(named, check.id, dtype, budget, seed, shrink=shrink)
        verdict = answer(task, subject, lambda case: None)
        runs = check.id != SMOKE or verdict.status != "not tested"
        yield verdict


# ``gatewise.convert`` runs both layers in worker processes, one for each end, because two
# frameworks may not work in one process.

TIMEOUT = 120.0


class NotVerified(RuntimeError):
    """The layers could not be run; the message gives the reason."""


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
        """Return the conversion, and its result as the arrays of the target's file."""
        target = self.end(self.target)
        conversion = _convert(self.end(self.source), target, arrays)
        return conversion, target.stored.to_file(conversion.result)

    def verify(self, conversion: Conversion, result: Mapping[str, Array]) -> str:
        """Compare both ends with the equations; return their largest error in a sentence.

        ``result`` are the arrays of the target's file, as they were written. Raises Mismatch if
        an end deviates, NotVerified if one does not run.
        """
        for end in (self.end(self.source), self.end(self.target)):
            if conversion.case.dtype not in end.dtypes:
                dtypes = " and ".join(end.dtypes)
                raise NotVerified(
                    f"{end.name} computes in {dtypes}, not in {conversion.case.dtype}"
                )
        parameters, _, names = infer(self.end(self.target), result)
        conversion_of_file = Conversion(
            conversion.case, conversion.source, parameters, conversion.arrays, names
        )
        try:
            ledger = verify("source", "target", conversion_of_file, self._run)
        except (NoHome, Undecided) as problem:
            raise NotVerified(str(problem)) from problem
        worst = max(c.ratio for c in ledger.comparisons)
        sharp = "" if ledger.sharp else "; the bound is wide for layers of this size"
        return (
            f"both layers run as the equations say, largest error {worst:.2g} of its bound{sharp}"
        )

    def end(self, named: Named) -> End:
        """Return an end: the meaning of its arrays, from its process."""
        if named.name not in self._ends:
            answer = self._process(named).ask("port", named, self.timeout)
            self._ends[named.name] = _end(named, answer)
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
            answer = self._process(named).ask(
                "compute", named, self.timeout, case=case.to_json(), path=str(path)
            )
            if "problem" in answer:
                raise NotVerified(f"{named.name}: {answer['problem']}")
            with np.load(f"{path}.out.npz", allow_pickle=False) as file:
                return {name: file[name] for name in file.files}


def _end(named: Named, answer: Mapping[str, Any]) -> End:
    if answer.get("unknown"):
        raise UnknownSubject(answer["problem"])
    if "problem" in answer:
        raise NotVerified(f"{named.name}: {answer['problem']}")
    return msgspec.convert({"name": named.name, **answer}, End)


@contextmanager
def converter(source: Named, target: Named, **limits: Any) -> Iterator[Converter]:
    """Yield a converter, and end its processes."""
    pair = Converter(source, target, **limits)
    try:
        yield pair
    finally:
        pair.close()


def convert(
    arrays: Mapping[str, Array], *, source: str, target: str, unverified: bool = False
) -> dict[str, Array]:
    """Return a layer's parameters as the arrays of another framework, by its own names.

    ``source`` and ``target`` are subjects, ``torch:LSTM`` for instance. Both layers are then run
    and compared with the equations, except with ``unverified``. Raises NoHome if the target has
    no place for a parameter or computes another function, Unfit if the arrays are not the
    source's, Mismatch if a layer deviates, NotVerified if one does not run.
    """
    with converter(Named(source), Named(target)) as pair:
        conversion, result = pair.convert(arrays)
        if not unverified:
            pair.verify(conversion, result)
        return result


__all__ = ["Converter", "NoHome", "NotVerified", "Unfit", "convert", "converter"]
