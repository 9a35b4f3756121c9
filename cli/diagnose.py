"""``gatewise diagnose``: which mistake explains what a layer computes?"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import (
    BUDGETS,
    CONFORMS,
    COULD_NOT_RUN,
    DIFFERS,
    command,
    dtype_option,
    jobs_option,
    json_option,
    like_option,
    memory_option,
    or_usage,
    quantised_option,
    seed_option,
    stop,
    timeout_option,
)

if TYPE_CHECKING:
    from ..verify.execution.session import Request
    from ..verify.runs.verdict import Verdict


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1, required=True)
@like_option
@quantised_option
@dtype_option
@click.option("--budget", type=click.Choice(BUDGETS), default="quick", show_default=True,
              help="How many cases for each check, before an explanation is sought.")  # fmt: skip
@seed_option
@jobs_option
@timeout_option
@memory_option
@json_option
def diagnose(
    names: Sequence[str],
    like: str | None,
    quantised: str,
    dtype: str | None,
    budget: str,
    seed: int,
    jobs: int,
    timeout: float | None,
    memory: int,
    as_json: bool,
) -> None:
    """Name the mistake of SUBJECTs that do not conform.

    The checks are run, every known mistake, alone and two together, is compared with what the layer
    does, and those that do exactly the same are told, with what to change. Exit code 0 if nothing
    is wrong, 1 if something is, explained or not.
    """
    from ..reports.terminal import print_findings
    from ..verify.execution.diagnosis_tasks import diagnoses
    from ..verify.execution.session import Request
    from ..verify.runs.findings import findings

    request = or_usage(
        lambda: Request.parse(
            names, like=like, quantised=quantised, checks=[], dtype=dtype, budget=budget,
            seed=seed, case=None, timeout=timeout, memory=memory, deviations=None,
        )
    )  # fmt: skip
    verdicts = _checked(request, jobs)
    found = list(diagnoses(verdicts, request.named, memory=memory, jobs=jobs))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1, ensure_ascii=False))
    else:
        print_findings([each for each in findings(verdicts, found) if each.wrong])
    for named in request.named:
        mine = [v for v in verdicts if v.subject == named.name]
        if any(v.wrong for v in mine):
            continue
        passed = sum(v.status == "passed" for v in mine)
        open_ = [v for v in mine if v.status == "not tested"]
        if not as_json:
            why = f": {open_[0].message}" if open_ else ""
            click.echo(f"{named.name}: no check failed, {passed} passed{why}")
        if not passed and not found:
            sys.exit(COULD_NOT_RUN)
    sys.exit(DIFFERS if found else CONFORMS)


def _checked(request: Request, jobs: int) -> list[Verdict]:
    """Hold the subjects to all checks, in a run that nobody keeps."""
    from ..reports.terminal import progress
    from ..verify.execution import session

    with tempfile.TemporaryDirectory() as folder:
        try:
            with progress(None) as advance:
                found = []
                for verdict in session.run(
                    request, Path(folder) / "run", command=command(), jobs=jobs,
                    on_plan=advance.plan,
                ):  # fmt: skip
                    found.append(verdict)
                    advance(f"{verdict.check} {verdict.status}")
                return found
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            stop("interrupted", COULD_NOT_RUN)
