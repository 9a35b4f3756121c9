"""``gatewise vectors``: write portable test vectors, and judge a program's results on them."""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import (
    COULD_NOT_RUN,
    DIFFERS,
    json_option,
    or_usage,
    print_json,
    say,
    seed_option,
    stop,
)

if TYPE_CHECKING:
    from ..verify.subjects.framework import FrameworkSubject
    from ..verify.vectors.audit import Audit, PublishedTest
    from ..verify.vectors.files import Vectors
    from ..verify.vectors.judgement import Judgement
    from ..verify.vectors.selection import Selection

FORMATS = ("json", "npz", "safetensors", "onnx", "c")


@click.group()
def vectors() -> None:
    """Write, check and judge test vectors: numbers with bounds."""


@vectors.command()
@click.option("--cell", required=True, metavar="CELL", help="One of: gatewise cells.")
@click.option("--dtype", default="float64", show_default=True,
              type=click.Choice(["float64", "float32", "float16", "bfloat16"]))  # fmt: skip
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="The new folder.",
              type=click.Path(path_type=Path, file_okay=False))  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="json", show_default=True,
              help="The files beside vectors.json: arrays, node tests of ONNX, C.")  # fmt: skip
@click.option("--convention", default="", metavar="NAME",
              help="The arrays' framework: torch, keras, ...; else the equations.")  # fmt: skip
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
    """Return the framework of a convention; raise UsageError if the format cannot hold it."""
    from ..verify.vectors import node_tests, weights

    if form == "onnx":
        if convention not in ("", node_tests.CONVENTION):
            raise click.UsageError(f"--format onnx has ONNX's own convention, not {convention}")
        if dtype not in node_tests.DTYPES:
            dtypes = ", ".join(node_tests.DTYPES)
            raise click.UsageError(f"--format onnx: expected one of {dtypes}, got {dtype}")
        convention = node_tests.CONVENTION
    return or_usage(lambda: weights.adapter(convention, cell)) if convention else None


def _write_beside(folder: Path, form: str, chosen: Selection, document: Vectors) -> str:
    """Write the files beside vectors.json; return a sentence on them."""
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
    if not shown:
        lines = [f"{path}: {tests} tests; the catalogue has no mistakes of {document.cell}"]
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
    from ..verify.vectors import cause, files
    from ..verify.vectors.audit import NotAudited
    from ..verify.vectors.judgement import judge

    try:
        document = files.read(folder)
        results = files.outputs(outputs)
        judgement = judge(document, results)
        suspects = judgement.suspects
        exact = cause.exact_suspects(document, results, suspects) if judgement.failed else ()
    except (RunFileError, NotAudited) as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json({**asdict(judgement), "exact": exact}, ensure_ascii=True)
    else:
        _print(document, judgement, exact)
    if judgement.failed:
        sys.exit(DIFFERS)
    if not judgement.passed:
        sys.exit(COULD_NOT_RUN)


def _print(document: Vectors, judgement: Judgement, exact: Sequence[str]) -> None:
    passed = sum(r.status == "passed" for r in judgement.results)
    say(f"{passed} of {len(judgement.results)} tests passed")
    for result in judgement.results:
        message = f": {result.message}" if result.message else ""
        say(f"  test {result.test} {result.status}, error/bound {result.worst:.2g}{message}")
    if judgement.failed and not judgement.suspects:
        say("no mistake of the catalogue fails exactly these tests")
    words = "it computes what this mistake does" if exact else "this mistake fails the same tests"
    for mistake in exact or judgement.suspects:
        for line in wrapped(f"{words}: {document.notes[mistake].mistake}", 2):
            say(line)


@vectors.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@click.option("--cell", type=click.Choice(["rnn", "lstm", "gru"]),
              help="The cell of plain arrays.")  # fmt: skip
@click.option("--printed", type=click.IntRange(0, 17), metavar="PLACES",
              help="Decimal places with which plain arrays are printed.")  # fmt: skip
@click.option("--atol", type=click.FloatRange(min=0), help="What the suite allows, absolute.")
@click.option("--rtol", type=click.FloatRange(min=0), help="And relative to what it expects.")
@click.option("--ulp", type=click.FloatRange(min=0), help="And in units of the last place.")
@json_option
def audit(
    paths: tuple[Path, ...],
    cell: str | None,
    printed: int | None,
    atol: float | None,
    rtol: float | None,
    ulp: float | None,
    as_json: bool,
) -> None:
    """Say which mistakes of the catalogue somebody's vectors miss.

    A PATH is a folder of node tests of ONNX, a script of WebNN's tests, gatewise's own vectors, or
    arrays as `gatewise explain` reads them; onnx: stands for ONNX's own node tests. Every test is
    held to the equations; then each mistake computes it. Without --atol, --rtol or --ulp, what each
    form allows by itself is allowed.

    Exit code 1 if a test is not right by the equations, 3 if none could be read.
    """
    from ..verify.subjects.protocol import SubjectUnavailable
    from ..verify.vectors import audit as audits
    from ..verify.vectors import public
    from .explain import read_arrays

    limits = (atol, rtol, ulp)
    by_form = limits == (None, None, None)
    tolerance = None if by_form else audits.Tolerance(*(limit or 0.0 for limit in limits))
    plain = public.PlainArrays(read_arrays, cell or "", printed)
    tests: list[audits.PublishedTest] = []
    unread: list[str] = []
    for path in paths:
        try:
            for item in public.read(path, plain, tolerance):
                if isinstance(item, audits.NotAudited):
                    unread.append(str(item))
                else:
                    tests.append(item)
        except (audits.NotAudited, SubjectUnavailable, OSError) as reason:
            unread.append(str(reason))
    results = audits.audits(tests)
    if as_json:
        print_json(_audit_json(tests, unread, results))
    else:
        for line in _audit_text(tests, unread, results):
            say(line)
    if any(test.ratio > 1 for test in tests):
        sys.exit(DIFFERS)
    if not tests:
        sys.exit(COULD_NOT_RUN)


def _audit_text(
    tests: Sequence[PublishedTest], unread: Sequence[str], results: Sequence[Audit]
) -> Iterator[str]:
    """Yield the lines on each test, and on the mistakes that all tests of a cell miss."""
    for test in tests:
        verdict = f"right, {test.ratio:.2g} of its bound" if test.ratio <= 1 else (
            f"wrong: off by {test.ratio:.2g} times its bound")  # fmt: skip
        tight = "; a right layer may fail it" if test.tight else ""
        yield from wrapped(test.name, 0)
        yield from wrapped(test.words or test.cell, 2)
        yield from wrapped(
            f"{verdict}; allows {test.allowance}{tight}; sees {len(test.caught)} mistakes", 2
        )
    for reason in unread:
        yield from wrapped(f"not read: {reason}", 0)
    for audit in results:
        yield ""
        count = len(audit.vectors)
        who = f"{count} tests see" if count > 1 else "1 test sees"
        yield (
            f"{audit.cell}: {who} {len(audit.caught)} of the {len(audit.showable)} mistakes that "
            "vectors can show"
        )
        for group in audit.groups:
            caught = group.count - len(group.missed)
            yield f"  {group.title}: {caught} of {group.count}"
            for mistake in group.missed:
                yield from wrapped(f"missed: {mistake.statement}", 4)


def wrapped(text: str, indent: int) -> list[str]:
    """Return lines of at most 80 columns."""
    blank = " " * indent
    return textwrap.wrap(text, 80, initial_indent=blank, subsequent_indent=blank + "  ")


def _audit_json(
    tests: Sequence[PublishedTest], unread: Sequence[str], results: Sequence[Audit]
) -> dict[str, object]:
    """Return the same content as JSON values."""
    return {
        "tests": [
            {"name": t.name, "cell": t.cell, "convention": t.words, "right": t.ratio <= 1,
             "error_over_bound": t.ratio, "allows": t.allowance, "a_right_layer_may_fail": t.tight,
             "sees": sorted(t.caught)}
            for t in tests
        ],
        "not_read": list(unread),
        "cells": [
            {"cell": a.cell, "tests": len(a.vectors), "sees": sorted(a.caught),
             "groups": {g.title: {"of": g.count,
                                  "missed": {m.id: m.statement for m in g.missed}}
                        for g in a.groups}}
            for a in results
        ],
    }  # fmt: skip
