"""What there is: equations, examples, subjects, cells, checks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from .common import CONFORMS, DIFFERS, json_option

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
        click.echo(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False))
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
    """Compute the documents' worked numbers and listings; show the errata."""
    from ..reference.documents import examples as compute

    rows = compute()
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        click.echo(f"{row.id} {row.title}: {'as printed' if row.agrees else 'ERRATUM'}")
        click.echo(f"   printed: {row.printed}\n   true:    {row.true}")
        if row.note:
            click.echo(f"   note:    {row.note}")


@click.command()
@click.option("--no-versions", is_flag=True,
              help="Only what adapters state: do not import any framework.")  # fmt: skip
@json_option
def subjects(no_versions: bool, as_json: bool) -> None:
    """List the implementations that can be held against the reference, and which are installed."""
    from ..reports.terminal import print_rows
    from ..verify.execution import availability

    found = list(availability.plain()) if no_versions else _with_versions()
    rows = [
        (
            one.named.name,
            " ".join(one.cells),
            " ".join(one.dtypes),
            one.version or ("" if no_versions or as_json else "not available"),
            availability.convention(one.named.name),
            one.problem,
        )
        for one in found
    ]
    columns = ("subject", "cell", "dtypes", "version", "convention", "problem")
    if as_json:
        print_rows(columns, rows, as_json=True)
        return
    shown = (0, 1, 2, 4) if no_versions else (0, 1, 2, 3, 4)
    print_rows(
        [columns[k] for k in shown], [[row[k] for k in shown] for row in rows], as_json=False
    )
    _tell_problems(found)


def _with_versions() -> list[Description]:
    """Ask every family in a process of its own; show how far that is."""
    from ..reports.terminal import progress
    from ..verify.execution import availability

    with progress(len(availability.families())) as advance:
        return availability.asked(os.cpu_count() or 1, advance)


def _tell_problems(found: Sequence[Description]) -> None:
    """Say what keeps subjects away, the families with the same reason together."""
    from ..verify.subjects import family

    reasons: dict[str, dict[str, None]] = {}
    for one in found:
        if one.problem:
            reasons.setdefault(one.problem, {})[family(one.named.name)] = None
    for reason, names in reasons.items():
        click.echo(f"{', '.join(names)}: {reason}")


@click.command()
@json_option
def cells(as_json: bool) -> None:
    """List the cells of the reference."""
    from ..reference.cells import cells as all_cells
    from ..reports.terminal import print_rows

    rows = [
        (
            c.name,
            c.title,
            " ".join(c.gates),
            " ".join(c.states),
            _parameters(c),
            ", ".join(c.equations),
        )
        for c in all_cells().values()
    ]
    columns = ("cell", "title", "gates", "states", "parameters", "equations")
    print_rows(columns, rows, as_json=as_json)


def _parameters(cell: Cell) -> str:
    """Return every parameter with its shape, the gates' axis first."""
    from ..reference.parameters import Sizes

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
