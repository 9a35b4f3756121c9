"""How often the diagnosis names the catalogue's mistakes in layers that other hands wrote.

``python -m gatewise.bench.scores.other_hands [--sample 20 --seed 0] [--misses FILE] [--json]``
takes the layers of ``hands``, in three styles (a PyTorch loop, the same with a step that is
scripted or vmapped, NumPy with gradients by hand), writes each mutant into those whose places have
a text for it, holds the layer to the checks as ``gatewise verify --budget quick`` does, and asks
for a diagnosis. ``--list`` says which mutants are written in which styles, and why others are not.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from ...verify.mutants import Mutant, mutants
from ...verify.runs.provenance import machine, versions
from ...verify.subjects import subject_named
from ...verify.subjects.explicit import explicit
from ...verify.subjects.protocol import Subject
from .diagnosis import ALIASES, diagnosis_of, failing_checks
from .hands import numpy_loop, torch_loop
from .hands.templates import Texts
from .rows import (
    Work,
    in_turns,
    jobs_option,
    json_option,
    misses_option,
    sample_option,
    scored,
    seed_option,
    write_table,
)

LOOP, COMPILED, NUMPY = "torch loop", "torch compiled", "numpy"
STYLES = (LOOP, COMPILED, NUMPY)
CELLS = ("lstm", "gru", "rnn", "lstm-peephole")
"""The last in NumPy alone."""

FORWARD_MODE = ("J01", "J02")
"""Mistakes of forward mode alone."""

CONVENTION = "convention"
"""What the diagnosis calls another convention: some mutants are nothing else."""

CONVENTIONS = (
    "C01",
    "C02",
    "C03",
    "C03b",
    "C05",
    "C06",
    "C06b",
    "L01",
    "L02",
    "L03",
    "L05",
    "L06",
    "L13",
)
"""Mutants that are another convention."""

WHY_NOT = {
    "D06": "what lies past a buffer's end cannot be read in Python",
    "G02b": "autograd and the explicit form give zeros where no gradient arrives",
    "G13": "PyTorch and NumPy honour strides; nothing to be written differs",
    "G14": "autograd's saved arrays are not to be written to, and explicit layers run anew",
    "L09": "which numbers are read depends on how the flat buffer is laid out",
    "P10": "autograd's outputs are not to be overwritten",
    "S09": "when arguments are overwritten decides what is read of them later",
    "J01": "forward mode has no rules of its own in such a layer",
    "J02": "forward mode has no rules of its own in such a layer",
}
"""Mutants that no text is written for, with the reason."""

PADDING_LOST = "packed input has no padding, and the explicit layers no directions"


@dataclass(frozen=True)
class Hand:
    """A mutant in a style and a cell."""

    style: str
    cell: str
    id: str

    def __str__(self) -> str:
        return f"{self.id}[{self.cell}, {self.style}]"


def texts(style: str, cell: str) -> dict[str, Texts]:
    """Return what mutants are in the places of a style's layer, by id."""
    return numpy_loop.texts(cell) if style == NUMPY else torch_loop.texts(cell)


def hands() -> list[Hand]:
    """Return every mutant in every style and cell in which it is written."""
    known = {m.id: m for m in mutants()}
    return [
        Hand(style, cell, id)
        for style in STYLES
        for cell in CELLS
        for id in texts(style, cell)
        if cell in known[id].cells
    ]


def why_not(mutant: Mutant) -> str:
    """Return why a mutant is written in no style, "" if it is in one."""
    if any(mutant.id in texts(style, cell) for style in STYLES for cell in CELLS):
        return ""
    if mutant.isolated:
        return "it ends its process, or holds it up"
    if not {*CELLS} & {*mutant.cells}:
        return f"no layer of these is {', '.join(mutant.cells)}"
    return WHY_NOT.get(mutant.id, PADDING_LOST if "lengths" in mutant.needs else "")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gatewise-hands-")


def subject(style: str, cell: str, spoilt: Texts | None = None, name: str = "right") -> Subject:
    """Return the layer of a style, with these texts in its places."""
    spoilt = spoilt or {}
    if style == NUMPY:
        space: dict[str, Any] = {"__name__": "hand"}
        exec(numpy_loop.source(cell, spoilt), space)  # noqa: S102 - our own text
        return explicit(space["Layer"], f"hand:{name}")
    path = Path(_folder().name) / f"{name}_{cell}_{style.replace(' ', '_')}.py"  # scripts need one
    text = torch_loop.source(cell, spoilt, compiled=style == COMPILED)
    path.write_text(text, encoding="utf-8")
    return subject_named(f"{path}:Port", f"torch.nn.{torch_loop.FAMILIES[cell]}")


def written(hand: Hand) -> Subject:
    """Return the layer that a mutant is in a style."""
    return subject(hand.style, hand.cell, texts(hand.style, hand.cell)[hand.id], hand.id)


@dataclass(frozen=True)
class Row:
    """One mutant in one style and cell: whether a check failed, and what the diagnosis says.

    ``named``: the mutant, or what is the same by another name, is among the explanations.
    ``seconds`` are those of the diagnosis, ``cpu_seconds`` what of these the processor worked,
    ``check_seconds`` those of the checks before it.
    """

    id: str
    cell: str
    style: str
    caught: bool
    named: bool
    explanations: tuple[str, ...]
    seconds: float
    check_seconds: float
    cpu_seconds: float
    said: str
    failed: tuple[str, ...]

    @property
    def result(self) -> str:
        """How good it is, in a word."""
        if not self.caught:
            return "NOT CAUGHT"
        return "named" if self.named else "OTHERWISE" if self.explanations else "UNEXPLAINED"

    def __str__(self) -> str:
        said = ", ".join(self.explanations[:4]) or self.said
        return f"{self.result} {self.id}[{self.cell}, {self.style}]: {said} ({self.seconds:.1f} s)"


def row(style: str, cell: str, id: str) -> Row:
    """Hold one layer to the checks and diagnose it."""
    mutant = {m.id: m for m in mutants()}[id]
    held, started = written(Hand(style, cell, id)), time.perf_counter()
    dtype = mutant.dtypes[0]
    with np.errstate(all="ignore"):
        failing = failing_checks(held, dtype)
        checked, processed = time.perf_counter(), time.process_time()
        found = diagnosis_of(held, dtype, failing)
    ended, cpu = time.perf_counter(), time.process_time() - processed
    explanations = tuple(e.name for e in found.explanations)
    return Row(
        id, cell, style,
        caught=bool(failing),
        named=any(names(mutant, e.ids) for e in found.explanations),
        explanations=explanations,
        seconds=round(ended - checked, 2),
        check_seconds=round(checked - started, 2),
        cpu_seconds=round(cpu, 2),
        said=" ".join((found.headline, *getattr(found, "notes", ()))),
        failed=found.failed,
    )  # fmt: skip


def names(mutant: Mutant, ids: Sequence[str]) -> bool:
    """Whether an explanation is the mutant; what ``detach`` does in forward mode may stand beside.

    Autograd has no gradient that is cut off backwards alone.
    """
    beside = [id for id in ids if id not in FORWARD_MODE]
    return len(beside) == 1 and beside[0] in equal(mutant)


def equal(mutant: Mutant) -> set[str]:
    """Return the names under which a mutant may be explained."""
    names = {mutant.id, mutant.same_as or mutant.id, ALIASES.get(mutant.id, mutant.id)}
    return names | ({CONVENTION} if mutant.id in CONVENTIONS else set())


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Return counts, shares and seconds."""
    seconds, named = [r.seconds for r in rows], sum(r.named for r in rows)
    return {
        "layers": len(rows),
        "caught": sum(r.caught for r in rows),
        "named": f"{named} ({100 * named / len(rows):.0f} %)",
        "explained otherwise": sum(r.result == "OTHERWISE" for r in rows),
        "median seconds": round(median(seconds), 1),
        "longest seconds": round(max(seconds), 1),
        "median CPU seconds": round(median(r.cpu_seconds for r in rows), 1),
        "longest CPU seconds": max(r.cpu_seconds for r in rows),
        "median seconds with checks": round(median(r.seconds + r.check_seconds for r in rows), 1),
    }


@click.command()
@click.option("--style", "styles", multiple=True, type=click.Choice(STYLES), help="Only this.")
@click.option("--mutant", "ids", multiple=True, metavar="ID", help="Only this one.")
@click.option("--list", "listing", is_flag=True, help="Say what is written, and what is not.")
@sample_option
@seed_option
@jobs_option
@misses_option
@json_option
def main(
    styles: Sequence[str],
    ids: Sequence[str],
    listing: bool,
    sample: int | None,
    seed: int,
    jobs: int,
    misses: Path | None,
    as_json: bool,
) -> None:
    """Score and print."""
    if listing:
        click.echo("\n".join(listed()))
        return
    chosen = [
        hand for hand in hands()
        if (not styles or hand.style in styles) and (not ids or hand.id in ids)
    ]  # fmt: skip
    mixed = list(in_turns(chosen, lambda hand: (hand.style, hand.cell), seed))[:sample]
    todo: list[Work[Row]] = [(row, (hand.style, hand.cell, hand.id)) for hand in mixed]
    rows = []
    for number, found in enumerate(scored(todo, jobs), 1):
        rows.append(found)
        click.echo(f"{number}/{len(todo)} {found}", err=True)
    rows.sort(key=lambda r: (r.id, r.cell, r.style))
    if misses:
        write_misses(misses, rows)
    if as_json:
        scores = {"rows": [asdict(r) for r in rows], "totals": totals(rows)}
        click.echo(json.dumps(scores | {"versions": versions(), "machine": machine()}, indent=1))
        return
    _print(rows)


def listed() -> Iterator[str]:
    """Yield a line for every mutant: where it is written, or why it is not."""
    known = hands()
    for mutant in mutants():
        mine = [f"{hand.cell} {hand.style}" for hand in known if hand.id == mutant.id]
        yield f"{mutant.id}: {', '.join(mine) or 'not written: ' + why_not(mutant)}"
    yield f"{len({hand.id for hand in known})} mutants, {len(known)} layers"


def write_misses(path: Path, rows: Sequence[Row]) -> None:
    """Write the table of what was not caught or not named."""
    missed = [r for r in rows if not r.named]
    title = f"The catalogue in other hands: {len(missed)} of {len(rows)} not named"
    cells = ((r.result, r.id, r.cell, r.style, ", ".join(r.explanations), r.said) for r in missed)
    write_table(path, title, ("", "mutant", "cell", "style", "explanations", "said"), cells)


def _print(rows: Sequence[Row]) -> None:
    console = Console(width=160)
    table = Table("", "mutant", "cell", "style", "said", "seconds", title="not named")
    for r in rows:
        if not r.named:
            said = ", ".join(r.explanations) or r.said
            table.add_row(r.result, r.id, r.cell, r.style, said, f"{r.seconds:.1f}")
    console.print(table, markup=False)
    console.print("other hands: " + ", ".join(f"{k} {v}" for k, v in totals(rows).items()))


if __name__ == "__main__":
    main()
