"""The score of the diagnosis on hand-written gradients.

``python -m gatewise.bench.scores.gradients [--sample 40 --seed 0] [--misses FILE] [--json]`` edits
the backward passes of ``passes`` at one place each, keeps edits that run and change a gradient,
runs the checks as ``gatewise verify --budget quick`` does, and diagnoses each: is the edit
caught, does the text name the edited gate, path or array, is it explained, and is an explanation
about another place? Words are compared; a text that names all gates names none.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from typing import Any

import click
import numpy as np

from ...reference.arrays import Floats
from ...verify.cases.case import Case
from ...verify.runs.diagnosis import Diagnosis
from ...verify.subjects.explicit import Explicit, explicit
from ...verify.subjects.inputs import draw_cotangents, draw_inputs
from . import passes, score
from .diagnosis import examined
from .edits import Edit, edits

DTYPE = "float64"
CASES = (
    Case(4, 3, 2, 5), Case(4, 3, 2, 5, state=False), Case(1, 1, 2, 3), Case(3, 2, 2, 2, seed=1)
)  # fmt: skip
"""The test cases: an edit that raises in one, or changes nothing in any, does not count."""

CLOSE = 1e-9
"""The differences that rounding explains, in float64."""

NAMES = {
    "gate i": r"input gate|\b(d|dz_|z_|W_|U_|b_)?i\b",
    "gate f": r"forget gate|\b(d|dz_|z_|W_|U_|b_)?f\b",
    "gate g": r"candidate|\b(d|dz_|z_|W_|U_|b_)?g\b",
    "gate o": r"output gate|\b(d|dz_|z_|W_|U_|b_)?o\b",
    "gate r": r"reset gate|\b(d|dz_|z_|W_|U_|b_)?r\b",
    "gate z": r"update gate|\b(d|dz_|z_|W_|U_|b_)?z\b",
    "gate n": r"candidate|\b(d|dz_|z_|W_|U_|b_)?n\b",
    "gate a": r"pre-activation|slope|tanh|\bdz(_a)?\b",
    "path h": r"hidden state|\bd?h\b|\bd?h_",
    "path c": r"cell state|\bd?c\b|\bd?c_",
    "W": r"input weights|\bd?W\b|\bd?W_",
    "U": r"recurrent weights|\bd?U\b|\bd?U_",
    "b": r"bias|\bd?b\b|\bd?b_",
    "b_hn": r"recurrent bias|b_?hn",
    "x": r"gradient of (the input\b(?! gate)|x)|\bdx\b|\bdx_",
    "time": r"\bsteps?\b|\border\b|\btime\b|earlier|\blast\b|\bfirst\b",
}
"""The words that name each place."""


GATES = (("gate i", "gate f", "gate g", "gate o"), ("gate r", "gate z", "gate n"))
"""The gates of each kind of cell: a text that names all of them names none."""


@cache
def source(name: str) -> str:
    """Return the source of one of the passes."""
    return inspect.getsource(importlib.import_module(f"{passes.__name__}.{name}"))


@cache
def edits_of(name: str) -> list[Edit]:
    """Return all edits of one of the passes, also those that change nothing."""
    return edits(source(name))


def names() -> list[str]:
    """Return the names of the passes."""
    return sorted(module.name for module in pkgutil.iter_modules(passes.__path__))


def subject(name: str, text: str) -> Explicit:
    """Return the subject of a source."""
    return explicit(score.layer_of_text(text), f"pass:{name}")


def gradients_of(layer: Explicit) -> Iterator[dict[str, Floats]]:
    """Yield all gradients of a subject, case by case."""
    for case in CASES:
        inputs, pair = draw_inputs(layer, case), draw_cotangents(layer, case)
        with np.errstate(all="ignore"):
            (pulled,) = layer.build(case).gradients(inputs, [pair])
        states = {f"initial {k}": a for k, a in enumerate(pulled.initial)}
        yield {**pulled.parameters, **states, "x": pulled.x}


@cache
def right_gradients(name: str) -> list[dict[str, Floats]]:
    """Return the gradients of an unedited pass."""
    return list(gradients_of(subject(name, source(name))))


def changes(name: str, edit: Edit) -> bool:
    """Return whether an edited pass runs, and returns other numbers in the right shapes."""
    try:
        gradients = list(gradients_of(subject(name, edit.source)))
    except Exception:
        return False
    pairs = [
        (edited[key], original[key])
        for edited, original in zip(gradients, right_gradients(name), strict=True)
        for key in original
    ]
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return False
    return any(not np.allclose(a, b, rtol=CLOSE, atol=CLOSE) for a, b in pairs)


@dataclass(frozen=True, kw_only=True)
class Row(score.Duration):
    """One edit, and its result.

    ``caught``: a check failed; ``located``: the diagnosis names the place; ``wrong_story``: it
    explains the failure by a mistake at another place.
    """

    name: str
    number: int
    kind: str
    line: int
    before: str
    after: str
    places: tuple[str, ...]
    caught: bool
    located: bool
    explained: bool
    wrong_story: bool
    said: str

    @property
    def missed(self) -> bool:
        """True if the diagnosis fails in any respect."""
        return not (self.caught and self.located and self.explained) or self.wrong_story

    @property
    def result(self) -> str:
        """The result in a word."""
        if not self.caught:
            return "NOT CAUGHT"
        if self.wrong_story:
            return "WRONG STORY"
        return ("explained" if self.explained else "located") if self.located else "NOT LOCATED"

    def __str__(self) -> str:
        edit = f"{self.name} line {self.line}: {self.before} → {self.after}"
        return f"{self.result} {edit}: {self.said} ({self.seconds:.1f} s)"


def row(name: str, number: int) -> Row:
    """Check one edit and diagnose it."""
    edit = edits_of(name)[number]
    caught, diagnosis, duration = examined(subject(name, edit.source), DTYPE)
    explained = diagnosis.status == "explained"
    return Row(
        name=name, number=number, kind=edit.kind, line=edit.line, before=edit.before,
        after=edit.after, places=edit.places,
        caught=caught,
        located=located(diagnosis, edit.places),
        explained=explained,
        wrong_story=explained and not names_any(story(diagnosis), edit.places),
        said=" ".join(filter(None, (story(diagnosis) or diagnosis.message, notes(diagnosis)))),
        **asdict(duration),
    )  # fmt: skip


def story(diagnosis: Diagnosis) -> str:
    """Return the text of the explanations of a diagnosis."""
    return " ".join(text for e in diagnosis.explanations for text in (*e.statements, *e.fixes))


def notes(diagnosis: Diagnosis) -> str:
    """Return the gate of the first wrong entry, and the reach and notes of a diagnosis."""
    entry = re.match(r"gate \w+", diagnosis.location.place)
    place = entry[0] if entry else ""
    return " ".join((place, diagnosis.reach, *getattr(diagnosis, "notes", ()))).strip()


def names_any(text: str, places: Sequence[str]) -> bool:
    """Return whether a text names one of these places; all gates of a cell count as none."""
    named = {place for place, words in NAMES.items() if re.search(words, text)}
    for gates in GATES:
        if named.issuperset(gates):
            named.difference_update(gates)
    return not named.isdisjoint(places)


def located(diagnosis: Diagnosis, places: Sequence[str]) -> bool:
    """Return whether a diagnosis names the place, in words or as the only wrong arrays."""
    if names_any(f"{story(diagnosis)} {notes(diagnosis)}", places):
        return True
    wrong_arrays = {
        name.removeprefix("gradient of ").partition("_l")[0]
        for name in diagnosis.location.quantities
    }
    return bool(wrong_arrays) and wrong_arrays <= set(places)


def effective_edits(chosen: Sequence[str], seed: int) -> Iterator[tuple[str, Edit]]:
    """Yield the edits that change results, passes and kinds in turns."""
    all_edits = [(name, edit) for name in chosen for edit in edits_of(name)]
    mixed = score.in_turns(all_edits, lambda entry: (entry[0], entry[1].kind), seed)
    return (entry for entry in mixed if changes(*entry))


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Return counts, shares and seconds."""

    def share(count: int) -> str:
        return f"{count} ({100 * count / len(rows):.0f} %)"

    return {
        "edits": len(rows),
        "caught": share(sum(r.caught for r in rows)),
        "located": share(sum(r.located for r in rows)),
        "explained": share(sum(r.explained and not r.wrong_story for r in rows)),
        "wrong stories": sum(r.wrong_story for r in rows),
        **score.durations(rows),
    }


COLUMNS: score.Columns = {
    "": lambda r: r.result,
    "pass": lambda r: r.name,
    "line": lambda r: str(r.line),
    "kind": lambda r: r.kind,
    "edit": lambda r: f"`{r.before}` → `{r.after}`",
    "place": lambda r: ", ".join(r.places),
    "said": lambda r: r.said,
    "seconds": lambda r: f"{r.seconds:.1f}",
}


@click.command()
@click.option("--pass", "chosen", multiple=True, help="Only of this pass; several may be given.")
@score.sampled
def main(chosen: Sequence[str], sample: int | None, seed: int, jobs: int, **options: Any) -> None:
    """Score and print."""
    edited = islice(effective_edits(chosen or names(), seed), sample)
    tasks: list[score.Work[Row]] = [(row, (name, edit.number)) for name, edit in edited]
    rows = sorted(score.results(tasks, jobs), key=lambda r: (r.name, r.line, r.number))
    score.tell("Edits of backward passes", COLUMNS, rows, totals(rows), missed=lambda r: r.missed,
               **options)  # fmt: skip


if __name__ == "__main__":
    main()
