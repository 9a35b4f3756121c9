"""One command, ``gatewise``. Exit codes: 0 conforms, 1 does not, 2 usage, 3 could not run."""

from __future__ import annotations

import os
import tempfile

import click

from .audit import audit
from .bench import bench
from .catalogue import cells, checks, equations, examples, subjects
from .claims import claims
from .compare import compare
from .convert import convert
from .diagnose import diagnose
from .evidence import evidence
from .identify import identify
from .mutants import mutants
from .prove import prove
from .record import record
from .report import report
from .verify import verify


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
    evidence,
    subjects,
    cells,
    checks,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
