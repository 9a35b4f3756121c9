"""One command, ``gatewise``. Exit codes: 0 conforms, 1 does not, 2 usage, 3 could not run."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from io import TextIOWrapper
from typing import Any

import click

from .common import in_a_sentence

CATALOGUE = ("equations", "examples", "subjects", "cells", "checks")
COMMANDS = {
    name: "catalogue" if name in CATALOGUE else name
    for name in (
        "verify", "diagnose", "identify", "convert", "mutants", "audit", "prove", "record", "bench",
        "report", "compare", "claims", "evidence", "new", "explain", "tolerance", "vectors",
        "nodes",
        *CATALOGUE,
    )
}  # fmt: skip
"""The module of each command."""


class Commands(click.Group):
    """Commands whose modules are imported when one is run, or when all are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong is told in a sentence, with the exit code for it."""
        with in_a_sentence():
            return super().invoke(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gatewise")
def main() -> None:
    """Is this recurrent layer right, and if not, what exactly is wrong with it?"""
    if isinstance(sys.stdout, TextIOWrapper):  # file names may be no text that it can encode
        sys.stdout.reconfigure(errors="backslashreplace")
    # On several threads products of small matrices take ten times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Hypothesis would leave a folder of its own wherever the command is run.
    os.environ.setdefault(
        "HYPOTHESIS_STORAGE_DIRECTORY", f"{tempfile.gettempdir()}/gatewise-hypothesis"
    )


if __name__ == "__main__":
    main()
