"""``gatewise tolerance``: the smallest tolerance that no right implementation exceeds."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import CONFORMS, DIFFERS, DTYPES, json_option, or_usage, print_json, seed_option

if TYPE_CHECKING:
    from ..verify.tolerances.certificate import Mistake, Setting, Tolerance
    from ..verify.tolerances.grade import Grade

SIZES = {"T": 20, "B": 3, "D": 8, "H": 16}
"""The default sizes: steps, rows, inputs, units."""

SHOWN = 12
"""The most mistakes that are listed; ``--json`` has all."""


@click.command()
@click.option("--cell", required=True, help="A cell of the reference: see gatewise cells.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
              help="The dtype of the implementation.")  # fmt: skip
@click.option("--inside", type=click.Choice(["float32"]),
              help="Halves are only stored: sums and activations are float32.")  # fmt: skip
@click.option("--sizes", metavar="T=20,B=3,D=8,H=16",
              help="Steps, rows, inputs and units.")  # fmt: skip
@click.option("--inputs", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              metavar="FILE.npz", help="Arrays of your own: x, 'state 0', W_l0, ...")  # fmt: skip
@click.option("--evaluations", type=click.IntRange(min=1), default=100, show_default=True,
              help="Right evaluations that measure how much of a bound is used.")  # fmt: skip
@click.option("--grade", "graded", metavar="atol=A,rtol=R",
              help="Grade this tolerance.")  # fmt: skip
@click.option("--for", "form", type=click.Choice(["pytest"]), help="Print lines to paste.")
@seed_option
@json_option
def tolerance(
    cell: str,
    dtype: str,
    inside: str | None,
    sizes: str | None,
    inputs: Path | None,
    evaluations: int,
    graded: str | None,
    form: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Derive how far a right layer may lie from the equations.

    The bounds hold for these sizes and inputs, and for any order of sums. With --grade the exit
    code is 0 if the tolerance is sound, and 1 if it refuses right implementations or lets mistakes
    through.
    """
    from ..verify.tolerances.grade import SOUND, grade

    if form and as_json:
        raise click.UsageError("--for pytest prints Python: leave out --json")
    setting = or_usage(lambda: _setting(cell, dtype, inside, sizes, inputs, seed))
    pair = or_usage(lambda: _parse_tolerance(graded)) if graded else None
    tolerances = setting.tolerances(evaluations, seed)
    mistakes = () if form else tuple(setting.mistakes())
    grading = grade(setting, mistakes, *pair, evaluations=evaluations, seed=seed) if pair else None
    if as_json:
        print_json(_json(setting, tolerances, mistakes, grading), ensure_ascii=True)
    elif form:
        click.echo("\n".join(_python(tolerances)))
    else:
        click.echo("\n".join(_text(setting, tolerances, mistakes, grading, evaluations)))
    sys.exit(DIFFERS if grading and grading.words != (SOUND,) else CONFORMS)


def _setting(
    cell: str, dtype: str, inside: str | None, sizes: str | None, inputs: Path | None, seed: int
) -> Setting:
    from ..reference.cells import cell_named
    from ..verify.cases.case import Case
    from ..verify.numbers.arithmetic import FINER, HALVES
    from ..verify.tolerances.certificate import setting

    if inside and dtype not in HALVES:
        raise ValueError(f"--inside {inside}: only float16 and bfloat16 are computed inside it")
    cell_named(cell)
    assumed = FINER[dtype][0] if inside else ""
    arrays = _arrays(inputs) if inputs else {}
    by_name = SIZES | _sizes_of(arrays) | _parse_sizes(sizes)
    T, B, D, H = (by_name[name] for name in "TBDH")
    case = Case(T, B, D, H, dtype=dtype, assumed=assumed, seed=seed)
    return setting(cell, case, arrays)


def _sizes_of(arrays: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of x, and of weights or states."""
    sizes: dict[str, int] = {}
    if "x" in arrays and arrays["x"].ndim == 3:
        sizes = dict(zip("TBD", arrays["x"].shape, strict=True))
    for name, array in arrays.items():
        if (name[0] in "WUb" or name.startswith("state ")) and array.ndim:
            sizes["H"] = array.shape[-1]
    return sizes


def _parse_sizes(text: str | None) -> dict[str, int]:
    from ..verify.cases.case import LARGEST_SIZE

    pairs = _parse_pairs(text, "--sizes", SIZES)
    for name, value in pairs.items():
        if not value.isdecimal() or not 1 <= int(value) <= LARGEST_SIZE:
            raise ValueError(f"--sizes: {name}={value}: expected 1 to {LARGEST_SIZE}")
    return {name: int(value) for name, value in pairs.items()}


def _parse_tolerance(text: str | None) -> tuple[float, float]:
    pairs = _parse_pairs(text, "--grade", ("atol", "rtol"))
    values = []
    for name in ("atol", "rtol"):
        try:
            value = float(pairs.get(name, "0"))
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ValueError(f"--grade: {name}={pairs[name]}: expected a number from 0")
        values.append(value)
    return values[0], values[1]


def _parse_pairs(text: str | None, option: str, names: Collection[str]) -> dict[str, str]:
    pairs = dict(part.strip().partition("=")[::2] for part in text.split(",")) if text else {}
    if unknown := [name for name in pairs if name not in names]:
        expected = ", ".join(f"{name}=" for name in names)
        raise ValueError(f"{option}: {unknown[0]!r} is none of {expected}")
    return pairs


def _arrays(path: Path) -> dict[str, Any]:
    from ..verify.runs.npz import read_npz

    try:
        return read_npz(path)
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as .npz ({error})") from error


def _text(
    setting: Setting,
    tolerances: Sequence[Tolerance],
    mistakes: Sequence[Mistake],
    grade: Grade | None,
    evaluations: int,
) -> list[str]:
    """Return the lines of the answer, the grade first if there is one."""
    case = setting.case
    sizes = f"T={case.T}, B={case.B}, D={case.D}, H={case.H}"
    lines = [*(_verdict(grade) if grade else ())]
    lines += [
        f"{setting.subject.cell_name} in {case.arithmetic.name}, {sizes}, seed {case.seed}: "
        "no right implementation exceeds",
        "",
        f"{'quantity':24} {'absolute':>9} {'relative':>9} {'ULP':>9} {'seen':>9} {'used':>6}",
    ]
    lines += [
        f"{t.quantity:24} {_number(t.absolute)} {_number(t.relative)} {_number(t.ulps)} "
        f"{_number(t.seen)} {t.used:>6.1%}"
        for t in tolerances
    ]
    lines += [
        "",
        f"seen: the largest error of {evaluations} right evaluations (sums in random orders,",
        "fused or not, several activations); used: the largest share of a number's own",
        "bound; relative, ULP: to each number itself.",
        "",
    ]
    if any(t.of_largest > 1 for t in tolerances):
        lines += [
            "Bounds larger than the numbers themselves show nothing: take fewer steps, or, for",
            "halves that are only stored, --inside float32.",
            "",
        ]
    shown = [mistake for mistake in mistakes if mistake.shown]
    return [
        *lines,
        f"{len(shown)} of {len(mistakes)} known mistakes lie beyond these bounds. The others are",
        "smaller, or need lengths, directions, layers, dropout or a second call to show.",
    ]


def _verdict(grade: Grade) -> list[str]:
    lines = [f"atol={grade.atol:g}, rtol={grade.rtol:g}: {' and '.join(grade.words)}"]
    if grade.refused:
        lines.append(f"  {grade.refused} of {grade.evaluations} right evaluations exceed it")
    elif grade.narrower:
        lines.append(f"  no right evaluation of {grade.evaluations} exceeds it, but it is narrower "
                     f"than the bound of {len(grade.narrower)} quantities")  # fmt: skip
    many = len(grade.passed) + grade.caught
    lines.append(f"  {len(grade.passed)} of {many} known mistakes pass under it")
    for mistake in grade.passed[:SHOWN]:
        line = f"    {mistake.id:5} {mistake.statement}"
        lines += textwrap.wrap(line, 80, subsequent_indent=" " * 10)
    if len(grade.passed) > SHOWN:
        lines.append(f"    and {len(grade.passed) - SHOWN} more")
    return [*lines, ""]


def _number(value: float) -> str:
    return f"{'any' if value == float('inf') else f'{value:.1e}':>9}"


def _python(tolerances: Sequence[Tolerance]) -> list[str]:
    lines = (
        f"    {t.quantity!r}: {{'atol': {t.absolute:.2e}, 'rtol': 0.0}},"
        if t.absolute < float("inf")
        else f"    # {t.quantity}: no tolerance holds for every right implementation"
        for t in tolerances
    )
    compare = "torch.testing.assert_close(got[name], expected[name], **TOLERANCES[name])"
    return ["TOLERANCES = {", *lines, "}", f"# {compare}"]


def _json(
    setting: Setting,
    tolerances: Sequence[Tolerance],
    mistakes: Sequence[Mistake],
    grade: Grade | None,
) -> dict[str, Any]:
    from ..verify.runs.provenance import machine, versions

    record: dict[str, Any] = {
        "cell": setting.subject.cell_name,
        "case": json.loads(setting.case.to_json()),
        "arithmetic": setting.case.arithmetic.name,
        "tolerances": tolerances,
        "mistakes_shown": [m.id for m in mistakes if m.shown],
        "mistakes_not_shown": [m.id for m in mistakes if not m.shown],
        "versions": versions(),
        "machine": machine(),
    }
    if grade:
        record["grade"] = asdict(grade) | {"passed": [m.id for m in grade.passed],
                                           "words": grade.words}  # fmt: skip
    return record
