"""``gatewise convert``: convert a layer's weights from one framework's file to another's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, DIFFERS, FILE, Seconds, probe, say, stop

if TYPE_CHECKING:
    from ..verify.api import Converter


@click.command()
@click.argument("file", type=FILE)
@click.option("--from", "source", required=True, metavar="SUBJECT",
              help="The layer of the file: torch:LSTM, or keras where its arrays "
              "fit one layer only.")  # fmt: skip
@click.option("--to", "target", required=True, metavar="SUBJECT", help="The layer to write it for.")
@click.option("-o", "--output", type=FILE, required=True, help="The new file.")
@click.option("--unverified", is_flag=True, help="Write it even if a layer cannot be run.")
@click.option("--timeout", type=Seconds(), default=120.0,
              show_default=True, metavar="SECONDS", help="For running one layer.")  # fmt: skip
def convert(
    file: Path, source: str, target: str, output: Path, unverified: bool, timeout: float
) -> None:
    """Convert a FILE of weights to another framework's arrays.

    The file is safetensors or .npz, of one layer. Both layers are then run on random input, and
    must compute what the equations say. Nothing is written if the target cannot hold the weights or
    if a layer is off (exit code 1), or if that could not be tried (3; --unverified writes it all
    the same).
    """
    from ..verify.api import NotVerified, converter
    from ..verify.conventions import conversion as porting
    from ..verify.execution.tasks import Named
    from ..verify.runs.findings import counted
    from ..verify.subjects import known
    from ..verify.subjects.frameworks import families

    if output.resolve() == file.resolve():
        raise click.UsageError("the new file must be another one")
    probe(output, device=False)  # a new file takes its place
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    with converter(Named(source), Named(target), timeout=timeout) as pair, _stopping(pair, output):
        try:
            arrays = porting.read(file)
            if source in families():
                ends = [pair.end(Named(name)) for name in known(source)]
                pair.source = Named(porting.only(source, ends, arrays).name)
            if read := porting.reading(pair.end(pair.source), arrays):
                say(read)
            conversion, result = pair.convert(arrays)
            porting.write(part, result)
            try:
                message = pair.verify(conversion, porting.read(part))
            except NotVerified as problem:
                if not unverified:
                    raise
                message = f"not verified: {problem}"
            part.replace(output.resolve())
        finally:
            part.unlink(missing_ok=True)
    say(f"{message}\nwritten: {output} ({counted(len(result), 'array')})")


@contextmanager
def _stopping(pair: Converter, output: Path) -> Iterator[None]:
    """Stop with a sentence and an exit code where a conversion fails."""
    from ..verify.api import NoHome, NotVerified, Unfit
    from ..verify.numbers.ledger import Mismatch
    from ..verify.subjects.loader import UnknownSubject

    try:
        yield
    except NoHome as problem:
        stop(f"{pair.source.name} to {pair.target.name}: cannot be converted: {problem}", DIFFERS)
    except Mismatch as problem:
        stop(f"{pair.source.name} to {pair.target.name}: {problem}", DIFFERS)
    except Unfit as problem:
        stop(str(problem), COULD_NOT_RUN)
    except NotVerified as problem:
        stop(f"not verified: {problem}; nothing is written without --unverified", COULD_NOT_RUN)
    except UnknownSubject as problem:
        raise click.UsageError(str(problem)) from problem
    except OSError as error:
        stop(f"{output}: cannot be written ({error.strerror})", COULD_NOT_RUN)
