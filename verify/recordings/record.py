"""Recording of a layer: its checks run in its own process, and all calls are saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...reference.arrays import Floats
from ..cases.case import Case
from ..checks import check_named
from ..numbers.arithmetic import FINER, PackageMissing, chosen_dtypes
from ..numbers.ledger import Mismatch, Undecided
from ..runs.provenance import gpu
from ..subjects import adapter
from ..subjects.called import Call, NotOffered, SubjectCrashed, under_test
from ..subjects.protocol import Subject, Watching
from .files import Form, write_trace
from .table import cases_to_record
from .trace import CallRecord, Ending, Trace, bits, numbers_key


def trace_of(subject: Subject, check: str, case: Case) -> Trace:
    """Run a check on one case; return the drawn numbers, the calls, and the outcome."""
    drawn: dict[str, Floats] = {}
    outcome = None

    def keep(case: Case, part: str, numbers: Floats) -> Floats:
        first = drawn.setdefault(numbers_key(case, part, numbers.shape), numbers)
        if bits(first) != bits(numbers):
            raise RuntimeError(f"{part} of one case was drawn in two ways")
        return numbers

    narrowest = FINER.get(case.dtype, (case.dtype,))[0]
    calls: list[Call] = []
    try:
        check_named(check).run(
            under_test(subject, calls), replace(case, assumed=narrowest, source=keep)
        )
    except Undecided:
        outcome = None  # the check's judgement, which is repeated on replay
    except Mismatch as error:
        outcome = Ending(Mismatch.__name__, str(error))
    except (SubjectCrashed, NotOffered) as error:
        outcome = Ending(type(error).__name__, str(error))
    layers: dict[int, int] = {}
    records = tuple(
        CallRecord.of(layers.setdefault(id(call.layer.built), len(layers)), call) for call in calls
    )
    if outcome and outcome.kind == "Mismatch" and calls and calls[-1].results:
        outcome = None  # the check's judgement, which is repeated on replay
    return Trace(drawn, records, outcome)


def form_of(subject: Subject) -> Form | None:
    """Return the form that gives other machines the parameters' meaning; None if there is none."""
    if adapter(subject.name) is subject:
        return Form("named", subject.name)
    form: tuple[str, str] | None = getattr(subject, "form", None)
    return Form(*form) if form else None


def plan_of(subject: Subject, dtype: str | None, seed: int) -> dict[str, Any]:
    """Return the plan of a recording as JSON values, or ``problem`` with a reason."""
    form = form_of(subject)
    if form is None:
        return {"problem": "only a known subject, a class like torch's or one with explicit gates "
                "can be recorded: no other machine knows what its parameters mean"}  # fmt: skip
    dtypes = chosen_dtypes(subject.dtypes, dtype)
    if not dtypes:
        return {"problem": f"the subject does not compute in {dtype}"}
    cases, computed_dtypes = [], []
    for d in dtypes:
        try:
            cases += [(id, case.to_json()) for id, case in cases_to_record(subject, d, seed)]
        except PackageMissing as missing:
            if len(dtypes) == 1:
                return {"problem": str(missing)}
            continue
        computed_dtypes.append(d)
    return {"form": vars(form), "dtypes": computed_dtypes, "cases": cases}


def record_case(subject: Subject, check: str, case: str, path: str) -> dict[str, Any]:
    """Record one case into a file; return its digest, the device, the kernels, and the flags."""
    watch: Watching | None = getattr(subject, "watch", None)
    if watch is not None:
        watch.begin()
    parsed_case = Case.from_json(case)
    digest = write_trace(Path(path), trace_of(subject, check, parsed_case))
    flags = getattr(subject, "flags", None)
    return {
        "sha256": digest,
        "device": getattr(subject, "gpu", gpu)(),
        "ran": watch.summary if watch else "",
        "lacking": watch.lacking if watch else "",
        "flags": flags(parsed_case) if flags else {},
    }


def answer(subject: Subject, step: str, **request: Any) -> dict[str, Any]:
    """Perform a step of a recording in the subject's process: ``plan``, or ``take`` a case."""
    return (plan_of if step == "plan" else record_case)(subject, **request)
