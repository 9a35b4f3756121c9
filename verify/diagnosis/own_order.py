"""An order of gates of a layer's own, beside a mistake: nothing says that it is one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ...reference.cells import cell_named
from ..mutants import mutants
from ..runs.diagnosis import Explanation
from ..subjects.protocol import Subject


def without_own_order(
    subject: Subject, explanations: Sequence[Explanation]
) -> tuple[list[Explanation], list[str]]:
    """Return explanations without an order of gates that may be meant, and a note of it.

    Arrays of names of their own may have the gates in any order.
    """
    own_names = getattr(subject, "own", None)
    arrays = getattr(own_names, "arrays", own_names) or ()
    single = {a.slices[0][-1] for a in arrays if len(a.slices) == 1}
    free = {name[-1] for a in arrays for name in a.slices} - single
    orders = {m.id: m.same_as for m in mutants() if m.same_as.startswith("order ")}
    gates = cell_named(subject.cells[0]).gates
    kept, notes = [], dict[str, None]()
    for explanation in explanations:
        parts = [*zip(explanation.ids, explanation.statements, explanation.fixes, strict=False)]
        read = {id: orders.get(id, id).removeprefix("order ") for id in explanation.ids}
        own = {id: order for id, order in read.items() if _is_own(order, gates, free)}
        others = [part for part in parts if part[0] not in own]
        if own and others and len(parts) == len(explanation.ids):
            ids, statements, fixes = zip(*others, strict=True)
            kept.append(replace(explanation, ids=ids, statements=statements, fixes=fixes))
            notes |= {f"Its gates stand in the order {' '.join(own[id])}.": None for id in own}
        else:
            kept.append(explanation)
    return kept, [*notes]


def _is_own(order: str, gates: Sequence[str], free: Collection[str]) -> bool:
    """Whether a text is an order of gates in which those alone move that are free to."""
    return sorted(order) == sorted(gates) and all(
        a == b or a in free for a, b in zip(order, gates, strict=True)
    )
