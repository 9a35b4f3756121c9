"""What the commands share: options, exit codes, and how a user's mistake is told."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from ..verify.runs import status

CONFORMS, DIFFERS, COULD_NOT_RUN = status.CONFORMS, status.DIFFERS, status.COULD_NOT_RUN
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
like_option = click.option(
    "--like", metavar="CLASS", help="The class has the constructor, parameters and call "
    "of torch.nn.LSTM, GRU or RNN, or of a Cell of these, or of the model of kernelbench:35.",
)  # fmt: skip
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
    help="Worker processes at a time.",
)  # fmt: skip
memory_option = click.option(
    "--memory", type=click.IntRange(min=0), default=4096, show_default=True,
    metavar="MIB", help="What a subject may take; 0: no limit.",
)  # fmt: skip
timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="For one check in one dtype (60, 300 or 1800 by budget).",
)  # fmt: skip
DTYPES = ("float64", "float32", "tf32", "float16", "bfloat16")
dtype_option = click.option(
    "--dtype",
    type=click.Choice([*DTYPES, "all"]),
    help="Only this dtype, or all that the subject computes in; else float64 and float32.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def or_usage(parse: Callable[[], Any]) -> Any:
    """Return what ``parse`` returns; turn a ValueError into a usage error (exit code 2)."""
    try:
        return parse()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def stop(message: str, code: int) -> NoReturn:
    """Say why nothing can be done, and end with an exit code."""
    click.echo(f"gatewise: {message}", err=True)
    sys.exit(code)


def command() -> str:
    """Return the command line, as it can be typed again."""
    return shlex.join(["gatewise", *sys.argv[1:]])


def probe(path: Path) -> None:
    """Stop unless a file can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        stop(f"{path}: cannot be written ({error.strerror})", COULD_NOT_RUN)


def say(text: str) -> None:
    """Print lines that break between words, as wide as the terminal; whole where there is none."""
    shown = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    width = shutil.get_terminal_size().columns if shown else sys.maxsize
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        click.echo(textwrap.fill(
            line.strip(), width, initial_indent=indent, subsequent_indent=f"{indent}  ",
            break_long_words=False, break_on_hyphens=False,
        ))  # fmt: skip
