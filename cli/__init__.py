"""One command, ``gatewise``. Exit codes: 0 conforms, 1 does not, 2 usage, 3 could not run."""

from __future__ import annotations

import os
import tempfile

import click

from .auditing import audit
from .benching import bench
from .claims import claims
from .comparing import compare
from .converting import convert
from .diagnosing import diagnose
from .identifying import identify
from .listing import cells, checks, equations, examples, subjects
from .mutating import mutants
from .proving import prove
from .recording import record
from .reporting import report
from .verifying import verify


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatewise")
def main() -> None:
    """Is this recurrent layer right, and if not, what exactly is wrong with it?"""
    # Hypothesis would leave a folder of its own wherever the command is run.
    os.environ.setdefault(
        "HYPOTHESIS_STORAGE_DIRECTORY", f"{tempfile.gettempdir()}/gatewise-hypothesis"
    )


for _command in (
    verify,
    diagnose,
    identify,
    convert,
    mutants,
    audit,
    prove,
    record,
    bench,
    report,
    compare,
    equations,
    examples,
    claims,
    subjects,
    cells,
    checks,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
