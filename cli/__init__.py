"""One command, ``gatewise``. Exit codes: 0 conforms, 1 does not, 2 usage, 3 could not run."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from .verify.run_files import Run

CONFORMS, DIFFERS, COULD_NOT_RUN = 0, 1, 3
RUNS = Path("runs")
BUDGETS = ("quick", "standard", "thorough")

seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True,
    help="The same seed draws the same cases.",
)  # fmt: skip
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="Where runs are kept.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatewise")
def main() -> None:
    """Is this recurrent layer right, and if not, what exactly is wrong with it?"""
    # Hypothesis would leave a folder of its own wherever the command is run.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{tempfile.gettempdir()}/gatewise")


@main.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1, required=True)
@click.option(
    "--check", "only", multiple=True, metavar="ID", help="Only this check; may be repeated."
)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Only this dtype.")
@click.option(
    "--budget", type=click.Choice(BUDGETS), default="standard", show_default=True,
    help="Cases for each check and dtype: 12, 40 or 300.",
)  # fmt: skip
@seed_option
@click.option("--case", "case_text", metavar="JSON", help="Run this one case, as printed.")
@runs_option
@click.option(
    "--report", "page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write the report, one HTML page.",
)  # fmt: skip
@json_option
def verify(
    names: Sequence[str],
    only: Sequence[str],
    dtype: str | None,
    budget: str,
    seed: int,
    case_text: str | None,
    runs: Path,
    page: Path | None,
    as_json: bool,
) -> None:
    """Hold SUBJECTs (see: gatewise subjects) against the equations."""
    from .reports.terminal import print_table, progress, tell_failures, verdict_table
    from .verify import session

    request = _or_usage(
        lambda: session.Request.parse(
            names, checks=only, dtype=dtype, budget=budget, seed=seed, case=case_text
        )
    )
    if page is not None:  # before the run, not after it
        _renderer()
        _probe(page)
    folder = runs / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    try:
        with progress(len(request.planned)) as advance:
            verdicts = list(session.run(request, folder, command=_command(), on_verdict=advance))
    except OSError as error:
        _stop(f"{folder}: cannot be written ({error.strerror})", COULD_NOT_RUN)
    except KeyboardInterrupt:
        _stop(f"interrupted; finished verdicts are kept in {folder}", COULD_NOT_RUN)
    if as_json:
        click.echo(json.dumps([asdict(v) for v in verdicts], indent=1))
    else:
        print_table(verdict_table(verdicts))
        tell_failures(verdicts)
        click.echo(f"run: {folder}")
    if page is not None:
        _write_report(folder, page, quiet=as_json)
    if any(v.status in ("failed", "crashed") for v in verdicts):
        sys.exit(DIFFERS)
    if any(v.status != "passed" for v in verdicts):
        sys.exit(COULD_NOT_RUN)


@main.command()
@click.argument("patterns", metavar="[EQUATION_OR_PROOF]...", nargs=-1)
@click.option(
    "--budget", type=click.Choice(BUDGETS), default="quick", show_default=True,
    help="Examples for each proof: 8, 30 or 200.",
)  # fmt: skip
@seed_option
@click.option("--fail-fast", is_flag=True, help="Stop at the first proof that fails.")
@json_option
def prove(patterns: Sequence[str], budget: str, seed: int, fail_fast: bool, as_json: bool) -> None:
    """Prove the reference itself: all equations, or those named by id, name or proof (* and ?)."""
    from .reports.terminal import progress
    from .verify import proving

    chosen = _or_usage(lambda: proving.choose(patterns))
    results = []
    with progress(len(chosen)) as advance:
        for proof in chosen:
            result = proving.attempt(proof, budget=budget, seed=seed)
            results.append(result)
            advance(proof.id)
            if fail_fast and not result.holds:
                break
    if as_json:
        click.echo(json.dumps([asdict(r) for r in results], indent=1))
    else:
        for result in results:
            mark = "holds" if result.holds else "FAILS"
            click.echo(f"{mark}  {result.proof:44}  {result.message or result.statement}")
    failed = sum(not r.holds for r in results)
    if not as_json:
        click.echo(f"proofs that hold: {len(results) - failed}, that fail: {failed}")
    sys.exit(DIFFERS if failed else CONFORMS)


@main.command()
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gatewise-report.html"), show_default=True,
)  # fmt: skip
@runs_option
def report(run: Path | None, output: Path, runs: Path) -> None:
    """Turn a RUN (default: the newest) into one self-contained HTML page."""
    _write_report(run, output, runs=runs)


def _write_report(
    run: Path | None, output: Path, *, runs: Path = RUNS, quiet: bool = False
) -> None:
    from .verify.run_files import RunFileError, newest, read

    try:
        from .reports.page import render
    except ImportError as missing:
        message = (
            f"{missing.name} is not installed; install it with: pip install jinja2 latex2mathml"
        )
        _stop(message, COULD_NOT_RUN)
    try:
        folder = run or newest(runs)
        text = render(read(folder.parent if folder.name == "run.json" else folder))
    except RunFileError as error:
        _stop(str(error), COULD_NOT_RUN)
    _probe(output)
    output.write_text(text, encoding="utf-8")
    if not quiet:
        click.echo(f"report: {output.resolve()}")


def _probe(path: Path) -> None:
    """Stop unless a file can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        _stop(f"{path}: cannot be written ({error.strerror})", COULD_NOT_RUN)


def _renderer() -> Callable[[Run], str]:
    """Return what makes the page, or say which package is missing."""
    try:
        from .reports.page import render
    except ImportError as missing:
        message = (
            f"{missing.name} is not installed; install it with: pip install jinja2 latex2mathml"
        )
        _stop(message, COULD_NOT_RUN)
    return render


@main.command()
@json_option
def equations(as_json: bool) -> None:
    """List every equation and what checks it."""
    from .reports.terminal import print_rows
    from .verify.coverage import coverage

    rows = coverage()
    gaps = [r.name for r in rows if not (r.proofs or r.checks)]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
    else:
        checked = [", ".join((*r.proofs, *r.checks)) or "NOTHING" for r in rows]
        print_rows(
            ("id", "equation", "documents", "checked by"),
            [(r.id, r.name, ", ".join(r.documents), c) for r, c in zip(rows, checked, strict=True)],
            as_json=False,
        )
        click.echo(f"{len(rows)} equations; without a check: {', '.join(gaps) or 'none'}")
    sys.exit(DIFFERS if gaps else CONFORMS)


@main.command()
@json_option
def examples(as_json: bool) -> None:
    """Compute the documents' worked numbers and listings; show the errata."""
    from .reference.documents import examples as compute

    rows = compute()
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        click.echo(f"{row.id} {row.title}: {'as printed' if row.agrees else 'ERRATUM'}")
        click.echo(f"   printed: {row.printed}\n   true:    {row.true}")
        if row.note:
            click.echo(f"   note:    {row.note}")


@main.command()
@json_option
def subjects(as_json: bool) -> None:
    """List the implementations that can be held against the reference."""
    from .reports.terminal import print_rows
    from .verify.subjects import subjects as all_subjects

    rows = [(s.name, " ".join(s.cells), " ".join(s.dtypes)) for s in all_subjects().values()]
    print_rows(("subject", "cell", "dtypes"), rows, as_json=as_json)


@main.command()
@json_option
def cells(as_json: bool) -> None:
    """List the cells of the reference."""
    from .reference.cells import cells as all_cells
    from .reports.terminal import print_rows

    rows = [
        (c.name, c.title, " ".join(c.gates), " ".join(c.states), " ".join(c.equations))
        for c in all_cells().values()
    ]
    print_rows(("cell", "title", "gates", "states", "equations"), rows, as_json=as_json)


@main.command()
@json_option
def checks(as_json: bool) -> None:
    """List the checks of subjects and the proofs of the reference."""
    from .reports.terminal import print_rows
    from .verify.checks import subject_checks
    from .verify.proofs import proofs

    rows = [("check", c.id, c.statement) for c in subject_checks()]
    rows += [("proof", p.id, p.statement) for p in proofs()]
    print_rows(("kind", "id", "statement"), rows, as_json=as_json)


def _or_usage(parse: Callable[[], Any]) -> Any:
    """Return what ``parse`` returns; turn a ValueError into a usage error (exit code 2)."""
    try:
        return parse()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _stop(message: str, code: int) -> NoReturn:
    click.echo(f"gatewise: {message}", err=True)
    sys.exit(code)


def _command() -> str:
    return shlex.join(["gatewise", *sys.argv[1:]])


if __name__ == "__main__":
    main()
