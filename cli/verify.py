"""``gatewise verify``: subjects against the equations."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

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
    seed_option,
    stop,
    timeout_option,
)
from .report import require_page, write_report

if TYPE_CHECKING:
    from ..verify.execution.session import Request
    from ..verify.runs.verdict import Verdict


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1)
@like_option
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
@click.option("--no-diagnosis", is_flag=True, help="Do not look for what explains a failure.")
@click.option("--profile", is_flag=True, help="Say where the time went.")
@json_option
def verify(
    names: Sequence[str],
    like: str | None,
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
    no_diagnosis: bool,
    profile: bool,
    as_json: bool,
) -> None:
    """Hold SUBJECTs against the equations.

    A SUBJECT is a name (see: gatewise subjects), path/to/file.py:Class or package.module:Name;
    FAMILY:* stands for all subjects of a family, 'onnxruntime:*'.
    """
    from ..verify.execution.session import Request
    from ..verify.runs.status import exit_code

    if names and resume:
        raise click.UsageError("--resume goes on with the run's own subjects: leave out SUBJECT")
    if not names and not resume:
        raise click.UsageError("name a SUBJECT (see: gatewise subjects), or a RUN with --resume")
    request = or_usage(
        lambda: (
            Request.resumed(resume)
            if resume
            else Request.parse(
                names,
                like=like,
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
    for path in filter(None, (page, junit)):  # before the run, not after it
        probe(path)
    if page is not None:
        require_page()
    folder = resume or runs / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    verdicts = _run(request, folder, jobs, executor)
    if junit is not None:
        _write_junit(junit, folder, verdicts)
    _tell(verdicts, folder, as_json=as_json, profile=profile)
    if not no_diagnosis:
        _diagnose(request, verdicts, folder, quiet=as_json)
    if not as_json:
        from ..reports import terminal

        click.echo(f"{terminal.counts(verdicts)}\nrun: {folder}")
    if page is not None:
        write_report([folder], page, quiet=as_json)
    sys.exit(exit_code(v.status for v in verdicts))


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


def _tell(verdicts: list[Verdict], folder: Path, *, as_json: bool, profile: bool) -> None:
    from ..reports import terminal

    if as_json:
        click.echo(json.dumps([asdict(v) for v in verdicts], indent=1))
        return
    terminal.print_table(terminal.verdict_table(verdicts))
    terminal.tell_failures(verdicts)
    _write_scripts(verdicts, folder)
    if profile:
        click.echo(terminal.profile(verdicts))


def _diagnose(request: Request, verdicts: list[Verdict], folder: Path, *, quiet: bool) -> None:
    """Look for mistakes that explain the failures; what is found is kept with the run."""
    from ..reports.terminal import progress, tell_diagnosis
    from ..verify.runs import run as run_files

    before = run_files.read_checks(folder).diagnoses
    told = {one.subject for one in before}
    for one in before if not quiet else ():
        tell_diagnosis(one)
    wrong = {v.subject for v in verdicts if v.wrong} - told
    left = [named for named in request.named if named.name in wrong]
    # finding what explains a failure takes calls that no recording holds
    left = [named for named in left if not named.name.startswith("recording:")]
    if not left:
        return
    from ..verify.execution.diagnosis_tasks import BRIEFLY, diagnoses

    try:
        with progress(len(left)) as advance:
            for found in diagnoses(verdicts, left, memory=request.memory, seconds=BRIEFLY):
                run_files.append(folder, found)
                advance(found.subject)
                if not quiet:
                    tell_diagnosis(found)
    except KeyboardInterrupt:
        kept = f"all verdicts are kept; go on with: gatewise verify --resume {folder}"
        stop(f"interrupted while explaining failures; {kept}", COULD_NOT_RUN)


def _write_junit(path: Path, folder: Path, verdicts: list[Verdict]) -> None:
    from ..reports.junit import junit
    from ..verify.runs import run as run_files

    created = run_files.read(folder).created
    path.write_text(junit(verdicts, created=created), encoding="utf-8")


def _write_scripts(verdicts: list[Verdict], folder: Path) -> None:
    """Write the stand-alone scripts of failures into the run's folder, and say where."""
    failed = [v for v in verdicts if v.script]
    for number, v in enumerate(failed, start=1):
        path = folder / "scripts" / f"{number}-{v.check}-{v.dtype}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(v.script, encoding="utf-8")
    if failed:
        count = "1 script" if len(failed) == 1 else f"{len(failed)} scripts"
        click.echo(f"the same without gatewise: {count} in {folder / 'scripts'}")
