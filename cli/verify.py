"""``gatewise verify``: hold subjects against the equations."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import common
from .common import CONFORMS, COULD_NOT_RUN, FILE
from .report import require_form, require_page, write_runs

if TYPE_CHECKING:
    from ..verify.execution.session import Request
    from ..verify.runs.findings import Finding
    from ..verify.runs.run import Run


LISTED = 10
"""The most subjects that are named."""


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1)
@common.like_option
@click.option("--forbid", default="", metavar="NAME[,NAME]",
              help="Names that a submission must not use: torch.nn.LSTM,aten::lstm.")  # fmt: skip
@common.quantised_option
@common.device_option
@click.option("--time", "timed", is_flag=True,
              help="Time a submission that is right, beside torch's own module.")  # fmt: skip
@click.option(
    "--runtime",
    metavar="NAME",
    help="The runtime of a model file: onnxruntime, onnx-reference, openvino, tract; litert.",
)
@click.option("--node", metavar="NAME", help="Only this node of a model file; see: gatewise nodes.")
@click.option("--against", default="", metavar="SOURCE",
              help="The source of a model file's export: weights.safetensors, weights.npz, "
              "module.py:Model, or another model file.")  # fmt: skip
@click.option(
    "--inputs",
    default="",
    metavar="FILE.npz",
    help="Inputs of a model file; its nodes are held to what reaches them, too.",
)
@click.option("--form", metavar="FORM", help="The layer computes in this form, and is held to its "
              "bound: steps, chunk:64, scan, parallel.")  # fmt: skip
@click.option("--check", "--checks", "only", multiple=True, metavar="ID[,ID]",
              help="Only these checks; see: gatewise checks.")  # fmt: skip
@common.dtype_option
@click.option("--budget", type=click.Choice(common.BUDGETS), default="standard", show_default=True,
              help="How many cases for each check and dtype.")  # fmt: skip
@click.option("--seed", type=common.Seed(min=0), default=0, show_default=True, metavar="N|secret",
              help="The same seed draws the same cases; secret: one that is drawn when all layers "
              "have been imported, and is told.")  # fmt: skip
@click.option("--sizes", multiple=True, metavar="T=N,B=N,D=N,H=N,layers=N",
              help="Also cases of these sizes, for every check that takes them; may be "
              "repeated.")  # fmt: skip
@click.option("--case", metavar="JSON", help="Run this one case, as printed.")
@common.jobs_option
@common.timeout_option
@common.memory_option
@click.option("--executor", metavar="ADDRESS", help="Run on a Dask cluster, tcp://host:8786.")
@click.option("--resume", type=click.Path(path_type=Path, exists=True, file_okay=False),
              metavar="RUN", help="Go on with an unfinished run.")  # fmt: skip
@click.option(
    "--deviations",
    type=FILE,
    metavar="FILE",
    help="Failures that are known and accepted, in TOML.",
)
@common.runs_option
@click.option(
    "--report", "page", type=FILE, metavar="FILE", help="Also write the report, one HTML page."
)
@click.option("--junit", type=FILE, metavar="FILE", help="Also write JUnit XML.")
@click.option(
    "-o",
    "--output",
    "grades",
    type=FILE,
    metavar="FILE.csv",
    help="Also write a line for each subject: verdict, passed, what is wrong.",
)
@click.option("--no-diagnosis", is_flag=True, help="Do not look for what explains a failure.")
@click.option("--profile", is_flag=True, help="Say where the time went.")
@common.json_option
def verify(
    names: Sequence[str],
    timed: bool,
    jobs: int,
    executor: str | None,
    resume: Path | None,
    runs: Path,
    page: Path | None,
    junit: Path | None,
    grades: Path | None,
    no_diagnosis: bool,
    profile: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Hold SUBJECTs against the equations.

    A SUBJECT is a name (see: gatewise subjects), path/to/file.py:Class or package.module:Name;
    FAMILY:* stands for all subjects of a family, 'onnxruntime:*', and a folder or a path with
    wildcards for the files there, 'homework/*.py:MyLSTM'. Without :Class a file's only layer is
    taken. model.onnx stands for the recurrent nodes of a model file, model.onnx#NODE for one.
    """
    from ..verify.runs.conclusion import conclusion

    request = _request(names, resume, timed=timed, **options)
    if page is not None:
        require_form(page)
    for path in filter(None, (page, junit, grades)):  # before the run, not after it
        common.probe(path)
    if page is not None:
        require_page()
    folder = resume or common.new_run(runs)
    if resume:
        _name_code(request, folder)
    run = _run(request, folder, jobs, executor)
    if junit is not None:  # before the diagnosis, which may be interrupted, and after it
        common.unwritable(junit, _junit(run))
    if not no_diagnosis:
        run = _diagnose(request, run, folder, jobs)
    _print_all(run, folder, request, as_json=as_json, profile=profile, timed=timed)
    ending = conclusion(run.verdicts, request.chosen)
    if not as_json and ending.code == COULD_NOT_RUN:  # what is wrong was said
        common.say(f"exit code {ending.code}: {ending.reason}")
    outputs = {junit: _junit, grades: _grades}
    problems = [common.unwritable(path, content(run)) for path, content in outputs.items() if path]
    problems.append(_difference(folder, run))
    for problem in filter(None, problems):
        click.echo(f"gatewise: {problem}", err=True)
    if page is not None:
        write_runs({folder: run}, page, quiet=as_json)
    sys.exit(COULD_NOT_RUN if any(problems) and ending.code == CONFORMS else ending.code)


def _request(
    names: Sequence[str],
    resume: Path | None,
    *,
    timed: bool,
    like: str | None,
    form: str | None,
    runtime: str | None,
    node: str | None,
    only: Sequence[str],
    sizes: Sequence[str],
    **options: Any,
) -> Request:
    """Return the request of the options, or that of the run to resume; raise UsageError."""
    from ..verify.cases.given_sizes import GivenSizes
    from ..verify.execution.session import Request
    from ..verify.subjects import FORM, is_problem

    _require_subjects(names, resume)
    if form and like:
        raise click.UsageError("--form: expected without --like")
    like = f"{FORM}{form}" if form else like
    if timed and not (resume or is_problem(like)):
        raise click.UsageError("--time is for submissions to a problem: --like kernelbench:35")
    compared = options["against"] or options["inputs"]
    return common.or_usage(
        lambda: Request.resumed(resume) if resume else Request.parse(
            _with_nodes(names, like, runtime, node, compared), like=like,
            checks=[id for ids in only for id in ids.split(",")],
            sizes=tuple(map(GivenSizes.parse, sizes)), **options,
        )
    )  # fmt: skip


def _name_code(request: Request, folder: Path) -> None:
    """Print whose code a run goes on with: its folder says it, and may be somebody else's."""
    names, more = request.subjects[:LISTED], len(request.subjects) - LISTED
    others = f" and {more} more" if more > 0 else ""
    click.echo(f"--resume runs the code that {folder} names: {', '.join(names)}{others}", err=True)


def _with_nodes(
    names: Sequence[str], like: str | None, runtime: str | None, node: str | None, compared: str
) -> Sequence[str]:
    """Return the names of subjects; a model file becomes its nodes."""
    files = any(suffix in name for suffix in (".onnx", ".tflite") for name in names)
    if not (runtime or node or compared or files):
        return names
    from .nodes import with_nodes

    if like is not None:
        raise ValueError("--like is for classes of your own, not for model files")
    return with_nodes(names, runtime, node, compared=bool(compared))


def _difference(folder: Path, run: Run) -> str:
    """Return how the folder differs from the run that this command wrote, "" if it does not.

    A layer under test runs with the rights of its user, so it can write there.
    """
    from ..verify.runs import run as run_files
    from ..verify.runs.records import RunFileError

    try:
        if run_files.read_checks(folder) == run:
            return ""
        reason = "its files are not those that were written"
    except (RunFileError, OSError) as error:
        reason = str(error)
    return (
        f"{folder}: somebody else changed the run while it was made: {reason}; what is told here, "
        "the exit code included, is from memory"
    )


def _hidden(runs: Path, subjects: Sequence[str]) -> list[Path]:
    """Return the folder of all runs, to hide it; none if a subject or its files may be in it."""
    places = [Path.cwd(), *(Path(name.rpartition(":")[0] or name).resolve() for name in subjects)]
    return [] if any(place.is_relative_to(runs.resolve()) for place in places) else [runs]


def _run(request: Request, folder: Path, jobs: int, executor: str | None) -> Run:
    """Run the request under a progress bar; return the run, earlier verdicts included.

    The run is the one in memory, not the one in the folder.
    """
    from ..reports.terminal import progress, verdict_line
    from ..verify.execution import session
    from ..verify.execution.executors import ClusterLost

    runs: list[Run] = []
    verdicts = []
    try:
        with progress(None, lines=True) as advance:
            for verdict in session.run(
                request,
                folder,
                command=common.command(),
                jobs=jobs,
                executor=executor,
                hidden=_hidden(folder.parent, request.subjects),
                on_plan=advance.plan,
                on_begin=runs.append,
            ):
                verdicts.append(verdict)
                advance("" if verdict.status == "not supported" else verdict_line(verdict))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except ClusterLost as error:
        resumption = f"{_resumption(folder)} --executor {executor}"
        common.stop(f"{error}; finished verdicts are kept; {resumption}", COULD_NOT_RUN)
    except OSError as error:
        common.stop(f"{folder}: cannot be written ({error.strerror})", COULD_NOT_RUN)
    except KeyboardInterrupt:
        kept = f"finished verdicts are kept; {_resumption(folder)}"
        common.stop(f"interrupted; {kept}", COULD_NOT_RUN)
    run = replace(runs[0], verdicts=(*runs[0].verdicts, *verdicts))
    if run.untested:
        common.stop(f"{folder}: {len(run.untested)} planned checks have no verdict", COULD_NOT_RUN)
    return run


def _resumption(folder: Path) -> str:
    return f"go on with: gatewise verify --resume {common.quoted(folder)}"


def _require_subjects(names: Sequence[str], resume: Path | None) -> None:
    """Raise UsageError unless there are either subjects or a run to resume."""
    if names and resume:
        raise click.UsageError("--resume goes on with the run's own subjects: leave out SUBJECT")
    if not names and not resume:
        raise click.UsageError("name a SUBJECT (see: gatewise subjects), or a RUN with --resume")


def _print_all(
    run: Run, folder: Path, request: Request, *, as_json: bool, profile: bool, timed: bool
) -> None:
    """Print the run, and if ``timed`` the speed of submissions to a problem."""
    from ..verify.subjects import is_problem

    if as_json and is_problem(request.like):
        _print_submissions(request, run, timed=timed)
        return
    _print_run(run, folder, as_json=as_json, profile=profile)
    if as_json:
        return
    for line in _speeds(request, run) if timed else ():
        common.say(line)
    if request.seed is None:
        common.say(f"the same cases again: --seed {run.seed}")


def _print_run(run: Run, folder: Path, *, as_json: bool, profile: bool) -> None:
    """Print the finding on each subject, and the paths of the run's files."""
    from ..reports import terminal
    from ..verify.runs.findings import findings

    verdicts = run.in_order
    if as_json:
        common.print_json(verdicts, ensure_ascii=True)
        return
    results = findings(verdicts, run.diagnoses)
    terminal.print_findings(results)
    click.echo()
    scripts = [*_write_scripts(results, folder)]
    for path in scripts if len(results) <= terminal.FEW else ():
        common.say(f"the first failure without gatewise: {path}")
    if len(results) > terminal.FEW and scripts:
        common.say(f"the first failures without gatewise: {folder / 'scripts'}")
        common.say("in full, with the first failures: gatewise verify SUBJECT, for one of them")
    for sentence in terminal.unsharp(verdicts):
        common.say(sentence)
    if profile:
        common.say(terminal.profile(verdicts))
    click.echo(f"{terminal.counts(verdicts)}\nrun: {folder}")


def _print_submissions(request: Request, run: Run, *, timed: bool) -> None:
    """Print the JSON object of a submission, or a list of several."""
    from ..bench.speed.submission import in_process
    from ..verify.runs.findings import findings
    from ..verify.runs.submission import submission_json

    problem = request.like or ""
    submissions = []
    for finding in findings(run.in_order, run.diagnoses):
        time = None
        if timed and finding.conforms:
            time = in_process(finding.subject, problem, request.forbid, request.device)
        submissions.append(submission_json(finding, problem, time))
    common.print_json(submissions[0] if len(submissions) == 1 else submissions)


def _speeds(request: Request, run: Run) -> Iterator[str]:
    """Yield a sentence on the speed of each submission; wrong ones are not timed."""
    from ..bench.speed.submission import in_process
    from ..verify.runs.findings import findings

    for finding in findings(run.in_order):
        if not finding.conforms:
            yield f"{finding.name}: not timed, for it is not right"
            continue
        time = in_process(finding.subject, request.like or "", request.forbid, request.device)
        if "problem" in time:
            yield f"{finding.name}: not timed: {time['problem']}"
            continue
        sizes = ", ".join(f"{name} = {value}" for name, value in time["sizes"].items())
        yield (
            f"{finding.name}: {time['ratio']:.2f} times as long as torch's own module "
            f"({time['low']:.2f} to {time['high']:.2f}; {time['pairs']} pairs, {time['status']}; "
            f"{sizes})"
        )


def _diagnose(request: Request, run: Run, folder: Path, jobs: int) -> Run:
    """Look for mistakes that explain the failures; return the run with the diagnoses.

    The folder gets them, too.
    """
    from ..reports.terminal import progress
    from ..verify.runs import run as run_files
    from ..verify.runs.records import as_read

    explained = {diagnosis.subject for diagnosis in run.diagnoses}
    wrong = {v.subject for v in run.verdicts if v.wrong} - explained
    # a diagnosis takes calls that recordings do not have
    named = [
        subject for subject in request.named
        if subject.name in wrong and not subject.name.startswith("recording:")
    ]  # fmt: skip
    if not named:
        return run
    from ..verify.execution.diagnosis_tasks import BRIEFLY, diagnoses

    try:
        with progress(len(named)) as advance:
            advance.about(f"looking for what explains the failures, at most {BRIEFLY:g} s each")
            for diagnosis in diagnoses(
                run.in_order, named, memory=request.memory, seconds=BRIEFLY, jobs=jobs,
                hidden=[folder, *_hidden(folder.parent, request.subjects)],
            ):  # fmt: skip
                record = as_read(diagnosis, "diagnosis")
                run_files.append(folder, record)
                run = replace(run, diagnoses=(*run.diagnoses, record))
                advance(record.subject)
    except KeyboardInterrupt:
        kept = f"all verdicts are kept; {_resumption(folder)}"
        common.stop(f"interrupted while explaining failures; {kept}", COULD_NOT_RUN)
    return run


def _junit(run: Run) -> str:
    from ..reports.junit import junit

    return junit(run.in_order, run.diagnoses, created=run.created)


def _grades(run: Run) -> str:
    """Return one CSV line per subject."""
    from ..reports.tables import inert
    from ..verify.runs.findings import findings

    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(("subject", "verdict", "passed", "failed", "checks", "what is wrong"))
    for finding in findings(run.in_order, run.diagnoses):
        passed = sum(v.status == "passed" for v in finding.verdicts)
        counts = (passed, len(finding.wrong), len(finding.verdicts))
        row = (finding.subject, finding.verdict, *counts, finding.cause)
        table.writerow(map(inert, row))
    return text.getvalue()


def _write_scripts(results: Sequence[Finding], folder: Path) -> Iterator[Path]:
    """Write the stand-alone scripts of failures into the run's folder, and yield their paths."""
    for number, finding in enumerate(results, start=1):
        for root in finding.roots:
            if root.script:
                path = folder / "scripts" / f"{number}-{root.check}-{root.dtype}.py"
                common.write(path, root.script)
                yield path
