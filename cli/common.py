"""Options, exit codes and error messages that the commands share."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shlex
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ..verify.execution.limits import LARGEST_MEMORY, MEMORY, MOST_SECONDS
from ..verify.runs import status
from ..verify.runs.records import RunFileError, harmless

CONFORMS, DIFFERS, COULD_NOT_RUN = status.CONFORMS, status.DIFFERS, status.COULD_NOT_RUN
RUNS = Path("runs")
BUDGETS = ("quick", "standard", "thorough")

T = TypeVar("T")

LONGEST_MESSAGE = 2000
"""The most characters of a message, which may quote arbitrary user input."""


STANDARD_OUTPUT = 1


FILE = click.Path(path_type=Path, dir_okay=False)
"""The type of an argument that names a file, which need not exist."""


class Seconds(click.FloatRange):
    """A time limit in seconds: positive, and at most what timers accept."""

    name = "seconds"

    def __init__(self, least: float = 0.0, *, zero: bool = False) -> None:
        super().__init__(min=least, max=MOST_SECONDS, min_open=least == 0 and not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; refuse NaN, which is in no range."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return seconds


class Seed(click.IntRange):
    """A seed; None for ``secret``, which is drawn after all layers have been imported."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seed."""
        return None if value == "secret" else super().convert(value, param, ctx)


seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True,
    help="The same seed draws the same cases.",
)  # fmt: skip
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=RUNS, show_default=True,
    help="The folder of all runs.",
)  # fmt: skip
like_option = click.option(
    "--like", "--cell", "like", metavar="CLASS", help="The class has the constructor, parameters "
    "and call of torch.nn.LSTM, GRU or RNN, or of a Cell of these, or of the model of "
    "kernelbench:35; gatewise.gla is the cell of what does not say its own; of a "
    "process:COMMAND the cell that it is asked for.",
)  # fmt: skip
quantised_option = click.option(
    "--quantised", default="", metavar="TEXT",
    help="The arithmetic that it declares: 'weights=8', 'fixed=<16,6>'.",
)  # fmt: skip
jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
    help="Worker processes at a time.",
)  # fmt: skip


def _memory(ctx: click.Context, param: click.Parameter, value: int | None) -> int:
    """Return the limit; drivers of devices reserve more than a subject takes."""
    if value is not None:
        return value
    return MEMORY if ctx.params.get("device", "cpu") == "cpu" else 0


device_option = click.option(
    "--device", default="cpu", show_default=True, is_eager=True, metavar="DEVICE",
    help="Where a class or a function of torch's is held: cuda, cuda:1.",
)  # fmt: skip
memory_option = click.option(
    "--memory", type=click.IntRange(0, LARGEST_MEMORY), metavar="MIB", callback=_memory,
    help=f"Memory that a subject may take ({MEMORY}; on a --device no limit); 0: no limit.",
)  # fmt: skip
timeout_option = click.option(
    "--timeout", type=Seconds(), metavar="SECONDS",
    help="For one check in one dtype (60, 300 or 1800 by budget).",
)  # fmt: skip
DTYPES = ("float64", "float32", "tf32", "float16", "bfloat16")
dtype_option = click.option(
    "--dtype",
    type=click.Choice([*DTYPES, "all"]),
    help="Only this dtype, or all that the subject computes in; else float64 and float32.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def or_usage(parse: Callable[[], T]) -> T:
    """Return what ``parse`` returns; turn a ValueError into a usage error (exit code 2)."""
    try:
        return parse()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def stop(message: str, code: int) -> NoReturn:
    """Print a message to standard error, and exit."""
    with contextlib.suppress(OSError):
        click.echo(f"gatewise: {brief(message)}", err=True)
    sys.exit(code)


@contextlib.contextmanager
def in_a_sentence() -> Iterator[None]:
    """Turn errors into a sentence and an exit code; no other place does.

    Invalid input raises ValueError where it is read, which ``or_usage`` turns into a
    usage error; an OSError means that the command could not run. Anything else is a bug of
    gatewise, and says nothing about the layer.
    """
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = brief(error.message)
        raise
    except (click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        stop("interrupted", COULD_NOT_RUN)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        where = os.fsdecode(error.filename) if error.filename else "output"
        if not error.filename:
            _drop_output()
        stop(f"{where}: {error.strerror or error}", COULD_NOT_RUN)
    except RunFileError as error:
        stop(str(error), COULD_NOT_RUN)
    except MemoryError:
        stop("there is not enough memory", COULD_NOT_RUN)
    except Exception:
        traceback.print_exc()
        stop("gatewise itself failed, please report it", COULD_NOT_RUN)


def _drop_output() -> None:
    """Discard unwritten output, which the interpreter would flush again at exit."""
    if sys.stdout is sys.__stdout__:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)


def brief(text: str) -> str:
    """Return text without control characters, cut to ``LONGEST_MESSAGE``."""
    lines = text.split("\n")
    clean = ("".join(c if c.isprintable() else " " for c in line) for line in lines)
    joined = "\n".join(clean)
    return joined if len(joined) <= LONGEST_MESSAGE else f"{joined[:LONGEST_MESSAGE]} …"


def command() -> str:
    """Return the command line in the shell's syntax."""
    return shlex.join(["gatewise", *sys.argv[1:]])


def probe(path: Path, *, device: bool = True) -> None:
    """Stop unless a file, or if ``device`` a character device, can be written at ``path``."""
    why = unwritable(path, None, device=device)
    if why:
        stop(why, COULD_NOT_RUN)


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file; stop with a message where that fails."""
    why = unwritable(path, content)
    if why:
        stop(why, COULD_NOT_RUN)


def unwritable(path: Path, content: str | bytes | None, *, device: bool = True) -> str:
    """Write a file, or with None only try to; return the reason of a failure, else ""."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        allowed = not path.exists() or path.is_file() or (device and path.is_char_device())
        if path.is_dir():
            return f"{path}: cannot be written (it is a folder)"
        if not allowed:
            return f"{path}: cannot be written (it is no regular file)"
        if content is None:
            exists = path.exists()
            with path.open("ab"):
                pass
            if not exists:
                path.unlink()
            return ""
        if isinstance(content, str):
            content = content.encode("utf-8", "backslashreplace")
        path.write_bytes(content)
    except OSError as error:
        return f"{path}: cannot be written ({error.strerror})"
    return ""


def print_json(value: Any, *, ensure_ascii: bool = False) -> None:
    """Print values, records among them, as JSON for programs."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=ensure_ascii, default=asdict))


def number(value: float | None, digits: int = 4) -> str:
    """Return a number as a table's cell, "" for None."""
    return "" if value is None else f"{value:.{digits}g}"


def new_run(runs: Path, kind: str = "") -> Path:
    """Return the folder of a new run, named by the time."""
    return runs / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{os.getpid()}{kind and '-'}{kind}"


@contextlib.contextmanager
def resumable(folder: Path, command: str, progress: str) -> Iterator[None]:
    """Print the command that resumes a run when it is interrupted or a disk is full.

    ``progress`` names the results that are kept. A ValueError becomes a usage error.
    """
    resumption = f"{progress} is kept; go on with: gatewise {command} --resume {quoted(folder)}"
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        stop(f"{folder}: cannot be written ({error.strerror}); {resumption}", COULD_NOT_RUN)
    except KeyboardInterrupt:
        stop(f"interrupted; {resumption}", COULD_NOT_RUN)


def quoted(path: Path | str) -> str:
    """Return a path or a name, quoted for a shell."""
    return shlex.quote(str(path))


def say(text: str) -> None:
    """Print lines wrapped at the width of the terminal; unwrapped without a terminal."""
    shown = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal()
    width = shutil.get_terminal_size().columns if shown else sys.maxsize
    for line in harmless(text).split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        click.echo(textwrap.fill(
            line.strip(), width, initial_indent=indent, subsequent_indent=f"{indent}  ",
            break_long_words=False, break_on_hyphens=False,
        ))  # fmt: skip
