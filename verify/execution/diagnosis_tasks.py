"""Diagnoses of subjects that failed checks, in processes of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from ...reference.cells import cells
from ..cases.case import Case
from ..checks.model_files import SOURCE
from ..diagnosis.examination import diagnose
from ..diagnosis.kernels import diagnose_submission
from ..numbers.arithmetic import DTYPES, USUAL_DTYPES
from ..runs.diagnosis import Diagnosis, Explanation, Location
from ..runs.records import RunFileError, harmless, typed
from ..runs.verdict import Verdict
from ..subjects.kernel import Submitted
from ..subjects.protocol import Subject
from .isolation import Isolated
from .tasks import Named

BRIEFLY, AT_LENGTH = 20.0, 300.0
"""Seconds for a diagnosis of a subject in a dtype, within a verification, and by itself."""

GRACE = 60.0
"""Further seconds after which a diagnosis without an answer is given up."""

COARSE = (
    "no finer dtype failed, and in {} mistakes are too near to each other to be told apart: "
    "verify it in float64 or float32"
)

FEW = 8
"""The most steps of a case, and the most cases, for trying attributes of a file's node."""

DEBUGGER = "run the script under a debugger: an index or a pointer is outside of its array"

ENDS = (
    (r"no answer after [\d.]+ s", "P02", "{}: it does not return, or is too slow.",
     "look for a loop that does not end, or give it longer: --timeout"),
    (r"the process was ended by (SIGSEGV|SIGBUS)", "P04",
     "It reads or writes memory that is not its own ({}).", DEBUGGER),
    (r"the process was ended by SIGKILL", "SIGKILL", "The system ended its process ({}).",
     "look at the memory that it takes: the system ends what takes too much"),
    (r"the process was ended by SIG\w+", "signal", "It ends its process ({}).",
     "look at what it said: a failed assertion or an error in native code"),
    (r"the process ended itself with exit code \d+", "P03", "It ends its own process ({}).",
     "raise an exception, do not exit"),
    (r"\b(MemoryError|_ArrayMemoryError|bad_alloc|not enough memory)\b", "P05",
     "It takes memory until there is none ({}).",
     "look for a list or a cache that grows with every step, or give it more: --memory"),
)  # fmt: skip
"""Ends of a process: a pattern of the message, and the id, statement and remedy."""


def diagnose_as_json(
    subject: Subject, dtype: str, failing: Sequence[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """Diagnose a subject, and return JSON values; runs in the subject's process."""
    return asdict(_diagnosis(subject, dtype, [Verdict(**fields) for fields in failing], seconds))


def _diagnosis(
    subject: Subject, dtype: str, failing: Sequence[Verdict], seconds: float
) -> Diagnosis:
    if any(verdict.check == SOURCE for verdict in failing):
        return _source_diagnosis(subject, dtype, failing, seconds)
    special = _attribute_diagnosis(subject, dtype, failing) or _beyond_catalogue(
        subject, dtype, failing
    )
    return special or _by_mistakes(subject, dtype, failing, seconds)


def _by_mistakes(
    subject: Subject, dtype: str, failing: Sequence[Verdict], seconds: float
) -> Diagnosis:
    """Search the known mistakes: of layers, or of submissions to a problem."""
    if subject.options.problem:
        return diagnose_submission(cast("Submitted", subject), dtype, failing, seconds)
    return diagnose(subject, dtype, failing, seconds=seconds)


def _attribute_diagnosis(subject: Any, dtype: str, failing: Sequence[Verdict]) -> Diagnosis | None:
    """Return the diagnosis that a runtime misreads an attribute of a file's node, or None."""
    operation = getattr(subject, "attributes", None)
    if operation is None:
        return None
    from ..models.variants import misread

    cases = [Case.from_json(v.case) for v in failing if v.status == "failed" and v.case]
    few = [case for case in cases if case.T <= FEW][:FEW]
    explanation = misread(subject, few, operation)
    if explanation is None:
        return None
    return Diagnosis(
        subject.name, dtype, "explained", tuple(v.check for v in failing), [explanation],
        Location("outputs"), experiments=len(few),
    )  # fmt: skip


def _source_diagnosis(
    subject: Any, dtype: str, failing: Sequence[Verdict], seconds: float
) -> Diagnosis:
    """Return the differences of a file's node from its source, and its other mistakes."""
    others = [v for v in failing if v.check != SOURCE]
    diagnosis = Diagnosis(subject.name, dtype, "explained")
    if others:
        diagnosis = _diagnosis(subject, dtype, others, seconds)
    departures = [Explanation((d.kind,), (d.statement,), (d.fix,)) for d in subject.departures]
    first = diagnosis.explanations[:1] or [Explanation((), (), ())]
    ids, statements, fixes = (
        tuple(dict.fromkeys(text for each in (*departures, *first) for text in getattr(each, part)))
        for part in ("ids", "statements", "fixes")
    )
    diagnosis.explanations = [Explanation(ids, statements, fixes), *diagnosis.explanations[1:]]
    diagnosis.status, diagnosis.failed = "explained", tuple(v.check for v in failing)
    return diagnosis


def diagnose_failures(subject: Subject, verdicts: Sequence[Verdict]) -> Diagnosis:
    """Diagnose the failures of a subject in this process."""
    failing = _failing(verdicts)
    dtype = failing[0].dtype
    if no_mistakes := _beyond_catalogue(subject, dtype, failing):
        return no_mistakes
    if dtype not in USUAL_DTYPES:
        return _undecided(subject.name, dtype, failing, COARSE.format(dtype))
    return _by_mistakes(subject, dtype, failing, BRIEFLY)


def _beyond_catalogue(subject: Subject, dtype: str, failing: Sequence[Verdict]) -> Diagnosis | None:
    """Diagnose a cell outside the catalogue, which has no known mistakes; None if it is inside."""
    unrolled = getattr(subject, "unrolled", False)
    if subject.cells[0] in cells() and not unrolled:
        return None
    equations = "it has no equations" if not subject.options.equations else "its step is its own"
    if unrolled:
        equations = "a step that was unrolled runs with its own weights alone"
    message = f"Not looked for: {equations}, and the known mistakes are of the catalogue's cells."
    failed = tuple(v.check for v in failing)
    return Diagnosis(subject.name, dtype, "unexplained", failed, message=message)


def _failing(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the wrong verdicts of the finest dtype that has any."""
    wrong = [v for v in verdicts if v.wrong]
    dtype = min((v.dtype for v in wrong), key=DTYPES.index, default="")
    return [v for v in wrong if v.dtype == dtype]


def diagnoses(
    verdicts: Sequence[Verdict],
    named: Sequence[Named],
    *,
    memory: int,
    seconds: float = AT_LENGTH,
    jobs: int = 1,
    hidden: Sequence[Path] = (),
) -> Iterator[Diagnosis]:
    """Yield a diagnosis for every subject that failed, in the finest dtype in which it did.

    Each search ends after ``seconds``; ``jobs`` of them run at a time, in as many processes.
    Subjects do not see ``hidden`` folders, where the system can hide them.
    """
    folders = [str(folder.resolve()) for folder in hidden]
    processes = [Isolated(memory, option="", hidden=folders) for _ in range(jobs)]
    free = SimpleQueue[Isolated]()
    for isolated in processes:
        free.put(isolated)

    def diagnosis(subject: Named) -> Diagnosis | None:
        failing = _failing([v for v in verdicts if v.subject == subject.name])
        if not failing:
            return None
        if ended := _process_diagnosis(failing):
            return ended
        isolated = free.get()
        try:
            return _diagnosis_by_process(subject, failing[0].dtype, failing, isolated, seconds)
        finally:
            free.put(isolated)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            yield from filter(None, pool.map(diagnosis, named))
    finally:
        for isolated in processes:
            isolated.close()


def _diagnosis_by_process(
    named: Named, dtype: str, failing: Sequence[Verdict], isolated: Isolated, seconds: float
) -> Diagnosis:
    if dtype not in USUAL_DTYPES:
        return _undecided(named.name, dtype, failing, COARSE.format(dtype))
    verdicts, limit = [asdict(v) for v in failing], seconds + GRACE
    answer = isolated.ask("diagnose", named, limit, dtype=dtype, failing=verdicts, seconds=seconds)
    reason = harmless(answer.get("problem"))
    if "problem" not in answer:
        try:
            return typed(Diagnosis, harmless(answer))
        except RunFileError as error:
            reason = f"its process gave an answer that is none: {error}"
    return _undecided(named.name, dtype, failing, f"it could not be diagnosed: {reason}")


def _undecided(subject: str, dtype: str, failing: Sequence[Verdict], message: str) -> Diagnosis:
    failed = tuple(v.check for v in failing)
    return Diagnosis(subject, dtype, "unexplained", failed, message=message)


def _process_diagnosis(failing: Sequence[Verdict]) -> Diagnosis | None:
    """Return the diagnosis by the end of the subject's process, or None if it did not end."""
    for verdict in failing:
        for words, id, statement, fix in ENDS if verdict.status != "failed" else ():
            if ended := re.search(words, verdict.message):
                end = ended[0][0].upper() + ended[0][1:] if statement[0] == "{" else ended[0]
                place = ", ".join(filter(None, (f"check {verdict.check}", verdict.case)))
                diagnosis = Diagnosis(verdict.subject, verdict.dtype, "explained")
                diagnosis.failed = tuple(v.check for v in failing)
                diagnosis.explanations = [Explanation((id,), (statement.format(end),), (fix,))]
                diagnosis.location = Location("program", place=place)
                return diagnosis
    return None
