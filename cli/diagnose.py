"""``gatewise diagnose``: which mistake explains what a layer computes?"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from . import common
from .common import CONFORMS, COULD_NOT_RUN, DIFFERS


@click.command()
@click.argument("names", metavar="SUBJECT...", nargs=-1, required=True)
@common.like_option
@common.quantised_option
@common.device_option
@common.dtype_option
@click.option("--budget", type=click.Choice(common.BUDGETS), default="quick", show_default=True,
              help="How many cases for each check, before an explanation is sought.")  # fmt: skip
@common.seed_option
@common.jobs_option
@common.timeout_option
@common.memory_option
@common.json_option
def diagnose(names: Sequence[str], jobs: int, memory: int, as_json: bool, **options: Any) -> None:
    """Name the mistake of SUBJECTs that do not conform.

    The checks are run, every known mistake, alone and two together, is compared with what the layer
    does, and those that do exactly the same are told, with what to change. Exit code 0 if nothing
    is wrong, 1 if something is, explained or not.
    """
    from ..reports.terminal import print_findings, progress
    from ..verify.execution import session
    from ..verify.execution.diagnosis_tasks import diagnoses
    from ..verify.runs.findings import findings

    request = common.or_usage(lambda: session.Request.parse(names, memory=memory, **options))
    verdicts = []
    with tempfile.TemporaryDirectory() as folder, progress(None) as advance:
        try:  # in a temporary run
            for verdict in session.run(request, Path(folder) / "run", command=common.command(),
                                       jobs=jobs, on_plan=advance.plan):  # fmt: skip
                verdicts.append(verdict)
                advance(f"{verdict.check} {verdict.status}")
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    explanations = list(diagnoses(verdicts, request.named, memory=memory, jobs=jobs))
    if as_json:
        common.print_json(explanations)
    else:
        print_findings([finding for finding in findings(verdicts, explanations) if finding.wrong])
    for named in request.named:
        of_subject = [v for v in verdicts if v.subject == named.name]
        if any(v.wrong for v in of_subject):
            continue
        passed = sum(v.status == "passed" for v in of_subject)
        untested = [v for v in of_subject if v.status == "not tested"]
        if not as_json:
            why = f": {untested[0].message}" if untested else ""
            click.echo(f"{named.name}: no check failed, {passed} passed{why}")
        if not passed and not explanations:
            sys.exit(COULD_NOT_RUN)
    sys.exit(DIFFERS if explanations else CONFORMS)
