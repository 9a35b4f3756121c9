"""The commands that list equations, examples, subjects, cells and checks."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from .common import CONFORMS, DIFFERS, json_option, or_usage, print_json, say

if TYPE_CHECKING:
    from ..reference.cell import Cell
    from ..verify.execution.tasks import Description


@click.command()
@json_option
def equations(as_json: bool) -> None:
    """List every equation and what checks it."""
    from ..reports.terminal import print_rows
    from ..verify.proofs.coverage import coverage

    rows = coverage()
    gaps = [r.name for r in rows if not (r.proofs or r.checks)]
    if as_json:
        print_json(rows)
    else:
        checked = [", ".join((*r.proofs, *r.checks)) or "NOTHING" for r in rows]
        print_rows(
            ("id", "equation", "documents", "checked by"),
            [(r.id, r.name, ", ".join(r.documents), c) for r, c in zip(rows, checked, strict=True)],
            as_json=False,
        )
        click.echo(f"{len(rows)} equations; without a check: {', '.join(gaps) or 'none'}")
    sys.exit(DIFFERS if gaps else CONFORMS)


@click.command()
@json_option
def examples(as_json: bool) -> None:
    """Compute the documents' worked numbers; show the errata."""
    from ..reference.documents import examples as compute

    rows = compute()
    if as_json:
        print_json(rows, ensure_ascii=True)
        return
    for row in rows:
        click.echo(f"{row.id} {row.title}: {'as printed' if row.agrees else 'ERRATUM'}")
        click.echo(f"   printed: {row.printed}\n   true:    {row.true}")
        if row.note:
            click.echo(f"   note:    {row.note}")


@click.command()
@click.argument("names", metavar="[FAMILY]...", nargs=-1)
@click.option("--probe", is_flag=True, help="Import every framework; say which of them run here.")
@click.option("--no-versions", is_flag=True, help="Only what adapters state.")
@json_option
def subjects(names: Sequence[str], probe: bool, no_versions: bool, as_json: bool) -> None:
    """List what can be held against the reference.

    It says which are installed. FAMILY is the word before a subject's colon, torch for instance;
    without one all are listed. Versions are those of the installed packages. Whether a package also
    runs here, on a GPU that it needs for instance, is found out with --probe.
    """
    from ..reports.terminal import print_rows
    from ..verify.execution import availability
    from ..verify.subjects import expanded, family

    if probe and no_versions:
        raise click.UsageError("--probe finds out versions: leave out --no-versions")
    families = tuple(dict.fromkeys(map(family, names)))
    or_usage(lambda: expanded(f"{name}:*" for name in families))
    if probe:
        descriptions = _probe(families)
    else:
        describe = availability.stated if no_versions else availability.installed
        descriptions = list(describe(*families))
    rows = [
        {
            "subject": description.named.name,
            "cell": " ".join(description.cells),
            "dtypes": " ".join(description.dtypes),
            "version": description.version,
            "convention": availability.convention(description.named.name),
            "problem": description.problem,
            "probed": probe,
        }
        for description in descriptions
    ]
    if as_json:
        print_json(rows)
        return
    columns = ["subject", "cell", "dtypes", *([] if no_versions else ["version"]), "convention"]
    lines = [row | ({"version": "not available"} if row["problem"] else {}) for row in rows]
    print_rows(columns, [[str(line[key]) for key in columns] for line in lines])
    _print_problems(descriptions)


def _probe(families: Sequence[str]) -> list[Description]:
    """Import every family's framework in a process of its own, under a progress bar."""
    from ..reports.terminal import progress
    from ..verify.execution import availability

    with progress(len(availability.families(*families))) as advance:
        return availability.probed(*families, jobs=os.cpu_count() or 1, on_family=advance)


def _print_problems(descriptions: Sequence[Description]) -> None:
    """Print why subjects cannot run here, once per reason."""
    from ..reports.section import grouped
    from ..verify.subjects import family

    pairs = ((d.problem, family(d.named.name)) for d in descriptions if d.problem)
    for reason, names in grouped(pairs).items():
        say(f"{', '.join(dict.fromkeys(names))}: {reason}")


@click.command()
@click.argument("names", metavar="[CELL]...", nargs=-1)
@json_option
def cells(names: Sequence[str], as_json: bool) -> None:
    """List the cells of the reference, or show one with its equations."""
    from ..reference.cells import cell_named
    from ..reference.cells import cells as all_cells
    from ..reports.terminal import print_rows

    chosen = or_usage(lambda: [cell_named(name) for name in names]) or [*all_cells().values()]
    if names and not as_json:
        click.echo("\n\n".join("\n".join(_describe(cell)) for cell in chosen))
        return
    rows = [
        (c.name, c.title, " ".join(c.gates), " ".join(c.states), parameters_of(c),
         ", ".join(c.equations))
        for c in chosen
    ]  # fmt: skip
    columns = ("cell", "title", "gates", "states", "parameters", "equations")
    print_rows(columns, rows, as_json=as_json)


def _describe(cell: Cell) -> Iterator[str]:
    """Yield lines on a cell: its parameters, and its equations in TeX with their sources."""
    from ..reference.equation import equations as all_equations

    yield f"{cell.name}: {cell.title}"
    wrapped = partial(textwrap.wrap, width=80, subsequent_indent=INDENT)
    facts = {"gates": " ".join(cell.gates), "states": " ".join(cell.states)}
    for heading, words in (facts | {"parameters": parameters_of(cell)}).items():
        yield from wrapped(words, initial_indent=f"  {heading:12}")
    by_name = {e.name: e for e in all_equations()}
    for equation in map(by_name.__getitem__, cell.equations):
        sources = ", ".join(equation.documents)
        yield from wrapped(f"{equation.label} ({sources})", initial_indent="  ")
        yield f"{INDENT}{equation.latex}"
        yield from wrapped(equation.note, initial_indent=INDENT)


INDENT = " " * 14
"""The indent of the facts of a cell."""


def parameters_of(cell: Cell) -> str:
    """Return every parameter and its axes, gates first; cells gated by input also list inputs."""
    from ..reference.gated_by_input import GatedByInput
    from ..reference.parameters import Sizes

    if isinstance(cell, GatedByInput):
        axes_of = {array.name: array.axes for array in cell.inputs} | {**cell.parameter_axes}
        return ", ".join(f"{name} ({', '.join(axes.split())})" for name, axes in axes_of.items())
    sizes = Sizes(D=101, H=103, P=107) if "projected" in cell.traits else Sizes(D=101, H=103)
    letters = {101: "D", 103: "H", 107: "P"}
    shown = (
        f"{name} ({', '.join([letters.get(n, str(n)) for n in shape.full])})"
        for name, shape in cell.shapes(sizes).items()
    )
    return ", ".join(shown)


@click.command()
@json_option
def checks(as_json: bool) -> None:
    """List the checks of subjects and the proofs of the reference."""
    from ..reports.terminal import print_rows
    from ..verify.checks import subject_checks
    from ..verify.proofs import proofs

    rows = [("check", c.id, c.statement) for c in subject_checks()]
    rows += [("proof", p.id, p.statement) for p in proofs()]
    print_rows(("kind", "id", "statement"), rows, as_json=as_json)
