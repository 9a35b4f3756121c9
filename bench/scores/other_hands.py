"""The diagnosis of the catalogue's mistakes in layers of other styles: how often it names them.

``python -m gatewise.bench.scores.other_hands [--sample 20 --seed 0] [--misses FILE] [--json]``
takes the layers of ``hands``, in three styles (a PyTorch loop, the same with a step that is
scripted or vmapped, NumPy with gradients by hand), writes each mutant into the layers that have a
text for it, runs the checks as ``gatewise verify --budget quick`` does, and asks for a diagnosis.
``--list`` says which mutants are written in which styles, and why others are not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click

from ...verify.mutants import Mutant, mutants
from ...verify.subjects import subject_named
from ...verify.subjects.explicit import explicit
from ...verify.subjects.protocol import Subject
from . import score
from .diagnosis import ALIASES, examined
from .hands import Texts, layer

LOOP, COMPILED, NUMPY = STYLES = ("torch loop", "torch compiled", "numpy")
LAYERS = {LOOP: "torch_loop", COMPILED: "torch_loop", NUMPY: "numpy_loop"}
"""The file with each style's layer; in COMPILED its step is scripted or vmapped."""

CELLS = ("lstm", "gru", "rnn", "lstm-peephole")
"""The cells; the last one in NumPy alone."""

FORWARD_MODE = ("J01", "J02")
"""Mutants that are mistakes of forward mode alone."""

CONVENTION = "convention"
"""The diagnosis' name of another convention."""

CONVENTIONS = ("C01", "C02", "C03", "C03b", "C05", "C06", "C06b", "L01", "L02", "L03", "L05", "L06",
               "L13")  # fmt: skip
"""Mutants that only follow another convention."""

WHY_NOT = {
    "D06": "what lies past a buffer's end cannot be read in Python",
    "G02b": "autograd and the explicit form give zeros where no gradient arrives",
    "G13": "PyTorch and NumPy honour strides; nothing to be written differs",
    "G14": "autograd's saved arrays are not to be written to, and explicit layers run anew",
    "L09": "which numbers are read depends on how the flat buffer is laid out",
    "P10": "autograd's outputs are not to be overwritten",
    "V01": "autograd's outputs are not to be overwritten, and explicit layers return new ones",
    "S09": "when arguments are overwritten decides what is read of them later",
    "J01": "forward mode has no rules of its own in such a layer",
    "J02": "forward mode has no rules of its own in such a layer",
}
"""Mutants without a text in any style, and the reason."""

BETWEEN_CALLS = "it is made by what serves the layer, between its calls"
OTHER_PADDING = "these layers take lengths, neither cu_seqlens nor a mask"
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
    """Return, by mutant, the texts in the places of a style's layer."""
    return layer(LAYERS[style]).mistakes.get(cell, {})


def source(style: str, cell: str, texts: Texts) -> str:
    """Return the layer of a style with these texts in its places."""
    return layer(LAYERS[style]).source(cell, texts, compiled=style == COMPILED)


def hands() -> list[Hand]:
    """Return every mutant in every style and cell in which it is written."""
    by_id = {m.id: m for m in mutants()}
    return [
        Hand(style, cell, id)
        for style in STYLES
        for cell in CELLS
        for id in texts(style, cell)
        if cell in by_id[id].cells
    ]


def why_not(mutant: Mutant) -> str:
    """Return why a mutant is written in no style, "" if it is in one."""
    if any(mutant.id in texts(style, cell) for style in STYLES for cell in CELLS):
        return ""
    if mutant.isolated:
        return "it ends its process, or holds it up"
    if not {*CELLS} & {*mutant.cells}:
        return f"no layer of these is {', '.join(mutant.cells)}"
    if mutant.killed_by[0] == "schedule":
        return BETWEEN_CALLS
    if {"packed", "left_padding"} & {*mutant.needs}:
        return OTHER_PADDING
    return WHY_NOT.get(mutant.id, PADDING_LOST if "lengths" in mutant.needs else "")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gatewise-hands-")


def subject(style: str, cell: str, spoilt: Texts | None = None, name: str = "right") -> Subject:
    """Return the layer of a style, with these texts in its places."""
    text = source(style, cell, spoilt or {})
    if style == NUMPY:
        return explicit(score.layer_of_text(text), f"hand:{name}")
    path = Path(_folder().name) / f"{name}_{cell}_{style.replace(' ', '_')}.py"  # scripts need one
    path.write_text(text, encoding="utf-8")
    return subject_named(f"{path}:Port", f"torch.nn.{cell.upper()}")


def written(hand: Hand) -> Subject:
    """Return a style's layer with a mutant's mistake."""
    return subject(hand.style, hand.cell, texts(hand.style, hand.cell)[hand.id], hand.id)


@dataclass(frozen=True, kw_only=True)
class Row(score.Duration):
    """One mutant in one style and cell: whether a check failed, and the diagnosis.

    ``named``: the mutant, or another one that does the same, is among the explanations.
    """

    id: str
    cell: str
    style: str
    caught: bool
    named: bool
    explanations: tuple[str, ...]
    said: str
    failed: tuple[str, ...]

    @property
    def result(self) -> str:
        """The grade of the diagnosis in a word."""
        if not self.caught:
            return "NOT CAUGHT"
        return "named" if self.named else "OTHERWISE" if self.explanations else "UNEXPLAINED"

    def __str__(self) -> str:
        text = ", ".join(self.explanations[:4]) or self.said
        return f"{self.result} {self.id}[{self.cell}, {self.style}]: {text} ({self.seconds:.1f} s)"


def row(style: str, cell: str, id: str) -> Row:
    """Check one layer and diagnose it."""
    mutant = {m.id: m for m in mutants()}[id]
    caught, diagnosis, duration = examined(written(Hand(style, cell, id)), mutant.dtypes[0])
    return Row(
        id=id, cell=cell, style=style,
        caught=caught,
        named=any(names(mutant, e.ids) for e in diagnosis.explanations),
        explanations=tuple(e.name for e in diagnosis.explanations),
        said=" ".join((diagnosis.headline, *getattr(diagnosis, "notes", ()))),
        failed=diagnosis.failed,
        **asdict(duration),
    )  # fmt: skip


def names(mutant: Mutant, ids: Sequence[str]) -> bool:
    """Return whether an explanation is the mutant, apart from mistakes of forward mode.

    ``detach`` cuts off the tangent as well as the gradient.
    """
    backward_ids = [id for id in ids if id not in FORWARD_MODE]
    return len(backward_ids) == 1 and backward_ids[0] in equal(mutant)


def equal(mutant: Mutant) -> set[str]:
    """Return the names under which a mutant may be explained."""
    names = {mutant.id, mutant.same_as or mutant.id, ALIASES.get(mutant.id, mutant.id)}
    return names | ({CONVENTION} if mutant.id in CONVENTIONS else set())


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Return counts, shares and seconds."""
    named = sum(r.named for r in rows)
    return {
        "layers": len(rows),
        "caught": sum(r.caught for r in rows),
        "named": f"{named} ({100 * named / len(rows):.0f} %)",
        "explained otherwise": sum(r.result == "OTHERWISE" for r in rows),
        **score.durations(rows),
    }


COLUMNS: score.Columns = {
    "": lambda r: r.result,
    "mutant": lambda r: r.id,
    "cell": lambda r: r.cell,
    "style": lambda r: r.style,
    "explanations": lambda r: ", ".join(r.explanations),
    "said": lambda r: r.said,
    "seconds": lambda r: f"{r.seconds:.1f}",
}


@click.command()
@click.option("--style", "styles", multiple=True, type=click.Choice(STYLES), help="Only this.")
@click.option("--mutant", "ids", multiple=True, metavar="ID", help="Only this one.")
@click.option("--list", "listing", is_flag=True, help="Say what is written, and what is not.")
@score.sampled
def main(
    styles: Sequence[str],
    ids: Sequence[str],
    listing: bool,
    sample: int | None,
    seed: int,
    jobs: int,
    **options: Any,
) -> None:
    """Score and print."""
    if listing:
        click.echo("\n".join(listed()))
        return
    chosen = [
        hand for hand in hands()
        if (not styles or hand.style in styles) and (not ids or hand.id in ids)
    ]  # fmt: skip
    mixed = list(score.in_turns(chosen, lambda hand: (hand.style, hand.cell), seed))[:sample]
    todo: list[score.Work[Row]] = [(row, (hand.style, hand.cell, hand.id)) for hand in mixed]
    rows = sorted(score.results(todo, jobs), key=lambda r: (r.id, r.cell, r.style))
    score.tell("The catalogue in other hands", COLUMNS, rows, totals(rows),
               missed=lambda r: not r.named, **options)  # fmt: skip


def listed() -> Iterator[str]:
    """Yield a line for every mutant: where it is written, or why it is not."""
    all_hands = hands()
    for mutant in mutants():
        places = [f"{hand.cell} {hand.style}" for hand in all_hands if hand.id == mutant.id]
        yield f"{mutant.id}: {', '.join(places) or 'not written: ' + why_not(mutant)}"
    yield f"{len({hand.id for hand in all_hands})} mutants, {len(all_hands)} layers"


if __name__ == "__main__":
    main()
