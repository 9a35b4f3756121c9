"""Verification of a subject's portrait, which determines the right numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...reference.cells import cell_named, cells
from ...reference.errors import InputError
from ...reference.forms import STEPS, form_named
from ...reference.parameters import Sizes
from ..conventions.convention import LAYOUTS
from ..numbers.arithmetic import DTYPES
from ..runs.verdict import NO_EQUATIONS
from ..subjects import FORM, OWN_CELL
from ..subjects.kernel_problems import BENCH
from .channel import Meaning, Portrait

MOST_OFFSET = 100.0
"""The largest forget offset; a larger one would open a gate, whatever its weights are."""

LISTED = 200
"""The most characters of a subject's text that are quoted."""

LONGEST_VERSION, LONGEST_TEXT, LONGEST_SOURCE = 1000, 4000, 200_000
WIDEST = 2**16
"""The longest axis of a recurrence's parameters."""

KINDS = ("explicit", "convention", "torch", "own", "recurrence", "problem", "node", "")


def unsound(portrait: Portrait, like: str | None) -> str:
    """Return a clause that names an impossible part of a portrait, "" if there is none.

    The meaning of parameters determines the right numbers: a map that omits one would excuse a
    layer that does.
    """
    meaning, claimed = portrait.meaning, portrait.cells
    problem = ""
    if not portrait.dtypes or {*portrait.dtypes} - {*DTYPES}:
        problem = f"dtypes {', '.join(portrait.dtypes)[:LISTED]}"
    elif portrait.options.problem != bool(meaning.problem):
        problem = "a problem that is none"
    elif meaning.kind not in KINDS or (not meaning.kind and not meaning.shared):
        problem = f"a meaning of kind {meaning.kind[:LISTED]!r}"
    elif (meaning.fixed or meaning.held_to or meaning.content) and meaning.kind != "node":
        problem = "cases or checks of its own"
    elif not 1 <= len(claimed) <= 2:
        problem = f"{len(claimed)} cells"
    elif meaning.operation is not None:
        problem = meaning.operation.problem or _unsound_node(meaning)
    elif meaning.kind == "recurrence":
        problem = "" if claimed == (NO_EQUATIONS,) else "a recurrence that is a cell"
    elif meaning.kind and any(cell not in cells() for cell in claimed):
        problem = f"the cells {', '.join(claimed)[:LISTED]}"
    elif meaning.kind:
        problem = _unsound_meaning(meaning, claimed) or _unsound_forms(portrait)
    return problem or _unlike(portrait, like)  # it must also fit the request


def _unsound_node(meaning: Meaning) -> str:
    """Return a clause on a wrong convention of a node with its operator's equations, or ""."""
    operation, convention = meaning.operation, meaning.convention
    if operation is None or convention is None or convention.cell != operation.base:
        return "a convention of another cell"
    return "" if operation.kind.lower() == convention.family else "another operator"


def _unsound_forms(portrait: Portrait) -> str:
    """Return a clause that names an unknown form, or ""."""
    for name in (*portrait.options.forms, portrait.options.program or STEPS):
        try:
            form_named(name)
        except InputError:
            return f"a form {name[:LISTED]!r}"
    return ""


def _unsound_meaning(meaning: Meaning, claimed: Sequence[str]) -> str:
    """Return a clause on a wrong convention, or on wrong arrays under own names, or ""."""
    convention = meaning.convention
    if meaning.kind in ("explicit", "problem"):
        return "a convention" if convention else ""
    if convention is None or convention.cell != claimed[0]:
        return "a convention of another cell"
    if not np.isfinite(convention.forget_offset) or abs(convention.forget_offset) > MOST_OFFSET:
        return f"a forget offset of {convention.forget_offset:g}"
    if meaning.kind != "own":
        return ""
    held = [name for array in meaning.arrays for name in (*array.slices, *array.below)]
    shapes = cell_named(claimed[0]).shapes(Sizes(2, 3))
    weights = [f"{n}_{g}" for n in ("W", "U") for g in shapes[n].gates]
    missing = [name for name in weights if held.count(name) != 1]
    known = {array.layout for array in meaning.arrays} <= {*LAYOUTS}
    return "" if known and not missing else f"arrays without {', '.join(missing) or 'a layout'}"


def _unlike(portrait: Portrait, like: str | None) -> str:
    """Return a clause on the difference of a portrait from the class it should replace, or ""."""
    kind = portrait.meaning.kind
    if like is None:
        return ""
    if like.startswith(FORM):
        return "" if portrait.options.program == like.removeprefix(FORM) else "another form"
    if portrait.meaning.problem or like.startswith(BENCH):
        return "" if portrait.meaning.problem == like else "another problem"
    if not like.startswith("torch.nn."):
        named = kind in ("explicit", "convention") and portrait.cells == (
            like.removeprefix(OWN_CELL),
        )
        return "" if named else "another cell"
    family = like.removeprefix("torch.nn.").removesuffix("Cell").lower()
    own = portrait.meaning.convention
    if kind not in ("torch", "own") or own is None or own.family != family:
        return f"another cell than {like}"
    return "" if portrait.options.equations else "no equations"
