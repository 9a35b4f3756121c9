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
SECTIONS = {
    "Is it right, and what is wrong": ("verify", "diagnose", "explain", "identify", "compare"),
    "How fast, how far back": ("bench", "report"),
    "Write, port, take along": ("new", "convert", "nodes", "tolerance", "vectors", "record"),
    "Check a test suite, and gatewise itself": ("audit", "mutants", "prove", "claims", "evidence"),
    "What there is": CATALOGUE,
}
"""The commands of each section of the help."""

COMMANDS = {
    name: "catalogue" if name in CATALOGUE else name
    for names in SECTIONS.values()
    for name in names
}
"""The module of each command."""


LINE = 65
"""The width of a command's summary, in columns."""


class Commands(click.Group):
    """Commands whose modules are imported when one is run, or when all are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names."""
        return [*COMMANDS]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summary of each command, by section."""
        widest = max(map(len, COMMANDS))
        for section, names in SECTIONS.items():
            commands = {name: self.get_command(ctx, name) for name in names}
            rows = [(n.ljust(widest), c.get_short_help_str(LINE)) for n, c in commands.items() if c]
            with formatter.section(section):
                formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; report errors in a sentence and by the exit code."""
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
