"""What checks, and the diagnosis of those that fail, say of a layer; what a run holds of it."""

from dataclasses import asdict

from gatewise.verify.checks import check_named
from gatewise.verify.diagnosis.examination import diagnose
from gatewise.verify.execution.judge import BUDGETS, hold
from gatewise.verify.runs import run as run_files
from gatewise.verify.subjects import adapted


def failing(subject, *checks, dtype="float64", budget=BUDGETS["quick"], **more):
    """Return the verdicts of the checks that a subject fails."""
    held = (hold(subject, check_named(c), dtype, budget=budget, **more) for c in checks)
    return [verdict for verdict in held if verdict.wrong]


def diagnosed(layer, *checks, like=None, dtype="float64", seconds=120):
    """Return what is wrong with a layer, or a subject, by the checks that it fails."""
    subject = layer if hasattr(layer, "parameter_map") else adapted(layer, "test:layer", like)
    return diagnose(subject, dtype, failing(subject, *checks, dtype=dtype), seconds=seconds)


def verdict_is(verdict, status, *words):
    """It is of this status, and says these words."""
    assert verdict.status == status, verdict.message
    for each in words:
        assert each in verdict.message, verdict.message


def told(folder):
    """Every verdict of a run by what it is about, without the times; none is missing or twice."""
    run = run_files.read(folder)
    assert run.untested == ()
    verdicts = {(v.subject, v.check, v.dtype): asdict(v) for v in run.verdicts}
    assert len(verdicts) == len(run.verdicts) == len(run.planned)
    times = ("seconds", "subject_seconds", "oracle_seconds")
    return {k: {n: x for n, x in v.items() if n not in times} for k, v in verdicts.items()}
