"""``gatewise vectors``: test vectors to take anywhere, and what a program made of them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import COULD_NOT_RUN, DIFFERS, json_option, or_usage, say, seed_option, stop

if TYPE_CHECKING:
    from ..verify.subjects.framework import FrameworkSubject
    from ..verify.vectors.files import Vectors
    from ..verify.vectors.judgement import Judgement
    from ..verify.vectors.selection import Selection

FORMATS = ("json", "npz", "safetensors", "onnx", "c")


@click.group()
def vectors() -> None:
    """Test vectors that travel: numbers with bounds, and the mistakes that each catches."""


@vectors.command()
@click.option("--cell", required=True, metavar="CELL", help="One of: gatewise cells.")
@click.option("--dtype", default="float64", show_default=True,
              type=click.Choice(["float64", "float32", "float16", "bfloat16"]))  # fmt: skip
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="Where to write.",
              type=click.Path(path_type=Path, file_okay=False))  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="json", show_default=True,
              help="What stands beside vectors.json: arrays, node tests of ONNX, C.")  # fmt: skip
@click.option("--convention", default="", metavar="NAME",
              help="Whose arrays: torch, keras, ...; else those of the equations.")  # fmt: skip
@seed_option
def export(cell: str, dtype: str, folder: Path, form: str, convention: str, seed: int) -> None:
    """Write the fewest numbers that catch the mistakes of CELL, each with a bound.

    vectors.json says of every test which mistakes it catches, and which no vector can show, with
    the reason.
    """
    from ..reference.cells import cell_named
    from ..reports.terminal import progress
    from ..verify.subjects.protocol import SubjectUnavailable
    from ..verify.vectors import files, selection

    or_usage(lambda: cell_named(cell))
    adapter = _adapter(cell, dtype, form, convention)
    cases = len(list(selection.offered(adapter, selection.candidates(cell, dtype, seed))))
    with progress(cases) as advance:
        chosen = selection.select(cell, dtype, seed, advance, adapter)
    document = files.vectors(chosen)
    try:
        path = files.write(folder, document)
        more = _write_beside(folder, form, chosen, document)
    except OSError as error:
        stop(f"{folder}: cannot be written ({error.strerror})", COULD_NOT_RUN)
    except SubjectUnavailable as error:
        raise click.UsageError(str(error)) from error
    say(_summary(document, path))
    if more:
        say(more)


def _adapter(cell: str, dtype: str, form: str, convention: str) -> FrameworkSubject | None:
    """Return whose convention vectors have; UsageError where a format has none of such a cell."""
    from ..verify.vectors import node_tests, weights

    if form == "onnx":
        if convention not in ("", node_tests.CONVENTION):
            raise click.UsageError(f"--format onnx has ONNX's own convention, not {convention}")
        if dtype not in node_tests.DTYPES:
            known = ", ".join(node_tests.DTYPES)
            raise click.UsageError(f"--format onnx: expected one of {known}, got {dtype}")
        convention = node_tests.CONVENTION
    return or_usage(lambda: weights.adapter(convention, cell)) if convention else None


def _write_beside(folder: Path, form: str, chosen: Selection, document: Vectors) -> str:
    """Write what stands beside vectors.json; return what is to be said of it."""
    import numpy as np

    from ..verify.conventions.conversion import write as write_arrays
    from ..verify.vectors import c_source, files, node_tests

    if form == "npz":
        np.savez(folder / "vectors.npz", **files.arrays(document))
    elif form == "safetensors":
        write_arrays(folder / "vectors.safetensors", files.arrays(document))
    elif form == "c":
        header, data = c_source.write(folder, document)
        return f"{header}, {data}: the same for C, {data.stat().st_size / 1000:.0f} kB"
    elif form == "onnx":
        tests = node_tests.write(folder, chosen)
        caught = {mistake for test in tests for mistake in test.catches}
        return (
            f"{folder}/{node_tests.INDEX}: {len(tests)} node tests; with one rtol and atol each "
            f"they catch {len(caught)} of these mistakes"
        )
    return ""


def _summary(document: Vectors, path: Path) -> str:
    tests, size = len(document.tests), path.stat().st_size
    shown, missed = len(document.notes), len(document.missed)
    lines = [
        f"{path}: {tests} tests, {size / 1000:.0f} kB; they catch {shown} of the "
        f"{shown + missed} mistakes of {document.cell} that vectors can show"
    ]
    reasons = Counter(document.not_shown.values()) + Counter(document.missed.values())
    lines += [f"  {count} more: {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


@vectors.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--outputs", required=True, metavar="FILE", type=click.Path(path_type=Path),
              help='JSON, {"1": {"y": [[...]]}}, or npz, with arrays called 1/y.')  # fmt: skip
@json_option
def check(folder: Path, outputs: Path, as_json: bool) -> None:
    """Judge what a program made of the vectors in DIR, without running it.

    Exit code 1 if a number is beyond its bound, 3 if a test has no output.
    """
    from ..verify.runs.records import RunFileError
    from ..verify.vectors import files
    from ..verify.vectors.judgement import judge

    try:
        document = files.read(folder)
        judgement = judge(document, files.outputs(outputs))
    except RunFileError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(judgement), indent=1))
    else:
        _print(document, judgement)
    if judgement.failed:
        sys.exit(DIFFERS)
    if not judgement.passed:
        sys.exit(COULD_NOT_RUN)


def _print(document: Vectors, judgement: Judgement) -> None:
    passed = sum(r.status == "passed" for r in judgement.results)
    say(f"{passed} of {len(judgement.results)} tests passed")
    for result in judgement.results:
        message = f": {result.message}" if result.message else ""
        say(f"  test {result.test} {result.status}, error/bound {result.worst:.2g}{message}")
    if judgement.failed and not judgement.suspects:
        say("no mistake of the catalogue fails exactly these tests")
    for mistake in judgement.suspects:
        say(f"  it fails as this mistake does: {document.notes[mistake].mistake}")
