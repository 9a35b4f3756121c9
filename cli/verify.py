"""``gatewise verify``: subjects against the equations."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import (
    BUDGETS,
    COULD_NOT_RUN,
    command,
    dtype_option,
    jobs_option,
    json_option,
    like_option,
    memory_option,
    or_usage,
    probe,
    runs_option,
    say,
    seed_option,
    stop,
    timeout_option,
)
from .report import require_form, require_page, write_report

if TYPE_CHECKING:
    from ..verify.execution.session import Request
    from ..verify.runs.findings import Finding
    from ..verify.runs.verdict import Verdict


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1)
@like_option
@click.option("--forbid", default="", metavar="NAME[,NAME]",
              help="What a submission must not use: torch.nn.LSTM,aten::lstm.")  # fmt: skip
@click.option("--time", "timed", is_flag=True,
              help="Time a submission that is right, beside torch's own module.")  # fmt: skip
@click.option("--check", "--checks", "only", multiple=True, metavar="ID[,ID]",
              help="Only these checks; see: gatewise checks.")  # fmt: skip
@dtype_option
@click.option("--budget", type=click.Choice(BUDGETS), default="standard", show_default=True,
              help="How many cases for each check and dtype.")  # fmt: skip
@seed_option
@click.option("--case", "case_text", metavar="JSON", help="Run this one case, as printed.")
@jobs_option
@timeout_option
@memory_option
@click.option("--executor", metavar="ADDRESS", help="Run on a Dask cluster, tcp://host:8786.")
@click.option("--resume", type=click.Path(path_type=Path, exists=True, file_okay=False),
              metavar="RUN", help="Go on with an unfinished run.")  # fmt: skip
@click.option(
    "--deviations",
    type=_FILE,
    metavar="FILE",
    help="Failures that are known and accepted, in TOML.",
)
@runs_option
@click.option(
    "--report", "page", type=_FILE, metavar="FILE", help="Also write the report, one HTML page."
)
@click.option("--junit", type=_FILE, metavar="FILE", help="Also write JUnit XML.")
@click.option(
    "-o",
    "--output",
    "grades",
    type=_FILE,
    metavar="FILE.csv",
    help="Also write a line for each subject: verdict, passed, what is wrong.",
)
@click.option("--no-diagnosis", is_flag=True, help="Do not look for what explains a failure.")
@click.option("--profile", is_flag=True, help="Say where the time went.")
@json_option
def verify(
    names: Sequence[str],
    like: str | None,
    forbid: str,
    timed: bool,
    only: Sequence[str],
    dtype: str | None,
    budget: str,
    seed: int,
    case_text: str | None,
    jobs: int,
    timeout: float | None,
    memory: int,
    executor: str | None,
    resume: Path | None,
    deviations: Path | None,
    runs: Path,
    page: Path | None,
    junit: Path | None,
    grades: Path | None,
    no_diagnosis: bool,
    profile: bool,
    as_json: bool,
) -> None:
    """Hold SUBJECTs against the equations.

    A SUBJECT is a name (see: gatewise subjects), path/to/file.py:Class or package.module:Name;
    FAMILY:* stands for all subjects of a family, 'onnxruntime:*', and a folder or a path with
    wildcards for the files there, 'homework/*.py:MyLSTM'. Without :Class a file's only layer is
    taken.
    """
    from ..verify.execution.session import Request
    from ..verify.runs.conclusion import conclusion
    from ..verify.subjects import is_problem

    _require_subjects(names, resume)
    if timed and not (resume or is_problem(like)):
        raise click.UsageError("--time is for submissions to a problem: --like kernelbench:35")
    request = or_usage(
        lambda: (
            Request.resumed(resume)
            if resume
            else Request.parse(
                names,
                like=like,
                forbid=forbid,
                checks=[name for names in only for name in names.split(",")],
                dtype=dtype,
                budget=budget,
                seed=seed,
                case=case_text,
                timeout=timeout,
                memory=memory,
                deviations=deviations,
            )
        )
    )
    if page is not None:
        require_form(page)
    for path in filter(None, (page, junit, grades)):  # before the run, not after it
        probe(path)
    if page is not None:
        require_page()
    folder = resume or runs / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    verdicts = _run(request, folder, jobs, executor)
    if junit is not None:  # before the diagnosis, which may be interrupted, and after it
        _write_junit(junit, folder, verdicts)
    if not no_diagnosis:
        _diagnose(request, verdicts, folder, jobs)
    if junit is not None:
        _write_junit(junit, folder, verdicts)
    if grades is not None:
        _write_grades(grades, folder, verdicts)
    said = _of_submissions if is_problem(request.like) else _tell
    said(verdicts, folder, request, as_json=as_json, profile=profile, timed=timed)
    ending = conclusion(verdicts, request.chosen)
    if not as_json and ending.code == COULD_NOT_RUN:  # what is wrong was said
        say(f"exit code {ending.code}: {ending.reason}")
    if page is not None:
        write_report([folder], page, quiet=as_json)
    sys.exit(ending.code)


def _run(request: Request, folder: Path, jobs: int, executor: str | None) -> list[Verdict]:
    """Run the request under a progress bar; return all verdicts of the folder, as planned."""
    from ..reports.terminal import progress, verdict_line
    from ..verify.execution import session
    from ..verify.runs import run as run_files

    try:
        with progress(None, lines=True) as advance:
            for verdict in session.run(
                request,
                folder,
                command=command(),
                jobs=jobs,
                executor=executor,
                on_plan=advance.plan,
            ):
                advance(verdict_line(verdict))
        whole = run_files.read_checks(folder)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        stop(f"{folder}: cannot be written ({error.strerror})", COULD_NOT_RUN)
    except KeyboardInterrupt:
        kept = f"finished verdicts are kept; go on with: gatewise verify --resume {folder}"
        stop(f"interrupted; {kept}", COULD_NOT_RUN)
    if whole.untested:
        stop(f"{folder}: {len(whole.untested)} planned checks have no verdict", COULD_NOT_RUN)
    order = {planned: place for place, planned in enumerate(whole.planned)}
    return sorted(whole.verdicts, key=lambda verdict: order[verdict.planned])


def _require_subjects(names: Sequence[str], resume: Path | None) -> None:
    """Refuse a command that names no subject, or besides a run some."""
    if names and resume:
        raise click.UsageError("--resume goes on with the run's own subjects: leave out SUBJECT")
    if not names and not resume:
        raise click.UsageError("name a SUBJECT (see: gatewise subjects), or a RUN with --resume")


def _of_submissions(
    verdicts: list[Verdict],
    folder: Path,
    request: Request,
    *,
    as_json: bool,
    profile: bool,
    timed: bool,
) -> None:
    """Print what the run says of submissions to a problem; if wanted, how fast they are."""
    if as_json:
        _print_submissions(request, verdicts, folder, timed=timed)
        return
    _tell(verdicts, folder, request, as_json=as_json, profile=profile)
    for line in _speeds(request, verdicts) if timed else ():
        say(line)


def _tell(
    verdicts: list[Verdict],
    folder: Path,
    request: Request,
    *,
    as_json: bool,
    profile: bool,
    timed: bool = False,
) -> None:
    """Print what the run says: the finding on each subject, and where everything is."""
    from ..reports import terminal
    from ..verify.runs import run as run_files
    from ..verify.runs.findings import findings

    if as_json:
        click.echo(json.dumps([asdict(v) for v in verdicts], indent=1))
        return
    each = findings(verdicts, run_files.read_checks(folder).diagnoses)
    terminal.print_findings(each)
    click.echo()
    scripts = [*_write_scripts(each, folder)]
    for path in scripts if len(each) <= terminal.FEW else ():
        say(f"the first failure without gatewise: {path}")
    if len(each) > terminal.FEW and scripts:
        say(f"the first failures without gatewise: {folder / 'scripts'}")
        say("in full, with the first failures: gatewise verify SUBJECT, for one of them")
    if profile:
        say(terminal.profile(verdicts))
    click.echo(f"{terminal.counts(verdicts)}\nrun: {folder}")


def _print_submissions(
    request: Request, verdicts: list[Verdict], folder: Path, *, timed: bool
) -> None:
    """Print one JSON on a submission, or a list of several."""
    from ..verify.runs import run as run_files
    from ..verify.runs.findings import findings
    from ..verify.runs.submission import submission_json

    problem = request.like or ""
    each = findings(verdicts, run_files.read_checks(folder).diagnoses)
    said = [
        submission_json(
            finding,
            problem,
            _time(finding.subject, problem) if timed and finding.conforms else None,
        )
        for finding in each
    ]
    click.echo(json.dumps(said[0] if len(said) == 1 else said, indent=1, ensure_ascii=False))


def _time(name: str, problem: str) -> dict[str, Any]:
    from ..bench.kernels.speed import in_process

    return in_process(name, problem)


def _speeds(request: Request, verdicts: list[Verdict]) -> Iterator[str]:
    """Yield how fast each submission is that is right; what is wrong is not timed."""
    from ..verify.runs.findings import findings

    for finding in findings(verdicts):
        if not finding.conforms:
            yield f"{finding.name}: not timed, for it is not right"
            continue
        time = _time(finding.subject, request.like or "")
        if "problem" in time:
            yield f"{finding.name}: not timed: {time['problem']}"
            continue
        sizes = ", ".join(f"{name} = {value}" for name, value in time["sizes"].items())
        yield (
            f"{finding.name}: {time['ratio']:.2f} times as long as torch's own module "
            f"({time['low']:.2f} to {time['high']:.2f}; {time['pairs']} pairs, {time['status']}; "
            f"{sizes})"
        )


def _diagnose(request: Request, verdicts: list[Verdict], folder: Path, jobs: int) -> None:
    """Look for mistakes that explain the failures; what is found is kept with the run."""
    from ..reports.terminal import progress
    from ..verify.runs import run as run_files

    explained = {each.subject for each in run_files.read_checks(folder).diagnoses}
    wrong = {v.subject for v in verdicts if v.wrong} - explained
    # finding what explains a failure takes calls that no recording holds
    named = [
        each for each in request.named
        if each.name in wrong and not each.name.startswith("recording:")
    ]  # fmt: skip
    if not named:
        return
    from ..verify.execution.diagnosis_tasks import BRIEFLY, diagnoses

    try:
        with progress(len(named)) as advance:
            advance.about(f"looking for what explains the failures, at most {BRIEFLY:g} s each")
            for diagnosis in diagnoses(
                verdicts, named, memory=request.memory, seconds=BRIEFLY, jobs=jobs
            ):
                run_files.append(folder, diagnosis)
                advance(diagnosis.subject)
    except KeyboardInterrupt:
        kept = f"all verdicts are kept; go on with: gatewise verify --resume {folder}"
        stop(f"interrupted while explaining failures; {kept}", COULD_NOT_RUN)


def _write_junit(path: Path, folder: Path, verdicts: list[Verdict]) -> None:
    from ..reports.junit import junit
    from ..verify.runs import run as run_files

    run = run_files.read_checks(folder)
    text = junit(verdicts, run.diagnoses, created=run.created)
    path.write_text(text, encoding="utf-8")


def _write_grades(path: Path, folder: Path, verdicts: list[Verdict]) -> None:
    """Write one line a subject, for spreadsheets."""
    from ..verify.runs import run as run_files
    from ..verify.runs.findings import findings

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("subject", "verdict", "passed", "failed", "checks", "what is wrong"))
        for each in findings(verdicts, run_files.read_checks(folder).diagnoses):
            passed = sum(v.status == "passed" for v in each.verdicts)
            row = (each.subject, each.verdict, passed, len(each.wrong), len(each.verdicts))
            table.writerow((*map(_cell, row), _cell(each.cause)))


def _cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _write_scripts(each: Sequence[Finding], folder: Path) -> Iterator[Path]:
    """Write the stand-alone scripts of what shows each subject's causes into the run's folder."""
    for number, finding in enumerate(each, start=1):
        for root in finding.roots:
            if root.script:
                path = folder / "scripts" / f"{number}-{root.check}-{root.dtype}.py"
                path.parent.mkdir(exist_ok=True)
                path.write_text(root.script, encoding="utf-8")
                yield path
